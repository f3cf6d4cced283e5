//! Warnings and logs, on stderr. Only this program's own events are shown: what libraries log may hold headers and
//! URLs, and so a secret.

use std::fmt;
use std::io::{self, Write};

use clap::ValueEnum;
use indicatif::MultiProgress;
use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::escape;
use super::printer::to_stderr;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    /// One JSON object a line, with a time.
    Json,
}

/// What is logged and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogSettings {
    /// 0 shows warnings, 1 what is being done, 2 and more every step of it.
    pub verbose: u8,
    pub silent: bool,
    pub format: LogFormat,
    pub color: bool,
}

impl LogSettings {
    /// Starts logging for the whole process; a second call changes nothing. Lines go above `bars`.
    pub fn start(self, bars: &MultiProgress) {
        let level = match (self.silent, self.verbose) {
            (true, _) => LevelFilter::ERROR,
            (false, 0) => LevelFilter::WARN,
            (false, 1) => LevelFilter::INFO,
            (false, _) => LevelFilter::DEBUG,
        };
        let registry =
            tracing_subscriber::registry().with(Targets::new().with_target("civic_storage", level));
        let layer = tracing_subscriber::fmt::layer().with_writer(AboveBars(bars.clone()));
        let started = match self.format {
            LogFormat::Text => registry
                .with(layer.event_format(Plain { color: self.color }))
                .try_init(),
            LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
        };
        drop(started);
    }
}

/// `warning: the sentence key=value`, each on one line whatever is in it.
struct Plain {
    color: bool,
}

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (word, color) = match *event.metadata().level() {
            Level::ERROR => ("error", "\x1b[1;31m"),
            Level::WARN => ("warning", "\x1b[1;33m"),
            Level::INFO => ("info", "\x1b[1;32m"),
            Level::DEBUG | Level::TRACE => ("debug", "\x1b[2m"),
        };
        let mut text = String::new();
        ctx.format_fields(Writer::new(&mut text), event)?;
        let text = escape(&text);
        if self.color {
            writeln!(out, "{color}{word}:\x1b[0m {text}")
        } else {
            writeln!(out, "{word}: {text}")
        }
    }
}

/// Writes whole lines, with the bars out of the way meanwhile.
struct AboveBars(MultiProgress);

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = LineAboveBars<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineAboveBars(&self.0)
    }
}

struct LineAboveBars<'a>(&'a MultiProgress);

impl Write for LineAboveBars<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| to_stderr(&String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
