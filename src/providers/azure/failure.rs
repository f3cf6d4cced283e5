//! From what Azure answered to what it means.
//!
//! Of an answer only the code and the request's id are shown, each cut down to the characters it may have: a body may
//! repeat what was sent, signature included.

use crate::providers::ProviderError;
use crate::providers::wire::{Answer, Context, tidy};
use crate::providers::xml::element;

/// Where it was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) account: &'a str,
    pub(super) container: &'a str,
}

/// What the service says is wrong: in a header, which a HEAD has too, or in the body.
pub(super) fn code(answer: &Answer) -> String {
    let header = answer.headers.get("x-ms-error-code");
    let said = header.and_then(|value| value.to_str().ok()).map(tidy);
    said.or_else(|| element(&answer.body, "Code").map(|text| tidy(&text)))
        .unwrap_or_default()
}

impl Place<'_> {
    /// An answer that is not the one that was asked for.
    ///
    /// Source of the codes: Azure Storage REST API, "Blob Storage error codes".
    pub(super) fn failed(self, context: Context<'_>, answer: &Answer) -> ProviderError {
        let code = code(answer);
        let id = answer.headers.get("x-ms-request-id");
        let id = id.and_then(|value| value.to_str().ok()).map(tidy);
        self.meant(context, answer.status.as_u16(), &code, id.as_deref())
    }

    /// The same of an answer inside another, of which only status and code are known.
    pub(super) fn meant(
        self,
        context: Context<'_>,
        status: u16,
        code: &str,
        request_id: Option<&str>,
    ) -> ProviderError {
        let mut reason = format!("HTTP {status}");
        if !code.is_empty() {
            reason = format!("{reason} {code}");
        }
        if let Some(id) = request_id {
            reason = format!("{reason} (request id {id})");
        }
        match (status, code) {
            (_, "ContainerNotFound" | "ContainerBeingDeleted") => {
                context.root_missing(format!("azure://{}/{}", self.account, self.container))
            }
            (_, "SnapshotsPresent") => context.invalid(format!(
                "{reason}: it has snapshots, which would go with it; delete them first"
            )),
            (_, "BlobArchived") => {
                context.invalid(format!("{reason}: it is in the archive tier; rehydrate it first"))
            }
            (401 | 403, _) => context.denied(reason),
            // What the service does not know it will not know the next time either.
            (501, _) => context.invalid(reason),
            (408 | 429 | 500..=599, _) | (_, "PendingCopyOperation") => context.unavailable(reason),
            _ => context.invalid(reason),
        }
    }
}
