//! The policies of storage.yml, as the engine judges by them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::age::Age;
use crate::config::{Access, Config, Folder, LifecycleAction, LifecycleMatch, LifecyclePolicy};
use crate::engine::lifecycle::{ArchiveFolder, Filter, Policy, Rule, Target};
use crate::engine::upload::FolderRules;

/// Those that are enabled, in the order of the file.
pub fn policies(config: &Config) -> Vec<Policy> {
    let enabled = config.lifecycle.policies.iter().filter(|policy| policy.enabled);
    enabled.map(|policy| one(config, policy)).collect()
}

fn one(config: &Config, policy: &LifecyclePolicy) -> Policy {
    // A configuration without an age for these is none: what never comes stands in.
    let max_age = policy.max_age.unwrap_or(Age::Months(u32::MAX));
    let rule = match policy.action {
        LifecycleAction::Retain => Rule::Retain {
            min_age: policy.min_age,
        },
        LifecycleAction::Warn => Rule::Warn { max_age },
        LifecycleAction::Delete => Rule::Delete {
            max_age,
            warn_before: policy.warn_before,
        },
        LifecycleAction::Archive => Rule::Archive {
            max_age,
            warn_before: policy.warn_before,
            target: Target {
                provider: policy.archive_provider.clone(),
                folder: policy
                    .archive_folder
                    .as_ref()
                    .and_then(|name| config.folders.get(name))
                    .map(|folder| Arc::new(archive(config, folder))),
            },
        },
    };
    let every = policy.folders.iter().any(|folder| folder == "*");
    Policy {
        name: policy.name.clone(),
        folders: (!every).then(|| policy.folders.iter().cloned().collect()),
        matching: policy.matching.as_ref().map(filter),
        except: policy.except.as_ref().map(filter),
        rule,
    }
}

fn filter(filter: &LifecycleMatch) -> Filter {
    Filter {
        types: filter.types.clone(),
        name: filter.name.clone(),
        min_size: filter.min_size,
    }
}

/// A folder that storage.yml does not have is as private as any.
fn archive(config: &Config, folder: &Folder) -> ArchiveFolder {
    let largest = config.global.max_file_size;
    let takes_from: BTreeSet<String> = config
        .folders
        .values()
        .filter(|source| source.access <= folder.access)
        .map(|source| source.name.clone())
        .collect();
    ArchiveFolder {
        rules: FolderRules {
            name: folder.name.clone(),
            allowed_types: folder.allowed_types.clone(),
            max_size: folder.max_size.map_or(largest, |own| own.min(largest)),
        },
        takes_from,
        takes_from_all: folder.access == Access::Private,
    }
}
