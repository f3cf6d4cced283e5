//! Lifecycle policies, each checked by itself.

use secrecy::SecretString;

use super::build::{Context, extensions};
use super::locate::absolute;
use super::model::{Lifecycle, LifecycleAction, LifecycleMatch, LifecycleNotify, LifecyclePolicy};
use super::path::KeyPath;
use super::raw::{self, OneOrMany};
use super::report::{Report, did_you_mean};

const ACTIONS: [(&str, LifecycleAction); 4] = [
    ("delete", LifecycleAction::Delete),
    ("archive", LifecycleAction::Archive),
    ("warn", LifecycleAction::Warn),
    ("retain", LifecycleAction::Retain),
];

pub fn build(raw: raw::Lifecycle, context: &mut Context<'_, '_>) -> Lifecycle {
    let default = Lifecycle::default();
    let at = KeyPath::of(&["lifecycle", "policies"]);
    let mut policies: Vec<LifecyclePolicy> = Vec::new();
    for (index, raw) in raw.policies.unwrap_or_default().into_iter().enumerate() {
        let at = at.item(index);
        let built = policy(raw, &at, context.report);
        if policies.iter().any(|other| other.name == built.name) {
            context
                .report
                .error(&at.key("name"), "is the name of an earlier policy too");
        }
        policies.push(built);
    }
    Lifecycle {
        enabled: raw.enabled.unwrap_or(default.enabled),
        check_interval: raw.check_interval.map_or(default.check_interval, |span| span.0),
        policies,
        notify: notify(raw.notify.unwrap_or_default(), context),
    }
}

fn notify(raw: raw::Notify, context: &mut Context<'_, '_>) -> LifecycleNotify {
    let webhook = raw.webhook.filter(|url| !url.is_empty());
    let is_http =
        |url: &String| url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if webhook.as_ref().is_some_and(|url| !is_http(url)) {
        let at = KeyPath::of(&["lifecycle", "notify", "webhook"]);
        context
            .report
            .error(&at, "is not a URL that begins with https:// or http://");
    }
    LifecycleNotify {
        log: raw.log.unwrap_or(false),
        file: raw
            .file
            .filter(|file| !file.is_empty())
            .map(|file| absolute(file.as_ref(), context.system_data)),
        webhook: webhook.map(SecretString::from),
    }
}

fn policy(raw: raw::Policy, at: &KeyPath, report: &mut Report<'_>) -> LifecyclePolicy {
    let name = raw.name.unwrap_or_default();
    if name.is_empty() {
        report.error(&at.key("name"), "is missing; reports and --policy need it");
    }
    let folders = match raw.folder {
        Some(OneOrMany::One(folder)) => vec![folder],
        Some(OneOrMany::Many(folders)) => folders,
        None => Vec::new(),
    };
    if folders.is_empty() {
        report.error(
            &at.key("folder"),
            "is missing; name one or several folders, or \"*\" for all",
        );
    }
    let archive = raw.archive.unwrap_or_default();
    let built = LifecyclePolicy {
        name,
        enabled: raw.enabled.unwrap_or(true),
        folders,
        matching: raw.matching.map(|m| matching(m, &at.key("match"), report)),
        except: raw.except.map(|m| matching(m, &at.key("except"), report)),
        max_age: raw.max_age.map(|span| span.0),
        min_age: raw.min_age.map(|span| span.0),
        action: action(raw.action.as_deref(), &at.key("action"), report),
        archive_provider: archive.provider.filter(|provider| !provider.is_empty()),
        archive_folder: archive.folder.filter(|folder| !folder.is_empty()),
        warn_before: raw.warn_before.map(|span| span.0),
    };
    check(&built, at, report);
    built
}

fn action(name: Option<&str>, at: &KeyPath, report: &mut Report<'_>) -> LifecycleAction {
    let known = ACTIONS.iter().find(|(known, _)| Some(*known) == name);
    if known.is_none() {
        let said = name.map_or("is missing".to_owned(), |name| {
            format!(
                "is `{name}`{}",
                did_you_mean(name, ACTIONS.map(|(known, _)| known))
            )
        });
        report.error(at, format!("{said}; it can be delete, archive, warn or retain"));
    }
    // The one that touches nothing stands in for what is not known.
    known.map_or(LifecycleAction::Retain, |(_, action)| *action)
}

fn check(policy: &LifecyclePolicy, at: &KeyPath, report: &mut Report<'_>) {
    let retains = policy.action == LifecycleAction::Retain;
    let archives = policy.action == LifecycleAction::Archive;
    let to = policy.archive_provider.is_some() || policy.archive_folder.is_some();
    if !retains && policy.max_age.is_none() {
        report.error(
            &at.key("max_age"),
            "is missing; without it every file would be due at once",
        );
    }
    if archives && !to {
        report.error(
            &at.key("archive"),
            "names neither a provider nor a folder to archive to",
        );
    }
    if !archives && to {
        report.warn(&at.key("archive"), "means nothing unless the action is archive");
    }
    if retains && policy.max_age.is_some() {
        report.warn(
            &at.key("max_age"),
            "means nothing on a policy that retains; `min_age` says for how long",
        );
    }
    if !retains && policy.min_age.is_some() {
        report.warn(
            &at.key("min_age"),
            "means something on a policy that retains only",
        );
    }
}

fn matching(raw: raw::Match, at: &KeyPath, report: &mut Report<'_>) -> LifecycleMatch {
    LifecycleMatch {
        types: extensions(raw.types.unwrap_or_default(), &at.key("types"), report),
        name: raw.name,
        min_size: raw.min_size.map_or(0, |size| size.0),
    }
}
