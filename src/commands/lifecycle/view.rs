//! How a lifecycle run is shown.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::ser::{Error as _, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::commands::changes::Items as Listed;
use crate::engine::cleanup::ItemError;
use crate::engine::lifecycle::{Item, Items, Kind, LifecycleReport, Mode, View as Judged};
use crate::output::{Align, Human, Table, View, format_count, format_size};

/// Rows of each kind that a table shows; the other formats show all.
const ROWS: usize = 20;

/// A finished run.
pub struct LifecycleView {
    pub view: Judged,
    /// The operator stopped it.
    pub interrupted: bool,
}

/// Every action, written as it is read back: a million of them cost no memory.
struct Actions<'a>(&'a Items);

impl Serialize for Actions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for line in Kind::ALL.iter().flat_map(|kind| self.0.lines(*kind)) {
            let line = line.map_err(S::Error::custom)?;
            let raw: &RawValue = serde_json::from_slice(&line).map_err(S::Error::custom)?;
            list.serialize_element(raw)?;
        }
        list.end()
    }
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    report: &'a LifecycleReport,
    actions: Actions<'a>,
    errors: Listed<'a>,
}

impl LifecycleView {
    fn report(&self) -> &LifecycleReport {
        &self.view.report
    }

    fn lines(&self, kind: Kind) -> impl Iterator<Item = io::Result<Item>> {
        let read = |line: io::Result<Vec<u8>>| Ok(serde_json::from_slice(&line?)?);
        self.view.items.lines(kind).map(read)
    }

    fn section(&self, out: &mut Human<'_>, kind: Kind) -> io::Result<()> {
        let count = self.view.items.count(kind);
        if count == 0 {
            return Ok(());
        }
        let title = match kind {
            Kind::Delete => "To be deleted",
            Kind::Archive => "To be archived",
            Kind::Warn => "To be warned of",
            Kind::Retain => "Held",
        };
        out.heading(title)?;
        let mut table = Table::new(&[
            ("ID", Align::Left),
            ("NAME", Align::Left),
            ("FOLDER", Align::Left),
            ("POLICY", Align::Left),
            ("DAYS", Align::Right),
            ("SIZE", Align::Right),
            ("WHY", Align::Left),
        ]);
        for item in self.lines(kind).take(ROWS) {
            let item = item?;
            table.row(vec![
                item.id,
                item.original_name,
                item.folder,
                item.policy,
                item.age_days
                    .map_or_else(|| "-".to_owned(), |days| days.to_string()),
                format_size(u64::try_from(item.size).unwrap_or(0)),
                item.reason,
            ]);
        }
        out.table(&table)?;
        more(out, count)
    }

    fn errors(&self, out: &mut Human<'_>) -> io::Result<()> {
        let errors = self.view.items.errors();
        if errors.is_empty() {
            return Ok(());
        }
        out.heading("Left alone")?;
        let mut table = Table::new(&[("FILE", Align::Left), ("WHY", Align::Left)]);
        for error in errors.iter().take(ROWS) {
            let error: ItemError = serde_json::from_slice(&error?)?;
            table.row(vec![error.file, error.error]);
        }
        out.table(&table)?;
        more(out, errors.len())
    }

    fn policies(&self, out: &mut Human<'_>) -> io::Result<()> {
        let mut table = Table::new(&[
            ("POLICY", Align::Left),
            ("ACTION", Align::Left),
            ("FILES", Align::Right),
            ("SIZE", Align::Right),
        ]);
        for policy in &self.report().policies {
            table.row(vec![
                policy.name.clone(),
                policy.action.to_owned(),
                format_count(policy.matched),
                format_size(policy.bytes),
            ]);
        }
        if table.is_empty() {
            return out.line("storage.yml has no lifecycle policy that is enabled.");
        }
        out.table(&table)
    }
}

fn more(out: &mut Human<'_>, count: u64) -> io::Result<()> {
    match count.saturating_sub(ROWS as u64) {
        0 => out.line(""),
        more => out.line(&format!("… and {} more; --json names all\n", format_count(more))),
    }
}

impl View for LifecycleView {
    fn operation(&self) -> &'static str {
        "storage:lifecycle"
    }

    fn message(&self) -> String {
        let report = self.report();
        let (counts, words) = match report.mode {
            Mode::Check => (report.counts, "would be "),
            Mode::Apply => (report.done, ""),
        };
        let mut parts = vec![
            format!("{} {words}deleted", format_count(counts.delete)),
            format!("{} {words}archived", format_count(counts.archive)),
            format!("{} {words}warned of", format_count(counts.warn)),
            format!("{} held", format_count(counts.retain)),
        ];
        let rest = [
            (report.waiting, "wait after their warning"),
            (report.skipped, "had changed meanwhile"),
            (report.error_summary.total_errors, "left alone, see errors"),
        ];
        let rest = rest.into_iter().filter(|(count, _)| *count > 0);
        parts.extend(rest.map(|(count, what)| format!("{} {what}", format_count(count))));
        parts.join(", ")
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        let data = Data {
            report: self.report(),
            actions: Actions(&self.view.items),
            errors: Listed(self.view.items.errors()),
        };
        serde_json::to_writer(out, &data)
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        for line in Kind::ALL.iter().flat_map(|kind| self.view.items.lines(*kind)) {
            let mut item: Value = serde_json::from_slice(&line?)?;
            item["type"] = "action".into();
            emit(item)?;
        }
        for error in self.view.items.errors() {
            let mut item: Value = serde_json::from_slice(&error?)?;
            item["type"] = "error".into();
            emit(item)?;
        }
        Ok(())
    }

    fn summary(&self) -> Value {
        serde_json::to_value(self.report()).unwrap_or_default()
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "type",
            "action",
            "policy",
            "id",
            "originalName",
            "folder",
            "provider",
            "ageDays",
            "size",
            "reason",
            "file",
            "error",
            "errorCode",
        ]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        let report = self.report();
        if report.mode == Mode::Check {
            out.line(&format!("As of {}\n", moment(report.as_of)))?;
        }
        self.policies(out)?;
        out.line("")?;
        for kind in Kind::ALL {
            self.section(out, kind)?;
        }
        self.errors(out)?;
        out.line(&format!("{}.", self.message()))?;
        if self.interrupted {
            out.line("Stopped before its end; what is done stays so.")?;
        }
        if report.done.delete + report.done.archive > 0 {
            out.line(&format!("civic storage:undo {} takes it back.", report.run_id))?;
        }
        Ok(())
    }
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
