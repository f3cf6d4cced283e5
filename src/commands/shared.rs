//! What several commands check and show alike.

use std::collections::BTreeSet;

use clap::Args;

use crate::Context;
use crate::config;
use crate::engine::Interrupt;
use crate::engine::cleanup::Caps;
use crate::engine::upload::{FolderRules, Way};
use crate::error::Failure;
use crate::metadata::quota::Limits;
use crate::metadata::{FileRecord, MetadataStore, Stamp};
use crate::output::Outcome;

/// Refuses a folder that neither storage.yml nor any record names: a slip of the pen must not look like an empty
/// folder.
pub async fn known_folder(
    context: &Context,
    store: &dyn MetadataStore,
    folder: Option<&str>,
) -> Result<(), Failure> {
    let Some(folder) = folder else {
        return Ok(());
    };
    let configured = &context.config()?.folders;
    if configured.contains_key(folder) {
        return Ok(());
    }
    let recorded = store.folders().await?;
    if recorded.contains(folder) {
        return Ok(());
    }
    let known: BTreeSet<&str> = configured.keys().chain(&recorded).map(String::as_str).collect();
    Err(Failure::unknown("folder", folder, known))
}

/// What a folder of storage.yml takes.
///
/// # Errors
/// Where storage.yml has no such folder.
pub fn folder_rules(context: &Context, name: &str) -> Result<FolderRules, Failure> {
    let config = context.config()?;
    let folder = config.folders.get(name).ok_or_else(|| {
        let names = config.folders.keys().map(String::as_str);
        Failure::unknown("folder", name, names)
    })?;
    let largest = config.global.max_file_size;
    Ok(FolderRules {
        name: folder.name.clone(),
        allowed_types: folder.allowed_types.clone(),
        max_size: folder.max_size.map_or(largest, |own| own.min(largest)),
    })
}

/// What folders may hold, as storage.yml has it.
///
/// # Errors
/// Everything that is wrong with the configuration.
pub fn limits(context: &Context) -> Result<Limits, Failure> {
    let config = context.config()?;
    let folders = config.folders.values().filter_map(|folder| {
        let quota = folder.quota.filter(|quota| *quota > 0)?;
        Some((folder.name.clone(), quota))
    });
    let global = &config.global;
    Ok(Limits {
        folders: folders.collect(),
        all: Some(global.global_quota).filter(|quota| *quota > 0),
        counts_trash: global.quota_counts_trash,
        enforced: global.quota_enforcement,
    })
}

/// The flag of commands that take a provider for themselves.
#[derive(Debug, Default, Args)]
pub struct LockArgs {
    /// Exit with 7 and say nothing where another run has the provider: for cron, where one run may outlast the next
    #[arg(long)]
    skip_if_locked: bool,
}

impl LockArgs {
    /// What the command came to; quiet, where that was asked for and another run was there first.
    ///
    /// # Errors
    /// The command's own.
    pub fn settle(&self, result: Result<Outcome, Failure>) -> Result<Outcome, Failure> {
        result.map_err(|failure| Failure {
            quiet: self.skip_if_locked && failure.held,
            ..failure
        })
    }
}

/// `--max-delete`: `N` or `P%`; what storage.yml says where neither is given.
///
/// # Errors
/// Where it is neither.
pub fn caps(flag: Option<&str>, configured: &config::Cleanup) -> Result<Caps, Failure> {
    let Some(text) = flag else {
        return Ok(Caps::Configured {
            count: configured.max_delete_count,
            percent: configured.max_delete_percent,
        });
    };
    let cap = match text.strip_suffix('%') {
        Some(share) => share
            .trim()
            .parse()
            .ok()
            .filter(|p| (0.0..=100.0).contains(p))
            .map(Caps::Percent),
        None => text.parse().ok().map(Caps::Count),
    };
    cap.ok_or_else(|| {
        let message = format!("--max-delete {text}: a number of items, or a share of them from 0% to 100%");
        Failure::usage(message)
    })
}

/// How bytes travel, as storage.yml has it.
///
/// # Errors
/// Everything that is wrong with the configuration.
pub fn way(context: &Context, interrupt: &Interrupt) -> Result<Way, Failure> {
    let global = &context.config()?.global;
    let (threshold, part) = (global.stream_threshold, global.chunk_size);
    Ok(Way::new(threshold, part, interrupt))
}

/// A time for a table: `2026-11-23 18:36`, in UTC; what could not be read as it was written.
pub fn minute(stamp: &Stamp) -> String {
    match stamp {
        Stamp::At(at) | Stamp::Spelled { at, .. } => at.format("%Y-%m-%d %H:%M").to_string(),
        Stamp::Unreadable(Some(text)) => text.clone(),
        Stamp::Unreadable(None) => "-".to_owned(),
    }
}

/// The file that an operator named: none is an error, and of several each would be a guess.
pub fn the_one(mut found: Vec<FileRecord>, target: &str) -> Result<FileRecord, Failure> {
    if found.len() > 1 {
        let ids: Vec<String> = found.into_iter().map(|record| record.id).collect();
        let message = format!("{target} names {} files", ids.len());
        return Err(Failure::usage(message)
            .hint(format!("name one by its id: {}", ids.join(", ")))
            .detail("path", target)
            .detail("ids", ids));
    }
    found.pop().ok_or_else(|| {
        Failure::not_found(format!("there is no file {target}"))
            .hint("`civic storage:list --search TEXT` finds ids and names")
            .detail("path", target)
    })
}
