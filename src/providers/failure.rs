//! From an error of a store to what it means. The text of a server's answer is not repeated, since it may repeat what
//! was sent to it: only its status and code.

use object_store::Error;
use object_store::client::HttpError;

use super::ProviderError;
use super::digest::DAMAGED;
use crate::resilience::Stop;

/// Longer than any reason that is worth reading.
const REASON_MAX: usize = 300;

/// The error of a request that was given up before the provider answered, whatever it was wrapped in.
pub(super) fn stopped(
    provider: &str,
    operation: &'static str,
    error: &(dyn std::error::Error + 'static),
) -> Option<ProviderError> {
    let provider = provider.to_owned();
    Some(match Stop::within(error)? {
        Stop::TimedOut { limit, key } => ProviderError::TimedOut {
            provider,
            operation,
            limit,
            key,
        },
        Stop::CircuitOpen { retry_in } => ProviderError::CircuitOpen {
            provider,
            operation,
            retry_in,
        },
    })
}

pub(super) fn of_store(provider: &str, operation: &'static str, error: Error) -> ProviderError {
    if let Some(stopped) = stopped(provider, operation, &error) {
        return stopped;
    }
    let provider = provider.to_owned();
    let reason = spoken(&error);
    match error {
        Error::PermissionDenied { source, .. } | Error::Unauthenticated { source, .. } => own(source)
            .unwrap_or(ProviderError::Denied {
                provider,
                operation,
                reason,
            }),
        Error::NotFound { source, .. }
        | Error::AlreadyExists { source, .. }
        | Error::Precondition { source, .. }
        | Error::NotSupported { source } => own(source).unwrap_or(ProviderError::Invalid {
            provider,
            operation,
            reason,
        }),
        Error::Generic { source, .. } => {
            own(source).unwrap_or(if is_refused(&reason) || reason.contains(DAMAGED) {
                ProviderError::Invalid {
                    provider,
                    operation,
                    reason,
                }
            } else {
                ProviderError::Unavailable {
                    provider,
                    operation,
                    reason,
                }
            })
        }
        _ => ProviderError::Invalid {
            provider,
            operation,
            reason,
        },
    }
}

/// The local store's errors are ours already.
fn own(source: Box<dyn std::error::Error + Send + Sync>) -> Option<ProviderError> {
    source.downcast::<ProviderError>().ok().map(|error| *error)
}

/// Whether the answer was a status that the same request will get again: a bad request is no sick provider.
fn is_refused(reason: &str) -> bool {
    let status = reason.split("status code: 4").nth(1);
    status.is_some_and(|rest| !rest.starts_with("08") && !rest.starts_with("29"))
}

/// The error and its causes up to a body, and that body's code.
fn spoken(error: &Error) -> String {
    let text = error.to_string();
    let (said, body) = text.split_at(text.find('<').unwrap_or(text.len()));
    // Without the request's URL, which is long, and as percents.
    let said = said.split_once("Error performing ").map_or(said, |(_, request)| {
        request.split_once(" - ").map_or(said, |(_, why)| why)
    });
    let mut reason: String = said
        .trim_end_matches([' ', ':'])
        .chars()
        .take(REASON_MAX)
        .collect();
    if let Some(cause) = root_cause(error).filter(|cause| !reason.contains(cause.as_str())) {
        reason.push_str(": ");
        reason.push_str(&cause);
    }
    let code = body
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    if let Some((code, _)) = code {
        let word = |c: &char| c.is_ascii_alphanumeric();
        reason.push_str(": ");
        reason.extend(code.chars().filter(word).take(64));
    }
    reason
}

/// Why a connection broke, as the system says it: the last of the causes of an error of HTTP.
fn root_cause(error: &Error) -> Option<String> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let (mut of_http, mut last) = (false, None);
    while let Some(cause) = next {
        of_http |= cause.downcast_ref::<HttpError>().is_some();
        last = of_http.then_some(cause);
        next = cause.source();
    }
    last.map(|cause| cause.to_string().chars().take(REASON_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_body_only_the_code_is_repeated() {
        let body = "Server returned 403: <Error><Code>SignatureDoesNotMatch</Code><Sig>s3cret</Sig></Error>";
        let error = of_store(
            "s3",
            "copy",
            Error::Generic {
                store: "S3",
                source: body.into(),
            },
        );
        let text = error.to_string();
        assert!(text.ends_with("403: SignatureDoesNotMatch"), "{text}");
    }

    #[test]
    fn a_bad_request_is_no_sick_provider_and_a_throttled_one_is_not_bad() {
        for (status, refused) in [
            ("400 Bad Request", true),
            ("408 Request Timeout", false),
            ("429 Too Many Requests", false),
            ("503 Service Unavailable", false),
        ] {
            let reason = format!("Generic S3 error: Server returned non-2xx status code: {status}");
            assert_eq!(is_refused(&reason), refused, "{status}");
        }
    }

    #[test]
    fn an_error_of_the_local_store_is_given_as_it_is() {
        let source = Box::new(ProviderError::RootMissing {
            provider: "l".into(),
            root: "/r".into(),
        });
        let error = of_store(
            "l",
            "copy",
            Error::Generic {
                store: "local",
                source,
            },
        );
        assert!(matches!(error, ProviderError::RootMissing { .. }), "{error}");
    }
}
