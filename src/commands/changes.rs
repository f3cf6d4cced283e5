//! What the commands that take files away or put them back have in common: the providers, the journal, and the report
//! in the shape that scripts depend on.

use std::io::{self, Write};
use std::sync::Arc;

use serde::ser::{Error as _, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::Context;
use crate::engine::changes::{Changes, Copies, Sites, Unusable};
use crate::engine::cleanup::ItemError;
use crate::engine::quota;
use crate::error::{Code, Exit, Failure};
use crate::metadata::journal::RunStatus;
use crate::output::{Align, Human, Outcome, Table, View, format_count, format_size};
use crate::spill::Spool;

/// Items shown to people; programs get all.
const SHOWN: usize = 20;

/// Every configured provider; one that cannot be used fails its own items only.
///
/// # Errors
/// Everything that is wrong with the configuration.
pub fn sites(context: &Context) -> Result<Sites, Failure> {
    let build = |provider: &crate::config::ProviderConfig| {
        let built = context.provider(&provider.name).map(Arc::new);
        (
            provider.name.clone(),
            built.map_err(|failure| Unusable::unbuilt(failure.message)),
        )
    };
    Ok(Sites {
        roots: context.roots()?,
        providers: context.config()?.providers.iter().map(build).collect(),
    })
}

/// How a command speaks of what it does.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    pub operation: &'static str,
    /// `deleted`
    pub done: &'static str,
    /// `would be deleted`
    pub planned: &'static str,
}

impl Words {
    /// Whether people are told the run, since storage:undo takes it.
    fn can_be_undone(self) -> bool {
        [
            "storage:delete",
            "storage:migrate",
            "storage:move",
            "storage:update",
        ]
        .contains(&self.operation)
    }
}

/// How the run ends in the journal.
pub fn status(changes: &Changes) -> RunStatus {
    match (
        changes.interrupted,
        changes.failed().is_empty(),
        changes.successful().is_empty(),
    ) {
        (true, ..) => RunStatus::Interrupted,
        _ if changes.lost().is_some() => RunStatus::Interrupted,
        (_, true, _) => RunStatus::Done,
        (_, _, true) => RunStatus::Failed,
        _ => RunStatus::Partial,
    }
}

/// Counts, for history.
pub fn counts(changes: &Changes) -> Value {
    let mut counts = json!({
        "successfulCount": changes.successful().len(),
        "failedCount": changes.failed().len(),
        "bytes": changes.bytes,
        "takenOver": changes.taken_over,
    });
    if changes.copies.total > 0 {
        counts["copies"] = json!(changes.copies);
    }
    counts
}

/// The answer of a dry run.
pub fn planned(words: Words, changes: Changes) -> Outcome {
    answer(words, (None, true), changes)
}

/// The answer, with the exit code that it deserves; without a run where there was nothing to be done.
pub fn conclude(words: Words, run_id: Option<&str>, changes: Changes) -> Outcome {
    answer(words, (run_id, false), changes)
}

fn answer(words: Words, (run_id, dry_run): (Option<&str>, bool), changes: Changes) -> Outcome {
    let failure = failure(words, &changes);
    let view = ChangesView {
        words,
        run_id: run_id.map(str::to_owned),
        dry_run,
        changes,
    };
    match failure {
        Some(failure) => Outcome::failed(view, failure),
        None => Outcome::done(view),
    }
}

/// Some through: 3. None: 5 or 6 where that was every reason, else 1. A lone item speaks for itself.
fn failure(words: Words, changes: &Changes) -> Option<Failure> {
    if changes.interrupted {
        let hint = format!(
            "what is {} stays so; run the command again for the rest",
            words.done
        );
        return Some(Failure::interrupted().hint(hint));
    }
    let some = !changes.successful().is_empty();
    if let Some(error) = changes.lost() {
        let exit = if some { Exit::Partial } else { Exit::Failed };
        let message = format!("there was no room for the report, and the rest was left: {error}");
        return Some(Failure::new(exit, Code::Error, message));
    }
    let first = changes.first_failed()?;
    let exit = if some {
        Exit::Partial
    } else {
        Exit::of_failed(changes.errors.by_type.keys())
    };
    let total = changes.failed().len() + changes.successful().len();
    if total == 1 {
        let code = Code::named(&first.error_code);
        let message = format!("{}: {}", first.file, first.error);
        let failure = Failure::new(exit, code, message).detail("path", first.file.as_str());
        return Some(failure.with(first.details.as_ref()));
    }
    let message = format!(
        "{} of {} files could not be {}",
        format_count(changes.failed().len()),
        format_count(total),
        words.done
    );
    let summary = serde_json::to_value(&changes.errors).unwrap_or_default();
    let failure = match (exit, &first.details) {
        (Exit::QuotaExceeded, Some(details)) => {
            let details = quota::of_all(details, changes.wanted);
            Failure::new(exit, Code::QuotaExceeded, message).with(Some(&details))
        }
        _ => Failure::new(exit, Code::BatchOperation, message).retryable_if(changes.errors.may_pass()),
    };
    Some(failure.detail("errorSummary", summary))
}

struct ChangesView {
    words: Words,
    /// `None` where nothing was written down.
    run_id: Option<String>,
    dry_run: bool,
    changes: Changes,
}

impl View for ChangesView {
    fn operation(&self) -> &'static str {
        self.words.operation
    }

    fn message(&self) -> String {
        let done = if self.dry_run {
            self.words.planned
        } else {
            self.words.done
        };
        let count = self.changes.successful().len();
        let files = if count == 1 { "file" } else { "files" };
        let mut text = format!(
            "{} {files}{} {done}, {}",
            format_count(count),
            self.changes.copies.told(),
            format_size(self.changes.bytes.saturating_add(self.changes.copies.bytes))
        );
        if !self.changes.failed().is_empty() {
            text.push_str("; ");
            text.push_str(&format_count(self.changes.failed().len()));
            text.push_str(" failed");
        }
        text
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        #[derive(Serialize)]
        struct Data<'a> {
            #[serde(flatten)]
            summary: Value,
            successful: Items<'a>,
            failed: Items<'a>,
        }
        let data = Data {
            summary: self.summary(),
            successful: Items(self.changes.successful()),
            failed: Items(self.changes.failed()),
        };
        serde_json::to_writer(out, &data)
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        for file in self.changes.successful() {
            let file: Value = serde_json::from_slice(&file?)?;
            emit(json!({ "success": true, "file": file }))?;
        }
        for error in self.changes.failed() {
            let mut item: Value = serde_json::from_slice(&error?)?;
            item["success"] = false.into();
            item["source"] = item["file"].take();
            emit(item)?;
        }
        Ok(())
    }

    fn summary(&self) -> Value {
        let mut summary = json!({
            "runId": self.run_id,
            "dryRun": self.dry_run,
            "total": self.changes.successful().len() + self.changes.failed().len(),
            "successfulCount": self.changes.successful().len(),
            "failedCount": self.changes.failed().len(),
            "bytes": self.changes.bytes,
            "errorSummary": self.changes.errors,
        });
        if self.changes.copies.total > 0 {
            summary["copies"] = json!(self.changes.copies);
        }
        if !self.changes.taken_over.is_empty() {
            summary["takenOver"] = json!(self.changes.taken_over);
        }
        summary
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "success",
            "file.id",
            "file.originalName",
            "file.folder",
            "file.size",
            "file.provider",
            "source",
            "error",
            "errorCode",
        ]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        files(out, self.changes.successful())?;
        if !self.changes.failed().is_empty() {
            out.heading("Failed")?;
            let mut table = Table::new(&[("FILE", Align::Left), ("ERROR", Align::Left)]);
            for error in self.changes.failed().iter().take(SHOWN) {
                let error: ItemError = serde_json::from_slice(&error?)?;
                table.row(vec![error.file, error.error]);
            }
            out.table(&table)?;
            more(out, self.changes.failed().len())?;
        }
        out.line(&format!("{}.", self.message()))?;
        match &self.run_id {
            Some(run) if self.words.can_be_undone() && !self.changes.successful().is_empty() => {
                out.line(&format!("Run {run}"))
            }
            _ => Ok(()),
        }
    }
}

/// A list, written as it is read back: a million items cost no memory.
pub struct Items<'a>(pub &'a Spool);

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for item in self.0 {
            let item = item.map_err(S::Error::custom)?;
            let raw: &RawValue = serde_json::from_slice(&item).map_err(S::Error::custom)?;
            list.serialize_element(raw)?;
        }
        list.end()
    }
}

/// A table of files by id, name, folder and size.
fn files(out: &mut Human<'_>, items: &Spool) -> io::Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut table = Table::new(&[
        ("ID", Align::Left),
        ("NAME", Align::Left),
        ("FOLDER", Align::Left),
        ("SIZE", Align::Right),
    ]);
    for item in items.iter().take(SHOWN) {
        let item: Value = serde_json::from_slice(&item?)?;
        table.row(vec![
            text(&item["id"]),
            text(&item["originalName"]),
            text(&item["folder"]),
            format_size(item["size"].as_u64().unwrap_or(0)),
        ]);
    }
    out.table(&table)?;
    more(out, items.len())
}

fn more(out: &mut Human<'_>, count: u64) -> io::Result<()> {
    match count.saturating_sub(SHOWN as u64) {
        0 => Ok(()),
        more => out.line(&format!("… and {} more; --json names all", format_count(more))),
    }
}

/// What a question shows: the first items and the sum.
#[derive(Debug, Default)]
pub struct Preview {
    shown: Vec<(String, u64)>,
    pub count: u64,
    bytes: u64,
    pub copies: Copies,
}

impl Preview {
    pub fn add(&mut self, name: impl FnOnce() -> String, bytes: u64) {
        if self.shown.len() < SHOWN {
            self.shown.push((name(), bytes));
        }
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

impl std::fmt::Display for Preview {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, size) in &self.shown {
            writeln!(f, "  {}  {}", crate::output::escape(name), format_size(*size))?;
        }
        let more = self.count - self.shown.len() as u64;
        if more > 0 {
            writeln!(f, "  … and {} more", format_count(more))?;
        }
        let files = if self.count == 1 { "file" } else { "files" };
        write!(
            f,
            "{} {files}{}, {}",
            format_count(self.count),
            self.copies.told(),
            format_size(self.bytes.saturating_add(self.copies.bytes))
        )
    }
}
