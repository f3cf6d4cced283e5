//! `storage:verify`: whether the storage still has what the records say.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;

use super::changes::sites;
use super::shared::known_folder;
use crate::Context;
use crate::engine::Clock as _;
use crate::engine::cleanup::ItemError;
use crate::engine::verify::{self, Around, Finding, Start, Verified, VerifyRequest, Wrong};
use crate::error::{Code, Exit, Failure};
use crate::metadata::journal::{JournalReader, Owner};
use crate::output::{Align, Human, Outcome, Table, View, format_count, format_size};
use crate::spill::Spool;

/// Rows that a table shows; the other formats show all.
const ROWS: usize = 50;

/// Compares records with their objects: whether each is there, its size, and with --checksum its content
///
/// Changes nothing in the storage. How far it came is noted in the database, so that a verification that was interrupted
/// can go on. Of two that are asked the same at the same time, only the first keeps notes.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Read every object and compare its SHA-256 with the one kept at its upload
    #[arg(long)]
    checksum: bool,
    /// Only files of this folder
    #[arg(long, value_name = "NAME")]
    folder: Option<String>,
    /// Only files in this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Only so many of a hundred, drawn anew at every run that resumes none
    #[arg(long, value_name = "P%")]
    sample: Option<String>,
    /// How many objects are looked at side by side [default: global.max_concurrent_downloads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: Option<u16>,
    /// Go on where the verification with the same options was interrupted; what was found, or could not be looked at, is
    /// looked at again
    #[arg(long)]
    resume: bool,
    /// Exit with 4 where anything was found
    #[arg(long)]
    fail_on_findings: bool,
}

impl VerifyArgs {
    fn request(&self) -> Result<VerifyRequest, Failure> {
        Ok(VerifyRequest {
            checksum: self.checksum,
            folder: self.folder.clone(),
            provider: self.provider.clone(),
            sample: self.sample.as_deref().map(share).transpose()?,
            seed: Uuid::new_v4().to_string(),
        })
    }

    /// Where one begins that is to look at all that was asked for.
    async fn begin(
        &self,
        store: &dyn JournalReader,
        request: &VerifyRequest,
        now: DateTime<Utc>,
    ) -> Result<Start, Failure> {
        let Some(left) = verify::left(store, request).await? else {
            return Ok(Start::Anew);
        };
        if let Some(worker) = left.worker(now) {
            let worker = named(worker);
            tracing::warn!(
                "{worker} is doing the same: this verification keeps no notes and cannot be resumed"
            );
            return Ok(Start::Beside);
        }
        let resume = self.to_resume(request.checksum);
        tracing::warn!("a verification was interrupted before; {resume} would have gone on with it");
        Ok(Start::Anew)
    }

    /// What was asked of the one that is to be gone on with, and what it left. `--resume` alone may mean a verification of
    /// all files with `--checksum`, too; never one that would look at less.
    async fn go_on(
        &self,
        store: &dyn JournalReader,
        mut request: VerifyRequest,
        now: DateTime<Utc>,
    ) -> Result<(VerifyRequest, Start), Failure> {
        let mut left = verify::left(store, &request).await?;
        let is_of_all = self.folder.is_none() && self.provider.is_none() && self.sample.is_none();
        if left.is_none() && is_of_all && !request.checksum {
            request.checksum = true;
            left = verify::left(store, &request).await?;
        }
        let Some(left) = left else {
            let message = "no verification with these options was interrupted: there is nothing to resume";
            let hint = "give the options of the one that was, or run storage:verify without --resume";
            return Err(Failure::usage(message).hint(hint));
        };
        if let Some(worker) = left.worker(now) {
            let message = format!("{} is still at this verification", named(worker));
            let held = Failure::new(Exit::Locked, Code::Locked, message);
            return Err(held.retryable().hint("wait until it has ended"));
        }
        left.seed().clone_into(&mut request.seed);
        Ok((request, Start::After(Box::new(left))))
    }

    /// The command that goes on with this one.
    fn to_resume(&self, checksum: bool) -> String {
        let mut command = "storage:verify".to_owned();
        if checksum {
            command.push_str(" --checksum");
        }
        let values = [
            ("--folder", &self.folder),
            ("--provider", &self.provider),
            ("--sample", &self.sample),
        ];
        for (option, value) in values {
            if let Some(value) = value {
                command = format!("{command} {option} {value}");
            }
        }
        command + " --resume"
    }
}

fn named(worker: &Owner) -> String {
    format!("process {} on {}", worker.pid, worker.host)
}

/// Looks at all of it.
///
/// # Errors
/// An unknown folder or provider, a provider that does not answer, a database that cannot be read, with `--resume` where
/// there is nothing to go on with or another process is at it.
pub fn run(context: &Context, args: &VerifyArgs) -> Result<Outcome, Failure> {
    context.connections(args.concurrency);
    let request = args.request()?;
    if let Some(provider) = &args.provider {
        context.provider(provider)?;
    }
    // A database that may not be written to is verified all the same, in one go.
    let notes = context.journal().ok();
    let store = context.history()?;
    let sites = sites(context)?;
    let (progress, clock) = (context.progress(), context.clock());
    let concurrency = match args.concurrency {
        Some(asked) => usize::from(asked),
        None => context.config()?.global.max_concurrent_downloads,
    };
    context.block_on_changes(|interrupt| async move {
        let now = clock.now();
        let (request, start) = if args.resume {
            args.go_on(&*store, request, now).await?
        } else {
            let start = args.begin(&*store, &request, now).await?;
            (request, start)
        };
        known_folder(context, &*store, request.folder.as_deref()).await?;
        if let Some((name, error)) = verify::silent(&sites, request.provider.as_deref()).await.pop() {
            let failure = Failure::new(Exit::Unavailable, Code::named(&error.error_code), error.error);
            return Err(failure
                .detail("provider", name)
                .hint("--provider verifies one that answers"));
        }
        let around = Around {
            store: &*store,
            notes: notes.as_deref(),
            clock: &clock,
            sites: &sites,
            progress: &progress,
            interrupt: &interrupt,
            concurrency,
        };
        let verified = verify::run(around, &request, start).await?;
        let resume = match (verified.noted, notes) {
            (true, _) => format!("{} goes on from here", args.to_resume(request.checksum)),
            (false, Some(_)) => {
                "another verification keeps the notes, and none of this one: the next run begins anew"
                    .to_owned()
            }
            (false, None) => "the database may not be written to: the next run begins anew".to_owned(),
        };
        let failure = failure(&verified, args.fail_on_findings, &resume);
        let view = VerifyView { verified, request };
        Ok(match failure {
            Some(failure) => Outcome::failed(view, failure),
            None => Outcome::done(view),
        })
    })
}

/// `5%`, as 0.05.
fn share(text: &str) -> Result<f64, Failure> {
    let percent = text
        .strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok());
    percent
        .filter(|percent| *percent > 0.0 && *percent <= 100.0)
        .map(|percent| percent / 100.0)
        .ok_or_else(|| {
            Failure::usage(format!(
                "--sample {text}: a share of the files, as 5%, up to 100%"
            ))
        })
}

/// `resume` tells how to go on with one that was interrupted.
fn failure(verified: &Verified, fail_on_findings: bool, resume: &str) -> Option<Failure> {
    let errors = verified.errors.total_errors;
    let findings = verified.tally.findings();
    if verified.interrupted {
        return Some(Failure::interrupted().hint(resume));
    }
    if errors > 0 {
        let exit = match verified.tally.checked - errors {
            0 => Exit::of_failed(verified.errors.by_type.keys()),
            _ => Exit::Partial,
        };
        let message = format!("{} files could not be looked at", format_count(errors));
        let failure = Failure::new(exit, Code::BatchOperation, message);
        return Some(failure.retryable_if(verified.errors.may_pass()));
    }
    (fail_on_findings && findings > 0).then(|| {
        let message = format!("{} findings", format_count(findings));
        Failure::new(Exit::Findings, Code::Integrity, message)
    })
}

/// A verification as it is shown.
struct VerifyView {
    verified: Verified,
    request: VerifyRequest,
}

/// Writes a list of findings as it is read back.
fn list(out: &mut dyn Write, name: &str, items: &Spool) -> serde_json::Result<()> {
    let io = serde_json::Error::io;
    write!(out, "\"{name}\":[").map_err(io)?;
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.write_all(b",").map_err(io)?;
        }
        out.write_all(&item.map_err(io)?).map_err(io)?;
    }
    out.write_all(b"],").map_err(io)
}

impl View for VerifyView {
    fn operation(&self) -> &'static str {
        "storage:verify"
    }

    fn message(&self) -> String {
        let tally = &self.verified.tally;
        let mut parts = vec![format!("{} files looked at", format_count(tally.checked))];
        if self.request.checksum {
            let (whole, read) = (format_count(tally.verified), format_size(tally.bytes));
            parts.push(format!("{whole} have the content that was stored ({read} read)"));
        }
        let counts = [
            (
                tally.without_checksum,
                "of the recorded size, but with no checksum kept to compare",
            ),
            (tally.missing, "missing"),
            (tally.size_mismatches, "of another size"),
            (tally.checksum_mismatches, "of other content"),
            (self.verified.errors.total_errors, "could not be looked at"),
        ];
        let seen = counts.iter().filter(|(count, _)| *count > 0);
        parts.extend(seen.map(|(count, what)| format!("{} {what}", format_count(*count))));
        if tally.findings() == 0 {
            parts.push("nothing found".to_owned());
        }
        parts.join("; ")
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        out.write_all(b"{").map_err(serde_json::Error::io)?;
        list(out, "findings", &self.verified.findings)?;
        list(out, "errors", &self.verified.failed)?;
        let rest = serde_json::to_string(&self.summary())?;
        out.write_all(rest.trim_start_matches('{').as_bytes())
            .map_err(serde_json::Error::io)
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        for (kind, items) in [
            ("finding", &self.verified.findings),
            ("error", &self.verified.failed),
        ] {
            for item in items {
                let mut item: Value = serde_json::from_slice(&item?)?;
                item["type"] = kind.into();
                emit(item)?;
            }
        }
        Ok(())
    }

    fn summary(&self) -> Value {
        let tally = &self.verified.tally;
        json!({
            "checked": tally.checked,
            "verified": tally.verified,
            "withoutChecksum": tally.without_checksum,
            "bytes": tally.bytes,
            "counts": {
                "missing": tally.missing,
                "sizeMismatches": tally.size_mismatches,
                "checksumMismatches": tally.checksum_mismatches,
            },
            "checksum": self.request.checksum,
            "sample": self.request.sample,
            "resumed": self.verified.resumed,
            "complete": !self.verified.interrupted,
            "errorSummary": self.verified.errors,
        })
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "type",
            "finding",
            "id",
            "originalName",
            "folder",
            "provider",
            "path",
            "recordedSize",
            "actualSize",
            "recordedSha256",
            "actualSha256",
            "file",
            "error",
            "errorCode",
        ]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        let mut table = Table::new(&[
            ("FINDING", Align::Left),
            ("ID", Align::Left),
            ("NAME", Align::Left),
            ("FOLDER", Align::Left),
            ("RECORDED", Align::Right),
            ("STORED", Align::Right),
        ]);
        for item in self.verified.findings.iter().take(ROWS) {
            let found: Finding = serde_json::from_slice(&item?)?;
            let what = match found.finding {
                Wrong::Missing => "missing",
                Wrong::SizeMismatch => "other size",
                Wrong::ChecksumMismatch => "other content",
            };
            let recorded = u64::try_from(found.recorded_size).map_or_else(|_| "-".to_owned(), format_size);
            table.row([
                what,
                &found.id,
                &found.original_name,
                &found.folder,
                &recorded,
                &found.actual_size.map_or_else(|| "-".to_owned(), format_size),
            ]);
        }
        if !table.is_empty() {
            out.table(&table)?;
        }
        let more = self.verified.findings.len().saturating_sub(ROWS as u64);
        if more > 0 {
            let more = format_count(more);
            out.line(&format!(
                "… and {more} more: --output json, ndjson or csv shows all"
            ))?;
        }
        for item in self.verified.failed.iter().take(ROWS) {
            let error: ItemError = serde_json::from_slice(&item?)?;
            let line = format!("{}: {}", Human::name(&error.file), Human::name(&error.error));
            out.line(&line)?;
        }
        out.line(&format!("{}.", self.message()))
    }
}
