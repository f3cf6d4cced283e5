//! stdout carries the answer and nothing else; everything else goes to stderr. Which of the two, in which
//! format, with colour or without, is decided here and nowhere else.

mod bar;
mod csv;
mod envelope;
mod escape;
mod log;
mod ndjson;
mod printer;
mod progress;
mod size;
mod table;

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::Value;

use crate::error::Failure;

pub use bar::bar;
pub use escape::escape;
pub use log::{LogFormat, LogSettings};
pub use printer::{Printer, PrinterSettings};
pub use progress::{ProgressMode, Reporter};
pub use size::{format_count, format_size};
pub use table::{Align, Table};

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
    Ndjson,
    Csv,
}

/// When to use colour; `auto` is a terminal, without `NO_COLOR` and with a `TERM` that is not `dumb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

/// What a command came to: an answer, and beside it why the answer is not all that was asked.
#[expect(missing_debug_implementations, reason = "holds a view")]
pub struct Outcome {
    pub view: Box<dyn View>,
    pub failure: Option<Failure>,
}

impl Outcome {
    /// Everything went through.
    #[must_use]
    pub fn done(view: impl View + 'static) -> Self {
        Self {
            view: Box::new(view),
            failure: None,
        }
    }

    /// Everything went through, and the answer is on stdout already.
    #[must_use]
    pub fn silent(operation: &'static str) -> Self {
        Self::done(Silent(operation))
    }

    /// A report that got as far as `view` shows before `failure`.
    #[must_use]
    pub fn failed(view: impl View + 'static, failure: Failure) -> Self {
        Self {
            view: Box::new(view),
            failure: Some(failure),
        }
    }
}

/// The answer of a command that wrote it to stdout itself.
struct Silent(&'static str);

impl View for Silent {
    fn operation(&self) -> &'static str {
        self.0
    }

    fn message(&self) -> String {
        String::new()
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        out.write_all(b"null").map_err(serde_json::Error::io)
    }

    fn items(&self, _emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        Ok(())
    }

    fn summary(&self) -> Value {
        Value::Null
    }

    fn columns(&self) -> &'static [&'static str] {
        &[]
    }

    fn table(&self, _out: &mut Human<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// One answer, rendered four ways. A command builds it, the printer picks the rendering.
pub trait View {
    /// `storage:usage` and the like.
    fn operation(&self) -> &'static str;

    /// One sentence that sums up the answer.
    fn message(&self) -> String;

    /// The envelope's `data`, streamed: long lists must not be held.
    ///
    /// # Errors
    /// Where writing fails, or where findings kept on disk cannot be read back.
    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()>;

    /// One call per item, each an object; NDJSON prints it with `"type"` in front where it has none.
    ///
    /// # Errors
    /// Whatever `emit` returned, or where findings kept on disk cannot be read back.
    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()>;

    /// The last NDJSON line: all that is not an item.
    fn summary(&self) -> Value;

    /// CSV columns: keys of the item objects, in order; `a.b` reaches into an object.
    fn columns(&self) -> &'static [&'static str];

    /// For people.
    ///
    /// # Errors
    /// Where writing fails, or where findings kept on disk cannot be read back.
    fn table(&self, out: &mut Human<'_>) -> io::Result<()>;
}

/// Where a table goes. Names from users pass through [`Human::name`] on their way.
#[expect(missing_debug_implementations, reason = "holds a writer")]
pub struct Human<'a> {
    pub out: &'a mut dyn Write,
    pub color: bool,
    /// Columns of the terminal; `None` where there is none.
    pub width: Option<u16>,
}

impl Human<'_> {
    /// A name as it may reach a terminal; see [`escape`].
    #[must_use]
    pub fn name(name: &str) -> std::borrow::Cow<'_, str> {
        escape(name)
    }

    /// One line of text. Names in it must have passed through [`Human::name`].
    ///
    /// # Errors
    /// Where writing fails.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// A line that stands above a table or a section.
    ///
    /// # Errors
    /// Where writing fails.
    pub fn heading(&mut self, text: &str) -> io::Result<()> {
        if self.color {
            writeln!(self.out, "\x1b[1m{text}\x1b[0m")
        } else {
            writeln!(self.out, "{text}")
        }
    }

    /// A table, fitted to the terminal.
    ///
    /// # Errors
    /// Where writing fails.
    pub fn table(&mut self, table: &Table) -> io::Result<()> {
        table.write(self)
    }
}
