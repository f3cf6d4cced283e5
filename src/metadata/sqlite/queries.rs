//! One function per question of the trait, each inside a transaction that its caller opened.

use std::collections::HashSet;

use rusqlite::{Connection, Params, params_from_iter};

use super::filter::Filter;
use super::rows::{FILE_COLUMNS, file_record, lossy};
use super::session::Session;
use super::trouble::Trouble;
use crate::metadata::{FileRecord, ListQuery, RecordPage, SortKey};

type Answer<T> = Result<T, Trouble>;

/// Two values for each id: far below SQLite's limit of 32,766 variables.
const IDS_AT_ONCE: usize = 500;

pub(super) fn get(connection: &Connection, id: &str) -> Answer<Option<FileRecord>> {
    let sql = format!("SELECT {FILE_COLUMNS} FROM main.storage_files WHERE id COLLATE BINARY = ?1");
    Ok(files(connection, &sql, [id])?.pop())
}

pub(super) fn find_by_name(connection: &Connection, folder: &str, name: &str) -> Answer<Vec<FileRecord>> {
    let named = find_by_original_name(connection, folder, name)?;
    if named.is_empty() {
        files(connection, &by_name("stored_filename"), [folder, name])
    } else {
        Ok(named)
    }
}

pub(super) fn find_by_original_name(
    connection: &Connection,
    folder: &str,
    name: &str,
) -> Answer<Vec<FileRecord>> {
    files(connection, &by_name("original_name"), [folder, name])
}

/// The collations are those of the index `civic_storage_files_named`, whatever the table's own are.
fn by_name(column: &str) -> String {
    format!(
        "SELECT {FILE_COLUMNS} FROM main.storage_files
         WHERE folder COLLATE BINARY = ?1 AND {column} COLLATE BINARY = ?2 ORDER BY id COLLATE BINARY"
    )
}

/// How SQLite finds files by their original name.
#[cfg(test)]
pub(super) fn plan_by_original_name(connection: &Connection) -> Vec<String> {
    let sql = format!("EXPLAIN QUERY PLAN {}", by_name("original_name"));
    let mut statement = connection.prepare(&sql).unwrap();
    let steps = statement.query_map(["permits", "plan.pdf"], |row| row.get("detail"));
    steps.unwrap().map(Result::unwrap).collect()
}

pub(super) fn list(connection: &Connection, query: &ListQuery) -> Answer<RecordPage> {
    let mut filter = Filter::of_list(query);
    let condition = filter.clause();
    let total: i64 = connection.query_row(
        &format!("SELECT count(*) FROM main.storage_files {condition}"),
        params_from_iter(&filter.values),
        |row| row.get(0),
    )?;
    for bound in [query.limit, query.offset] {
        filter
            .values
            .push(Box::new(i64::try_from(bound).unwrap_or(i64::MAX)));
    }
    let (limit, offset) = (filter.values.len() - 1, filter.values.len());
    let order = order(query);
    let sql = format!(
        "SELECT {FILE_COLUMNS} FROM main.storage_files {condition} ORDER BY {order} LIMIT ?{limit} OFFSET ?{offset}"
    );
    Ok(RecordPage {
        records: files(connection, &sql, params_from_iter(&filter.values))?,
        total: total.unsigned_abs(),
    })
}

/// Ends with the id, ascending always, so that pages never overlap.
fn order(query: &ListQuery) -> String {
    let keys: &[&str] = match query.sort {
        SortKey::Created => &["civic_moment(created_at)"],
        SortKey::Updated => &["civic_moment(updated_at)"],
        SortKey::Name => &["civic_fold(original_name)", "original_name COLLATE BINARY"],
        SortKey::Size => &["size"],
        SortKey::Folder => &["folder COLLATE BINARY"],
        SortKey::Type => &["mime_type COLLATE BINARY"],
    };
    let direction = if query.descending { " DESC, " } else { ", " };
    keys.iter()
        .flat_map(|key| [*key, direction])
        .chain(["id COLLATE BINARY"])
        .collect()
}

fn files(connection: &Connection, sql: &str, values: impl Params) -> Answer<Vec<FileRecord>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(file_record(row)?);
    }
    Ok(found)
}

pub(super) fn known_ids(session: &Session, ids: &[String]) -> Answer<HashSet<String>> {
    let connection = session.connection();
    let wanted: HashSet<String> = ids.iter().map(|id| id.to_ascii_lowercase()).collect();
    let mut known = HashSet::new();
    let all: Vec<&String> = wanted.iter().collect();
    for some in all.chunks(IDS_AT_ONCE) {
        let spellings: Vec<String> = some
            .iter()
            .flat_map(|id| [(*id).clone(), id.to_ascii_uppercase()])
            .collect();
        let marks = vec!["?"; spellings.len()].join(",");
        let sql = format!("SELECT id FROM main.storage_files WHERE id COLLATE BINARY IN ({marks})");
        known.extend(
            texts(connection, &sql, params_from_iter(&spellings))?
                .iter()
                .map(|id| id.to_ascii_lowercase()),
        );
    }
    if known.len() < wanted.len() && session.has_unusual_ids(|| unusual_ids(connection, &mut |_| ()))? {
        unusual_ids(connection, &mut |id| {
            known.extend(Some(id.to_ascii_lowercase()).filter(|id| wanted.contains(id)));
        })?;
    }
    Ok(known)
}

pub(super) fn known_paths(connection: &Connection, paths: &[String]) -> Answer<HashSet<String>> {
    let mut known = HashSet::new();
    for some in paths.chunks(IDS_AT_ONCE) {
        let marks = vec!["?"; some.len()].join(",");
        let sql = format!(
            "SELECT provider_path FROM main.storage_files WHERE provider_path COLLATE BINARY IN ({marks})"
        );
        known.extend(texts(connection, &sql, params_from_iter(some))?);
    }
    Ok(known)
}

/// Ids in mixed case, which no lookup by either case finds, and ids that are not stored as text. Says whether there
/// are any.
fn unusual_ids(connection: &Connection, found: &mut dyn FnMut(&str)) -> Answer<bool> {
    let sql = "SELECT id FROM main.storage_files WHERE typeof(id) <> 'text' OR id GLOB '*[A-Z]*'";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut any = false;
    while let Some(row) = rows.next()? {
        any = true;
        found(&lossy(row.get_ref(0)?).unwrap_or_default());
    }
    Ok(any)
}

pub(super) fn folders(connection: &Connection) -> Answer<HashSet<String>> {
    let found = texts(connection, "SELECT DISTINCT folder FROM main.storage_files", [])?;
    Ok(found.into_iter().collect())
}

pub(super) fn count_in_folder(connection: &Connection, folder: &str) -> Answer<u64> {
    let sql = "SELECT count(*) FROM main.storage_files WHERE folder COLLATE BINARY = ?1";
    let count: i64 = connection.query_row(sql, [folder], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// Ids are random, so the first of them by id are as even a sample as any, and the primary key yields them. Where too
/// few of its first rows are under the root, one pass over the whole table is cheaper than going on row by row.
pub(super) fn sample_paths(connection: &Connection, root: &str, limit: u64) -> Answer<Vec<String>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let look = limit.saturating_mul(8).saturating_add(1000);
    let early =
        format!("(SELECT id, provider_path FROM main.storage_files ORDER BY id COLLATE BINARY LIMIT {look})");
    let mut sample = first_paths(connection, &early, root, limit)?;
    if sample.len() as u64 != limit.unsigned_abs() {
        sample = first_paths(connection, "main.storage_files", root, limit)?;
    }
    sample.sort_unstable();
    Ok(sample)
}

/// The `+` keeps the primary key's index out of it.
fn first_paths(connection: &Connection, from: &str, root: &str, limit: i64) -> Answer<Vec<String>> {
    let filter = Filter::under(root);
    let condition = filter.clause();
    let sql =
        format!("SELECT provider_path FROM {from} {condition} ORDER BY +id COLLATE BINARY LIMIT {limit}");
    texts(connection, &sql, params_from_iter(&filter.values))
}

fn texts<P: Params>(connection: &Connection, sql: &str, values: P) -> Answer<Vec<String>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(lossy(row.get_ref(0)?).map(std::borrow::Cow::into_owned));
    }
    Ok(found)
}
