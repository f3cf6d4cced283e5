//! The report of a command that does the same to many files: what went through, what failed and why, in the shape
//! that scripts depend on. The items lie out of core.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::cleanup::{ErrorSummary, ItemError};
use crate::engine::quota;
use crate::engine::upload::Switch;
use crate::error::{Code, Exit, Failure};
use crate::metadata::journal::RunStatus;
use crate::output::{Align, Human, Outcome, Printer, Table, View, format_count, format_size};
use crate::spill::Spool;

/// Items shown to people of each kind; programs get all.
const SHOWN: usize = 20;

/// What a command calls itself and what it does.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    pub operation: &'static str,
    /// `uploaded`
    pub done: &'static str,
    /// `would be uploaded`
    pub planned: &'static str,
}

/// Outcomes as they come, and then the view of them.
#[derive(Debug)]
pub struct Batch {
    words: Words,
    printer: Printer,
    dry_run: bool,
    run_id: Option<String>,
    successful: Spool,
    skipped: Spool,
    planned: Spool,
    failed: Spool,
    bytes: u64,
    errors: ErrorSummary,
    first_error: Option<ItemError>,
    switches: Vec<Switch>,
    /// Bytes of files for which there was no room.
    wanted: u64,
    missing: Vec<ItemError>,
}

impl Batch {
    pub fn new(words: Words, printer: &Printer, dry_run: bool) -> Self {
        Self {
            words,
            printer: printer.clone(),
            dry_run,
            run_id: None,
            successful: Spool::new(),
            skipped: Spool::new(),
            planned: Spool::new(),
            failed: Spool::new(),
            bytes: 0,
            errors: ErrorSummary::default(),
            first_error: None,
            switches: Vec::new(),
            wanted: 0,
            missing: Vec::new(),
        }
    }

    /// A file that went through lacks a copy.
    pub fn lack(&mut self, missing: ItemError) {
        self.missing.push(missing);
    }

    /// Writes went to other providers than they should have.
    pub fn switched(&mut self, switches: Vec<Switch>) {
        self.switches = switches;
    }

    /// Under which run it was written down.
    pub fn of_run(&mut self, run_id: &str) {
        self.run_id = Some(run_id.to_owned());
    }

    /// A file went through: its record, and `place`, the path on this side.
    ///
    /// # Errors
    /// Where the temporary directory cannot be written.
    pub fn success(&mut self, file: &impl Serialize, place: &str, bytes: u64) -> io::Result<()> {
        self.bytes += bytes;
        let item = json!({ "success": true, "file": file, "source": place });
        self.successful.push(&serde_json::to_vec(&item)?)?;
        self.emit(item);
        Ok(())
    }

    /// A file needed nothing done.
    ///
    /// # Errors
    /// As [`Self::success`].
    pub fn skip(&mut self, file: &impl Serialize, place: &str) -> io::Result<()> {
        let item = json!({ "success": true, "skipped": true, "file": file, "source": place });
        self.skipped.push(&serde_json::to_vec(&item)?)?;
        self.emit(item);
        Ok(())
    }

    /// A file that a real run would try.
    ///
    /// # Errors
    /// As [`Self::success`].
    pub fn plan(&mut self, place: &str, bytes: u64) -> io::Result<()> {
        self.bytes += bytes;
        let item = json!({ "planned": true, "source": place, "size": bytes });
        self.planned.push(&serde_json::to_vec(&item)?)?;
        self.emit(item);
        Ok(())
    }

    /// A file failed; the others go on.
    ///
    /// # Errors
    /// As [`Self::success`].
    pub fn fail(&mut self, error: &ItemError) -> io::Result<()> {
        self.errors.add(error);
        self.wanted = self.wanted.saturating_add(quota::wanted(error));
        self.first_error.get_or_insert_with(|| error.clone());
        let mut item = serde_json::to_value(error)?;
        item["success"] = false.into();
        item["source"] = error.file.as_str().into();
        self.failed.push(&serde_json::to_vec(&item)?)?;
        self.emit(item);
        Ok(())
    }

    /// A reader that went away does not stop the work.
    fn emit(&self, item: Value) {
        if let Err(error) = self.printer.item(item) {
            tracing::debug!("an item could not be printed: {error}");
        }
    }

    /// Counts, for history.
    pub fn counts(&self) -> Value {
        self.with_switches(json!({
            "successfulCount": self.successful.len(),
            "skippedCount": self.skipped.len(),
            "failedCount": self.failed.len(),
            "bytes": self.bytes,
        }))
    }

    /// Nobody reads of failover where there was none.
    fn with_switches(&self, mut summary: Value) -> Value {
        if !self.switches.is_empty() {
            summary["failover"] = json!(self.switches);
        }
        if !self.missing.is_empty() {
            summary["missingCopies"] = json!(self.missing);
        }
        summary
    }

    /// Whether anything went through.
    pub const fn has_success(&self) -> bool {
        !self.successful.is_empty() || !self.skipped.is_empty()
    }

    /// How the run ended, for history.
    pub const fn status(&self) -> RunStatus {
        match (self.failed.is_empty(), self.has_success()) {
            (true, _) if self.missing.is_empty() => RunStatus::Done,
            (true, _) | (false, true) => RunStatus::Partial,
            (false, false) => RunStatus::Failed,
        }
    }

    /// The answer, with the exit code that it deserves.
    pub fn conclude(self, interrupted: bool) -> Outcome {
        let failure = if interrupted {
            let hint = format!(
                "what is {} stays; run the command again for the rest",
                self.words.done
            );
            Some(Failure::interrupted().hint(hint))
        } else {
            self.failure()
        };
        match failure {
            Some(failure) => Outcome::failed(self, failure),
            None => Outcome::done(self),
        }
    }

    /// Every file is stored, and some have fewer copies than they should.
    fn without_copies(&self) -> Option<Failure> {
        let first = self.missing.first()?;
        let count = format_count(self.missing.len() as u64);
        let message = format!(
            "{count} copies are missing, the files are stored; the first: {}: {}",
            first.file, first.error
        );
        let failure = Failure::new(Exit::Partial, Code::named(&first.error_code), message);
        Some(failure.hint("the files are safe where they are; nothing makes these copies later"))
    }

    /// Some through: 3. None: 5 or 6 where that was every reason, else 1. A lone file speaks for itself.
    fn failure(&self) -> Option<Failure> {
        let Some(first) = self.first_error.as_ref() else {
            return self.without_copies();
        };
        let exit = if self.has_success() || !self.planned.is_empty() {
            Exit::Partial
        } else {
            Exit::of_failed(self.errors.by_type.keys())
        };
        if self.total() == 1 {
            let message = format!("{}: {}", first.file, first.error);
            let failure = Failure::new(exit, Code::named(&first.error_code), message);
            return Some(
                failure
                    .detail("path", first.file.as_str())
                    .with(first.details.as_ref()),
            );
        }
        let message = format!(
            "{} of {} files could not be {}",
            format_count(self.failed.len()),
            format_count(self.total()),
            self.words.done
        );
        let failure = match (exit, &first.details) {
            (Exit::QuotaExceeded, Some(details)) => {
                let details = quota::of_all(details, self.wanted);
                Failure::new(exit, Code::QuotaExceeded, message).with(Some(&details))
            }
            _ => Failure::new(exit, Code::BatchOperation, message).retryable_if(self.errors.may_pass()),
        };
        Some(failure.detail(
            "errorSummary",
            serde_json::to_value(&self.errors).unwrap_or_default(),
        ))
    }

    const fn total(&self) -> u64 {
        self.successful.len() + self.skipped.len() + self.planned.len() + self.failed.len()
    }

    fn lists(&self) -> [(&'static str, &Spool); 4] {
        [
            ("successful", &self.successful),
            ("skipped", &self.skipped),
            ("planned", &self.planned),
            ("failed", &self.failed),
        ]
    }

    fn files(out: &mut Human<'_>, (kind, items): (&str, &Spool)) -> io::Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        let columns: &[(&str, Align)] = match kind {
            "failed" => &[("FILE", Align::Left), ("ERROR", Align::Left)],
            "planned" => &[("FILE", Align::Left), ("SIZE", Align::Right)],
            _ => &[
                ("ID", Align::Left),
                ("NAME", Align::Left),
                ("FOLDER", Align::Left),
                ("SIZE", Align::Right),
            ],
        };
        if kind != "successful" {
            out.heading(&capital(kind))?;
        }
        let mut table = Table::new(columns);
        for item in items.iter().take(SHOWN) {
            let item: Value = serde_json::from_slice(&item?)?;
            table.row(cells(kind, &item));
        }
        out.table(&table)?;
        let more = items.len().saturating_sub(SHOWN as u64);
        if more > 0 {
            out.line(&format!("… and {} more; --json names all", format_count(more)))?;
        }
        out.line("")
    }
}

fn cells(kind: &str, item: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let size = |value: &Value| format_size(value.as_u64().unwrap_or(0));
    let file = &item["file"];
    match kind {
        "failed" => vec![text(file), text(&item["error"])],
        "planned" => vec![text(&item["source"]), size(&item["size"])],
        _ => vec![
            text(&file["id"]),
            text(&file["originalName"]),
            text(&file["folder"]),
            size(&file["size"]),
        ],
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_ascii_uppercase().to_string() + chars.as_str()
    })
}

/// An item as it stands in its list: the record itself where there is one.
fn listed(item: &[u8]) -> serde_json::Result<Value> {
    let mut item: Value = serde_json::from_slice(item)?;
    let source = item["source"].take();
    match item["file"].take() {
        Value::Object(mut record) => {
            record.insert("source".into(), source);
            Ok(Value::Object(record))
        }
        Value::String(file) => {
            let mut failed = json!({
                "file": file, "error": item["error"], "errorCode": item["errorCode"],
            });
            if let Some(details) = item.get("details") {
                failed["details"] = details.clone();
            }
            Ok(failed)
        }
        _ => Ok(json!({ "source": source, "size": item["size"] })),
    }
}

impl View for Batch {
    fn operation(&self) -> &'static str {
        self.words.operation
    }

    fn message(&self) -> String {
        let size = format_size(self.bytes);
        let (count, word) = if self.dry_run {
            (self.planned.len(), self.words.planned)
        } else {
            (self.successful.len(), self.words.done)
        };
        let files = if count == 1 { "file" } else { "files" };
        let mut text = format!("{} {files} {word}, {size}", format_count(count));
        if !self.skipped.is_empty() {
            text.push_str("; ");
            text.push_str(&format_count(self.skipped.len()));
            text.push_str(" there already");
        }
        if !self.failed.is_empty() {
            text.push_str("; ");
            text.push_str(&format_count(self.failed.len()));
            text.push_str(" failed");
        }
        text
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        let io = serde_json::Error::io;
        out.write_all(b"{").map_err(io)?;
        for (name, items) in self.lists() {
            if name == "planned" && !self.dry_run {
                continue;
            }
            write!(out, "\"{name}\":[").map_err(io)?;
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.write_all(b",").map_err(io)?;
                }
                serde_json::to_writer(&mut *out, &listed(&item.map_err(io)?)?)?;
            }
            out.write_all(b"],").map_err(io)?;
        }
        let summary = serde_json::to_string(&self.summary())?;
        out.write_all(summary.trim_start_matches('{').as_bytes())
            .map_err(io)
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        if self.printer.streams() {
            return Ok(());
        }
        for (_, items) in self.lists() {
            for item in items {
                emit(serde_json::from_slice(&item?)?)?;
            }
        }
        Ok(())
    }

    fn summary(&self) -> Value {
        self.with_switches(json!({
            "runId": self.run_id,
            "dryRun": self.dry_run,
            "total": self.total(),
            "successfulCount": self.successful.len(),
            "skippedCount": self.skipped.len(),
            "failedCount": self.failed.len(),
            "plannedCount": self.planned.len(),
            "bytes": self.bytes,
            "errorSummary": self.errors,
        }))
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "success",
            "skipped",
            "source",
            "file.id",
            "file.originalName",
            "file.folder",
            "file.size",
            "file.mimeType",
            "file.providerPath",
            "error",
            "errorCode",
        ]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        // The error of a lone file says it all.
        if self.total() == 1 && !self.failed.is_empty() {
            return Ok(());
        }
        for list in self.lists() {
            Self::files(out, list)?;
        }
        out.line(&format!("{}.", self.message()))
    }
}
