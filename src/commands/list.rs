//! `storage:list`: the files, a page at a time, by the names their users gave them.

use std::io::{self, Write};

use clap::{Args, ValueEnum, value_parser};
use serde::Serialize;
use serde_json::{Value, json};

use super::shared::{self, minute};
use crate::Context;
use crate::engine::list::{self, FilePage, ListedFile};
use crate::error::Failure;
use crate::metadata::{FileRecord, ListQuery, SortKey};
use crate::output::{Align, Human, Outcome, Table, View, format_count, format_size};

/// From this width on, a table has room for everything.
const WIDE: u16 = 120;

/// Lists files
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Files of this folder only
    #[arg(long, value_name = "NAME")]
    folder: Option<String>,
    /// Files whose name, description or id contains this, in upper or lower case
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Files of this MIME type (`image/png`, `image`) or extension (`pdf`)
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Files of this provider only
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Order; times and sizes begin with the newest and largest
    #[arg(long, value_name = "KEY", value_enum, default_value = "created")]
    sort: Sort,
    /// The other way round
    #[arg(long)]
    reverse: bool,
    /// Page to show
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u64).range(1..=1_000_000_000))]
    page: u64,
    /// Files on a page
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u64).range(1..=10_000))]
    limit: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    Created,
    Updated,
    Name,
    Size,
    Folder,
    Type,
}

impl Sort {
    const fn key(self) -> SortKey {
        match self {
            Self::Created => SortKey::Created,
            Self::Updated => SortKey::Updated,
            Self::Name => SortKey::Name,
            Self::Size => SortKey::Size,
            Self::Folder => SortKey::Folder,
            Self::Type => SortKey::Type,
        }
    }

    const fn begins_with_most(self) -> bool {
        matches!(self, Self::Created | Self::Updated | Self::Size)
    }
}

/// Reads one page; no provider is asked.
///
/// # Errors
/// A folder or provider that is not known, a configuration or a database that cannot be read.
pub async fn run(context: &Context, args: ListArgs) -> Result<Outcome, Failure> {
    let roots = context.roots()?;
    let store = context.metadata()?;
    shared::known_folder(context, store.as_ref(), args.folder.as_deref()).await?;
    let query = ListQuery {
        roots: provider_roots(context, args.provider.as_deref())?,
        folder: args.folder,
        search: args.search,
        mime_or_extension: args.kind,
        sort: args.sort.key(),
        descending: args.sort.begins_with_most() != args.reverse,
        offset: (args.page - 1) * args.limit,
        limit: args.limit,
    };
    let found = list::list(store.as_ref(), &query, &roots).await?;
    Ok(Outcome::done(ListView {
        found,
        page: args.page,
        limit: args.limit,
    }))
}

fn provider_roots(context: &Context, provider: Option<&str>) -> Result<Option<Vec<String>>, Failure> {
    let Some(provider) = provider else {
        return Ok(None);
    };
    context.provider_config(provider)?;
    let roots = context
        .roots()?
        .into_iter()
        .find(|roots| roots.provider == provider);
    Ok(Some(roots.map(|roots| roots.roots).unwrap_or_default()))
}

struct ListView {
    found: FilePage,
    page: u64,
    limit: u64,
}

impl ListView {
    fn pages(&self) -> u64 {
        self.found.total.div_ceil(self.limit)
    }
}

#[derive(Serialize)]
struct Data<'a> {
    files: Vec<Shown<'a>>,
    /// On all pages.
    total: u64,
    page: u64,
    limit: u64,
    pages: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    #[serde(flatten)]
    record: &'a FileRecord,
    size_formatted: String,
    provider: Option<&'a str>,
}

impl<'a> From<&'a ListedFile> for Shown<'a> {
    fn from(file: &'a ListedFile) -> Self {
        Self {
            record: &file.record,
            size_formatted: recorded_size(&file.record),
            provider: file.provider.as_deref(),
        }
    }
}

fn recorded_size(record: &FileRecord) -> String {
    format_size(u64::try_from(record.size).unwrap_or(0))
}

impl View for ListView {
    fn operation(&self) -> &'static str {
        "storage:list"
    }

    fn message(&self) -> String {
        let shown = self.found.files.len();
        let total = format_count(self.found.total);
        match (shown, self.found.total) {
            (_, 0) => "no file matches".to_owned(),
            (0, _) => format!(
                "page {} is beyond the last: {total} files on {} pages",
                self.page,
                self.pages()
            ),
            (_, 1) => "1 file".to_owned(),
            _ if self.pages() == 1 => format!("{total} files"),
            _ => format!("{shown} of {total} files, page {} of {}", self.page, self.pages()),
        }
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        let data = Data {
            files: self.found.files.iter().map(Shown::from).collect(),
            total: self.found.total,
            page: self.page,
            limit: self.limit,
            pages: self.pages(),
        };
        serde_json::to_writer(out, &data)
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        for file in &self.found.files {
            emit(serde_json::to_value(Shown::from(file))?)?;
        }
        Ok(())
    }

    fn summary(&self) -> Value {
        json!({
            "total": self.found.total,
            "page": self.page,
            "limit": self.limit,
            "pages": self.pages(),
        })
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "id",
            "originalName",
            "folder",
            "size",
            "mimeType",
            "provider",
            "uploadedBy",
            "createdAt",
            "updatedAt",
            "description",
            "providerPath",
        ]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        if !self.found.files.is_empty() {
            let wide = out.width.is_none_or(|width| width >= WIDE);
            out.table(&if wide {
                self.wide_table()
            } else {
                self.narrow_table()
            })?;
            out.line("")?;
        }
        out.line(&self.message())
    }
}

impl ListView {
    /// What `storage:info` takes, and the size: all that 80 columns can hold beside an id.
    fn narrow_table(&self) -> Table {
        let mut table = Table::new(&[("FILE", Align::Left), ("SIZE", Align::Right), ("ID", Align::Left)]);
        for ListedFile { record, .. } in &self.found.files {
            let name = format!("{}/{}", record.folder, record.original_name);
            table.row([&name, &recorded_size(record), &record.id]);
        }
        table
    }

    fn wide_table(&self) -> Table {
        let mut table = Table::new(&[
            ("FOLDER", Align::Left),
            ("NAME", Align::Left),
            ("SIZE", Align::Right),
            ("CREATED", Align::Left),
            ("PROVIDER", Align::Left),
            ("ID", Align::Left),
        ]);
        for ListedFile { record, provider } in &self.found.files {
            table.row([
                record.folder.as_str(),
                &record.original_name,
                &recorded_size(record),
                &minute(&record.created_at),
                provider.as_deref().unwrap_or("(unmapped)"),
                &record.id,
            ]);
        }
        table
    }
}
