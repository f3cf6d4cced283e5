//! Credentials, first match wins: the provider's own variables, then those of its type, then `storage.yml`.
//!
//! What the platform itself gives (instance profile, managed identity, application default credentials) is known
//! at run time only, by asking it. So it is what remains (`None`) where neither variables nor file give
//! credentials; a file that holds some is taken at its word. Credentials of a disabled provider may be incomplete.
//! Nothing here is ever printed.

use std::path::Path;

use secrecy::SecretString;

use super::build::Context;
use super::connection::ConnectionString;
use super::env::{self, scoped};
use super::locate::absolute;
use super::model::S3Credentials;
use super::path::KeyPath;
use super::providers::Draft;
use super::raw::{self, Secret};

/// A file that holds one secret is no larger than this.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// What Azure takes: any one of them, the connection string first.
#[derive(Debug, Default)]
pub struct AzureSecrets {
    pub account_name: Option<String>,
    pub connection_string: Option<SecretString>,
    pub account_key: Option<SecretString>,
    pub sas_token: Option<SecretString>,
}

/// Access key, secret key, session token.
type Triple = (String, String, Option<String>);

pub fn s3(raw: raw::Credentials, draft: &Draft<'_>, context: &mut Context<'_, '_>) -> Option<S3Credentials> {
    let found = s3_scoped(draft, context)
        .or_else(|| s3_general(draft, context))
        .or_else(|| s3_file(raw, draft, context));
    let (access_key_id, secret, token) = found?;
    Some(S3Credentials {
        access_key_id,
        secret_access_key: SecretString::from(secret),
        session_token: token.map(SecretString::from),
    })
}

fn s3_scoped(draft: &Draft<'_>, context: &mut Context<'_, '_>) -> Option<Triple> {
    let names = ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"].map(|what| scoped(draft.name, what));
    let [id, secret, token] = [0, 1, 2].map(|at| context.env.get(&names[at]));
    match (id, secret) {
        (Some(id), Some(secret)) => {
            note(
                draft,
                &[("access_key_id", &names[0]), ("secret_access_key", &names[1])],
                context,
            );
            note_if(token.is_some(), draft, ("session_token", &names[2]), context);
            Some((id.to_owned(), secret.to_owned(), token.map(str::to_owned)))
        }
        (None, None) => None,
        (Some(_), None) => half(draft, &names[0], &names[1], context),
        (None, Some(_)) => half(draft, &names[1], &names[0], context),
    }
}

fn half(draft: &Draft<'_>, set: &str, unset: &str, context: &mut Context<'_, '_>) -> Option<Triple> {
    if draft.enabled {
        let message = format!("{set} is set without {unset}; set both or neither");
        context.report.error(&draft.at.key("credentials"), message);
    }
    None
}

/// A complete set of one spelling; failing that, CivicPress's mixture of both.
fn s3_general(draft: &Draft<'_>, context: &mut Context<'_, '_>) -> Option<Triple> {
    let env = context.env;
    let columns = [0, 1, 2].map(|at| env::S3_KEYS.map(|set| set[at]));
    let whole = env::S3_KEYS
        .into_iter()
        .find(|set| env.get(set[0]).is_some() && env.get(set[1]).is_some());
    let [id, secret, token] = match whole {
        Some(set) => set.map(|name| env.first(&[name])),
        None => columns.map(|names| env.first(&names)),
    };
    match (id, secret) {
        (Some(id), Some(secret)) => {
            note(
                draft,
                &[("access_key_id", id.0), ("secret_access_key", secret.0)],
                context,
            );
            note_if(
                token.is_some(),
                draft,
                ("session_token", token.map_or("", |t| t.0)),
                context,
            );
            Some((
                id.1.to_owned(),
                secret.1.to_owned(),
                token.map(|t| t.1.to_owned()),
            ))
        }
        (Some((name, _)), None) | (None, Some((name, _))) if draft.enabled => {
            let message = format!("{name} is set without its other half, so it is not used");
            context.report.warn(&draft.at.key("credentials"), message);
            None
        }
        _ => None,
    }
}

fn s3_file(raw: raw::Credentials, draft: &Draft<'_>, context: &mut Context<'_, '_>) -> Option<Triple> {
    let id = secret(
        ("access_key_id", raw.access_key_id, raw.access_key_id_file),
        draft,
        context,
    );
    let key = secret(
        (
            "secret_access_key",
            raw.secret_access_key,
            raw.secret_access_key_file,
        ),
        draft,
        context,
    );
    let token = secret(
        ("session_token", raw.session_token, raw.session_token_file),
        draft,
        context,
    );
    if draft.enabled && id.is_some() != key.is_some() {
        let [there, missing] = match id {
            Some(_) => ["access_key_id", "secret_access_key"],
            None => ["secret_access_key", "access_key_id"],
        };
        let at = draft.at.key("credentials").key(there);
        context.report.error(&at, format!("is there without `{missing}`"));
    }
    Some((id?, key?, token))
}

/// `account` is what file and variables say of the account.
pub fn azure(
    raw: raw::Credentials,
    account: &str,
    draft: &Draft<'_>,
    context: &mut Context<'_, '_>,
) -> AzureSecrets {
    let own = |what: &str| scoped(draft.name, what);
    let whose = context
        .env
        .get(env::AZURE_ACCOUNT_NAME)
        .is_none_or(|name| name == account);
    let general_key = Some(env::AZURE_ACCOUNT_KEY.to_owned()).filter(|_| draft.alone || whose);
    let elsewhere = context
        .env
        .get(env::AZURE_CONNECTION_STRING)
        .and_then(|text| ConnectionString::parse(text).ok())
        .is_some_and(|string| !account.is_empty() && string.account_name != account);
    let general_string = Some(env::AZURE_CONNECTION_STRING.to_owned()).filter(|_| draft.alone || !elsewhere);
    let candidates = [
        ("connection_string", Some(own("CONNECTION_STRING"))),
        ("account_key", Some(own("ACCOUNT_KEY"))),
        ("sas_token", Some(own("SAS_TOKEN"))),
        ("connection_string", general_string),
        ("account_key", general_key),
    ];
    let mut secrets = AzureSecrets::default();
    let set = candidates
        .into_iter()
        .find_map(|(key, name)| name.and_then(|name| Some((key, context.env.get(&name)?.to_owned(), name))));
    if let Some((key, value, name)) = set {
        note(draft, &[(key, &name)], context);
        secrets.put(key, value, draft, context);
        return secrets;
    }
    for (key, value, file) in [
        (
            "connection_string",
            raw.connection_string,
            raw.connection_string_file,
        ),
        ("account_key", raw.account_key, raw.account_key_file),
        ("sas_token", raw.sas_token, raw.sas_token_file),
    ] {
        if let Some(value) = secret((key, value, file), draft, context) {
            secrets.put(key, value, draft, context);
        }
    }
    secrets
}

impl AzureSecrets {
    fn put(&mut self, key: &str, value: String, draft: &Draft<'_>, context: &mut Context<'_, '_>) {
        match key {
            "connection_string" => {
                match ConnectionString::parse(&value) {
                    Ok(string) => self.account_name = Some(string.account_name),
                    Err(reason) => {
                        let at = draft.at.key("credentials").key(key);
                        problem(&at, reason.to_owned(), draft, context);
                    }
                }
                self.connection_string = Some(SecretString::from(value));
            }
            "account_key" => self.account_key = Some(SecretString::from(value)),
            _ => self.sas_token = Some(SecretString::from(value)),
        }
    }
}

pub fn gcs(raw: raw::Credentials, draft: &Draft<'_>, context: &mut Context<'_, '_>) -> Option<SecretString> {
    let own = scoped(draft.name, "SERVICE_ACCOUNT_KEY");
    for name in [own.as_str(), env::GCS_KEY_FILE] {
        if let Some(value) = context.env.get(name) {
            note(draft, &[("service_account_key", name)], context);
            return Some(SecretString::from(value));
        }
    }
    let key = secret(
        (
            "service_account_key",
            raw.service_account_key,
            raw.service_account_key_file,
        ),
        draft,
        context,
    )?;
    if key.trim_start().starts_with('{') {
        return Some(SecretString::from(key));
    }
    let path = absolute(Path::new(&key), context.system_data);
    Some(SecretString::from(path.display().to_string()))
}

fn note(draft: &Draft<'_>, names: &[(&str, &str)], context: &mut Context<'_, '_>) {
    for (key, name) in names {
        let at = draft.at.key("credentials").key(key);
        context.from_env.insert(at, (*name).to_owned());
    }
}

fn note_if(set: bool, draft: &Draft<'_>, name: (&str, &str), context: &mut Context<'_, '_>) {
    if set {
        note(draft, &[name], context);
    }
}

/// A credential of the file: its text with variables put in, or the content of the file it names.
fn secret(
    (key, text, file): (&str, Option<Secret>, Option<String>),
    draft: &Draft<'_>,
    context: &mut Context<'_, '_>,
) -> Option<String> {
    let at = draft.at.key("credentials").key(key);
    let text = text.map(|Secret(text)| text).filter(|text| !text.is_empty());
    let file = file.filter(|file| !file.is_empty());
    let read = match (text, file) {
        (Some(_), Some(_)) => Err(format!("is there beside `{key}_file`; keep one of them")),
        (Some(text), None) => expand(&text, context.env),
        (None, Some(file)) => {
            let path = absolute(Path::new(&file), context.system_data);
            read_secret(&path).map_err(|reason| format!("names {}, which {reason}", path.display()))
        }
        (None, None) => return None,
    };
    match read {
        Ok(value) => Some(value).filter(|value| !value.is_empty()),
        Err(reason) => {
            problem(&at, reason, draft, context);
            None
        }
    }
}

fn problem(at: &KeyPath, reason: String, draft: &Draft<'_>, context: &mut Context<'_, '_>) {
    if draft.enabled {
        context.report.error(at, reason);
    }
}

/// Puts variables in for `${NAME}`; everything else stays as it is.
fn expand(text: &str, env: env::Env<'_>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let name = after.split_once('}').filter(|(name, _)| is_variable(name));
        if let Some((name, after)) = name {
            let value = env.get(name);
            out.push_str(value.ok_or_else(|| format!("names the variable {name}, which is not set"))?);
            rest = after;
        } else {
            out.push_str("${");
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn read_secret(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !size.is_file() || size.len() > MAX_SECRET_BYTES {
        return Err("is no file of at most 64 KB".to_owned());
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(text.to_owned())
}
