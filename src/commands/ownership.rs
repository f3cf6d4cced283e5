//! `--override ownership`, and the question whose the storage is, for every command that moves or deletes files.

use std::collections::BTreeSet;

use clap::Args;

use crate::Context;
use crate::engine::changes::Sites;
use crate::engine::journal::Journal;
use crate::engine::ownership::{Custody, Foreign, TakenOver};
use crate::error::{Code, Exit, Failure};
use crate::metadata::FileRecord;

/// The flag.
#[derive(Debug, Default, Args)]
pub struct OwnershipArgs {
    /// Let this run go on though a safety rule speaks. `ownership`: another installation claims the storage; it is then
    /// claimed for this one
    #[arg(long = "override", value_name = "RULE", value_parser = ["ownership"])]
    overrides: Vec<String>,
}

impl OwnershipArgs {
    /// As the history keeps it.
    pub fn asked(&self) -> &[String] {
        &self.overrides
    }
}

/// Providers that the records' objects are in.
pub fn of_records(sites: &Sites, records: &[FileRecord]) -> BTreeSet<String> {
    let providers = records.iter().filter_map(|record| sites.of_record(record).ok());
    providers.map(|(provider, _)| provider.name.clone()).collect()
}

/// Makes sure that these providers are ours, or nobody's, or that the operator said to take them. Asked before the operator
/// is asked and before recovery; nothing is written yet.
///
/// # Errors
/// Exit code 8 where one is another installation's.
pub async fn check(
    journal: &Journal,
    sites: &mut Sites,
    providers: impl IntoIterator<Item = &str>,
    args: &OwnershipArgs,
) -> Result<Custody, Failure> {
    let custody = Custody::look(journal.claim().await?, sites, providers).await;
    let foreign = custody.foreign();
    if foreign.is_empty() || !args.overrides.is_empty() {
        return Ok(custody);
    }
    Err(refusal(&foreign))
}

/// Puts our marker where it is to be, and tells of what was another's.
pub async fn claim(custody: Custody, sites: &mut Sites) -> Vec<TakenOver> {
    let taken = custody.claim(sites, false).await;
    tell(&taken);
    taken
}

/// Tells of providers that are now ours.
pub fn tell(taken: &[TakenOver]) {
    for TakenOver { provider, was } in taken {
        tracing::warn!("{provider} is claimed for this database now; before, {was}");
    }
}

/// What a real run would refuse, for a dry one.
///
/// # Errors
/// Where the database cannot be read.
pub async fn warn(
    context: &Context,
    sites: &mut Sites,
    providers: impl IntoIterator<Item = &str>,
) -> Result<(), Failure> {
    let custody = Custody::look(context.claim().await?, sites, providers).await;
    for Foreign { provider, message } in custody.foreign() {
        tracing::warn!("ownership ({provider}): {message}");
    }
    Ok(())
}

/// Exit code 8, with what can be done about it.
pub fn refusal(foreign: &[Foreign]) -> Failure {
    let said: Vec<String> = foreign
        .iter()
        .map(|foreign| format!("ownership ({}): {}", foreign.provider, foreign.message))
        .collect();
    let message = format!("nothing was changed, because of {}", said.join("; "));
    Failure::new(Exit::Refused, Code::Refused, message)
        .detail("rules", vec!["ownership"])
        .hint(HINT)
}

/// What an operator can do about it.
pub const HINT: &str = "if this database is a copy, name other storage in its storage.yml; if the deployment was moved or \
                        its host renamed, add --override ownership once, which claims the storage for it (a container \
                        needs a host name that stays, or CIVIC_HOST_NAME)";
