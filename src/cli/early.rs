//! What must be known before the command line is understood: in which format, and in which colours, to say that it
//! is not. Wrong usage with `--json` is still answered in JSON.

use std::ffi::OsString;
use std::time::Duration;

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
pub(super) fn explain(error: &clap::Error, definition: &clap::Command, printer: &Printer) -> Exit {
    if let Some(failure) = unknown_command(error, definition) {
        return printer.conclude(&Err(failure), Duration::ZERO);
    }
    let text = error.render();
    if !error.use_stderr() {
        return printer.styled(&text);
    }
    printer.styled_error(&text, &failure_of(error))
}

/// Commands are told by the nearest name, whether the word is like all of it or like its last part.
fn unknown_command(error: &clap::Error, definition: &clap::Command) -> Option<Failure> {
    let context = error.get(ContextKind::InvalidSubcommand);
    let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(typed))) = (error.kind(), context) else {
        return None;
    };
    let shown = definition
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    let names: Vec<&str> = shown.map(clap::Command::get_name).collect();
    let last = |name: &str| name.rsplit(':').next().unwrap_or_default().to_owned();
    let likeness = |name: &&str| {
        let whole = strsim::normalized_damerau_levenshtein(typed, name);
        whole.max(strsim::normalized_damerau_levenshtein(&last(typed), &last(name)))
    };
    let nearest = names.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let failure = Failure::usage(format!("there is no command {typed}"));
    Some(match nearest {
        Some(nearest) => failure.hint(format!("did you mean `{nearest}`? `civic --help` lists all")),
        None => failure,
    })
}

/// The first line of clap's message and its advice, as one failure.
fn failure_of(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default();
    let message = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "no command was given",
        _ => first.strip_prefix("error: ").unwrap_or(first),
    };
    // What is missing stands on the lines below.
    let missing = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(names)) if error.kind() == ErrorKind::MissingRequiredArgument => {
            format!(" {}", names.join(", "))
        }
        _ => String::new(),
    };
    let message = format!("{message}{missing}");
    let failure = Failure::usage(message);
    match suggestion(error) {
        Some(hint) => failure.hint(format!("did you mean `{hint}`?")),
        None => failure.hint("see `civic --help`"),
    }
}

fn suggestion(error: &clap::Error) -> Option<String> {
    error.context().find_map(|(kind, value)| match (kind, value) {
        (ContextKind::SuggestedArg | ContextKind::SuggestedValue, ContextValue::String(text)) => {
            Some(text.clone())
        }
        (ContextKind::SuggestedArg | ContextKind::SuggestedValue, ContextValue::Strings(texts)) => {
            texts.first().cloned()
        }
        _ => None,
    })
}
