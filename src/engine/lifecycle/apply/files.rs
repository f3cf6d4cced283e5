//! Archiving and deletion of files whose turn has come: the migration and the deletion that there are, on rows that were
//! judged right before. Each row changes only while it is still the one that was judged.

use std::sync::Arc;

use chrono::SubsecRound;
use futures::{StreamExt, stream};

use super::super::policy::{Rule, Target, Verdict};
use super::super::report::Item;
use super::Work;
use crate::engine::changes::{failed, failed_by};
use crate::engine::cleanup::{ApplyError, ItemError};
use crate::engine::delete;
use crate::engine::migrate::{carry_all, copies_of, way_is_free};
use crate::engine::objects::trash_key;
use crate::engine::refile::destination;
use crate::engine::relocate::Relocation;
use crate::engine::upload::takes;
use crate::metadata::{FileRecord, Stamp};
use crate::providers::{Key, Provider};

impl Work<'_> {
    pub(super) async fn delete(&mut self, items: &[Item]) -> Result<(), ApplyError> {
        let now = self.request.lifecycle.as_of;
        let mut records = Vec::with_capacity(items.len());
        for (item, turn) in items.iter().zip(self.judge(items, now).await?) {
            match turn {
                Some(turn) if self.is_by(item, &turn.verdict) => records.push(turn.record),
                _ => self.skipped += 1,
            }
        }
        let how = (records, self.request.deleted_at_once);
        delete::judged(self.run, self.sites, how, &mut self.deleted).await?;
        Ok(())
    }

    pub(super) async fn archive(&mut self, items: &[Item]) -> Result<(), ApplyError> {
        let now = self.request.lifecycle.as_of;
        let mut due = Vec::with_capacity(items.len());
        for (item, turn) in items.iter().zip(self.judge(items, now).await?) {
            match turn {
                Some(turn) if self.is_by(item, &turn.verdict) => due.push(turn),
                _ => self.skipped += 1,
            }
        }
        let looks = due.into_iter().filter_map(|turn| {
            let target = match turn.verdict {
                Verdict::Archive { policy } => match &self.policy(policy).rule {
                    Rule::Archive { target, .. } => target,
                    _ => return None,
                },
                _ => return None,
            };
            Some(self.route(turn.record, target))
        });
        let at_once = self.request.archived_at_once.max(1);
        let looked: Vec<Result<Relocation, ItemError>> = stream::iter(looks.collect::<Vec<_>>())
            .buffered(at_once)
            .collect()
            .await;
        let mut waiting = Vec::with_capacity(looked.len());
        for looked in looked {
            match looked {
                Ok(mut relocation) => {
                    let store = &*self.journal.store;
                    let copies = copies_of(store, &relocation.before.id).await?;
                    relocation.by_migration(store, &self.request.way, &copies).await?;
                    waiting.push(relocation);
                }
                Err(error) => self.archived.fail(error),
            }
        }
        let store = &*self.journal.store;
        let waiting = (waiting, &self.request.limits);
        carry_all(
            (self.run, store),
            waiting,
            (at_once, self.interrupt),
            &mut self.archived,
        )
        .await?;
        Ok(())
    }

    /// Whether the item's policy still has the say, and says the same.
    fn is_by(&self, item: &Item, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Archive { policy } | Verdict::Delete { policy } => {
                let policy = self.policy(*policy);
                policy.name == item.policy && policy.action() == item.action.name()
            }
            _ => false,
        }
    }

    /// Where the file is, where it goes, and whether it may.
    async fn route(&self, record: FileRecord, target: &Target) -> Result<Relocation, ItemError> {
        let id = record.id.clone();
        let invalid = |reason: &str| failed(&id, "STORAGE_VALIDATION_ERROR", reason);
        let (provider, from) = self.sites.of_record(&record)?;
        let home = match &target.provider {
            Some(name) => self.sites.named(name, &id)?,
            None => Arc::clone(&provider),
        };
        trash_key(&provider, "", &from).map_err(|error| failed_by(&id, &error))?;
        let (to, after) = self.arrival(&record, (&from, target), &home).ok_or_else(|| {
            invalid(&format!(
                "{} can have no file of its name; it is kept where it is",
                home.name
            ))
        })?;
        let found = {
            let copies = copies_of(&*self.journal.store, &id).await;
            let copies = copies.map_err(|error| failed(&id, "STORAGE_ERROR", &error.to_string()))?;
            way_is_free((&provider, &from), (&home, &to), (&record, &copies)).await?
        };
        if let Some(folder) = &target.folder {
            if !folder.takes_from_all && !folder.takes_from.contains(&record.folder) {
                let reason = format!(
                    "it would be easier to read in folder {} than in {}; it is kept where it is",
                    folder.rules.name, record.folder
                );
                return Err(invalid(&reason));
            }
            takes(&record.original_name, found.size, &folder.rules)
                .map_err(|refusal| failed(&id, refusal.code(), &refusal.to_string()))?;
        }
        Ok(Relocation {
            provider,
            from,
            target: home,
            to,
            migration: None,
            evidence: found,
            before: record,
            after,
            undoes: None,
        })
    }

    /// Key and row of the file in the archive.
    fn arrival(
        &self,
        record: &FileRecord,
        (from, target): (&Key, &Target),
        home: &Provider,
    ) -> Option<(Key, FileRecord)> {
        let now = self.journal.clock.now().trunc_subsecs(0);
        let (to, mut after) = match &target.folder {
            Some(folder) if folder.rules.name != record.folder => destination(record, &folder.rules, now)?,
            _ => (
                Key::new(from.as_bytes().to_vec()),
                FileRecord {
                    updated_at: Stamp::At(now),
                    ..record.clone()
                },
            ),
        };
        after.provider_path = home.mapping.path_of(&to).filter(|_| to.is_addressable())?;
        Some((to, after))
    }
}
