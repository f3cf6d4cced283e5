//! Which steps took away a copy that a backup provider kept, rather than a file: nobody counts those as files.

use std::collections::HashSet;

use crate::metadata::MetadataError;
use crate::metadata::journal::{Action, JournalReader, Step};
use crate::providers::stored_shape;

/// Of each step, in order, the file that it took a copy of; `None` for a file itself, or anything else.
///
/// # Errors
/// Where the database cannot be read.
pub async fn copied_files(
    store: &dyn JournalReader,
    steps: &[Step],
) -> Result<Vec<Option<String>>, MetadataError> {
    let ids: Vec<Option<String>> = steps.iter().map(of_key).collect();
    let asked: Vec<String> = ids.iter().flatten().cloned().collect();
    if asked.is_empty() {
        return Ok(ids);
    }
    let copies = store.copies(&asked).await?;
    let copies: HashSet<(String, String, String)> = copies
        .into_iter()
        .map(|(id, copy)| (id, copy.provider, copy.key))
        .collect();
    let known = |(step, id): (&Step, Option<String>)| {
        let place = (id?, step.provider.clone(), step.key.clone()?);
        copies.contains(&place).then_some(place.0)
    };
    Ok(steps.iter().zip(ids).map(known).collect())
}

/// Whose the key is, where the step is about no record.
fn of_key(step: &Step) -> Option<String> {
    let key = step.key.as_deref()?;
    let bare = step.action == Action::Trash && step.file_id.is_none() && step.before.is_none();
    let shape = stored_shape(key.as_bytes()).filter(|_| bare)?;
    Some(shape.id.to_owned())
}
