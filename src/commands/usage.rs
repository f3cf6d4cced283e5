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
use crate::output::{Align, Human, Outcome, Table, View, bar, format_count, format_size};

/// Columns of a terminal from which on there is room for bars.
const BARS_FROM: u16 = 60;

/// Shows how much is stored: in all, by folder, by provider
///
/// Counts the records of the metadata database; no provider is asked. A report is kept for five minutes, unless this
/// program changes something in between, and says how old it is when it is given again. CivicPress may have changed
/// something meanwhile; --refresh counts anew.
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
    /// Count anew rather than give a report of the last five minutes again
    #[arg(long)]
    refresh: bool,
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
    let store = context.history()?;
    let folder = args.folder.as_deref();
    shared::known_folder(context, &*store, folder).await?;
    let by: Vec<Breakdown> = args.by.into_iter().map(Breakdown::from).collect();
    let request = UsageRequest {
        folder,
        roots: &roots,
        by: &by,
        active: &context.config()?.active_provider,
        refresh: args.refresh,
        now: context.clock().now(),
    };
    let report = usage::usage(&*store, &request).await?;
    Ok(Outcome::done(UsageView {
        age_seconds: report.age_seconds(request.now),
        report,
    }))
}

struct UsageView {
    report: UsageReport,
    age_seconds: u64,
}

/// A breakdown: the word for one of its rows, and the rows.
struct Section<'a> {
    word: &'static str,
    tallies: &'a Tallies,
}

impl UsageView {
    fn sections(&self) -> impl Iterator<Item = Section<'_>> {
        let report = &self.report;
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

    /// What has a line of its own, where there is any of it.
    fn asides(&self) -> impl Iterator<Item = (&'static str, Tally)> {
        let report = &self.report;
        [
            ("unmapped", report.unmapped),
            ("archived", report.archived),
            ("trash", report.trash),
            ("inFlight", report.in_flight),
        ]
        .into_iter()
        .filter(|(_, tally)| tally.files > 0)
    }

    fn aside_lines(&self, out: &mut Human<'_>) -> io::Result<()> {
        for (word, tally) in self.asides() {
            let what = match word {
                "archived" => "Archived, where CivicPress does not read it",
                "trash" => "Trash, beside that",
                "inFlight" => "On its way, beside that",
                _ => continue,
            };
            out.line(&format!("{what}: {}", in_words(tally)))?;
        }
        Ok(())
    }

    fn data(&self) -> Data {
        let report = &self.report;
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
            archived: Shown::from(report.archived),
            trash: Shown::from(report.trash),
            in_flight: Shown::from(report.in_flight),
            timestamp: report.timestamp.to_rfc3339_opts(SecondsFormat::Millis, true),
            cached: report.cached,
            age_seconds: self.age_seconds,
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
    /// With another provider than the active one.
    archived: Shown,
    trash: Shown,
    in_flight: Shown,
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
        in_words(self.report.total)
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
        for (word, tally) in self.asides() {
            emit(item(word, "", tally))?;
        }
        emit(item("total", "", self.report.total))
    }

    fn summary(&self) -> Value {
        let Data {
            total,
            unmapped,
            archived,
            trash,
            in_flight,
            timestamp,
            cached,
            age_seconds,
            ..
        } = self.data();
        json!({
            "total": total,
            "unmapped": unmapped,
            "archived": archived,
            "trash": trash,
            "inFlight": in_flight,
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
            let bars = out.width.is_some_and(|width| width >= BARS_FROM);
            out.table(&self.section_table(&section, bars))?;
            out.line("")?;
        }
        out.line(&format!("Total: {}", self.message()))?;
        self.aside_lines(out)?;
        if self.report.cached {
            out.line(&format!(
                "Counted {} s ago; --refresh counts anew",
                self.age_seconds
            ))?;
        }
        if self.report.unmapped.files > 0 {
            out.line(&format!(
                "{} of them under no configured provider; if a root moved, name the old one in the provider's aliases",
                format_count(self.report.unmapped.files)
            ))?;
        }
        Ok(())
    }
}

impl UsageView {
    fn section_table(&self, section: &Section<'_>, bars: bool) -> Table {
        let heading = match section.word {
            "folder" => "FOLDER",
            "provider" => "PROVIDER",
            "type" => "TYPE",
            "month" => "MONTH",
            _ => "UPLOADER",
        };
        let columns = [
            (heading, Align::Left),
            ("FILES", Align::Right),
            ("SIZE", Align::Right),
            ("SHARE", Align::Right),
            ("", Align::Left),
        ];
        let mut table = Table::new(&columns[..if bars { 5 } else { 4 }]);
        let mut rows: Vec<(&str, Tally)> = section
            .tallies
            .iter()
            .map(|(name, tally)| (name.as_str(), *tally))
            .collect();
        if section.word != "month" {
            rows.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.bytes));
        }
        if section.word == "provider" && self.report.unmapped.files > 0 {
            rows.push(("(unmapped)", self.report.unmapped));
        }
        for (name, tally) in rows {
            let whole = self.report.total.bytes;
            let mut cells = vec![
                name.to_owned(),
                format_count(tally.files),
                format_size(tally.bytes),
                share(tally.bytes, whole),
            ];
            cells.extend(bars.then(|| bar(tally.bytes, whole)));
            table.row(cells);
        }
        table
    }
}

fn in_words(Tally { files, bytes }: Tally) -> String {
    format!("{} in {} files", format_size(bytes), format_count(files))
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
