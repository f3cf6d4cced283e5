//! What a transfer's failure means. object_store says it in its own words, and hides most of it in text.

use std::error::Error;

use super::{Provider, ProviderError};

impl Provider {
    /// The store's error as the rest of the program knows it. NotFound stays with the caller, since for some it is an
    /// answer; here it is [`ProviderError::Invalid`].
    #[must_use]
    pub fn failed(&self, operation: &'static str, error: object_store::Error) -> ProviderError {
        use object_store::Error as Store;
        let provider = self.name.clone();
        let reason = plain(&error);
        match error {
            Store::Generic { source, .. } => match source.downcast::<ProviderError>() {
                Ok(known) => *known,
                Err(_) if is_client_fault(&reason) => ProviderError::Invalid {
                    provider,
                    operation,
                    reason,
                },
                Err(_) => ProviderError::Unavailable {
                    provider,
                    operation,
                    reason,
                },
            },
            Store::PermissionDenied { source, .. } | Store::Unauthenticated { source, .. } => {
                match source.downcast::<ProviderError>() {
                    Ok(known) => *known,
                    Err(_) => ProviderError::Denied {
                        provider,
                        operation,
                        reason,
                    },
                }
            }
            Store::JoinError { .. } => ProviderError::Unavailable {
                provider,
                operation,
                reason,
            },
            _ => ProviderError::Invalid {
                provider,
                operation,
                reason,
            },
        }
    }
}

/// What HTTP clients of object_store write before a status.
const STATUS: &str = "status code: ";

/// The error in one line, without the server's own words: a server may repeat what was sent to it.
fn plain(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    if let Some(at) = text.find(STATUS) {
        let status: String = text[at + STATUS.len()..]
            .chars()
            .take_while(|c| *c != ':')
            .collect();
        return format!("HTTP {}", status.trim());
    }
    let own = text.split("error response: ").next().unwrap_or_default();
    own.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A status that the same request will get again.
fn is_client_fault(reason: &str) -> bool {
    reason
        .strip_prefix("HTTP 4")
        .is_some_and(|rest| !rest.starts_with("08") && !rest.starts_with("29"))
}

#[cfg(test)]
mod tests {
    use object_store::Error as Store;

    use super::{is_client_fault, plain};

    fn generic(text: &str) -> Store {
        Store::Generic {
            store: "S3",
            source: text.into(),
        }
    }

    #[test]
    fn a_servers_own_words_are_left_out() {
        let error = generic("Server returned non-2xx status code: 400 Bad Request: <Secret>x</Secret>");
        assert_eq!(plain(&error), "HTTP 400 Bad Request");
    }

    #[test]
    fn a_bad_request_is_no_sick_provider_and_a_throttled_one_is_not_bad() {
        for (reason, fault) in [
            ("HTTP 400 Bad Request", true),
            ("HTTP 408 Request Timeout", false),
            ("HTTP 429 Too Many Requests", false),
            ("HTTP 503 Service Unavailable", false),
            ("connection refused", false),
        ] {
            assert_eq!(is_client_fault(reason), fault, "{reason}");
        }
    }
}
