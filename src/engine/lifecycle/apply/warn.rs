//! Warnings: sent, and written down once they have reached everyone they are meant for. One that did not is sent again
//! by the next run, and what it warns of waits.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::super::policy::Verdict;
use super::super::report::Item;
use super::super::view::day;
use super::{Turn, Work};
use crate::engine::changes::failed;
use crate::engine::cleanup::ApplyError;
use crate::failpoint::reach;
use crate::metadata::journal::ServedWarning;

/// A warning as it is sent.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// What it is, for whoever gets other things too.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The same in a sentence.
    pub text: String,
    pub policy: String,
    /// What the policy does: `delete`, `archive` or, where it only warns, `warn`.
    pub action: &'static str,
    pub id: String,
    pub original_name: String,
    pub folder: String,
    /// Bytes, as recorded.
    pub size: i64,
    pub uploaded_by: Option<String>,
    pub created_at: Option<String>,
    /// Not before then; `None` where nothing is done.
    pub goes_at: Option<DateTime<Utc>>,
    pub sent_at: DateTime<Utc>,
    pub run_id: String,
}

/// Takes warnings to those who are to have them.
#[async_trait]
pub trait Herald: std::fmt::Debug + Send + Sync {
    /// One answer for each: whether it reached all of them, or why not, without secrets. Where it is not known whether
    /// one did, it did not.
    async fn send(&self, notices: &[Notice]) -> Vec<Result<(), String>>;
}

impl Work<'_> {
    pub(super) async fn warn(&mut self, herald: &dyn Herald, items: &[Item]) -> Result<(), ApplyError> {
        let now = self.journal.clock.now();
        let mut notices = Vec::with_capacity(items.len());
        let mut served = Vec::with_capacity(items.len());
        for (item, turn) in items.iter().zip(self.judge(items, now).await?) {
            let Some((notice, warning)) = turn.and_then(|turn| self.notice(item, turn, now)) else {
                self.skipped += 1;
                continue;
            };
            notices.push(notice);
            served.push(warning);
        }
        let answers = herald.send(&notices).await;
        reach("lifecycle.after-send");
        let mut reached = Vec::with_capacity(served.len());
        for (warning, answer) in served.into_iter().zip(answers) {
            match answer {
                Ok(()) => reached.push(warning),
                Err(why) => {
                    let reason = format!("the warning of {} was not sent: {why}", warning.policy);
                    self.unsent
                        .fail(failed(&warning.file_id, "STORAGE_ERROR", &reason));
                }
            }
        }
        self.journal.store.serve_warnings(&reached).await?;
        reach("lifecycle.after-record");
        self.warned += reached.len() as u64;
        Ok(())
    }

    /// The warning, where the policy still has none out.
    fn notice(&self, item: &Item, turn: Turn, now: DateTime<Utc>) -> Option<(Notice, ServedWarning)> {
        let Verdict::Warn(unsent) = turn.verdict else {
            return None;
        };
        let named = |(at, _): &&(usize, DateTime<Utc>)| self.policy(*at).name == item.policy;
        let (policy, told) = unsent
            .iter()
            .find(named)
            .map(|(at, told)| (self.policy(*at), *told))?;
        let record = turn.record;
        let announces = policy.announces();
        let acts = announces != ServedWarning::NOTHING;
        let name = format!("{}/{}", record.folder, record.original_name);
        let text = if acts {
            format!(
                "{name} ({}): {} is to {announces} it on {}",
                record.id,
                policy.name,
                day(told)
            )
            .replace(" archive to ", " archive (to ")
        } else {
            format!("{name} ({}) has reached the age of {}", record.id, policy.name)
        };
        let warning = ServedWarning {
            file_id: record.id.clone(),
            policy: policy.name.clone(),
            announces,
            sent_at: now,
            goes_at: told,
        };
        let notice = Notice {
            kind: "storage.lifecycle.warning",
            text,
            policy: policy.name.clone(),
            action: policy.action(),
            id: record.id,
            original_name: record.original_name,
            folder: record.folder,
            size: record.size,
            uploaded_by: record.uploaded_by,
            created_at: record.created_at.iso(),
            goes_at: acts.then_some(told),
            sent_at: now,
            run_id: self.run.id().to_owned(),
        };
        Some((notice, warning))
    }
}
