//! Files and bytes, counted. Where a command of ours has written, two covering indexes hold all that is counted, and
//! SQLite adds up a group of rows in one go. Where none has, or where a row holds what its column cannot mean, each row
//! is read by itself: slower, and the answer is the same.

use std::borrow::Cow;
use std::collections::HashMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows::{Named, lossy, stamp};
use super::trouble::Trouble;
use crate::metadata::{ProviderRoots, UsageDimension, UsageRow};

type Answer<T> = Result<T, Trouble>;

/// As `civic_storage_files_places` has it, or SQLite would not take it from there. Roots end at a `/`, so that whose a
/// file is can be told by its directory alone; a path that does not end in the file's stored name stands for itself.
const PLACE: &str = "CASE WHEN instr(stored_filename, '/') = 0
         AND substr(provider_path, -length(stored_filename) - 1) = '/' || stored_filename
    THEN substr(provider_path, 1, length(provider_path) - length(stored_filename)) ELSE provider_path END";

/// Enough to add sizes up, and to see whether each of them is a whole number and none negative.
const SUMS: &str = "count(*) AS files, count(size) AS sized, sum(size) AS bytes, min(size) AS least";

/// Files and bytes; bytes stay at the top of their range where they would leave it.
#[derive(Default, Clone, Copy)]
struct Tally {
    files: u64,
    bytes: u64,
}

impl Tally {
    fn of(size: i64) -> Self {
        Self {
            files: 1,
            bytes: u64::try_from(size).unwrap_or(0),
        }
    }

    const fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// By folder and provider.
pub(super) fn usage(connection: &Connection, providers: &[ProviderRoots]) -> Answer<Vec<UsageRow>> {
    let mut places = Places::new(providers);
    if places.are_directories() && has_index(connection, "civic_storage_files_places")? {
        let sql = by_place();
        let mut count = |row: &Row<'_>, tally| {
            places.count(lossy(row.get_ref(0)?), bytes(row.get_ref(1)?), tally);
            Ok(())
        };
        if add_up(connection, (&sql, None), &mut count)? {
            return Ok(places.rows());
        }
        places = Places::new(providers);
    }
    let sql = "SELECT id, folder, provider_path, size FROM main.storage_files";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let tally = Tally::of(Named(row).size(3)?);
        places.count(lossy(row.get_ref(1)?), bytes(row.get_ref(2)?), tally);
    }
    Ok(places.rows())
}

fn by_place() -> String {
    format!(
        "SELECT folder, {PLACE} AS place, {SUMS} FROM main.storage_files
         GROUP BY folder COLLATE BINARY, {PLACE}"
    )
}

/// By one property, of one folder or all.
pub(super) fn usage_by(
    connection: &Connection,
    dimension: UsageDimension,
    folder: Option<&str>,
) -> Answer<Vec<(String, u64, u64)>> {
    let column = match dimension {
        UsageDimension::Type => "mime_type",
        UsageDimension::Month => return by_month(connection, folder),
        UsageDimension::Uploader => "uploaded_by",
    };
    let mut names = Names::default();
    if has_index(connection, "civic_storage_files_kinds")? {
        let sql = by_kind(column, folder);
        let mut count = |row: &Row<'_>, tally| {
            names.count(lossy(row.get_ref(0)?), tally);
            Ok(())
        };
        if add_up(connection, (&sql, folder), &mut count)? {
            return Ok(names.rows());
        }
        names = Names::default();
    }
    each_row(connection, (column, folder), |value, tally| {
        names.count(lossy(value), tally);
    })?;
    Ok(names.rows())
}

/// In the order of the index, so that groups need no sorting; a name comes once for each folder and type.
fn by_kind(column: &str, folder: Option<&str>) -> String {
    let within = within(folder);
    let more = match column {
        "mime_type" => String::new(),
        column => format!(", {column} COLLATE BINARY"),
    };
    format!(
        "SELECT {column}, {SUMS} FROM main.storage_files WHERE {within}
         GROUP BY folder COLLATE BINARY, mime_type COLLATE BINARY{more}"
    )
}

/// Times are written in several ways: each is read by itself, but for those within an hour of each other in a row.
fn by_month(connection: &Connection, folder: Option<&str>) -> Answer<Vec<(String, u64, u64)>> {
    let mut names = Names::default();
    let mut last: (Option<[u8; HOUR]>, Option<String>, Tally) = (None, None, Tally::default());
    each_row(connection, ("created_at", folder), |value, tally| {
        let hour = hour(value);
        if hour.is_none() || hour != last.0 {
            names.count(last.1.take().map(Cow::Owned), last.2);
            last = (hour, stamp(value).month(), Tally::default());
        }
        last.2.add(tally);
    })?;
    names.count(last.1.map(Cow::Owned), last.2);
    Ok(names.rows())
}

/// `YYYY-MM-DD HH`
const HOUR: usize = 13;

/// The hour of a time as SQLite itself writes it; none of any other.
fn hour(value: ValueRef<'_>) -> Option<[u8; HOUR]> {
    let ValueRef::Text(text) = value else { return None };
    let (hour, rest) = text.split_first_chunk()?;
    match rest {
        [b':', b'0'..=b'5', b'0'..=b'9', b':', b'0'..=b'5', b'0'..=b'9'] => Some(*hour),
        _ => None,
    }
}

/// Hands over a column's value and the size of each row. Nothing else is read, so that an index can have it all.
fn each_row(
    connection: &Connection,
    (column, folder): (&str, Option<&str>),
    mut count: impl FnMut(ValueRef<'_>, Tally),
) -> Answer<()> {
    let within = within(folder);
    let sql = format!("SELECT {column}, size FROM main.storage_files WHERE {within}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([folder])?;
    while let Some(row) = rows.next()? {
        let ValueRef::Integer(size) = row.get_ref(1)? else {
            return odd_size(connection, folder);
        };
        count(row.get_ref(0)?, Tally::of(size));
    }
    Ok(())
}

/// The error of the row whose size is no whole number.
fn odd_size(connection: &Connection, folder: Option<&str>) -> Answer<()> {
    let within = within(folder);
    let sql = format!("SELECT id, size FROM main.storage_files WHERE {within} AND typeof(size) <> 'integer'");
    connection.query_row(&sql, [folder], |row| Ok(Named(row).size(1).map(|_| ())))?
}

const fn within(folder: Option<&str>) -> &'static str {
    match folder {
        Some(_) => "folder COLLATE BINARY = ?1",
        None => "?1 IS NULL",
    }
}

fn has_index(connection: &Connection, name: &str) -> Answer<bool> {
    let sql = "SELECT 1 FROM main.sqlite_schema WHERE type = 'index' AND name = ?1";
    let found = connection.prepare_cached(sql)?.query_row([name], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

/// Hands over the groups with what they add up to. `false`: some size is no whole number or negative, or there are too
/// many bytes; then each row is to be looked at.
fn add_up(
    connection: &Connection,
    (sql, folder): (&str, Option<&str>),
    count: &mut dyn FnMut(&Row<'_>, Tally) -> Answer<()>,
) -> Answer<bool> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = if statement.parameter_count() > 0 {
        statement.query(params![folder])?
    } else {
        statement.query([])?
    };
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(true),
            Err(error) if is_overflow(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let (files, sized): (i64, i64) = (row.get("files")?, row.get("sized")?);
        let (ValueRef::Integer(sum), ValueRef::Integer(0..)) = (row.get_ref("bytes")?, row.get_ref("least")?)
        else {
            return Ok(false);
        };
        if files != sized {
            return Ok(false);
        }
        let (files, bytes) = (files.unsigned_abs(), sum.unsigned_abs());
        count(row, Tally { files, bytes })?;
    }
}

/// (Source: "Built-in Aggregate Functions", sum().)
pub(super) fn is_overflow(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(_, Some(why)) if why == "integer overflow")
}

/// Counters for each folder and provider.
struct Places<'a> {
    providers: &'a [ProviderRoots],
    /// The longest first.
    roots: Vec<(&'a str, usize)>,
    /// One slot more than there are providers: the last is nobody's.
    folders: HashMap<String, Vec<Tally>>,
}

impl<'a> Places<'a> {
    fn new(providers: &'a [ProviderRoots]) -> Self {
        let mut roots: Vec<(&str, usize)> = providers
            .iter()
            .enumerate()
            .flat_map(|(at, provider)| provider.roots.iter().map(move |root| (root.as_str(), at)))
            .collect();
        roots.sort_by_key(|(root, _)| std::cmp::Reverse(root.len()));
        Self {
            providers,
            roots,
            folders: HashMap::new(),
        }
    }

    fn are_directories(&self) -> bool {
        self.roots.iter().all(|(root, _)| root.ends_with('/'))
    }

    fn count(&mut self, folder: Option<Cow<'_, str>>, path: &[u8], tally: Tally) {
        let owner = self
            .roots
            .iter()
            .find(|(root, _)| path.starts_with(root.as_bytes()));
        let slots = self.providers.len();
        let slot = owner.map_or(slots, |(_, at)| *at);
        let folder = folder.unwrap_or_default();
        if let Some(tallies) = self.folders.get_mut(folder.as_ref()) {
            tallies[slot].add(tally);
        } else {
            let mut tallies = vec![Tally::default(); slots + 1];
            tallies[slot].add(tally);
            self.folders.insert(folder.into_owned(), tallies);
        }
    }

    fn rows(self) -> Vec<UsageRow> {
        let mut counted = Vec::new();
        for (folder, tallies) in self.folders {
            let slots = tallies.into_iter().enumerate();
            counted.extend(
                slots
                    .filter(|(_, tally)| tally.files > 0)
                    .map(|(slot, tally)| UsageRow {
                        folder: folder.clone(),
                        provider: self.providers.get(slot).map(|provider| provider.provider.clone()),
                        files: tally.files,
                        bytes: tally.bytes,
                    }),
            );
        }
        counted.sort_by(|a, b| (&a.folder, &a.provider).cmp(&(&b.folder, &b.provider)));
        counted
    }
}

/// Counters by name.
#[derive(Default)]
struct Names(HashMap<String, Tally>);

impl Names {
    fn count(&mut self, name: Option<Cow<'_, str>>, tally: Tally) {
        let name = name.unwrap_or(Cow::Borrowed("unknown"));
        if let Some(there) = self.0.get_mut(name.as_ref()) {
            there.add(tally);
        } else {
            self.0.insert(name.into_owned(), tally);
        }
    }

    fn rows(self) -> Vec<(String, u64, u64)> {
        let counted = self.0.into_iter().filter(|(_, tally)| tally.files > 0);
        let mut counted: Vec<_> = counted
            .map(|(name, tally)| (name, tally.files, tally.bytes))
            .collect();
        counted.sort();
        counted
    }
}

const fn bytes(value: ValueRef<'_>) -> &[u8] {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        _ => b"",
    }
}

/// How SQLite counts.
#[cfg(test)]
pub(super) fn plans(connection: &Connection) -> Vec<String> {
    [
        by_place(),
        by_kind("mime_type", None),
        by_kind("uploaded_by", None),
    ]
    .iter()
    .map(|sql| {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values: Vec<Option<String>> = vec![None; statement.parameter_count()];
        let steps = statement.query_map(rusqlite::params_from_iter(values), |row| row.get("detail"));
        steps
            .unwrap()
            .map(Result::unwrap)
            .collect::<Vec<String>>()
            .join("; ")
    })
    .collect()
}
