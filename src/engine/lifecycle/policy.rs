//! What the policies say of one file at one moment: a pure function of the file, the policies, the warnings that were
//! sent, and `now`. The strongest protection wins: a hold, then a warning that was not yet sent or not yet waited for,
//! then archiving, then deletion. A file whose age nobody knows is left alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::glob;
use crate::age::Age;
use crate::engine::upload::FolderRules;
use crate::metadata::journal::ServedWarning;

/// A clock that is no further ahead than this is taken for right.
pub const SKEW: TimeDelta = TimeDelta::minutes(5);

/// A policy of storage.yml, enabled.
#[derive(Debug, Clone)]
pub struct Policy {
    pub name: String,
    /// `None` is every folder.
    pub folders: Option<BTreeSet<String>>,
    pub matching: Option<Filter>,
    pub except: Option<Filter>,
    pub rule: Rule,
}

/// Which of a folder's files: those that all of it holds for.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Extensions in lower case, without the dot; any where there are none.
    pub types: Vec<String>,
    pub name: Option<String>,
    /// Bytes.
    pub min_size: u64,
}

/// What is to be done with the files, and when.
#[derive(Debug, Clone)]
pub enum Rule {
    /// A hold until the file is so old; for good without an age.
    Retain {
        min_age: Option<Age>,
    },
    /// Somebody is told, once.
    Warn {
        max_age: Age,
    },
    Delete {
        max_age: Age,
        warn_before: Option<Age>,
    },
    Archive {
        max_age: Age,
        warn_before: Option<Age>,
        target: Target,
    },
}

/// Where archived files go; at least one of the two.
#[derive(Debug, Clone)]
pub struct Target {
    pub provider: Option<String>,
    pub folder: Option<Arc<ArchiveFolder>>,
}

/// A folder that files are archived to.
#[derive(Debug)]
pub struct ArchiveFolder {
    pub rules: FolderRules,
    /// Folders whose files are no easier to read there.
    pub takes_from: BTreeSet<String>,
    /// Nothing is easier to read there, whatever folder it comes from.
    pub takes_from_all: bool,
}

/// What a policy looks at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub original_name: &'a str,
    pub folder: &'a str,
    /// Bytes, as recorded.
    pub size: i64,
    /// `None` where it is missing or cannot be read.
    pub created: Option<DateTime<Utc>>,
    /// Whose the bytes are; `None` where no configured provider matches.
    pub provider: Option<&'a str>,
}

/// What is to be done with a file. Policies are told by their place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// No policy says anything of it today.
    Nothing,
    /// Held, by the hold that lasts longest: until then, or for good.
    Retain {
        policy: usize,
        until: Option<DateTime<Utc>>,
    },
    /// Warnings that were not sent yet, each with the day that it is to tell.
    Warn(Vec<(usize, DateTime<Utc>)>),
    /// Warned, and the time that was promised is not over.
    Wait {
        policy: usize,
        until: DateTime<Utc>,
    },
    Archive {
        policy: usize,
    },
    Delete {
        policy: usize,
    },
    /// A policy is about it, and its age is not known, or it is of the future: nothing is done.
    Undated {
        policy: usize,
    },
}

/// The verdict, and every policy that has something to say of the file today, whatever prevails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub verdict: Verdict,
    pub matched: Vec<usize>,
}

impl Policy {
    /// Whether the file is one of those that the policy is about, whatever its age.
    #[must_use]
    pub fn covers(&self, subject: &Subject<'_>) -> bool {
        self.folders
            .as_ref()
            .is_none_or(|folders| folders.contains(subject.folder))
            && self.matching.as_ref().is_none_or(|filter| filter.lets(subject))
            && !self.except.as_ref().is_some_and(|filter| filter.lets(subject))
    }

    /// Whether it warns of anything, so that what was sent has to be known.
    #[must_use]
    pub const fn warns(&self) -> bool {
        match &self.rule {
            Rule::Warn { .. } => true,
            Rule::Delete { warn_before, .. } | Rule::Archive { warn_before, .. } => warn_before.is_some(),
            Rule::Retain { .. } => false,
        }
    }

    /// The word for what it does.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match &self.rule {
            Rule::Retain { .. } => "retain",
            Rule::Warn { .. } => "warn",
            Rule::Delete { .. } => "delete",
            Rule::Archive { .. } => "archive",
        }
    }

    /// What a warning of it says will be done: one that said something else is not this one.
    #[must_use]
    pub fn announces(&self) -> String {
        match &self.rule {
            Rule::Archive { target, .. } => format!("archive to {target}"),
            Rule::Delete { .. } => ServedWarning::DELETE.to_owned(),
            Rule::Retain { .. } | Rule::Warn { .. } => ServedWarning::NOTHING.to_owned(),
        }
    }

    /// When the policy's age is reached; `None` where it never is.
    fn due(&self, created: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.rule {
            Rule::Retain { min_age } => min_age.and_then(|age| age.after(created)),
            Rule::Warn { max_age } | Rule::Delete { max_age, .. } | Rule::Archive { max_age, .. } => {
                max_age.after(created)
            }
        }
    }

    const fn warn_before(&self) -> Option<Age> {
        match &self.rule {
            Rule::Delete { warn_before, .. } | Rule::Archive { warn_before, .. } => *warn_before,
            Rule::Retain { .. } | Rule::Warn { .. } => None,
        }
    }

    /// The day from which the policy has something to say: when it is due, or when it is to be warned of.
    fn opens(&self, due: DateTime<Utc>) -> DateTime<Utc> {
        self.warn_before()
            .map_or(due, |age| age.before(due).unwrap_or(DateTime::<Utc>::MIN_UTC))
    }
}

impl Filter {
    fn lets(&self, subject: &Subject<'_>) -> bool {
        let extension = || {
            let (_, extension) = subject.original_name.rsplit_once('.').unwrap_or_default();
            extension.to_lowercase()
        };
        (self.types.is_empty()
            || self.types.contains(&extension())
            || self.types.iter().any(|kind| kind == "*"))
            && self
                .name
                .as_ref()
                .is_none_or(|name| glob::matches(name, subject.original_name))
            && (self.min_size == 0 || u64::try_from(subject.size).is_ok_and(|size| size >= self.min_size))
    }
}

impl Target {
    /// Whether the file is there.
    #[must_use]
    pub fn holds(&self, subject: &Subject<'_>) -> bool {
        let provider = self.provider.as_deref();
        let folder = self.folder.as_ref().map(|folder| folder.rules.name.as_str());
        provider.is_none_or(|name| subject.provider == Some(name))
            && folder.is_none_or(|name| subject.folder == name)
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.provider, &self.folder) {
            (Some(provider), None) => write!(f, "provider {provider}"),
            (None, Some(folder)) => write!(f, "folder {}", folder.rules.name),
            (Some(provider), Some(folder)) => write!(f, "provider {provider}, folder {}", folder.rules.name),
            (None, None) => Ok(()),
        }
    }
}

/// What is to be done with the file. `served` are the warnings of it that stand.
#[must_use]
pub fn decide(
    policies: &[Policy],
    subject: &Subject<'_>,
    served: &[ServedWarning],
    now: DateTime<Utc>,
) -> Decision {
    let mut matched = Vec::new();
    let hold = longest_hold(policies, subject, now, &mut matched);
    let acting = policies
        .iter()
        .enumerate()
        .filter(|(_, policy)| !matches!(policy.rule, Rule::Retain { .. }) && policy.covers(subject));
    let dated = subject.created.filter(|created| *created <= now);
    let Some(created) = dated else {
        let first = acting.map(|(at, _)| at).next();
        let verdict = match (hold, first) {
            (Some(hold), _) => hold,
            (None, Some(policy)) => Verdict::Undated { policy },
            (None, None) => Verdict::Nothing,
        };
        return Decision { verdict, matched };
    };
    let open: Vec<Open<'_>> = acting
        .filter_map(|(at, policy)| {
            let due = policy.due(created)?;
            (policy.opens(due) <= now).then_some(Open { at, policy, due })
        })
        .collect();
    let open = without_archived(open, subject);
    matched.extend(open.iter().map(|due| due.at));
    matched.sort_unstable();
    let verdict = hold.unwrap_or_else(|| strongest(&open, served, now));
    Decision { verdict, matched }
}

/// A policy whose day has come, or that of its warning.
struct Open<'a> {
    at: usize,
    policy: &'a Policy,
    due: DateTime<Utc>,
}

/// Without a readable date no hold is ever over.
fn longest_hold(
    policies: &[Policy],
    subject: &Subject<'_>,
    now: DateTime<Utc>,
    matched: &mut Vec<usize>,
) -> Option<Verdict> {
    let mut longest: Option<(usize, Option<DateTime<Utc>>)> = None;
    for (at, policy) in policies.iter().enumerate() {
        if !matches!(policy.rule, Rule::Retain { .. }) || !policy.covers(subject) {
            continue;
        }
        let until = subject.created.and_then(|created| policy.due(created));
        if until.is_some_and(|until| until <= now) {
            continue;
        }
        matched.push(at);
        let outlasts = |(_, longest): (usize, Option<DateTime<Utc>>)| match (until, longest) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(until), Some(longest)) => until > longest,
        };
        if longest.is_none_or(outlasts) {
            longest = Some((at, until));
        }
    }
    longest.map(|(policy, until)| Verdict::Retain { policy, until })
}

/// Of several policies that archive the file, the one with the highest age has the say, so that what went from one
/// archive to the next never goes back; and what is there already is not archived again.
fn without_archived<'a>(open: Vec<Open<'a>>, subject: &Subject<'_>) -> Vec<Open<'a>> {
    let archives = |due: &&Open<'_>| matches!(due.policy.rule, Rule::Archive { .. });
    // The first of equals.
    let last = open
        .iter()
        .rev()
        .filter(archives)
        .max_by_key(|due| due.due)
        .map(|due| due.at);
    open.into_iter()
        .filter(|due| match &due.policy.rule {
            Rule::Archive { target, .. } => Some(due.at) == last && !target.holds(subject),
            _ => true,
        })
        .collect()
}

fn strongest(open: &[Open<'_>], served: &[ServedWarning], now: DateTime<Utc>) -> Verdict {
    let mut unsent = Vec::new();
    let mut waits: Option<(usize, DateTime<Utc>)> = None;
    for due in open.iter().filter(|due| due.policy.warns()) {
        match standing(due, served, now) {
            None => unsent.push((due.at, promised(due, now))),
            Some(warning) => {
                let until = over(due, warning);
                if until > now && waits.is_none_or(|(_, longest)| until > longest) {
                    waits = Some((due.at, until));
                }
            }
        }
    }
    if !unsent.is_empty() {
        return Verdict::Warn(unsent);
    }
    if let Some((policy, until)) = waits {
        return Verdict::Wait { policy, until };
    }
    let first = |wanted: fn(&Rule) -> bool| {
        let found = open.iter().find(|due| wanted(&due.policy.rule) && due.due <= now);
        found.map(|due| due.at)
    };
    if let Some(policy) = first(|rule| matches!(rule, Rule::Archive { .. })) {
        return Verdict::Archive { policy };
    }
    match first(|rule| matches!(rule, Rule::Delete { .. })) {
        Some(policy) => Verdict::Delete { policy },
        None => Verdict::Nothing,
    }
}

/// The warning that was sent of this, where it still tells the truth: by the same policy, of the same deed, and of a
/// day that has not been put off since. One that claims to be of the future was dated by a wrong clock.
fn standing<'a>(
    due: &Open<'_>,
    served: &'a [ServedWarning],
    now: DateTime<Utc>,
) -> Option<&'a ServedWarning> {
    let announces = due.policy.announces();
    served.iter().find(|warning| {
        warning.policy == due.policy.name
            && warning.announces == announces
            && due.due <= warning.goes_at
            && warning.sent_at <= now + SKEW
    })
}

/// The day that a warning sent now tells.
fn promised(due: &Open<'_>, now: DateTime<Utc>) -> DateTime<Utc> {
    let waited = due.policy.warn_before().map(|age| age.after(now));
    match waited {
        None => due.due,
        Some(at) => at.unwrap_or(DateTime::<Utc>::MAX_UTC).max(due.due),
    }
}

/// When what was warned of may be done: not before the day that was told, though the policy would have it earlier by
/// now, and not before the time between the two is over, though that is longer by now.
fn over(due: &Open<'_>, warning: &ServedWarning) -> DateTime<Utc> {
    let Some(age) = due.policy.warn_before() else {
        return DateTime::<Utc>::MIN_UTC;
    };
    let waited = age.after(warning.sent_at).unwrap_or(DateTime::<Utc>::MAX_UTC);
    waited.max(warning.goes_at).max(due.due)
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
