//! The JSON envelope that scripts depend on: `success`, `data`, `message`, `meta`, or `error`.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::{Outcome, View};
use crate::error::Failure;

/// Raised when a key that scripts may read is removed or changes its meaning.
const SCHEMA_VERSION: u32 = 1;

/// Writes the outcome as one object on one line, its data streamed through [`View::json`].
pub(super) fn write(out: &mut dyn Write, outcome: &Outcome, took: Duration) -> io::Result<()> {
    let view = outcome.view.as_ref();
    let success = outcome.failure.is_none();
    write!(out, "{{\"success\":{success},\"data\":")?;
    view.json(out)?;
    match &outcome.failure {
        Some(failure) => member(out, "error", failure)?,
        None => member(out, "message", &view.message())?,
    }
    member(out, "meta", &meta(view, took))?;
    out.write_all(b"}\n")
}

/// Writes a failure that came before there was anything to report.
pub(super) fn write_failure(out: &mut dyn Write, failure: &Failure) -> io::Result<()> {
    out.write_all(b"{\"success\":false")?;
    member(out, "error", failure)?;
    out.write_all(b"}\n")
}

fn member(out: &mut dyn Write, key: &str, value: &impl Serialize) -> io::Result<()> {
    write!(out, ",\"{key}\":")?;
    Ok(serde_json::to_writer(out, value)?)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    operation: &'static str,
    /// Milliseconds.
    duration: u64,
    schema_version: u32,
}

fn meta(view: &dyn View, took: Duration) -> Meta {
    Meta {
        operation: view.operation(),
        duration: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        schema_version: SCHEMA_VERSION,
    }
}
