//! A change to `storage.yml`, carried out or only shown, and the view of it that several commands share.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::config::Edit;
use crate::error::Failure;
use crate::output::{Human, Outcome, View};

/// What a command did to the file, or would do.
pub struct Edited {
    pub operation: &'static str,
    /// `folder permits added`
    pub what: String,
    pub dry_run: bool,
    pub edit: Edit,
}

impl Edited {
    /// Writes the file, unless it is a dry run or nothing would change.
    ///
    /// # Errors
    /// Where it cannot be written; it is then as it was.
    pub fn carry_out(self) -> Result<Outcome, Failure> {
        if !self.dry_run && !self.edit.is_empty() {
            self.edit.write()?;
        }
        Ok(Outcome::done(self))
    }
}

impl View for Edited {
    fn operation(&self) -> &'static str {
        self.operation
    }

    fn message(&self) -> String {
        let file = self.edit.file.display();
        match (self.edit.is_empty(), self.dry_run) {
            (true, _) => format!("{file} says so already"),
            (false, true) => format!("dry run: {} in {file}", self.what),
            (false, false) => format!("{} in {file}", self.what),
        }
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        serde_json::to_writer(out, &self.summary())
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        emit(self.summary())
    }

    fn summary(&self) -> Value {
        json!({
            "file": self.edit.file,
            "changed": !self.edit.is_empty() && !self.dry_run,
            "dryRun": self.dry_run,
            "diff": self.edit.diff(),
        })
    }

    fn columns(&self) -> &'static [&'static str] {
        &["file", "changed", "dryRun", "diff"]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        if self.dry_run {
            for line in self.edit.diff().lines() {
                out.line(&Human::name(line))?;
            }
        }
        out.line(&Human::name(&self.message()))
    }
}
