//! Files named one by one, on the command line or in a list, and the records that were meant.

use std::collections::HashSet;
use std::io::{self, BufRead};

use crate::engine::changes::failed;
use crate::engine::cleanup::ItemError;
use crate::engine::info;
use crate::error::{Code, Exit, Failure};
use crate::metadata::{FileRecord, MetadataStore};
use crate::spill::Spool;

/// Names as they were given, and after them those of the list, one a line; `-` is stdin.
///
/// # Errors
/// Where the list cannot be read.
pub fn read(given: &[String], list: Option<&str>) -> Result<Vec<String>, Failure> {
    let mut names = given.to_vec();
    if let Some(list) = list {
        let lines = lines(list)
            .map_err(|error| Failure::usage(format!("--from-list {list} cannot be read: {error}")))?;
        let trimmed = lines.iter().map(|line| line.trim());
        names.extend(trimmed.filter(|line| !line.is_empty()).map(str::to_owned));
    }
    Ok(names)
}

/// The same kept out of core, whatever their number.
///
/// # Errors
/// Where the list cannot be read, or there is no room for it.
pub fn spool(given: &[String], list: Option<&str>) -> Result<Spool, Failure> {
    let mut names = Spool::new();
    for name in given {
        names.push(name.as_bytes()).map_err(no_room)?;
    }
    let Some(list) = list else { return Ok(names) };
    let unreadable = |error| Failure::usage(format!("--from-list {list} cannot be read: {error}"));
    let mut keep = |line: io::Result<String>| -> Result<(), Failure> {
        let line = line.map_err(unreadable)?;
        match line.trim() {
            "" => Ok(()),
            name => names.push(name.as_bytes()).map_err(no_room),
        }
    };
    if list == "-" {
        io::stdin().lock().lines().try_for_each(&mut keep)?;
    } else {
        let file = std::fs::File::open(list).map_err(unreadable)?;
        io::BufReader::new(file).lines().try_for_each(&mut keep)?;
    }
    Ok(names)
}

/// The temporary directory cannot take what is kept out of core.
#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub fn no_room(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, Code::Error, error.to_string())
}

fn lines(list: &str) -> io::Result<Vec<String>> {
    if list == "-" {
        return io::stdin().lock().lines().collect();
    }
    io::BufReader::new(std::fs::File::open(list)?).lines().collect()
}

/// A name and the records that it may mean.
pub type Found = (String, Vec<FileRecord>);

/// What each name may mean.
///
/// # Errors
/// Where the database cannot be read.
pub async fn find(store: &dyn MetadataStore, names: &[String]) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        found.push((name.clone(), info::find(store, name).await?));
    }
    Ok(found)
}

/// The records, each once, and why a name has none or several.
pub fn each_once(found: Vec<Found>) -> (Vec<FileRecord>, Vec<ItemError>) {
    let (mut records, mut unknown, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for (name, candidates) in found {
        match the_one(&name, candidates) {
            Ok(record) if seen.insert(record.id.clone()) => records.push(record),
            Ok(_) => {}
            Err(error) => unknown.push(error),
        }
    }
    (records, unknown)
}

/// The record that the name means, or why it means none or several.
pub fn the_one(name: &str, mut candidates: Vec<FileRecord>) -> Result<FileRecord, ItemError> {
    match (candidates.pop(), candidates.is_empty()) {
        (Some(record), true) => Ok(record),
        (None, _) => Err(failed(name, "STORAGE_FILE_NOT_FOUND", "there is no such file")),
        (Some(last), false) => {
            let ids: Vec<String> = candidates
                .into_iter()
                .chain([last])
                .map(|record| record.id)
                .collect();
            let reason = format!(
                "names {} files; name one by its id: {}",
                ids.len(),
                ids.join(", ")
            );
            Err(failed(name, "STORAGE_VALIDATION_ERROR", &reason))
        }
    }
}
