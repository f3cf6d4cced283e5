//! `storage:usage`: files and bytes in all, and by folder, provider and more.

use std::collections::BTreeMap;
use std::io::{self, Write};

use chrono::SecondsFormat;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use super::shared;
use crate::Context;
use crate::engine::Clock as _;
use crate::engine::usage::{self, Breakdown, Tallies, Tally, UsageReport, UsageRequest};
use crate::error::Failure;
use crate::output::{Align, Human, Outcome, Table, View, format_count, format_size};

/// Shows how much is stored: in all, by folder, by provider
///
/// Counts the records of the metadata database; no provider is asked.
#[derive(Debug, Args)]
pub struct UsageArgs {
    /// Count this folder only
    #[arg(long, value_name = "NAME")]
    folder: Option<String>,
    /// Count by these
    #[arg(
        long,
        value_name = "WHAT",
        value_delimiter = ',',
        value_enum,
        default_value = "folder,provider"
    )]
    by: Vec<By>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Folder,
    Provider,
    /// MIME type
    Type,
    /// Month of the upload, in UTC
    Month,
    Uploader,
}

impl From<By> for Breakdown {
    fn from(by: By) -> Self {
        match by {
            By::Folder => Self::Folder,
            By::Provider => Self::Provider,
            By::Type => Self::Type,
            By::Month => Self::Month,
            By::Uploader => Self::Uploader,
        }
    }
}

/// Counts; opens the database and nothing else.
///
/// # Errors
/// A folder that is not known, a configuration or a database that cannot be read.
pub async fn run(context: &Context, args: UsageArgs) -> Result<Outcome, Failure> {
    let roots = context.roots()?;
    let store = context.metadata()?;
    let folder = args.folder.as_deref();
    shared::known_folder(context, store.as_ref(), folder).await?;
    let by: Vec<Breakdown> = args.by.into_iter().map(Breakdown::from).collect();
    let request = UsageRequest {
        folder,
        roots: &roots,
        by: &by,
        now: context.clock().now(),
    };
    let report = usage::usage(store.as_ref(), &request).await?;
    Ok(Outcome::done(UsageView(report)))
}

struct UsageView(UsageReport);

/// A breakdown: the word for one of its rows, and the rows.
struct Section<'a> {
    word: &'static str,
    tallies: &'a Tallies,
}

impl UsageView {
    fn sections(&self) -> impl Iterator<Item = Section<'_>> {
        let report = &self.0;
        [
            ("folder", &report.by_folder),
            ("provider", &report.by_provider),
            ("type", &report.by_type),
            ("month", &report.by_month),
            ("uploader", &report.by_uploader),
        ]
        .into_iter()
        .filter_map(|(word, tallies)| {
            let tallies = tallies.as_ref()?;
            Some(Section { word, tallies })
        })
    }

    fn data(&self) -> Data {
        let report = &self.0;
        let shown = |tallies: &Option<Tallies>| {
            let named = |(name, tally): (&String, &Tally)| (name.clone(), Shown::from(*tally));
            tallies
                .as_ref()
                .map(|tallies| tallies.iter().map(named).collect())
        };
        Data {
            total: Shown::from(report.total),
            by_folder: shown(&report.by_folder),
            by_provider: shown(&report.by_provider),
            by_type: shown(&report.by_type),
            by_month: shown(&report.by_month),
            by_uploader: shown(&report.by_uploader),
            unmapped: Shown::from(report.unmapped),
            timestamp: report.timestamp.to_rfc3339_opts(SecondsFormat::Millis, true),
            cached: false,
            age_seconds: 0,
        }
    }
}

type ShownTallies = BTreeMap<String, Shown>;

/// The report as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    total: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_folder: Option<ShownTallies>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_provider: Option<ShownTallies>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_type: Option<ShownTallies>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_month: Option<ShownTallies>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_uploader: Option<ShownTallies>,
    /// Under no configured provider.
    unmapped: Shown,
    timestamp: String,
    cached: bool,
    age_seconds: u64,
}

/// A tally as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    files: u64,
    size: u64,
    size_formatted: String,
}

impl From<Tally> for Shown {
    fn from(tally: Tally) -> Self {
        Self {
            files: tally.files,
            size: tally.bytes,
            size_formatted: format_size(tally.bytes),
        }
    }
}

impl View for UsageView {
    fn operation(&self) -> &'static str {
        "storage:usage"
    }

    fn message(&self) -> String {
        let Tally { files, bytes } = self.0.total;
        format!("{} in {} files", format_size(bytes), format_count(files))
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        serde_json::to_writer(out, &self.data())
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        for section in self.sections() {
            for (name, tally) in section.tallies {
                emit(item(section.word, name, *tally))?;
            }
        }
        if self.0.unmapped.files > 0 {
            emit(item("unmapped", "", self.0.unmapped))?;
        }
        emit(item("total", "", self.0.total))
    }

    fn summary(&self) -> Value {
        let Data {
            total,
            unmapped,
            timestamp,
            cached,
            age_seconds,
            ..
        } = self.data();
        json!({
            "total": total,
            "unmapped": unmapped,
            "timestamp": timestamp,
            "cached": cached,
            "ageSeconds": age_seconds,
        })
    }

    fn columns(&self) -> &'static [&'static str] {
        &["by", "name", "files", "size", "sizeFormatted"]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        for section in self.sections() {
            out.table(&self.section_table(&section))?;
            out.line("")?;
        }
        out.line(&format!("Total: {}", self.message()))?;
        if self.0.unmapped.files > 0 {
            out.line(&format!(
                "{} of them under no configured provider; if a root moved, name the old one in the provider's aliases",
                format_count(self.0.unmapped.files)
            ))?;
        }
        Ok(())
    }
}

impl UsageView {
    fn section_table(&self, section: &Section<'_>) -> Table {
        let heading = match section.word {
            "folder" => "FOLDER",
            "provider" => "PROVIDER",
            "type" => "TYPE",
            "month" => "MONTH",
            _ => "UPLOADER",
        };
        let mut table = Table::new(&[
            (heading, Align::Left),
            ("FILES", Align::Right),
            ("SIZE", Align::Right),
            ("SHARE", Align::Right),
        ]);
        let mut rows: Vec<(&str, Tally)> = section
            .tallies
            .iter()
            .map(|(name, tally)| (name.as_str(), *tally))
            .collect();
        if section.word != "month" {
            rows.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.bytes));
        }
        if section.word == "provider" && self.0.unmapped.files > 0 {
            rows.push(("(unmapped)", self.0.unmapped));
        }
        for (name, tally) in rows {
            let share = share(tally.bytes, self.0.total.bytes);
            table.row([
                name,
                &format_count(tally.files),
                &format_size(tally.bytes),
                &share,
            ]);
        }
        table
    }
}

fn item(by: &str, name: &str, tally: Tally) -> Value {
    json!({
        "by": by,
        "name": name,
        "files": tally.files,
        "size": tally.bytes,
        "sizeFormatted": format_size(tally.bytes),
    })
}

/// Tenths of a percent, as text.
fn share(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1000 / u128::from(whole.max(1));
    match (part, tenths) {
        (1.., 0) => "<0.1 %".to_owned(),
        _ => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}
