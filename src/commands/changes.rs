//! What the commands that take files away or put them back have in common: the providers, the journal, and the report
//! in the shape that scripts depend on.

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::Context;
use crate::engine::changes::{Changes, Sites};
use crate::engine::cleanup::ItemError;
use crate::error::{Code, Exit, Failure};
use crate::metadata::journal::RunStatus;
use crate::output::{Align, Human, Outcome, Table, View, format_count, format_size};

/// Items shown to people; programs get all.
const SHOWN: usize = 20;

/// Every configured provider; one that cannot be used fails its own items only.
///
/// # Errors
/// Everything that is wrong with the configuration.
pub fn sites(context: &Context) -> Result<Sites, Failure> {
    let build = |provider: &crate::config::ProviderConfig| {
        let built = context.provider(&provider.name).map(Arc::new);
        (provider.name.clone(), built.map_err(|failure| failure.message))
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
        ["storage:delete", "storage:move", "storage:update"].contains(&self.operation)
    }
}

/// How the run ends in the journal.
pub fn status(changes: &Changes) -> RunStatus {
    match (
        changes.interrupted,
        changes.failed.is_empty(),
        changes.successful.is_empty(),
    ) {
        (true, ..) => RunStatus::Interrupted,
        (_, true, _) => RunStatus::Done,
        (_, _, true) => RunStatus::Failed,
        _ => RunStatus::Partial,
    }
}

/// Counts, for history.
pub fn counts(changes: &Changes) -> Value {
    json!({
        "successfulCount": changes.successful.len(),
        "failedCount": changes.failed.len(),
        "bytes": changes.bytes,
        "takenOver": changes.taken_over,
    })
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

/// Some through: 3. None: 5 where every reason was a provider, else 1. A lone item speaks for itself.
fn failure(words: Words, changes: &Changes) -> Option<Failure> {
    if changes.interrupted {
        let hint = format!(
            "what is {} stays so; run the command again for the rest",
            words.done
        );
        return Some(Failure::interrupted().hint(hint));
    }
    let first = changes.failed.first()?;
    let unavailable = |error: &ItemError| error.error_code == "STORAGE_PROVIDER_UNAVAILABLE";
    let exit = if !changes.successful.is_empty() {
        Exit::Partial
    } else if changes.failed.iter().all(unavailable) {
        Exit::Unavailable
    } else {
        Exit::Failed
    };
    let total = changes.failed.len() + changes.successful.len();
    if total == 1 {
        let code = match first.error_code.as_str() {
            "STORAGE_PROVIDER_UNAVAILABLE" => Code::ProviderUnavailable,
            "STORAGE_VALIDATION_ERROR" => Code::Validation,
            "STORAGE_FILE_NOT_FOUND" => Code::FileNotFound,
            "STORAGE_CONFIGURATION_ERROR" => Code::Configuration,
            _ => Code::Error,
        };
        let message = format!("{}: {}", first.file, first.error);
        return Some(Failure::new(exit, code, message).detail("path", first.file.as_str()));
    }
    let message = format!(
        "{} of {} files could not be {}",
        format_count(changes.failed.len() as u64),
        format_count(total as u64),
        words.done
    );
    let summary = serde_json::to_value(&changes.errors).unwrap_or_default();
    Some(Failure::new(exit, Code::BatchOperation, message).detail("errorSummary", summary))
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
        let count = self.changes.successful.len();
        let files = if count == 1 { "file" } else { "files" };
        let mut text = format!(
            "{} {files} {done}, {}",
            format_count(count as u64),
            format_size(self.changes.bytes)
        );
        if !self.changes.failed.is_empty() {
            text.push_str("; ");
            text.push_str(&format_count(self.changes.failed.len() as u64));
            text.push_str(" failed");
        }
        text
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        let mut data = self.summary();
        data["successful"] = self.changes.successful.as_slice().into();
        data["failed"] = serde_json::to_value(&self.changes.failed)?;
        serde_json::to_writer(out, &data)
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        for file in &self.changes.successful {
            emit(json!({ "success": true, "file": file }))?;
        }
        for error in &self.changes.failed {
            let mut item = serde_json::to_value(error)?;
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
            "total": self.changes.successful.len() + self.changes.failed.len(),
            "successfulCount": self.changes.successful.len(),
            "failedCount": self.changes.failed.len(),
            "bytes": self.changes.bytes,
            "errorSummary": self.changes.errors,
        });
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
        files(out, &self.changes.successful)?;
        if !self.changes.failed.is_empty() {
            out.heading("Failed")?;
            let mut table = Table::new(&[("FILE", Align::Left), ("ERROR", Align::Left)]);
            for error in self.changes.failed.iter().take(SHOWN) {
                table.row(vec![error.file.clone(), error.error.clone()]);
            }
            out.table(&table)?;
            more(out, self.changes.failed.len())?;
        }
        out.line(&format!("{}.", self.message()))?;
        match &self.run_id {
            Some(run) if self.words.can_be_undone() && !self.changes.successful.is_empty() => {
                out.line(&format!("Run {run}"))
            }
            _ => Ok(()),
        }
    }
}

/// A table of files by id, name, folder and size.
pub fn files(out: &mut Human<'_>, items: &[Value]) -> io::Result<()> {
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

fn more(out: &mut Human<'_>, count: usize) -> io::Result<()> {
    match count.saturating_sub(SHOWN) {
        0 => Ok(()),
        more => out.line(&format!(
            "… and {} more; --json names all",
            format_count(more as u64)
        )),
    }
}

/// What a question shows: the first items and the sum.
pub fn preview(items: &[(String, u64)]) -> String {
    let mut lines: Vec<String> = items
        .iter()
        .take(SHOWN)
        .map(|(name, size)| format!("  {}  {}", crate::output::escape(name), format_size(*size)))
        .collect();
    if items.len() > SHOWN {
        lines.push(format!(
            "  … and {} more",
            format_count((items.len() - SHOWN) as u64)
        ));
    }
    let bytes = items.iter().map(|(_, size)| size).sum();
    let files = if items.len() == 1 { "file" } else { "files" };
    lines.push(format!(
        "{} {files}, {}",
        format_count(items.len() as u64),
        format_size(bytes)
    ));
    lines.join("\n")
}
