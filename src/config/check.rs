//! What one value of a configuration says about another: names that must exist, roots that must not overlap,
//! archives that must not be easier to read than what they hold.

use super::model::{Access, Config, LifecycleAction, LifecyclePolicy, ProviderConfig, ProviderKind};
use super::path::KeyPath;
use super::report::{Report, did_you_mean};

/// Checks all of it. `declared` names every provider of the file, those too that could not be built.
pub fn check(config: &Config, declared: &[String], report: &mut Report<'_>) {
    let names = Names { config, declared };
    active(&names, report);
    let lists = [
        (KeyPath::of(&["failover_providers"]), &config.failover.providers),
        (
            KeyPath::of(&["global", "backup_providers"]),
            &config.global.backup_providers,
        ),
    ];
    for (at, listed) in lists {
        for (index, name) in listed.iter().enumerate() {
            names.provider(name, &at.item(index), report);
        }
    }
    overlaps(config, report);
    for (index, policy) in config.lifecycle.policies.iter().enumerate() {
        let at = KeyPath::of(&["lifecycle", "policies"]).item(index);
        check_policy(&names, policy, &at, report);
    }
}

fn active(names: &Names<'_>, report: &mut Report<'_>) {
    let at = KeyPath::of(&["active_provider"]);
    let active = &names.config.active_provider;
    let disabled = names
        .config
        .provider(active)
        .is_some_and(|provider| !provider.enabled);
    if names.provider(active, &at, report) && disabled {
        report.error(&at, format!("is `{active}`, which is not enabled"));
    }
}

/// Whom a name may name.
struct Names<'n> {
    config: &'n Config,
    declared: &'n [String],
}

impl Names<'_> {
    fn provider(&self, name: &str, at: &KeyPath, report: &mut Report<'_>) -> bool {
        let configured = self.config.providers.iter().map(|p| p.name.as_str());
        let names: Vec<&str> = configured
            .chain(self.declared.iter().map(String::as_str))
            .collect();
        let known = names.contains(&name);
        if !known {
            report.error(
                at,
                format!("is `{name}`, which is no provider{}", did_you_mean(name, names)),
            );
        }
        known
    }

    fn folder(&self, name: &str, at: &KeyPath, report: &mut Report<'_>) -> bool {
        let folders = &self.config.folders;
        let known = folders.contains_key(name);
        if !known {
            let near = did_you_mean(name, folders.keys().map(String::as_str));
            report.error(at, format!("is `{name}`, which is not under `folders`{near}"));
        }
        known
    }
}

/// What the `provider_path` of every object of a provider begins with, ending at a `/`.
///
/// # Source
/// How CivicPress 0.3.1 writes `provider_path`. An S3 endpoint is no part of it, so two endpoints with the same
/// bucket name cannot be told apart by a record.
#[must_use]
pub fn root_text(provider: &ProviderConfig) -> String {
    let prefix = &provider.prefix;
    match &provider.kind {
        ProviderKind::Local(local) => {
            format!("{}/", local.path.display().to_string().trim_end_matches('/'))
        }
        ProviderKind::S3(s3) => format!("s3://{}/{prefix}", s3.bucket),
        ProviderKind::Azure(azure) => {
            format!("azure://{}/{}/{prefix}", azure.account_name, azure.container_name)
        }
        ProviderKind::Gcs(gcs) => format!("gs://{}/{prefix}", gcs.bucket),
    }
}

fn overlaps(config: &Config, report: &mut Report<'_>) {
    let enabled: Vec<&ProviderConfig> = config.providers.iter().filter(|p| p.enabled).collect();
    for (index, later) in enabled.iter().enumerate() {
        for earlier in &enabled[..index] {
            if let Some((key, mine, theirs)) = overlap(later, earlier) {
                let message = format!(
                    "covers `{mine}`, which overlaps `{theirs}` of `{}`; a file there would belong to both",
                    earlier.name
                );
                report.error(&key, message);
            }
        }
    }
}

fn roots(provider: &ProviderConfig) -> Vec<(KeyPath, String)> {
    let at = KeyPath::of(&["providers", &provider.name]);
    let own = match &provider.kind {
        ProviderKind::Local(_) => at.key("path"),
        ProviderKind::Azure(_) => at.key("container_name"),
        ProviderKind::S3(_) | ProviderKind::Gcs(_) => at.key("bucket"),
    };
    let aliases = provider
        .aliases
        .iter()
        .enumerate()
        .filter(|(_, alias)| !alias.is_empty());
    let aliases = aliases.map(|(index, alias)| (at.key("aliases").item(index), format!("{alias}/")));
    std::iter::once((own, root_text(provider)))
        .chain(aliases)
        .collect()
}

fn overlap(later: &ProviderConfig, earlier: &ProviderConfig) -> Option<(KeyPath, String, String)> {
    let theirs = roots(earlier);
    roots(later).into_iter().find_map(|(key, mine)| {
        let (_, theirs) = theirs
            .iter()
            .find(|(_, theirs)| mine.starts_with(theirs.as_str()) || theirs.starts_with(mine.as_str()))?;
        Some((key, mine, theirs.clone()))
    })
}

fn check_policy(names: &Names<'_>, policy: &LifecyclePolicy, at: &KeyPath, report: &mut Report<'_>) {
    for name in policy.folders.iter().filter(|name| *name != "*") {
        names.folder(name, &at.key("folder"), report);
    }
    if policy.action != LifecycleAction::Archive {
        return;
    }
    if let Some(provider) = &policy.archive_provider {
        let at = at.key("archive").key("provider");
        let disabled = names
            .config
            .provider(provider)
            .is_some_and(|found| !found.enabled);
        if names.provider(provider, &at, report) && disabled && policy.enabled {
            report.error(&at, format!("is `{provider}`, which is not enabled"));
        }
    }
    let Some(folder) = &policy.archive_folder else {
        return;
    };
    let at = at.key("archive").key("folder");
    if names.folder(folder, &at, report) {
        let access = names
            .config
            .folders
            .get(folder)
            .map_or(Access::Private, |folder| folder.access);
        weaker(names.config, policy, (folder, access), &at, report);
    }
}

fn weaker(
    config: &Config,
    policy: &LifecyclePolicy,
    (target, access): (&str, Access),
    at: &KeyPath,
    report: &mut Report<'_>,
) {
    let covers = |name: &str| {
        policy
            .folders
            .iter()
            .any(|folder| folder == "*" || folder == name)
    };
    let stronger = config
        .folders
        .values()
        .find(|folder| covers(&folder.name) && folder.access > access);
    if let Some(folder) = stronger {
        let message = format!(
            "is `{target}`, whose access is {}, while that of `{}` is {}; its files would be easier to read",
            access_name(access),
            folder.name,
            access_name(folder.access)
        );
        report.error(at, message);
    }
}

/// As storage.yml spells it.
#[must_use]
pub const fn access_name(access: Access) -> &'static str {
    match access {
        Access::Public => "public",
        Access::Authenticated => "authenticated",
        Access::Private => "private",
    }
}
