//! From what the JSON API answered to what it means. Of an error's body only the reason is shown, cut down to the
//! characters it may have.
//!
//! Source: Cloud Storage JSON API reference, "HTTP status and error codes for JSON".

use serde::Deserialize;

use crate::providers::ProviderError;
use crate::providers::wire::{Answer, Context, chain, tidy};

#[derive(Deserialize)]
struct Body {
    error: Whole,
}

#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    errors: Vec<One>,
}

#[derive(Deserialize)]
struct One {
    #[serde(default)]
    reason: String,
}

pub(super) fn failed(context: Context<'_>, bucket: &str, answer: &Answer) -> ProviderError {
    let reason = reason(answer);
    let status = answer.status.as_u16();
    let said = if reason.is_empty() {
        format!("HTTP {status}")
    } else {
        format!("HTTP {status} {reason}")
    };
    match (status, reason.as_str()) {
        (301 | 302 | 307 | 308, _) => {
            context.configuration(format!("{said}: gs://{bucket} is elsewhere; check `endpoint`"))
        }
        // What the service does not know it will not know the next time either.
        (501, _) => context.invalid(said),
        // Too many requests are sometimes a 403, too.
        (403, "rateLimitExceeded" | "userRateLimitExceeded" | "quotaExceeded")
        | (408 | 429 | 500..=599, _) => context.unavailable(said),
        (401 | 403, _) => context.denied(said),
        _ => context.invalid(said),
    }
}

/// Nobody gives a token. The answer's body is left out, as everywhere.
pub(super) fn no_token(context: Context<'_>, keyless: bool, error: &object_store::Error) -> ProviderError {
    let text = chain(error);
    let said = text.split(['{', '<']).next().unwrap_or_default();
    let said = said.trim_end_matches([':', ' ', '\n']);
    if keyless {
        return context.configuration(format!(
            "no credentials are set, and the platform gives none: {said}"
        ));
    }
    let reason = format!("the account of the key gets no token: {said}");
    if said.contains("status code: 4") {
        context.denied(reason)
    } else {
        context.unavailable(reason)
    }
}

fn reason(answer: &Answer) -> String {
    let body: Option<Body> = serde_json::from_slice(&answer.body).ok();
    let first = body.and_then(|body| body.error.errors.into_iter().next());
    first.map(|one| tidy(&one.reason)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn of(status: u16, body: &str) -> ProviderError {
        let context = Context {
            provider: "town",
            operation: "list",
        };
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
        };
        failed(context, "bucket", &answer)
    }

    fn said(reason: &str) -> String {
        format!(r#"{{"error":{{"code":1,"message":"token hunter2","errors":[{{"reason":"{reason}"}}]}}}}"#)
    }

    #[test]
    fn an_answer_is_known_by_status_and_reason() {
        let denied = of(403, &said("forbidden"));
        assert_eq!(
            denied.to_string(),
            "town: list was denied: HTTP 403 forbidden",
            "the message is not repeated"
        );
        assert!(matches!(denied, ProviderError::Denied { .. }));
        for (status, reason) in [
            (403, "rateLimitExceeded"),
            (429, "x"),
            (503, "backendError"),
            (408, ""),
        ] {
            let error = of(status, &said(reason));
            assert!(matches!(error, ProviderError::Unavailable { .. }), "{error:?}");
        }
        for (status, body) in [(400, said("invalid")), (404, "not JSON".into()), (412, said("x"))] {
            let error = of(status, &body);
            assert!(matches!(error, ProviderError::Invalid { .. }), "{error:?}");
        }
        assert!(matches!(
            of(401, &said("authError")),
            ProviderError::Denied { .. }
        ));
    }
}
