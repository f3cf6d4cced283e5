//! From what a server answered to what it means.
//!
//! Of an error's body only the code, the request's id and the region are shown, each cut down to the characters
//! it may have: a server may repeat what was sent to it, signature included.

use http::StatusCode;

use crate::providers::ProviderError;
use crate::providers::wire::{Answer, Context, tidy};
use crate::providers::xml::element;

/// Where it was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) bucket: &'a str,
    pub(super) region: &'a str,
}

impl Place<'_> {
    /// An answer that is not the one that was asked for.
    ///
    /// Source of the codes: Amazon S3 API Reference, "Error responses".
    pub(super) fn failed(self, context: Context<'_>, answer: &Answer) -> ProviderError {
        let said = Said::of(answer);
        let reason = said.to_string();
        let elsewhere = said.region.as_deref().filter(|region| *region != self.region);
        match (answer.status.as_u16(), said.code.as_str()) {
            (404, "NoSuchBucket") => context.root_missing(format!("s3://{}", self.bucket)),
            (301 | 302 | 307 | 308, _) | (_, "AuthorizationHeaderMalformed" | "PermanentRedirect") => context
                .configuration(format!(
                    "{reason}: the bucket {} is {}; check `region` and `endpoint`",
                    self.bucket,
                    elsewhere.map_or_else(
                        || format!("not in region {}", self.region),
                        |region| format!("in region {region}, not {}", self.region)
                    )
                )),
            (400, "InvalidBucketName") => {
                context.configuration(format!("{reason}: `bucket` is {}", self.bucket))
            }
            (401 | 403, _) | (_, "ExpiredToken" | "InvalidToken" | "InvalidAccessKeyId") => {
                context.denied(reason)
            }
            // What the service does not know it will not know the next time either.
            (501, _) => context.invalid(reason),
            (408 | 429 | 500..=599, _) | (_, "RequestTimeout" | "SlowDown") => context.unavailable(reason),
            _ => context.invalid(reason),
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
