//! On whose behalf: a service account's key, a user's own credentials, or what the machine has.
//!
//! A key is read and looked at before object_store gets it, since its errors would not name the file and might repeat
//! what is in it. Source: Google Cloud documentation, "How Application Default Credentials works".

use std::path::{Path, PathBuf};

use object_store::client::HttpClient;
use object_store::gcp::GoogleCloudStorageBuilder;
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::config::GcsConfig;
use crate::resilience::Shared;

/// No key is longer.
const MAX_KEY_BYTES: u64 = 64 << 10;
const SERVICE_ACCOUNT: &str = "service_account";
const AUTHORIZED_USER: &str = "authorized_user";

/// Gives the builder its credentials, and says whether there was no key, so that it asks the machine for a token.
///
/// # Errors
/// What is wrong with them, as the end of a sentence; never a part of them.
pub(super) fn open(
    builder: GoogleCloudStorageBuilder,
    config: &GcsConfig,
    http: &HttpClient,
) -> Result<(GoogleCloudStorageBuilder, bool), String> {
    let configured = config.service_account_key.as_ref();
    let well_known = || well_known_file().filter(|file| file.exists());
    let (text, file) = match configured.map(ExposeSecret::expose_secret) {
        Some(key) if key.trim_start().starts_with('{') => (key.to_owned(), None),
        Some(path) => read(Path::new(path))?,
        None => match well_known() {
            Some(path) => read(&path)?,
            // The metadata server is asked over plain HTTP, so this client is one of its own.
            None => return Ok((builder, true)),
        },
    };
    let named = file.as_deref().map_or_else(
        || "the service account's key".to_owned(),
        |file| format!("the key file {}", file.display()),
    );
    let builder = builder.with_http_connector(Shared(http.clone()));
    let builder = match kind(&text).map_err(|reason| format!("{named} {reason}"))? {
        Kind::ServiceAccount => builder.with_service_account_key(text),
        Kind::User => {
            let path = file.as_deref().and_then(Path::to_str).ok_or_else(|| {
                format!("{named} holds a user's credentials, which are taken from a file only: name the file")
            })?;
            builder.with_application_credentials(path)
        }
    };
    Ok((builder, false))
}

/// Where `gcloud auth application-default login` puts them.
fn well_known_file() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = of("CLOUDSDK_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(of("HOME")?).join(".config/gcloud")))?;
    Some(folder.join("application_default_credentials.json"))
}

fn read(path: &Path) -> Result<(String, Option<PathBuf>), String> {
    let named = |reason: String| format!("the key file {} {reason}", path.display());
    let unread = |e: std::io::Error| named(format!("cannot be read: {e}"));
    let size = std::fs::metadata(path).map_err(unread)?;
    if !size.is_file() || size.len() > MAX_KEY_BYTES {
        return Err(named("is no file of at most 64 KB".into()));
    }
    let text = std::fs::read_to_string(path).map_err(unread)?;
    Ok((text, Some(path.to_owned())))
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    ServiceAccount,
    User,
}

/// What the key is for, and whether it is whole.
fn kind(text: &str) -> Result<Kind, String> {
    let key: Value = serde_json::from_str(text).map_err(|_| "is not JSON")?;
    let said = |field: &str| {
        key.get(field)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let (kind, needed): (_, &[&str]) = match said("type").unwrap_or(SERVICE_ACCOUNT) {
        SERVICE_ACCOUNT => (
            Kind::ServiceAccount,
            &["private_key", "private_key_id", "client_email"],
        ),
        AUTHORIZED_USER => (Kind::User, &["client_id", "client_secret", "refresh_token"]),
        other => {
            let other: String = other
                .chars()
                .filter(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            return Err(format!(
                "is of type {other}; it can be {SERVICE_ACCOUNT} or {AUTHORIZED_USER}"
            ));
        }
    };
    match needed.iter().find(|field| said(field).is_none()) {
        Some(field) => Err(format!("has no `{field}`")),
        None if kind == Kind::ServiceAccount && !is_pem(said("private_key").unwrap_or_default()) => {
            Err("has a `private_key` that is no PEM of a private key".into())
        }
        None => Ok(kind),
    }
}

fn is_pem(key: &str) -> bool {
    let key = key.trim();
    key.starts_with("-----BEGIN") && key.ends_with("PRIVATE KEY-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN PRIVATE KEY-----\\nhunter2\\n-----END PRIVATE KEY-----\\n";

    fn key(kind: &str, rest: &str) -> String {
        format!(r#"{{"type":"{kind}",{rest}}}"#)
    }

    #[test]
    fn a_key_is_known_by_what_it_says() {
        let account =
            format!(r#""private_key":"{PEM}","private_key_id":"1","client_email":"a@b","client_id":"2""#);
        assert_eq!(kind(&key("service_account", &account)), Ok(Kind::ServiceAccount));
        let user = r#""client_id":"1","client_secret":"hunter2","refresh_token":"hunter2""#;
        assert_eq!(kind(&key("authorized_user", user)), Ok(Kind::User));
    }

    #[test]
    fn what_is_wrong_with_a_key_is_said_without_repeating_it() {
        let account = format!(r#""private_key":"{PEM}","private_key_id":"1","client_email":"a@b""#);
        for (bad, expected) in [
            ("hunter2".to_owned(), "is not JSON"),
            ("\"hunter2\"".to_owned(), "has no `private_key`"),
            (
                key("external_account", r#""audience":"hunter2""#),
                "is of type external_account",
            ),
            (
                key("service_account", r#""private_key":"hunter2""#),
                "has no `private_key_id`",
            ),
            (
                key("service_account", &account.replace("BEGIN", "hunter2")),
                "is no PEM",
            ),
            (
                key("authorized_user", r#""client_id":"1","client_secret":"hunter2""#),
                "has no `refresh_token`",
            ),
        ] {
            let error = kind(&bad).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
