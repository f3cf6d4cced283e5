//! Which warnings stop a real run.

use super::super::report::Warning;

/// The names that `--override` takes.
pub const RULES: [&str; 7] = [
    "clock-skew",
    "empty-database",
    "empty-listing",
    "limited-view",
    "max-delete",
    "ownership",
    "restored-database",
];

/// Rules that spoke and were not overridden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub Vec<Warning>);

/// What is left of the warnings once `overrides` have been heard; `None` where nothing is.
#[must_use]
pub fn refusals(warnings: &[Warning], overrides: &[String]) -> Option<Refusal> {
    let overridden =
        |warning: &&Warning| warning.overridable && overrides.iter().any(|name| name == warning.rule);
    let left: Vec<Warning> = warnings.iter().filter(|w| !overridden(w)).cloned().collect();
    (!left.is_empty()).then_some(Refusal(left))
}
