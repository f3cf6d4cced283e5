//! The one place that knows which stream, format, colour and width the answer gets, and what to do when writing it
//! fails. It never decides what the answer is.

use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::Duration;

use super::{ColorChoice, Format, Human, Outcome, csv, envelope, escape, ndjson};
use crate::error::{Code, Exit, Failure};

/// Large enough that a long answer takes few system calls.
const BUFFER: usize = 64 * 1024;

/// What was asked for on the command line.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrinterSettings {
    /// `None` is a table. `silent` leaves out tables; a format made for programs is always given.
    pub format: Option<Format>,
    pub color: ColorChoice,
    /// Nothing but errors, and answers in a format made for programs.
    pub silent: bool,
}

/// Writes answers to stdout and complaints to stderr.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about two streams"
)]
#[derive(Debug, Clone)]
pub struct Printer {
    format: Format,
    quiet: bool,
    terminal: bool,
    color: bool,
    color_err: bool,
    /// Columns of the terminal.
    width: Option<u16>,
}

impl Printer {
    #[must_use]
    pub fn new(settings: PrinterSettings) -> Self {
        let terminal = io::stdout().is_terminal();
        Self {
            format: settings.format.unwrap_or_default(),
            quiet: settings.silent && matches!(settings.format, None | Some(Format::Table)),
            terminal,
            color: wants_color(settings.color, terminal),
            color_err: wants_color(settings.color, io::stderr().is_terminal()),
            width: terminal.then(width).flatten(),
        }
    }

    /// Whether stderr takes colour.
    #[must_use]
    pub const fn colors_stderr(&self) -> bool {
        self.color_err
    }

    /// Prints what a command came to and gives its exit code.
    #[must_use]
    pub fn conclude(&self, result: &Result<Outcome, Failure>, took: Duration) -> Exit {
        let (failure, written) = match result {
            Ok(outcome) => (outcome.failure.as_ref(), self.answer(outcome, took)),
            Err(failure) => (Some(failure), self.failed(failure)),
        };
        if let Some(failure) = failure.filter(|failure| !failure.quiet) {
            self.complain(failure);
        }
        let exit = failure.map_or(Exit::Done, |failure| failure.exit);
        match written {
            Ok(()) => exit,
            Err(error) => self.unwritten(&error, exit),
        }
    }

    /// Shows text on stderr that a question is about to be asked of, each line as it may reach a terminal.
    pub fn tell(&self, text: &str) {
        let lines = text.lines().map(|line| format!("{}\n", escape(line)));
        to_stderr(&lines.collect::<String>());
    }

    /// Whether [`Self::item`] prints: a view that gave its items there has none left at the end.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.format == Format::Ndjson
    }

    /// Whether the answer goes to a program.
    #[must_use]
    pub fn is_for_programs(&self) -> bool {
        self.format != Format::Table
    }

    /// Prints one item of an answer still in the making, as a line of NDJSON, flushed; nothing in other formats.
    ///
    /// # Errors
    /// Where stdout cannot be written. The work itself need not stop for that.
    pub fn item(&self, item: serde_json::Value) -> io::Result<()> {
        if !self.streams() {
            return Ok(());
        }
        self.buffered(|out| ndjson::item(out, item))
    }

    /// Prints one line of an answer that has no end, flushed.
    ///
    /// # Errors
    /// Where stdout cannot be written.
    pub fn line(&self, text: &str) -> io::Result<()> {
        self.buffered(|out| writeln!(out, "{}", escape(text)))
    }

    /// Prints lines for a program as they are.
    ///
    /// # Errors
    /// Where stdout cannot be written; not where its reader has seen enough.
    pub fn line_by_line(&self, text: &str) -> io::Result<()> {
        match self.buffered(|out| out.write_all(text.as_bytes())) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }

    /// stdout for bytes that are an answer by themselves: a file's content. Unbuffered.
    #[must_use]
    pub fn bytes(&self) -> impl Write + Send + use<> {
        io::stdout()
    }

    /// Prints text that is an answer by itself: help, a version, a script.
    #[must_use]
    pub fn text(&self, text: &str) -> Exit {
        match self.buffered(|out| out.write_all(text.as_bytes())) {
            Ok(()) => Exit::Done,
            Err(error) => self.unwritten(&error, Exit::Done),
        }
    }

    /// The same, with the colours clap gave it.
    #[must_use]
    pub fn styled(&self, text: &clap::builder::StyledStr) -> Exit {
        if self.color {
            self.text(&text.ansi().to_string())
        } else {
            self.text(&text.to_string())
        }
    }

    /// A message of clap's on stderr, as it is.
    #[must_use]
    pub fn styled_error(&self, text: &clap::builder::StyledStr, failure: &Failure) -> Exit {
        if matches!(self.format, Format::Json | Format::Ndjson) {
            return self.conclude(&Err(failure.clone()), Duration::ZERO);
        }
        let text = if self.color_err {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        to_stderr(&text);
        failure.exit
    }

    fn answer(&self, outcome: &Outcome, took: Duration) -> io::Result<()> {
        if self.quiet {
            return Ok(());
        }
        self.buffered(|out| match self.format {
            Format::Table => outcome.view.table(&mut Human {
                out,
                color: self.color,
                width: self.width,
            }),
            Format::Json => envelope::write(out, outcome, took),
            Format::Ndjson => ndjson::write(out, outcome),
            Format::Csv => csv::write(out, outcome.view.as_ref(), self.terminal),
        })
    }

    /// A failure without an answer is the answer, for a program that reads one.
    fn failed(&self, failure: &Failure) -> io::Result<()> {
        match self.format {
            Format::Json => self.buffered(|out| envelope::write_failure(out, failure)),
            Format::Ndjson => self.buffered(|out| ndjson::write_failure(out, failure)),
            Format::Table | Format::Csv => Ok(()),
        }
    }

    fn buffered(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
        if self.terminal && matches!(self.format, Format::Json | Format::Ndjson) {
            write(&mut JsonForTerminal(&mut out))?;
        } else {
            write(&mut out)?;
        }
        out.flush()
    }

    fn complain(&self, failure: &Failure) {
        let (red, plain) = if self.color_err {
            ("\x1b[1;31m", "\x1b[0m")
        } else {
            ("", "")
        };
        let mut text = format!("{red}error:{plain} {}\n", sentences(failure));
        if let Some(hint) = &failure.hint {
            let _ = writeln!(text, "  hint: {}", escape(hint));
        }
        to_stderr(&text);
    }

    /// A reader that has seen enough is no failure; a full disk is.
    fn unwritten(&self, error: &io::Error, exit: Exit) -> Exit {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return exit;
        }
        self.complain(&Failure::unwritten(error));
        if exit == Exit::Done { Exit::Failed } else { exit }
    }
}

/// The message, escaped; a configuration may have several things wrong with it, each on a line of its own.
fn sentences(failure: &Failure) -> String {
    if failure.code != Code::Configuration {
        return escape(&failure.message).into_owned();
    }
    let lines: Vec<_> = failure.message.lines().map(escape).collect();
    lines.join("\n       ")
}

/// One write, so that lines of several processes do not mix. Where stderr is gone, nobody is left to be told.
pub(super) fn to_stderr(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// `NO_COLOR` counts where it is set and not empty.
///
/// # Source
/// <https://no-color.org>
fn wants_color(choice: ColorChoice, terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

fn width() -> Option<u16> {
    terminal_size::terminal_size().map(|(width, _)| width.0)
}

/// JSON leaves DEL, C1 and bidirectional controls as they are. On a terminal they become `\uXXXX`, which is the same
/// JSON. They stand nowhere but inside of strings.
struct JsonForTerminal<'a>(&'a mut dyn Write);

impl Write for JsonForTerminal<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.0.write_all(bytes)?;
            return Ok(bytes.len());
        };
        let mut rest = text;
        while let Some(at) = rest.find(|c| c != '\n' && escape::is_unsafe(c)) {
            self.0.write_all(&rest.as_bytes()[..at])?;
            let mut chars = rest[at..].chars();
            write!(self.0, "\\u{:04x}", chars.next().map_or(0, u32::from))?;
            rest = chars.as_str();
        }
        self.0.write_all(rest.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::JsonForTerminal;

    #[test]
    fn json_on_a_terminal_means_the_same_and_does_nothing_else() {
        let name = "a\u{9b}2J\u{202e}\x7f\x1bé\n";
        let mut out = Vec::new();
        serde_json::to_writer(JsonForTerminal(&mut out), name).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, r#""a\u009b2J\u202e\u007f\u001bé\n""#);
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), name);
    }
}
