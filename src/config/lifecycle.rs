//! Lifecycle policies, each checked by itself.

use std::time::Duration;

use secrecy::SecretString;

use super::build::{Context, extensions};
use super::locate::absolute;
use super::model::{Lifecycle, LifecycleAction, LifecycleMatch, LifecycleNotify, LifecyclePolicy};
use super::path::KeyPath;
use super::raw::{self, OneOrMany};
use super::report::{Report, did_you_mean};
use crate::age::Age;

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
    let notify = notify(raw.notify.unwrap_or_default(), context);
    if let Some(policy) = policies
        .iter()
        .find(|policy| policy.enabled && wants_warnings(policy))
        && !(notify.log || notify.file.is_some() || notify.webhook.is_some())
    {
        let message = format!(
            "leaves no way to warn, and `{}` is to: set log, file or webhook",
            policy.name
        );
        context
            .report
            .error(&KeyPath::of(&["lifecycle", "notify"]), message);
    }
    Lifecycle {
        enabled: raw.enabled.unwrap_or(default.enabled),
        check_interval: raw.check_interval.map_or(default.check_interval, |span| span.0),
        policies,
        notify,
    }
}

fn wants_warnings(policy: &LifecyclePolicy) -> bool {
    match policy.action {
        LifecycleAction::Warn => true,
        LifecycleAction::Delete | LifecycleAction::Archive => policy.warn_before.is_some(),
        LifecycleAction::Retain => false,
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
        log: raw.log.unwrap_or(LifecycleNotify::default().log),
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
    let acts = matches!(policy.action, LifecycleAction::Delete | LifecycleAction::Archive);
    if !acts && policy.warn_before.is_some() {
        report.warn(
            &at.key("warn_before"),
            "means nothing unless the action is delete or archive",
        );
    }
    for (key, age) in [("max_age", policy.max_age), ("min_age", policy.min_age)] {
        if age.is_some_and(is_short) {
            report.warn(&at.key(key), "is less than a day; `m` is minutes, `mo` months");
        }
    }
    if !retains && policy.min_age.is_some() {
        report.warn(
            &at.key("min_age"),
            "means something on a policy that retains only",
        );
    }
}

/// A file is hardly meant to be judged by the hour.
fn is_short(age: Age) -> bool {
    match age {
        Age::Span(span) => span < Duration::from_secs(86_400),
        Age::Months(months) => months == 0,
    }
}

fn matching(raw: raw::Match, at: &KeyPath, report: &mut Report<'_>) -> LifecycleMatch {
    // Taken for plain characters, they would quietly match nothing.
    if raw
        .name
        .as_ref()
        .is_some_and(|name| name.contains(['[', ']', '{', '}', '\\']))
    {
        report.error(
            &at.key("name"),
            "holds one of []{}\\, which mean nothing here; `*` is any text, `?` any character",
        );
    }
    LifecycleMatch {
        types: extensions(raw.types.unwrap_or_default(), &at.key("types"), report),
        name: raw.name,
        min_size: raw.min_size.map_or(0, |size| size.0),
    }
}
