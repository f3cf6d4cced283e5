//! Conditions with their values, in step. Comparisons of paths are byte by byte: no LIKE, no collation of the schema's.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::functions::fold;
use crate::metadata::{ListQuery, ScanScope};

/// A WHERE clause under construction.
#[derive(Default)]
pub(super) struct Filter {
    clauses: Vec<String>,
    pub(super) values: Vec<Box<dyn ToSql>>,
}

/// Bytes that SQLite compares as text, valid UTF-8 or not.
struct TextBytes(Vec<u8>);

impl ToSql for TextBytes {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}

impl Filter {
    /// Records that a scan of the scope must yield, and those that nobody can tell to be in it or not.
    pub(super) fn of_scope(scope: &ScanScope) -> Self {
        let mut filter = Self::default();
        let condition = match scope {
            ScanScope::Under(prefix) => filter.begins_with(prefix),
            ScanScope::Outside(roots) => {
                let outside: Vec<_> = roots
                    .iter()
                    .map(|root| format!("NOT ({})", filter.begins_with(root)))
                    .collect();
                if outside.is_empty() {
                    "TRUE".to_owned()
                } else {
                    outside.join(" AND ")
                }
            }
        };
        filter
            .clauses
            .push(format!("(typeof(provider_path) <> 'text' OR ({condition}))"));
        filter
    }

    pub(super) fn under(root: &str) -> Self {
        let mut filter = Self::default();
        let condition = filter.begins_with(root);
        filter.clauses.push(condition);
        filter
    }

    pub(super) fn of_list(query: &ListQuery) -> Self {
        let mut filter = Self::default();
        if let Some(folder) = &query.folder {
            let folder = filter.bind(folder.clone());
            filter.clauses.push(format!("folder COLLATE BINARY = {folder}"));
        }
        if let Some(search) = &query.search {
            let search = filter.bind(fold(search));
            filter.clauses.push(format!(
                "(instr(civic_fold(original_name), {search}) OR instr(civic_fold(description), {search})
                  OR instr(civic_fold(id), {search}))"
            ));
        }
        if let Some(kind) = &query.mime_or_extension {
            filter.of_kind(kind);
        }
        if let Some(roots) = &query.roots {
            let under: Vec<_> = roots
                .iter()
                .map(|root| format!("({})", filter.begins_with(root)))
                .collect();
            filter.clauses.push(if under.is_empty() {
                "FALSE".to_owned()
            } else {
                format!("({})", under.join(" OR "))
            });
        }
        filter
    }

    /// `image/png` is that type; `image` and `image/*` are every type of that half; `image`, `pdf` and `.pdf` are the
    /// extension of the name too.
    fn of_kind(&mut self, kind: &str) {
        let kind = fold(kind.trim());
        let half = kind.strip_suffix("/*").unwrap_or(&kind);
        if half.contains('/') {
            let mime = self.bind(half.to_owned());
            // Parameters, as in `text/plain; charset=utf-8`, are no part of the type.
            self.clauses.push(format!("trim(substr(civic_fold(mime_type) || ';', 1, instr(civic_fold(mime_type) || ';', ';') - 1)) = {mime}"));
            return;
        }
        let start = self.bind(format!("{half}/"));
        let by_half = format!("substr(civic_fold(mime_type), 1, length({start})) = {start}");
        if kind.len() > half.len() {
            self.clauses.push(by_half);
            return;
        }
        let end = self.bind(format!(".{}", half.trim_start_matches('.')));
        self.clauses.push(format!(
            "({by_half} OR substr(civic_fold(original_name), -length({end})) = {end})"
        ));
    }

    /// `provider_path` begins with `prefix`: a range, so that an index can serve it. The end of the range is the prefix
    /// with its last byte raised by one, which always exists, since no byte of UTF-8 is 0xFF.
    fn begins_with(&mut self, prefix: &str) -> String {
        let mut end = prefix.as_bytes().to_vec();
        let Some(last) = end.last_mut() else {
            return "TRUE".to_owned();
        };
        *last += 1;
        let (start, end) = (self.bind(prefix.to_owned()), self.bind(TextBytes(end)));
        format!("provider_path COLLATE BINARY >= {start} AND provider_path COLLATE BINARY < {end}")
    }

    fn bind(&mut self, value: impl ToSql + 'static) -> String {
        self.values.push(Box::new(value));
        format!("?{}", self.values.len())
    }

    /// The clause with its WHERE, or nothing.
    pub(super) fn clause(&self) -> String {
        if self.clauses.is_empty() {
            String::new()
        } else {
            format!("WHERE {}", self.clauses.join(" AND "))
        }
    }
}
