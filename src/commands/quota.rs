//! `storage:quota`: how full the folders are that have a limit, and all of them together.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::shared::{known_folder, limits};
use crate::Context;
use crate::engine::quota::{self, QuotaReport, WARNINGS, nearly_full};
use crate::error::Failure;
use crate::metadata::quota::{Level, Scope};
use crate::output::{Align, Human, Outcome, Table, View, bar, format_size};

/// Columns of a terminal from which on there is room for bars.
const BARS_FROM: u16 = 72;

/// Shows how much of its quota each folder has taken, and how much is left
///
/// Uploads and moves that are under way count as reserved, until they end or their process does. A folder that has taken 80 %
/// is warned of, and again at 95 %.
#[derive(Debug, Args)]
pub struct QuotaArgs {
    /// This folder only [default: every folder of storage.yml]
    #[arg(value_name = "FOLDER")]
    folder: Option<String>,
}

/// Reads the database, and asks no provider.
///
/// # Errors
/// A folder that is not known, a configuration or a database that cannot be read.
pub async fn run(context: &Context, args: QuotaArgs) -> Result<Outcome, Failure> {
    let limits = limits(context)?;
    let store = context.history()?;
    known_folder(context, &*store, args.folder.as_deref()).await?;
    let folders = match args.folder {
        Some(folder) => vec![folder],
        None => context.config()?.folders.keys().cloned().collect(),
    };
    let report = quota::report(&*store, &limits, &folders).await?;
    for level in &report.levels {
        if let Some(permille) = level.permille().filter(|permille| *permille >= WARNINGS[0]) {
            tracing::warn!("{}", nearly_full(level, permille));
        }
    }
    Ok(Outcome::done(QuotaView(report)))
}

struct QuotaView(QuotaReport);

/// The report as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    folders: BTreeMap<String, Shown>,
    global: Option<Shown>,
    enforced: bool,
    counts_trash: bool,
}

/// A level as scripts read it. What hangs on a limit is null where there is none.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    used: u64,
    used_formatted: String,
    reserved: u64,
    limit: Option<u64>,
    limit_formatted: Option<String>,
    available: Option<u64>,
    available_formatted: Option<String>,
    percent: Option<f64>,
    status: &'static str,
}

impl From<&Level> for Shown {
    fn from(level: &Level) -> Self {
        Self {
            used: level.used,
            used_formatted: format_size(level.used),
            reserved: level.reserved,
            limit: level.limit,
            limit_formatted: level.limit.map(format_size),
            available: level.available(),
            available_formatted: level.available().map(format_size),
            percent: level.permille().map(percent),
            status: status(level),
        }
    }
}

/// Tenths, as a number.
fn percent(permille: u64) -> f64 {
    // Larger ones lose digits that nobody reads.
    f64::from(u32::try_from(permille).unwrap_or(u32::MAX)) / 10.0
}

fn status(level: &Level) -> &'static str {
    let [warning, critical] = WARNINGS;
    match level.permille() {
        None => "unlimited",
        Some(_) if level.limit.is_some_and(|limit| level.taken() > limit) => "exceeded",
        Some(permille) if permille >= critical => "critical",
        Some(permille) if permille >= warning => "warning",
        Some(_) => "ok",
    }
}

const fn name(level: &Level) -> &str {
    match &level.scope {
        Scope::Folder(folder) => folder.as_str(),
        Scope::All => "",
    }
}

impl QuotaView {
    fn data(&self) -> Data {
        let levels = &self.0.levels;
        let folders = levels.iter().filter(|level| level.scope != Scope::All);
        let all = levels.iter().find(|level| level.scope == Scope::All);
        Data {
            folders: folders
                .map(|level| (name(level).to_owned(), level.into()))
                .collect(),
            global: all.map(Shown::from),
            enforced: self.0.enforced,
            counts_trash: self.0.counts_trash,
        }
    }
}

impl View for QuotaView {
    fn operation(&self) -> &'static str {
        "storage:quota"
    }

    fn message(&self) -> String {
        let of = |wanted: &str| {
            self.0
                .levels
                .iter()
                .filter(|level| status(level) == wanted)
                .count()
        };
        match (of("exceeded"), of("critical"), of("warning")) {
            (0, 0, 0) => "every quota has room".to_owned(),
            (0, 0, warning) => format!("{warning} nearly full"),
            (exceeded, critical, warning) => {
                format!("{exceeded} exceeded, {critical} full or all but, {warning} nearly full")
            }
        }
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        serde_json::to_writer(out, &self.data())
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        for level in &self.0.levels {
            let mut item = json!(Shown::from(level));
            item["scope"] = json!(if level.scope == Scope::All {
                "global"
            } else {
                "folder"
            });
            item["folder"] = name(level).into();
            emit(item)?;
        }
        Ok(())
    }

    fn summary(&self) -> Value {
        json!({ "enforced": self.0.enforced, "countsTrash": self.0.counts_trash })
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "scope",
            "folder",
            "used",
            "reserved",
            "limit",
            "available",
            "percent",
            "status",
        ]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        let bars = out.width.is_some_and(|width| width >= BARS_FROM);
        let columns = [
            ("FOLDER", Align::Left),
            ("USED", Align::Right),
            ("RESERVED", Align::Right),
            ("LIMIT", Align::Right),
            ("AVAILABLE", Align::Right),
            ("TAKEN", Align::Right),
            ("", Align::Left),
        ];
        let mut table = Table::new(&columns[..if bars { 7 } else { 6 }]);
        for level in &self.0.levels {
            table.row(cells(level, bars));
        }
        out.table(&table)?;
        if !self.0.enforced {
            out.line("Nothing is refused, since global.quota_enforcement is false.")?;
        }
        Ok(())
    }
}

fn cells(level: &Level, bars: bool) -> Vec<String> {
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), format_size);
    let taken = |permille: u64| format!("{}.{} %", permille / 10, permille % 10);
    let mut cells = vec![
        match &level.scope {
            Scope::Folder(folder) => folder.clone(),
            Scope::All => "(all)".to_owned(),
        },
        format_size(level.used),
        format_size(level.reserved),
        size(level.limit),
        size(level.available()),
        level.permille().map_or_else(|| "-".to_owned(), taken),
    ];
    if bars {
        cells.push(
            level
                .limit
                .map_or_else(String::new, |limit| bar(level.taken(), limit)),
        );
    }
    cells
}
