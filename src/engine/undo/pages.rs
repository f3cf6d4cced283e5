//! The steps of a run, or of the whole trash, a page at a time: their number is no matter of memory.

use chrono::{DateTime, Utc};

use crate::metadata::MetadataError;
use crate::metadata::journal::{JournalReader, Step, StepQuery};

/// Which steps are meant.
#[derive(Debug, Clone)]
pub enum Steps {
    /// A few, each by itself.
    Named(Vec<Step>),
    /// Those that the journal finds, changed no later than this where a time is given.
    Found(StepQuery, Option<DateTime<Utc>>),
}

/// Steps as they are read, in the order of the journal or the last first. What was read is not read again, whatever
/// becomes of it meanwhile.
#[derive(Debug)]
pub struct Pages<'a> {
    reader: &'a dyn JournalReader,
    rest: Rest<'a>,
}

#[derive(Debug)]
enum Rest<'a> {
    Named(Vec<&'a Step>),
    Found(StepQuery, Option<DateTime<Utc>>),
    Over,
}

impl<'a> Pages<'a> {
    #[must_use]
    pub fn forward(reader: &'a dyn JournalReader, steps: &'a Steps) -> Self {
        Self::new(reader, steps, false)
    }

    #[must_use]
    pub fn backward(reader: &'a dyn JournalReader, steps: &'a Steps) -> Self {
        Self::new(reader, steps, true)
    }

    fn new(reader: &'a dyn JournalReader, steps: &'a Steps, descending: bool) -> Self {
        let rest = match steps {
            // Taken from the end.
            Steps::Named(steps) if descending => Rest::Named(steps.iter().collect()),
            Steps::Named(steps) => Rest::Named(steps.iter().rev().collect()),
            Steps::Found(query, until) => Rest::Found(
                StepQuery {
                    descending,
                    ..query.clone()
                },
                *until,
            ),
        };
        Self { reader, rest }
    }

    /// As [`copied_files`](super::copied_files).
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn copied_files(&self, page: &[Step]) -> Result<Vec<Option<String>>, MetadataError> {
        super::copied_files(self.reader, page).await
    }

    /// At most so many; none at the end.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn next(&mut self, most: usize) -> Result<Vec<Step>, MetadataError> {
        loop {
            let (mut page, until) = match &mut self.rest {
                Rest::Over => return Ok(Vec::new()),
                Rest::Named(steps) => {
                    let rest = steps.split_off(steps.len().saturating_sub(most));
                    return Ok(rest.into_iter().rev().cloned().collect());
                }
                Rest::Found(query, until) => {
                    query.limit = most as u64;
                    let page = self.reader.steps(query).await?;
                    query.after = page.last().map(|last| (last.run_id.clone(), last.number));
                    (page, *until)
                }
            };
            if page.is_empty() {
                self.rest = Rest::Over;
            }
            page.retain(|step| until.is_none_or(|until| step.changed_at <= until));
            if !page.is_empty() {
                return Ok(page);
            }
        }
    }
}
