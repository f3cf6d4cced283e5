//! `storage:runs`: what ran, when, by whom, and what it changed.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use clap::{Args, value_parser};
use serde_json::{Value, json};

use crate::Context;
use crate::config::parse_age;
use crate::engine::Clock;
use crate::engine::runs::{self, ListedRun};
use crate::error::{Code, Exit, Failure};
use crate::metadata::Stamp;
use crate::metadata::journal::{RunQuery, Step};
use crate::output::{Align, Human, Outcome, Table, View, format_count};

/// Shows what ran: when, by whom, and what it changed
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// One run, with each of its steps
    #[arg(value_name = "RUN_ID")]
    run: Option<String>,
    /// Runs to show, newest first; or steps, of one run
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u64).range(1..=100_000))]
    limit: u64,
    /// Only runs of this command (`storage:lifecycle`, or `lifecycle`)
    #[arg(long, value_name = "COMMAND", conflicts_with = "run")]
    operation: Option<String>,
    /// Only runs that began so long ago or later (`24h`, `7d`), or since a day or moment in UTC (`2026-11-24`)
    #[arg(long, value_name = "AGE_OR_DATE", conflicts_with = "run")]
    since: Option<String>,
    /// Only runs that did not end well: in part, not at all, or stopped
    #[arg(long, conflicts_with = "run")]
    failed: bool,
    /// Exit with 4 where one of these runs did not end well, or where there is none at all
    #[arg(long, conflicts_with = "run")]
    fail_on_findings: bool,
}

/// What runs are of.
const OPERATIONS: [&str; 13] = [
    "storage:cleanup",
    "storage:delete",
    "storage:lifecycle",
    "storage:migrate",
    "storage:move",
    "storage:reconstruct",
    "storage:recover",
    "storage:trash empty",
    "storage:trash restore",
    "storage:undo",
    "storage:update",
    "storage:upload",
    "storage:verify",
];

/// Reads the journal; writes nothing, and where nothing was ever written shows nothing.
///
/// # Errors
/// A run that is not known, a configuration or a database that cannot be read.
pub async fn run(context: &Context, args: RunsArgs) -> Result<Outcome, Failure> {
    let history = context.history()?;
    let now = context.clock().now();
    let Some(id) = &args.run else {
        let query = query(&args, now)?;
        let runs = if args.failed {
            runs::bad(&*history, &query, now).await?
        } else {
            runs::list(&*history, &query, now).await?
        };
        let failure = finding(&args, &runs);
        let view = RunsView { runs };
        return Ok(match failure {
            Some(failure) => Outcome::failed(view, failure),
            None => Outcome::done(view),
        });
    };
    let found = runs::find(&*history, id, (args.limit, now)).await?;
    let (run, steps) = found.ok_or_else(|| {
        Failure::usage(format!("there is no run {id}"))
            .hint("storage:runs without a run shows them all")
            .detail("run", id.as_str())
    })?;
    Ok(Outcome::done(RunView { run, steps }))
}

fn query(args: &RunsArgs, now: DateTime<Utc>) -> Result<RunQuery, Failure> {
    let operation = args.operation.as_deref().map(operation).transpose()?;
    Ok(RunQuery {
        operation,
        since: args.since.as_deref().map(|text| since(text, now)).transpose()?,
        statuses: Vec::new(),
        limit: args.limit,
    })
}

/// A slip of the pen must not look like a night without runs.
fn operation(text: &str) -> Result<String, Failure> {
    let name = if text.starts_with("storage:") {
        text.to_owned()
    } else {
        format!("storage:{text}")
    };
    if OPERATIONS.contains(&name.as_str()) {
        Ok(name)
    } else {
        Err(Failure::unknown("command that is written down", text, OPERATIONS))
    }
}

fn since(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, Failure> {
    let ago = parse_age(text).ok().and_then(|age| age.before(now));
    ago.or_else(|| Stamp::from_text(text).time()).ok_or_else(|| {
        let message = format!("--since {text}: so long ago, like 24h or 7d, or a day like 2026-11-24");
        Failure::usage(message)
    })
}

/// Why the answer to "did it work" is no.
fn finding(args: &RunsArgs, runs: &[ListedRun]) -> Option<Failure> {
    let bad = runs.iter().filter(|run| run.is_bad()).count();
    let message = match bad {
        _ if !args.fail_on_findings => return None,
        0 if args.failed || !runs.is_empty() => return None,
        0 => "nothing ran".to_owned(),
        1 => "1 run did not end well".to_owned(),
        bad => format!("{} runs did not end well", format_count(bad as u64)),
    };
    Some(Failure::new(Exit::Findings, Code::Error, message))
}

/// To the minute, in UTC.
fn minute(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}

/// What a run came to in a few words: its steps, or where it has none, the numbers of its summary.
fn changes(run: &ListedRun) -> String {
    let mut parts: Vec<String> = if run.steps.is_empty() {
        let summary = run.run.summary.as_ref().and_then(Value::as_object);
        let numbers = summary.into_iter().flatten().filter_map(|(name, value)| {
            let count = value.as_u64().filter(|count| *count > 0)?;
            Some(format!("{} {name}", format_count(count)))
        });
        numbers.collect()
    } else {
        let steps = run.steps.iter();
        steps
            .map(|(state, count)| format!("{} {}", format_count(*count), state.name()))
            .collect()
    };
    let summary = run.run.summary.as_ref();
    let why = summary.and_then(|summary| ["error", "why"].iter().find_map(|key| summary[*key].as_str()));
    parts.extend(why.map(str::to_owned));
    match parts.as_slice() {
        [] => "-".to_owned(),
        parts => parts.join(", "),
    }
}

fn item(run: &ListedRun) -> serde_json::Result<Value> {
    let mut item = serde_json::to_value(run)?;
    if let Value::Object(item) = &mut item {
        item.insert("changes".to_owned(), changes(run).into());
    }
    Ok(item)
}

struct RunsView {
    runs: Vec<ListedRun>,
}

impl View for RunsView {
    fn operation(&self) -> &'static str {
        "storage:runs"
    }

    fn message(&self) -> String {
        match self.runs.len() {
            0 => "no run was found".to_owned(),
            1 => "1 run".to_owned(),
            many => format!("{} runs", format_count(many as u64)),
        }
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        let runs: Vec<Value> = self.runs.iter().map(item).collect::<Result<_, _>>()?;
        serde_json::to_writer(out, &json!({ "runs": runs }))
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        self.runs.iter().try_for_each(|run| emit(item(run)?))
    }

    fn summary(&self) -> Value {
        json!({ "total": self.runs.len() })
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "id",
            "operation",
            "status",
            "startedAt",
            "finishedAt",
            "actor",
            "owner.host",
            "owner.pid",
            "changes",
        ]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        if !self.runs.is_empty() {
            let mut table = Table::new(&[
                ("RUN", Align::Left),
                ("OPERATION", Align::Left),
                ("STATUS", Align::Left),
                ("STARTED", Align::Left),
                ("BY", Align::Left),
                ("CHANGED", Align::Left),
            ]);
            for listed in &self.runs {
                let run = &listed.run;
                table.row([
                    run.id.as_str(),
                    &run.operation,
                    run.status.name(),
                    &minute(run.started_at),
                    run.actor.as_deref().unwrap_or("-"),
                    &changes(listed),
                ]);
            }
            out.table(&table)?;
            out.line("")?;
        }
        out.line(&self.message())
    }
}

struct RunView {
    run: ListedRun,
    steps: Vec<Step>,
}

impl RunView {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let run = &self.run.run;
        let (host, pid) = (&run.owner.host, run.owner.pid);
        let ended = run
            .finished_at
            .map_or_else(|| "-".to_owned(), |at| format!("{} UTC", minute(at)));
        vec![
            ("Run", run.id.clone()),
            ("Operation", run.operation.clone()),
            ("Status", run.status.name().to_owned()),
            ("Started", format!("{} UTC", minute(run.started_at))),
            ("Ended", ended),
            ("By", run.actor.clone().unwrap_or_else(|| "-".to_owned())),
            ("Process", format!("{pid} on {host}")),
            ("Asked", run.request.to_string()),
            ("Changed", changes(&self.run)),
        ]
    }

    fn table_of_steps(&self) -> Table {
        let mut table = Table::new(&[
            ("STEP", Align::Right),
            ("ACTION", Align::Left),
            ("STATE", Align::Left),
            ("PROVIDER", Align::Left),
            ("WHAT", Align::Left),
            ("WHY", Align::Left),
        ]);
        for step in &self.steps {
            let what = step.key.as_deref().or(step.file_id.as_deref()).unwrap_or("-");
            table.row([
                step.number.to_string().as_str(),
                step.action.name(),
                step.state.name(),
                &step.provider,
                what,
                step.error.as_deref().unwrap_or(""),
            ]);
        }
        table
    }
}

impl View for RunView {
    fn operation(&self) -> &'static str {
        "storage:runs"
    }

    fn message(&self) -> String {
        let run = &self.run.run;
        format!("{} {}: {}", run.operation, run.status.name(), changes(&self.run))
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        let run = item(&self.run)?;
        serde_json::to_writer(out, &json!({ "run": run, "steps": self.steps }))
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        self.steps
            .iter()
            .try_for_each(|step| emit(serde_json::to_value(step)?))
    }

    fn summary(&self) -> Value {
        json!({ "run": item(&self.run).unwrap_or_default() })
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "runId",
            "number",
            "action",
            "state",
            "provider",
            "key",
            "toKey",
            "fileId",
            "error",
            "changedAt",
        ]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        for (word, value) in self.lines() {
            out.line(&format!("{word:<10} {}", Human::name(&value)))?;
        }
        if !self.steps.is_empty() {
            out.line("")?;
            out.table(&self.table_of_steps())?;
            let all: u64 = self.run.steps.values().sum();
            let shown = self.steps.len() as u64;
            if shown < all {
                out.line("")?;
                out.line(&format!(
                    "{} of {} steps; --limit shows more",
                    format_count(shown),
                    format_count(all)
                ))?;
            }
        }
        Ok(())
    }
}
