//! Ending an upload that has no record: what it put goes to the trash, with the copies that it made.

use std::sync::Arc;

use super::super::JournalError;
use super::{Recovery, Stays, text, written};
use crate::engine::objects;
use crate::failpoint::reach;
use crate::metadata::journal::{Action, Intended, NewStep, UploadIntent};
use crate::providers::{Key, Provider, ProviderError};

impl Recovery<'_> {
    pub(super) async fn upload(&mut self, intent: &UploadIntent) -> Result<(), JournalError> {
        let Some(places) = self.places(intent) else {
            return Ok(());
        };
        match self.end_upload(intent, &places).await {
            Ok(true) => self.report.trashed += 1,
            Ok(false) => self.report.withdrawn += 1,
            Err(Stays::Provider(error)) => self.report.left.push(error.to_string()),
            Err(Stays::Journal(error)) => return Err(error),
        }
        Ok(())
    }

    /// Where the upload may have put something: its provider, and those of its copies. `None` while one of them cannot be
    /// worked with; one that storage.yml has no more is nobody's to ask.
    fn places(&self, intent: &UploadIntent) -> Option<Vec<Arc<Provider>>> {
        let copies = intent.copies.iter().filter(|name| self.knows(name));
        let names = std::iter::once(&intent.provider).chain(copies);
        names.map(|name| self.held.get(name).cloned()).collect()
    }

    /// Whether an object went to the trash. The intent goes before the objects are touched: from then on its process can
    /// commit no record, and whether it had is looked up after that. All steps are written down by then, since the places
    /// of copies go with the intent.
    async fn end_upload(&self, intent: &UploadIntent, places: &[Arc<Provider>]) -> Result<bool, Stays> {
        self.run.check().await?;
        let ids = std::slice::from_ref(&intent.file_id);
        let mut steps = Vec::new();
        if self.record(Some(&intent.file_id)).await?.is_none() {
            for provider in places {
                steps.extend(self.withdrawal(intent, provider).await?);
            }
        }
        if steps.is_empty() {
            self.journal.store.withdraw_intents(ids).await?;
            return Ok(false);
        }
        let answers = self.run.intend(steps.clone()).await?;
        reach("recover.after-intent");
        for (answer, step) in answers.into_iter().zip(steps) {
            let (Intended::Written(number), Some(provider)) = (answer, self.held.get(&step.provider)) else {
                continue;
            };
            let step = written(self.run.id(), number, step, self.journal.clock.now());
            let end = self.finish(&step, provider).await?;
            self.settle(&step, end).await?;
        }
        Ok(true)
    }

    /// What takes away what the upload put there; `None` where that is nothing.
    async fn withdrawal(
        &self,
        intent: &UploadIntent,
        provider: &Provider,
    ) -> Result<Option<NewStep>, ProviderError> {
        let key = Key::from(intent.key.as_str());
        let mut found = provider.head(&key).await?;
        // What is left where the upload was being given up is no file.
        if found.as_ref().is_some_and(|found| found.size == 0) && provider.settle_upload(&key).await? {
            found = provider.head(&key).await?;
        }
        let Some(found) = found else {
            return Ok(None);
        };
        Ok(Some(NewStep {
            action: Action::Trash,
            provider: provider.name.clone(),
            to_key: Some(text(&objects::trash_key(provider, self.run.id(), &key)?)),
            to_provider: None,
            key: Some(intent.key.clone()),
            evidence: Some(objects::evidence_of(&found)),
            file_id: Some(intent.file_id.clone()),
            before: None,
            after: None,
            change: None,
            undoes: None,
        }))
    }
}
