//! From what a server answered to what it means.
//!
//! Of an error's body only the code, the request's id and the region are shown, each cut down to the characters
//! it may have: a server may repeat what was sent to it, signature included.

use http::StatusCode;
use object_store::client::{HttpError, HttpErrorKind};

use super::client::Answer;
use super::page::element;
use crate::providers::ProviderError;

/// Who asked for what, for the error's text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) provider: &'a str,
    pub(super) bucket: &'a str,
    pub(super) region: &'a str,
    pub(super) operation: &'static str,
}

impl Context<'_> {
    pub(super) fn invalid(self, reason: String) -> ProviderError {
        ProviderError::Invalid {
            provider: self.provider.to_owned(),
            operation: self.operation,
            reason,
        }
    }

    pub(super) fn unavailable(self, reason: String) -> ProviderError {
        ProviderError::Unavailable {
            provider: self.provider.to_owned(),
            operation: self.operation,
            reason,
        }
    }

    fn denied(self, reason: String) -> ProviderError {
        ProviderError::Denied {
            provider: self.provider.to_owned(),
            operation: self.operation,
            reason,
        }
    }

    pub(super) fn configuration(self, reason: String) -> ProviderError {
        ProviderError::Configuration {
            provider: self.provider.to_owned(),
            reason,
        }
    }

    /// The request never got a whole answer.
    pub(super) fn broken(self, error: &HttpError) -> ProviderError {
        match error.kind() {
            HttpErrorKind::Timeout => self.unavailable(format!("timed out ({})", chain(error))),
            _ => self.unavailable(chain(error)),
        }
    }

    /// An answer that is not the one that was asked for.
    ///
    /// Source of the codes: Amazon S3 API Reference, "Error responses".
    pub(super) fn failed(self, answer: &Answer) -> ProviderError {
        let said = Said::of(answer);
        let reason = said.to_string();
        let elsewhere = said.region.as_deref().filter(|region| *region != self.region);
        match (answer.status.as_u16(), said.code.as_str()) {
            (404, "NoSuchBucket") => ProviderError::RootMissing {
                provider: self.provider.to_owned(),
                root: format!("s3://{}", self.bucket),
            },
            (301 | 302 | 307 | 308, _) | (_, "AuthorizationHeaderMalformed" | "PermanentRedirect") => self
                .configuration(format!(
                    "{reason}: the bucket {} is {}; check `region` and `endpoint`",
                    self.bucket,
                    elsewhere.map_or_else(
                        || format!("not in region {}", self.region),
                        |region| format!("in region {region}, not {}", self.region)
                    )
                )),
            (400, "InvalidBucketName") => {
                self.configuration(format!("{reason}: `bucket` is {}", self.bucket))
            }
            (401 | 403, _) | (_, "ExpiredToken" | "InvalidToken" | "InvalidAccessKeyId") => {
                self.denied(reason)
            }
            (408 | 429 | 500..=599, _) | (_, "RequestTimeout" | "SlowDown") => self.unavailable(reason),
            _ => self.invalid(reason),
        }
    }
}

/// What an error's answer says, as far as it may be repeated.
struct Said {
    status: StatusCode,
    code: String,
    request_id: String,
    region: Option<String>,
}

impl Said {
    fn of(answer: &Answer) -> Self {
        let header = |name: &str| {
            let value = answer.headers.get(name)?.to_str().ok()?;
            Some(tidy(value))
        };
        let body = |name: &str| element(&answer.body, name).map(|text| tidy(&text));
        Self {
            status: answer.status,
            code: body("Code").unwrap_or_default(),
            request_id: header("x-amz-request-id")
                .or_else(|| body("RequestId"))
                .unwrap_or_default(),
            region: header("x-amz-bucket-region").or_else(|| body("Region")),
        }
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HTTP {}", self.status.as_u16())?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.request_id.is_empty() {
            write!(f, " (request id {})", self.request_id)?;
        }
        Ok(())
    }
}

/// Codes, ids and regions are short words; anything longer or odder is not one.
fn tidy(text: &str) -> String {
    let word = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    text.chars().filter(word).take(64).collect()
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
