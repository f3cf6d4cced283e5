//! Providers: which bucket where, from the file and from variables.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::build::Context;
use super::credentials;
use super::defaults;
use super::env::{self, scoped};
use super::locate::absolute;
use super::model::{AzureConfig, GcsConfig, LocalConfig, ProviderConfig, ProviderKind, S3Config};
use super::path::KeyPath;
use super::raw;
use super::report::{Report, did_you_mean};

const TYPES: [&str; 4] = ["local", "s3", "azure", "gcs"];
/// Source: Cloud Storage documentation, "Storage classes"; the last three are older and still taken.
const GCS_CLASSES: [&str; 7] = [
    "STANDARD",
    "NEARLINE",
    "COLDLINE",
    "ARCHIVE",
    "MULTI_REGIONAL",
    "REGIONAL",
    "DURABLE_REDUCED_AVAILABILITY",
];
/// Azure's tiers that can be read at once.
const TIERS: [&str; 3] = ["Hot", "Cool", "Cold"];

/// One provider of the file, on its way to the model.
#[derive(Debug)]
pub struct Draft<'d> {
    pub name: &'d str,
    pub at: KeyPath,
    pub enabled: bool,
    /// No other provider of the file has this type.
    pub alone: bool,
}

/// Where a value may come from beside the file.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// Last part of `CIVIC_STORAGE_<PROVIDER>_…`.
    pub scoped: &'static str,
    /// Variables that name no provider.
    pub general: &'static [&'static str],
}

/// All providers, in the order of the file.
pub fn build(
    raw: Option<BTreeMap<String, raw::Provider>>,
    order: &[String],
    context: &mut Context<'_, '_>,
) -> Vec<ProviderConfig> {
    let at = KeyPath::of(&["providers"]);
    let mut raw =
        raw.unwrap_or_else(|| BTreeMap::from([(defaults::PROVIDER.to_owned(), default_provider())]));
    if raw.is_empty() {
        context.report.error(&at, "names no provider");
    }
    let mut count: HashMap<String, usize> = HashMap::new();
    for provider in raw.values() {
        *count
            .entry(provider.kind.clone().unwrap_or_default())
            .or_default() += 1;
    }
    shared_variables(&raw, &at, context.report);
    let mut names: Vec<String> = raw.keys().cloned().collect();
    names.sort_by_key(|name| order.iter().position(|n| n == name));
    let mut providers = Vec::new();
    for name in names {
        let Some(provider) = raw.remove(&name) else {
            continue;
        };
        let draft = Draft {
            name: &name,
            at: at.key(&name),
            enabled: provider.enabled.unwrap_or(true),
            alone: provider
                .kind
                .as_ref()
                .is_some_and(|kind| count.get(kind) == Some(&1)),
        };
        providers.extend(one(&draft, provider, context));
    }
    providers
}

fn default_provider() -> raw::Provider {
    raw::Provider {
        kind: Some("local".to_owned()),
        ..raw::Provider::default()
    }
}

/// Two names that make the same variable would get each other's credentials.
fn shared_variables(raw: &BTreeMap<String, raw::Provider>, at: &KeyPath, report: &mut Report<'_>) {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for name in raw.keys() {
        if name.is_empty() || name.chars().any(char::is_control) {
            report.error(&at.key(name), "is no name for a provider");
        }
        if let Some(other) = seen.insert(scoped(name, ""), name) {
            let message = format!("shares its variables {}* with `{other}`", scoped(name, ""));
            report.warn(&at.key(name), message);
        }
    }
}

fn one(draft: &Draft<'_>, mut raw: raw::Provider, context: &mut Context<'_, '_>) -> Option<ProviderConfig> {
    let Some(kind) = raw.kind.take() else {
        context.report.error(
            &draft.at.key("type"),
            "is missing; it can be local, s3, azure or gcs",
        );
        return None;
    };
    foreign_keys(&kind, &raw, draft, context.report);
    let aliases = aliases(
        &raw.aliases.take().unwrap_or_default(),
        &draft.at.key("aliases"),
        context.report,
    );
    let prefix = raw.prefix.take().unwrap_or_default();
    let prefix = match kind.as_str() {
        "local" => String::new(),
        _ => normal_prefix(&prefix).unwrap_or_else(|reason| {
            context.report.error(&draft.at.key("prefix"), reason);
            String::new()
        }),
    };
    let kind = match kind.as_str() {
        "local" => ProviderKind::Local(local(raw.path, draft, context)),
        "s3" => ProviderKind::S3(s3(raw, draft, context)),
        "azure" => ProviderKind::Azure(azure(raw, draft, context)),
        "gcs" => ProviderKind::Gcs(gcs(raw, draft, context)),
        other => {
            let near = did_you_mean(other, TYPES);
            let message = format!("is `{other}`; it can be local, s3, azure or gcs{near}");
            context.report.error(&draft.at.key("type"), message);
            return None;
        }
    };
    Some(ProviderConfig {
        name: draft.name.to_owned(),
        enabled: draft.enabled,
        kind,
        prefix,
        aliases,
    })
}

/// Keys that mean something on other types only. Empty ones are CivicPress's placeholders.
fn foreign_keys(kind: &str, raw: &raw::Provider, draft: &Draft<'_>, report: &mut Report<'_>) {
    let keys: [(&str, &Option<String>, &[&str]); 8] = [
        ("path", &raw.path, &["local"]),
        ("prefix", &raw.prefix, &["s3", "azure", "gcs"]),
        ("endpoint", &raw.endpoint, &["s3", "azure", "gcs"]),
        ("bucket", &raw.bucket, &["s3", "gcs"]),
        ("region", &raw.region, &["s3"]),
        ("account_name", &raw.account_name, &["azure"]),
        ("container_name", &raw.container_name, &["azure"]),
        ("project_id", &raw.project_id, &["gcs"]),
    ];
    for (key, value, types) in keys {
        let set = value.as_deref().is_some_and(|value| !value.is_empty());
        if set && TYPES.contains(&kind) && !types.contains(&kind) {
            report.warn(
                &draft.at.key(key),
                format!("means nothing on a provider of type {kind}"),
            );
        }
    }
}

fn aliases(aliases: &[String], at: &KeyPath, report: &mut Report<'_>) -> Vec<String> {
    let mut out = Vec::new();
    for (index, alias) in aliases.iter().enumerate() {
        let root = alias.trim_end_matches('/');
        if root.is_empty() || root.ends_with(':') {
            report.error(&at.item(index), "names no root; it would cover every record");
        }
        out.push(root.to_owned());
    }
    out
}

/// Empty, or without a leading `/` and with a final one.
///
/// # Errors
/// What no prefix may hold, as the end of a sentence.
pub fn normal_prefix(prefix: &str) -> Result<String, &'static str> {
    let inner = prefix.strip_prefix('/').unwrap_or(prefix);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return Ok(String::new());
    }
    if inner.chars().any(char::is_control) {
        return Err("holds a control character");
    }
    if inner.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("holds `//`, `.` or `..`, which no key of ours can begin with");
    }
    Ok(format!("{inner}/"))
}

fn local(path: Option<String>, draft: &Draft<'_>, context: &mut Context<'_, '_>) -> LocalConfig {
    let path = path.unwrap_or_else(|| defaults::LOCAL_PATH.to_owned());
    let at = draft.at.key("path");
    if draft.enabled && path.is_empty() {
        context
            .report
            .error(&at, "is empty; name the directory that holds the files");
    }
    if path.starts_with("~/") || path.contains('\0') {
        context
            .report
            .error(&at, "must be a plain path; `~` means nothing here");
    }
    LocalConfig {
        path: absolute(Path::new(&path), context.system_data),
    }
}

/// A provider's own word for where it is, by the variables that may say so too.
struct Word<'w> {
    key: &'static str,
    file: Option<String>,
    names: Names,
    draft: &'w Draft<'w>,
}

impl Word<'_> {
    fn read(self, context: &mut Context<'_, '_>) -> String {
        let file = self.file.unwrap_or_default();
        let own = scoped(self.draft.name, self.names.scoped);
        let general = || {
            context
                .env
                .first(self.names.general)
                .filter(|_| self.draft.alone || file.is_empty())
        };
        let found = match context.env.get(&own) {
            Some(value) => Some((own, value)),
            None => general().map(|(name, value)| (name.to_owned(), value)),
        };
        match found {
            Some((name, value)) => {
                context.from_env.insert(self.draft.at.key(self.key), name);
                value.to_owned()
            }
            None => file,
        }
    }
}

fn word(
    key: &'static str,
    file: Option<String>,
    names: Names,
    draft: &Draft<'_>,
    context: &mut Context<'_, '_>,
) -> String {
    let word = Word {
        key,
        file,
        names,
        draft,
    };
    let value = word.read(context);
    let broken =
        value.contains("${") || value.contains(char::is_whitespace) || value.chars().any(char::is_control);
    if broken {
        context.report.error(
            &draft.at.key(key),
            "holds a space, a control character or `${`; variables are put in for credentials only",
        );
    }
    value
}

/// A word that an enabled provider cannot do without.
fn required(value: &str, key: &str, draft: &Draft<'_>, variable: &str, report: &mut Report<'_>) {
    if draft.enabled && value.is_empty() {
        let own = scoped(draft.name, variable);
        report.error(
            &draft.at.key(key),
            format!("is empty; set it here or in {own}, or set `enabled: false`"),
        );
    }
}

fn endpoint(
    file: Option<String>,
    general: &'static [&'static str],
    draft: &Draft<'_>,
    context: &mut Context<'_, '_>,
) -> Option<String> {
    let names = Names {
        scoped: "ENDPOINT",
        general,
    };
    let value = word("endpoint", file, names, draft, context);
    if value.is_empty() {
        return None;
    }
    let at = draft.at.key("endpoint");
    match url::Url::parse(&value) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            context.report.error(&at, "must begin with https:// or http://");
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            context
                .report
                .error(&at, "holds a user or password; those belong under credentials");
        }
        Ok(_) => {}
        Err(error) => context.report.error(
            &at,
            format!("is not a URL ({error}); write it like https://host:port"),
        ),
    }
    Some(value.trim_end_matches('/').to_owned())
}

/// A bucket's or container's name: one segment of a `provider_path`.
fn bucket(
    key: &'static str,
    file: Option<String>,
    names: Names,
    draft: &Draft<'_>,
    context: &mut Context<'_, '_>,
) -> String {
    let value = word(key, file, names, draft, context);
    required(&value, key, draft, names.scoped, context.report);
    if value.contains('/') {
        context.report.error(
            &draft.at.key(key),
            "holds a `/`; what follows it belongs in `prefix`",
        );
    }
    value
}

fn s3(raw: raw::Provider, draft: &Draft<'_>, context: &mut Context<'_, '_>) -> S3Config {
    let bucket_names = Names {
        scoped: "BUCKET",
        general: env::S3_BUCKET,
    };
    let region_names = Names {
        scoped: "REGION",
        general: env::S3_REGION,
    };
    let options = raw.options.unwrap_or_default();
    let region = word("region", raw.region, region_names, draft, context);
    S3Config {
        bucket: bucket("bucket", raw.bucket, bucket_names, draft, context),
        region: if region.is_empty() {
            defaults::S3_REGION.to_owned()
        } else {
            region
        },
        endpoint: endpoint(raw.endpoint, env::S3_ENDPOINT, draft, context),
        credentials: credentials::s3(raw.credentials.unwrap_or_default(), draft, context),
        force_path_style: options.force_path_style.unwrap_or(false),
        use_accelerate_endpoint: options.use_accelerate_endpoint.unwrap_or(false),
    }
}

fn azure(raw: raw::Provider, draft: &Draft<'_>, context: &mut Context<'_, '_>) -> AzureConfig {
    let account = Names {
        scoped: "ACCOUNT_NAME",
        general: &[env::AZURE_ACCOUNT_NAME],
    };
    let container = Names {
        scoped: "CONTAINER_NAME",
        general: env::AZURE_CONTAINER,
    };
    let account_name = word("account_name", raw.account_name, account, draft, context);
    let secrets = credentials::azure(raw.credentials.unwrap_or_default(), &account_name, draft, context);
    let account_name = match secrets.account_name {
        Some(name) if account_name.is_empty() => name,
        Some(name) if name != account_name && draft.enabled => {
            let message = format!("is {account_name}, and the connection string is for {name}");
            context.report.error(&draft.at.key("account_name"), message);
            account_name
        }
        _ => account_name,
    };
    required(
        &account_name,
        "account_name",
        draft,
        account.scoped,
        context.report,
    );
    AzureConfig {
        account_name,
        container_name: bucket("container_name", raw.container_name, container, draft, context),
        connection_string: secrets.connection_string,
        account_key: secrets.account_key,
        sas_token: secrets.sas_token,
        endpoint: endpoint(raw.endpoint, &[], draft, context),
        access_tier: access_tier(raw.options.unwrap_or_default().access_tier, draft, context),
    }
}

/// The tier as Azure spells it.
fn access_tier(tier: Option<String>, draft: &Draft<'_>, context: &mut Context<'_, '_>) -> Option<String> {
    let tier = tier.filter(|tier| !tier.is_empty())?;
    let known = TIERS.iter().find(|known| tier.eq_ignore_ascii_case(known));
    if known.is_none() && draft.enabled {
        let message = if tier.eq_ignore_ascii_case("Archive") {
            "is Archive, from which nothing can be read; it can be Hot, Cool or Cold".to_owned()
        } else {
            format!(
                "is `{tier}`; it can be Hot, Cool or Cold{}",
                did_you_mean(&tier, TIERS)
            )
        };
        context
            .report
            .error(&draft.at.key("options").key("access_tier"), message);
    }
    known.map(|known| (*known).to_owned())
}

fn gcs(raw: raw::Provider, draft: &Draft<'_>, context: &mut Context<'_, '_>) -> GcsConfig {
    let bucket_names = Names {
        scoped: "BUCKET",
        general: env::GCS_BUCKET,
    };
    let project_names = Names {
        scoped: "PROJECT_ID",
        general: env::GCS_PROJECT,
    };
    let options = raw.options.unwrap_or_default();
    let mut raw_credentials = raw.credentials.unwrap_or_default();
    let project = raw
        .project_id
        .filter(|id| !id.is_empty())
        .or(raw_credentials.project_id.take());
    let project = word("project_id", project, project_names, draft, context);
    GcsConfig {
        bucket: bucket("bucket", raw.bucket, bucket_names, draft, context),
        project_id: Some(project).filter(|id| !id.is_empty()),
        service_account_key: credentials::gcs(raw_credentials, draft, context),
        endpoint: endpoint(raw.endpoint, env::GCS_ENDPOINT, draft, context),
        location: options.location,
        storage_class: storage_class(options.storage_class, draft, context.report),
    }
}

/// In upper case, as Google spells it.
fn storage_class(class: Option<String>, draft: &Draft<'_>, report: &mut Report<'_>) -> Option<String> {
    let class = class.filter(|class| !class.is_empty())?.to_ascii_uppercase();
    if draft.enabled && !GCS_CLASSES.contains(&class.as_str()) {
        let at = draft.at.key("options").key("storage_class");
        let near = did_you_mean(&class, GCS_CLASSES);
        report.error(
            &at,
            format!("is `{class}`; it can be STANDARD, NEARLINE, COLDLINE or ARCHIVE{near}"),
        );
    }
    Some(class)
}
