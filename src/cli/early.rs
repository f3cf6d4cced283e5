//! What must be known before the command line is understood: in which format, and in which colours, to say that it
//! is not. Wrong usage with `--json` is still answered in JSON.

use std::ffi::OsString;

use clap::ValueEnum;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::{Exit, Failure};
use crate::output::{Format, Printer, PrinterSettings};

/// The printer's settings as far as plain looking shows them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings(pub(super) PrinterSettings);

impl Settings {
    pub(super) fn of(argv: &[OsString]) -> Self {
        let mut settings = PrinterSettings::default();
        let mut rest = argv
            .iter()
            .skip(1)
            .filter_map(|arg| arg.to_str())
            .take_while(|arg| *arg != "--");
        while let Some(arg) = rest.next() {
            let (flag, value) = arg
                .split_once('=')
                .map_or((arg, None), |(flag, value)| (flag, Some(value)));
            match flag {
                "--json" => settings.format = Some(Format::Json),
                "--output" => read(value.or_else(|| rest.next()), |format| {
                    settings.format = Some(format);
                }),
                "--color" => read(value.or_else(|| rest.next()), |color| settings.color = color),
                _ => {}
            }
        }
        Self(settings)
    }
}

fn read<T: ValueEnum>(value: Option<&str>, set: impl FnOnce(T)) {
    if let Some(value) = value.and_then(|text| T::from_str(text, false).ok()) {
        set(value);
    }
}

/// Prints help and versions to stdout, complaints to stderr, and gives the exit code.
pub(super) fn explain(error: &clap::Error, printer: &Printer) -> Exit {
    let text = error.render();
    if !error.use_stderr() {
        return printer.styled(&text);
    }
    printer.styled_error(&text, &failure_of(error))
}

/// The first line of clap's message and its advice, as one failure.
fn failure_of(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default();
    let message = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "no command was given",
        _ => first.strip_prefix("error: ").unwrap_or(first),
    };
    let failure = Failure::usage(message);
    match suggestion(error) {
        Some(hint) => failure.hint(format!("did you mean `{hint}`?")),
        None => failure.hint("see `civic --help`"),
    }
}

fn suggestion(error: &clap::Error) -> Option<String> {
    error.context().find_map(|(kind, value)| match (kind, value) {
        (
            ContextKind::SuggestedSubcommand | ContextKind::SuggestedArg | ContextKind::SuggestedValue,
            ContextValue::String(text),
        ) => Some(text.clone()),
        (
            ContextKind::SuggestedSubcommand | ContextKind::SuggestedArg | ContextKind::SuggestedValue,
            ContextValue::Strings(texts),
        ) => texts.first().cloned(),
        _ => None,
    })
}
