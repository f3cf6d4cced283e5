//! Ending a move from wherever it was left: the row tells how far it came.

use std::sync::Arc;

use super::super::rows;
use super::{CHANGED, End, Recovery, Stays};
use crate::engine::relocate::{Backups, Copied, Removed, Route, Trash, goes_on};
use crate::engine::sidecar::{self, Absent};
use crate::failpoint::reach;
use crate::metadata::journal::{Action, Copy, RecordChange, Step};
use crate::providers::{Key, Provider};

/// How often a row is followed that is edited meanwhile.
const FOLLOWED: usize = 5;

impl Recovery<'_> {
    /// Whether the move was finished rather than given up. At every moment the file can be read where its row says.
    pub(super) async fn relocate(
        &self,
        step: &Step,
        (provider, target): (&Arc<Provider>, &Arc<Provider>),
    ) -> Result<bool, Stays> {
        let (Some(key), Some(to), Some(evidence)) = (&step.key, &step.to_key, &step.evidence) else {
            return self
                .settle(step, End::GivenUp("it does not say what it saw"))
                .await;
        };
        let (from, to) = (&Key::from(key.as_str()), &Key::from(to.as_str()));
        let trash = match step.action {
            Action::Migrate => Trash::of_migration((&step.run_id, from), to, step.undoes.as_ref()),
            _ => Trash::default(),
        };
        let backups = match &step.file_id {
            Some(id) if step.action == Action::Migrate => {
                let copies = self.run.copies(std::slice::from_ref(id)).await?;
                let copies: Vec<Copy> = copies.into_iter().map(|(_, copy)| copy).collect();
                Backups::of(&copies, (provider, from), (target, to))
            }
            _ => Backups::default(),
        };
        let route = &Route {
            provider,
            from,
            target,
            to,
            evidence,
            trash,
            backups,
        };
        for _ in 0..FOLLOWED {
            let row = self.record(step.file_id.as_deref()).await?;
            let change = match rows::forward((step.before.as_ref(), step.after.as_ref()), row.as_ref()) {
                Ok(change) => change,
                Err(why) => return self.give_up(step, route, why).await,
            };
            if let Some(why) = bring(step, route, change.is_some()).await? {
                return self.give_up(step, route, why).await;
            }
            if self.switched(step, change).await? {
                return self.leave(step, route).await;
            }
        }
        self.give_up(step, route, "its record is being edited again and again")
            .await
    }

    async fn switched(&self, step: &Step, change: Option<RecordChange>) -> Result<bool, Stays> {
        if change.is_none() {
            return Ok(true);
        }
        let switched = self.tell(step, goes_on(step.number, change)).await?;
        reach("recover.after-switch");
        Ok(switched)
    }

    /// The row names the new key: the old one goes.
    async fn leave(&self, step: &Step, route: &Route<'_>) -> Result<bool, Stays> {
        if let Some(id) = &step.file_id {
            sidecar::agree(route.target, self.journal.store.as_ref(), id, Absent::Left).await?;
        }
        if route.remove_source().await? == Removed::Different {
            route.tell_different();
        }
        reach("recover.after-act");
        Ok(self.settles(step, None, None).await?)
    }

    /// The row does not name the new key, and is not to: what is there goes, or goes back.
    async fn give_up(&self, step: &Step, route: &Route<'_>, why: &'static str) -> Result<bool, Stays> {
        let row = self.record(step.file_id.as_deref()).await?;
        let in_use = row
            .zip(step.after.as_ref())
            .is_some_and(|(row, after)| row.provider_path == after.provider_path);
        if !in_use {
            route.take_back().await?;
        }
        self.settle(step, End::GivenUp(why)).await
    }
}

/// The bytes and their sidecar at the new key; why not, where they cannot be.
async fn bring(step: &Step, route: &Route<'_>, is_ahead: bool) -> Result<Option<&'static str>, Stays> {
    // Once the row is switched, what stands at the new key is the file, whoever wrote to it since.
    if !is_ahead && route.is_there().await? {
        return Ok(None);
    }
    match route.copy().await? {
        Copied::Now | Copied::Before | Copied::There => {}
        Copied::Changed => return Ok(Some(CHANGED)),
        Copied::Missing => return Ok(Some("the object is gone")),
        Copied::TargetTaken => return Ok(Some("something else stands where it was to go")),
        // A recovery carries nothing from provider to provider: it does not take for long. The next migration does.
        Copied::NotYet => return Ok(Some("interrupted before it had come to the other provider")),
    }
    reach("recover.after-copy");
    if let Some(after) = &step.after {
        route.tell(after).await?;
    }
    Ok(None)
}
