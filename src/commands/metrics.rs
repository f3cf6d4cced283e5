//! `storage:metrics`: what was done so far, how well and how fast.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::Context;
use crate::circuits;
use crate::error::Failure;
use crate::metrics::{Key, Series, Snapshot, prometheus};
use crate::output::{Align, Format, Human, Outcome, Table, View, format_count, format_size};
use crate::resilience::Phase;

/// Shows what was asked of providers and which commands ran: how often, how well, how fast
///
/// Each command adds what it did when it ends, once one that writes has made the table for it. Half of all operations took no
/// longer than P50, 99 of 100 no longer than P99.
#[derive(Debug, Args)]
pub struct MetricsArgs {
    /// How the numbers are written; prometheus is for a monitoring system, or the textfile collector of its node exporter
    #[arg(long, value_name = "FORMAT", value_enum)]
    format: Option<MetricsFormat>,
    /// Forget everything that was counted, after showing it
    #[arg(long)]
    reset: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MetricsFormat {
    Table,
    Json,
    Prometheus,
}

impl MetricsArgs {
    /// The format that the answer has where `--output`, or `--json` as a short word for it, was `asked` for.
    ///
    /// # Errors
    /// Where `--format` says something else.
    pub fn format_beside(&self, asked: Option<Format>, by_json: bool) -> Result<Option<Format>, Failure> {
        let wanted = match (self.format, asked) {
            (None, _) => return Ok(asked),
            (Some(MetricsFormat::Prometheus), None) => return Ok(None),
            (Some(MetricsFormat::Json), None | Some(Format::Json)) => return Ok(Some(Format::Json)),
            (Some(MetricsFormat::Table), None | Some(Format::Table)) => return Ok(Some(Format::Table)),
            (Some(wanted), Some(_)) => wanted,
        };
        let other = match asked {
            Some(asked) if !by_json => format!("--output {}", spelled(&asked)),
            _ => "--json".to_owned(),
        };
        let wanted = spelled(&wanted);
        Err(Failure::usage(format!(
            "--format {wanted} cannot be used with {other}"
        )))
    }
}

/// As it is typed.
fn spelled(value: &impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Reads what was counted.
///
/// # Errors
/// A database that cannot be read; with `--reset`, one that cannot be written to.
pub async fn run(context: &Context, args: MetricsArgs) -> Result<Outcome, Failure> {
    // Asked for before anything is read.
    let journal = args.reset.then(|| context.journal()).transpose()?;
    let store = context.history()?;
    let (snapshot, circuits) = (store.metrics().await?, circuits::known(store.as_ref()).await?);
    if let Some(journal) = journal {
        journal.reset_metrics().await?;
    }
    let view = MetricsView { snapshot, circuits };
    if args.format == Some(MetricsFormat::Prometheus) {
        // For a program, so that --silent leaves it alone.
        let written = context.printer().line_by_line(&view.exposition());
        return written
            .map(|()| Outcome::silent("storage:metrics"))
            .map_err(|error| Failure::unwritten(&error));
    }
    Ok(Outcome::done(view))
}

struct MetricsView {
    snapshot: Snapshot,
    /// By provider; those that never failed have none.
    circuits: Vec<(String, Phase)>,
}

impl MetricsView {
    fn circuits(&self) -> Vec<Value> {
        let circuit =
            |(provider, phase): &(String, Phase)| json!({ "provider": provider, "state": phase.name() });
        self.circuits.iter().map(circuit).collect()
    }

    fn exposition(&self) -> String {
        let open = self
            .circuits
            .iter()
            .map(|(provider, phase)| (provider.as_str(), *phase != Phase::Closed));
        prometheus(&self.snapshot, open)
    }
}

fn item((key, series): (&Key, &Series)) -> Value {
    let millis = |permille| series.durations.quantile(permille).map(millis);
    json!({
        "operation": key.operation,
        "provider": key.provider,
        "folder": key.folder,
        "count": series.count,
        "failures": series.failures,
        "successRate": series.success_rate(),
        "bytes": series.bytes,
        "totalMs": self::millis(series.micros),
        "p50Ms": millis(500),
        "p95Ms": millis(950),
        "p99Ms": millis(990),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a time needs no more digits")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

impl View for MetricsView {
    fn operation(&self) -> &'static str {
        "storage:metrics"
    }

    fn message(&self) -> String {
        let (count, failures) = self.snapshot.values().fold((0, 0), |(count, failures), series| {
            (count + series.count, failures + series.failures)
        });
        format!(
            "{} operations, {} failed",
            format_count(count),
            format_count(failures)
        )
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        let items: Vec<Value> = self.snapshot.iter().map(item).collect();
        serde_json::to_writer(out, &json!({ "operations": items, "circuits": self.circuits() }))
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        self.snapshot.iter().try_for_each(|series| emit(item(series)))
    }

    fn summary(&self) -> Value {
        json!({ "series": self.snapshot.len(), "circuits": self.circuits() })
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "operation",
            "provider",
            "folder",
            "count",
            "failures",
            "successRate",
            "bytes",
            "totalMs",
            "p50Ms",
            "p95Ms",
            "p99Ms",
        ]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        for (provider, phase) in self.circuits.iter().filter(|(_, phase)| *phase != Phase::Closed) {
            out.line(&format!(
                "the circuit of {} is {}",
                Human::name(provider),
                phase.name()
            ))?;
        }
        if self.snapshot.is_empty() {
            return out.line("nothing was counted yet");
        }
        let mut table = Table::new(&[
            ("OPERATION", Align::Left),
            ("PROVIDER", Align::Left),
            ("FOLDER", Align::Left),
            ("COUNT", Align::Right),
            ("SUCCESS", Align::Right),
            ("BYTES", Align::Right),
            ("P50", Align::Right),
            ("P95", Align::Right),
            ("P99", Align::Right),
        ]);
        for (key, series) in &self.snapshot {
            let took = |permille| {
                series
                    .durations
                    .quantile(permille)
                    .map_or_else(|| "-".to_owned(), shown)
            };
            table.row([
                key.operation.as_str(),
                dash(&key.provider),
                dash(&key.folder),
                &format_count(series.count),
                &format!("{:.1} %", series.success_rate() * 100.0),
                &format_size(series.bytes),
                &took(500),
                &took(950),
                &took(990),
            ]);
        }
        out.table(&table)
    }
}

const fn dash(name: &str) -> &str {
    if name.is_empty() { "-" } else { name }
}

/// `830 us`, `12.3 ms`, `4.50 s`
fn shown(micros: u64) -> String {
    match micros {
        0..1000 => format!("{micros} us"),
        1000..1_000_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        _ => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
    }
}
