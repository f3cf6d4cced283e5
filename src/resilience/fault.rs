//! What went wrong with a request, as far as anybody can see it from here: what may be tried again, and what is the
//! provider's fault.

use std::error::Error;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use object_store::client::{HttpError, HttpErrorKind};

/// Headers in which the services name a request.
const REQUEST_IDS: [&str; 4] = [
    "x-amz-request-id",
    "x-ms-request-id",
    "x-guploader-uploadid",
    "x-request-id",
];

/// Why this room gave a request up by itself. Found in the causes of whatever error it was wrapped in: [`Stop::within`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The request took longer than this key of `storage.yml` lets it.
    #[error("no whole answer within {} ms ({key})", limit.as_millis())]
    TimedOut { limit: Duration, key: &'static str },
    /// Nothing was sent: the provider failed too often of late.
    #[error("its circuit is open after repeated failures; the next try is in {} s", retry_in.as_secs())]
    CircuitOpen { retry_in: Duration },
}

impl Stop {
    /// The reason of this room among the causes of an error.
    #[must_use]
    pub fn within(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(cause) = next {
            if let Some(stop) = cause.downcast_ref::<Self>() {
                return Some(stop.clone());
            }
            next = cause.source();
        }
        None
    }

    pub(super) fn into_http(self) -> HttpError {
        let kind = match self {
            Self::TimedOut { .. } => HttpErrorKind::Timeout,
            Self::CircuitOpen { .. } => HttpErrorKind::Unknown,
        };
        HttpError::new(kind, self)
    }
}

/// A fault that may be gone the next time.
#[derive(Debug)]
pub(super) struct Fault {
    /// In one line, without anything that was sent.
    pub(super) cause: String,
    pub(super) request_id: Option<String>,
    /// How long the provider asks to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// The connection broke, or there never was one.
    pub(super) is_network: bool,
    /// A 4xx is not the provider's: it speaks of what was sent, or of how much.
    pub(super) is_providers: bool,
}

impl Fault {
    /// A transfer that broke.
    pub(super) fn of_break(cause: String) -> Self {
        Self {
            cause,
            request_id: None,
            retry_after: None,
            is_network: true,
            is_providers: true,
        }
    }

    /// `None` for what would fail again just so.
    pub(super) fn of_error(error: &HttpError) -> Option<Self> {
        match error.kind() {
            HttpErrorKind::Connect
            | HttpErrorKind::Request
            | HttpErrorKind::Timeout
            | HttpErrorKind::Interrupted
            | HttpErrorKind::Decode => Some(Self::of_break(chain(error))),
            _ => None,
        }
    }

    /// `None` for an answer that is one, be it a refusal.
    ///
    /// # Source
    /// RFC 9110, "Status Codes"; Amazon S3 API Reference, "Error responses" and "CompleteMultipartUpload", whose answer
    /// of 200 may be an error.
    pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let refused = match status.as_u16() {
            501 | 505 => false,
            408 | 429 | 500..=599 => true,
            200 => is_late_error(body),
            _ => false,
        };
        refused.then(|| Self {
            request_id: REQUEST_IDS.iter().find_map(|name| word(headers, name)),
            retry_after: retry_after(headers),
            is_network: false,
            is_providers: !status.is_client_error(),
            ..Self::of_break(format!("HTTP {}", status.as_u16()))
        })
    }
}

/// An error that the service found only after it had begun to answer.
fn is_late_error(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&body[..body.len().min(2048)]);
    let mut text = text.trim_start();
    if text.starts_with("<?xml") {
        text = text.split_once("?>").map_or("", |(_, rest)| rest).trim_start();
    }
    text.starts_with("<Error>")
        && [
            "InternalError",
            "SlowDown",
            "ServiceUnavailable",
            "RequestTimeout",
        ]
        .iter()
        .any(|code| text.contains(&format!("<Code>{code}</Code>")))
}

fn word(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    let tidy: String = text
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':'))
        .take(64)
        .collect();
    (!tidy.is_empty()).then_some(tidy)
}

/// Seconds, or a date, which is held against the answer's own.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let read = |text: &str| chrono::DateTime::parse_from_rfc2822(text).ok();
    let at = read(text)?;
    let now = headers.get(header::DATE)?.to_str().ok().and_then(read)?;
    (at - now).to_std().ok()
}

/// An error and its causes in one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Option<Fault> {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        let status = StatusCode::from_u16(status).unwrap();
        Fault::of_answer(status, &headers.collect(), body.as_bytes())
    }

    #[test]
    fn only_what_may_pass_is_a_fault_and_no_4xx_is_the_providers() {
        for status in [200, 204, 206, 301, 304, 400, 401, 403, 404, 409, 412, 416, 501] {
            assert!(answer(status, &[], "").is_none(), "{status}");
        }
        for status in [500, 502, 503, 504, 507] {
            assert!(answer(status, &[], "").unwrap().is_providers, "{status}");
        }
        for status in [408, 429] {
            assert!(!answer(status, &[], "").unwrap().is_providers, "{status}");
        }
    }

    #[test]
    fn a_late_error_is_one_and_a_failed_key_in_a_list_is_not() {
        let late = "<?xml version=\"1.0\"?>\n  <Error><Code>InternalError</Code></Error>";
        assert!(answer(200, &[], late).is_some());
        assert!(answer(200, &[], "<Error><Code>AccessDenied</Code></Error>").is_none());
        let list = "<DeleteResult><Error><Code>InternalError</Code></Error></DeleteResult>";
        assert!(answer(200, &[], list).is_none());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_providers_own_clock() {
        let asked = |headers: &[(&'static str, &str)]| answer(503, headers, "").unwrap().retry_after;
        assert_eq!(asked(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        let (now, then) = ("Wed, 25 Nov 2026 12:00:00 GMT", "Wed, 25 Nov 2026 12:00:30 GMT");
        assert_eq!(
            asked(&[("date", now), ("retry-after", then)]),
            Some(Duration::from_secs(30))
        );
        assert_eq!(asked(&[("date", then), ("retry-after", now)]), None);
        assert_eq!(asked(&[("retry-after", "soon")]), None);
    }

    #[test]
    fn a_reason_of_this_room_is_found_among_causes() {
        let stop = Stop::CircuitOpen {
            retry_in: Duration::from_secs(5),
        };
        let error = object_store::Error::Generic {
            store: "S3",
            source: Box::new(stop.clone().into_http()),
        };
        assert_eq!(Stop::within(&error), Some(stop));
        assert_eq!(Stop::within(&std::fmt::Error), None);
    }
}
