//! What applying came to, as it grows.

use std::io;

use super::super::finding::{Findings, ItemError, Kind};
use super::super::report::{Cleaned, ErrorSummary, Skipped};
use crate::engine::ownership::TakenOver;

/// Counts of what settled, and the errors of what did not.
#[derive(Debug, Default)]
pub struct Outcome {
    pub cleaned: Cleaned,
    pub repaired: u64,
    pub skipped: Skipped,
    pub taken_over: Vec<TakenOver>,
    pub errors: Findings,
    pub error_summary: ErrorSummary,
    /// Some step could not be settled, since nobody could tell what became of its object.
    pub open: bool,
}

impl Outcome {
    /// Adds the error of one item.
    ///
    /// # Errors
    /// Where the temporary directory cannot take it.
    pub fn fail(&mut self, file: &str, why: &dyn std::fmt::Display, code: &str) -> io::Result<()> {
        let error = ItemError {
            file: file.to_owned(),
            error: why.to_string(),
            error_code: code.to_owned(),
            details: None,
        };
        self.error_summary.add(&error);
        self.errors.push(Kind::Errors, &error)
    }
}
