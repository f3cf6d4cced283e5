//! How a comparison is shown: JSON streamed from the findings kept on disk, tables of the first of each kind.

use std::io::{self, Write};

use serde::de::DeserializeOwned;
use serde::ser::{Error as _, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::headings::{ERRORS, Heading, MISMATCHES, MISPLACED, OBJECTS, RECORDS, STRAYS, UNMAPPED, UPLOADS};
use crate::engine::cleanup::plan::Written;
use crate::engine::cleanup::{
    Cleaned, Cleanup, CleanupReport, Counts, ErrorSummary, Findings, ItemError, Kind, Mismatch, Misplaced,
    Mode, OrphanedObject, OrphanedRecord, ProviderScan, Skipped, StaleUpload, Stray, Unmapped, Warning,
};
use crate::engine::ownership::TakenOver;
use crate::output::{Align, Human, Table, View, format_count, format_size};

/// Rows of each kind that a table shows; the other formats show all.
const ROWS: usize = 50;

/// A finished comparison, as it is shown.
pub struct CleanupView {
    pub cleanup: Cleanup,
    pub kinds: Vec<Kind>,
    /// What was deleted skipped the trash.
    pub purged: bool,
    /// The plan that was written.
    pub planned: Option<Written>,
}

/// The envelope's `data`, in the order that SPEC gives.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    run_id: &'a str,
    mode: Mode,
    providers: &'a [ProviderScan],
    orphaned_objects: Items<'a>,
    orphaned_records: Items<'a>,
    mismatches: Items<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    misplaced: Option<Items<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    foreign: Option<Items<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unmapped: Option<Items<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sidecars: Option<Items<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multipart_uploads: Option<Items<'a>>,
    counts: Counts,
    bytes_reclaimable: u64,
    cleaned: Cleaned,
    #[serde(skip_serializing_if = "Option::is_none")]
    repaired: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<Skipped>,
    errors: Items<'a>,
    error_summary: &'a ErrorSummary,
    #[serde(skip_serializing_if = "<[TakenOver]>::is_empty")]
    taken_over: &'a [TakenOver],
    warnings: &'a [Warning],
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<&'a Written>,
}

impl<'a> Data<'a> {
    fn of(view: &'a CleanupView) -> Self {
        let Cleanup { report, findings, .. } = &view.cleanup;
        let items = |kind| Items { findings, kind };
        let asked = |kind| view.kinds.contains(&kind).then(|| items(kind));
        Self {
            run_id: &report.run_id,
            mode: report.mode,
            providers: &report.providers,
            orphaned_objects: items(Kind::OrphanedObjects),
            orphaned_records: items(Kind::OrphanedRecords),
            mismatches: items(Kind::Mismatches),
            misplaced: asked(Kind::Misplaced),
            foreign: asked(Kind::Foreign),
            unmapped: asked(Kind::Unmapped),
            sidecars: asked(Kind::Sidecars),
            multipart_uploads: asked(Kind::Multipart),
            counts: report.counts,
            bytes_reclaimable: report.bytes_reclaimable,
            cleaned: report.cleaned,
            repaired: report.repaired,
            skipped: report.skipped,
            taken_over: &report.taken_over,
            errors: items(Kind::Errors),
            error_summary: &report.error_summary,
            warnings: &report.warnings,
            plan: view.planned.as_ref(),
        }
    }
}

/// A list of findings, written as it is read back: a million of them cost no memory.
struct Items<'a> {
    findings: &'a Findings,
    kind: Kind,
}

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for line in self.findings.lines(self.kind) {
            let line = line.map_err(S::Error::custom)?;
            let raw: &RawValue = serde_json::from_slice(&line).map_err(S::Error::custom)?;
            list.serialize_element(raw)?;
        }
        list.end()
    }
}

/// The `type` that an item bears in NDJSON and CSV.
const fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::OrphanedObjects => "orphanedObject",
        Kind::OrphanedRecords => "orphanedRecord",
        Kind::Mismatches => "mismatch",
        Kind::Misplaced => "misplaced",
        Kind::Foreign => "foreign",
        Kind::Unmapped => "unmapped",
        Kind::Sidecars => "sidecarWithoutObject",
        Kind::Multipart => "multipartUpload",
        Kind::Errors => "error",
    }
}

impl CleanupView {
    fn report(&self) -> &CleanupReport {
        &self.cleanup.report
    }

    /// What was changed, in words.
    fn done(&self) -> String {
        let CleanupReport {
            cleaned,
            repaired,
            skipped,
            ..
        } = self.report();
        let repaired = repaired.unwrap_or(0);
        let mut parts = Vec::new();
        if cleaned.objects > 0 {
            let how = if self.purged {
                "deleted"
            } else {
                "moved to the trash"
            };
            parts.push(format!(
                "{how} {} ({})",
                objects(cleaned.objects),
                format_size(cleaned.bytes)
            ));
        }
        if cleaned.records > 0 {
            parts.push(format!("took out {} records", format_count(cleaned.records)));
        }
        if cleaned.sidecars > 0 {
            let verb = if self.purged { "took away" } else { "moved" };
            let to = if self.purged { "" } else { " to the trash" };
            parts.push(format!("{verb} {} sidecars{to}", format_count(cleaned.sidecars)));
        }
        if cleaned.uploads > 0 {
            parts.push(format!(
                "ended {} unfinished uploads",
                format_count(cleaned.uploads)
            ));
        }
        if repaired > 0 {
            parts.push(format!("set {} sizes right", format_count(repaired)));
        }
        if parts.is_empty() {
            parts.push("nothing was changed".to_owned());
        }
        let skipped = skipped.map_or(0, Skipped::total);
        if skipped > 0 {
            parts.push(format!("left {} alone that had changed", format_count(skipped)));
        }
        parts.join(", ")
    }

    /// The lists that were asked for, errors last.
    fn shown(&self) -> impl Iterator<Item = Kind> {
        self.kinds.iter().copied().chain([Kind::Errors])
    }
}

impl View for CleanupView {
    fn operation(&self) -> &'static str {
        "storage:cleanup"
    }

    fn message(&self) -> String {
        let Counts {
            orphaned_objects,
            orphaned_records,
            mismatches,
            ..
        } = self.report().counts;
        let incomplete = self.report().providers.iter().filter(|p| !p.complete).count();
        let found = format!(
            "Found {} orphaned objects, {} orphaned records, {} size mismatches; {}",
            format_count(orphaned_objects),
            format_count(orphaned_records),
            format_count(mismatches),
            self.done()
        );
        if incomplete == 0 {
            found
        } else {
            format!("{found}; {incomplete} providers could not be compared")
        }
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        serde_json::to_writer(out, &Data::of(self))
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        for kind in self.shown() {
            for line in self.cleanup.findings.lines(kind) {
                let mut item: Value = serde_json::from_slice(&line?)?;
                item["type"] = type_of(kind).into();
                emit(item)?;
            }
        }
        Ok(())
    }

    fn summary(&self) -> Value {
        serde_json::to_value(self.report()).unwrap_or_default()
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "type",
            "provider",
            "key",
            "id",
            "originalName",
            "folder",
            "path",
            "size",
            "recordedSize",
            "actualSize",
            "lastModified",
            "createdAt",
            "uploadId",
            "initiated",
            "file",
            "error",
            "errorCode",
        ]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        let mut scanned = Table::new(&[
            ("PROVIDER", Align::Left),
            ("OBJECTS", Align::Right),
            ("RECORDS", Align::Right),
            ("COMPARED", Align::Left),
        ]);
        for provider in &self.report().providers {
            let counts = [provider.objects_scanned, provider.records_scanned].map(format_count);
            let [objects, records] = counts;
            let complete = if provider.complete {
                "to the end"
            } else {
                "no: nothing is claimed of it"
            };
            scanned.row([provider.name.as_str(), &objects, &records, complete]);
        }
        out.table(&scanned)?;
        for kind in self.shown() {
            self.section(out, kind)?;
        }
        out.line("")?;
        self.others(out)?;
        out.line(&format!("{}.", self.message()))?;
        if let Some(plan) = &self.planned {
            let file = plan.file.display().to_string();
            let items = format_count(plan.items);
            out.line(&format!(
                "{items} items are in the plan {}; `--apply --plan` does them.",
                Human::name(&file)
            ))?;
        }
        self.way_back(out)
    }
}

impl CleanupView {
    fn section(&self, out: &mut Human<'_>, kind: Kind) -> io::Result<()> {
        let lines = &self.cleanup.findings;
        match kind {
            Kind::OrphanedObjects => section(out, lines, kind, &OBJECTS, |o: &OrphanedObject| {
                vec![
                    o.provider.clone(),
                    o.key.clone(),
                    format_size(o.size),
                    day(&o.last_modified.to_rfc3339()),
                ]
            }),
            Kind::OrphanedRecords => section(out, lines, kind, &RECORDS, |r: &OrphanedRecord| {
                let created = r.created_at.as_deref().map(day).unwrap_or_default();
                vec![r.id.clone(), r.original_name.clone(), r.folder.clone(), created]
            }),
            Kind::Mismatches => section(out, lines, kind, &MISMATCHES, |m: &Mismatch| {
                let recorded =
                    u64::try_from(m.recorded_size).map_or_else(|_| m.recorded_size.to_string(), format_size);
                vec![
                    m.id.clone(),
                    m.original_name.clone(),
                    recorded,
                    format_size(m.actual_size),
                ]
            }),
            Kind::Misplaced => section(out, lines, kind, &MISPLACED, |m: &Misplaced| {
                let only = if m.record_object_missing {
                    "gone: this may be the only copy"
                } else {
                    "there"
                };
                vec![m.provider.clone(), m.key.clone(), m.id.clone(), only.to_owned()]
            }),
            Kind::Foreign | Kind::Sidecars => section(out, lines, kind, &STRAYS, |s: &Stray| {
                vec![s.provider.clone(), s.key.clone(), format_size(s.size)]
            }),
            Kind::Unmapped => section(out, lines, kind, &UNMAPPED, |u: &Unmapped| {
                vec![u.id.clone(), u.original_name.clone(), u.path.clone()]
            }),
            Kind::Multipart => section(out, lines, kind, &UPLOADS, |u: &StaleUpload| {
                let state = match (u.in_flight, u.too_recent, u.initiated) {
                    (true, ..) => "somebody works on it",
                    (_, true, None) => "of unknown age: --min-age 0 ends it",
                    (_, true, _) => "too recent to judge",
                    _ => "nobody will end it",
                };
                let begun = u.initiated.map(|at| day(&at.to_rfc3339())).unwrap_or_default();
                vec![u.provider.clone(), u.key.clone(), begun, state.to_owned()]
            }),
            Kind::Errors => section(out, lines, kind, &ERRORS, |e: &ItemError| {
                vec![e.file.clone(), e.error.clone()]
            }),
        }
    }

    /// How what was done is undone.
    fn way_back(&self, out: &mut Human<'_>) -> io::Result<()> {
        let report = self.report();
        let undoable = report.cleaned.records + report.repaired.unwrap_or(0);
        let bytes = report.cleaned.objects + report.cleaned.sidecars;
        if undoable > 0 || bytes > 0 && !self.purged {
            out.line(&format!("civic storage:undo {} takes it back.", report.run_id))?;
        }
        Ok(())
    }

    /// What was seen beside the findings, so that nothing under the root goes unmentioned.
    fn others(&self, out: &mut Human<'_>) -> io::Result<()> {
        let counts = &self.report().counts;
        let seen = [
            (counts.foreign, "foreign objects, never deleted"),
            (counts.misplaced, "misplaced objects, never deleted"),
            (counts.too_recent, "too recent to judge"),
            (counts.in_flight, "being uploaded now"),
            (counts.sidecars_without_object, "sidecars without their object"),
            (counts.unmapped_records, "records of no configured provider"),
            (counts.multipart_uploads, "uploads in parts that were never ended"),
        ];
        let texts: Vec<String> = seen
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("{} {what}", format_count(*n)))
            .collect();
        if !texts.is_empty() {
            out.line(&format!("Also seen: {}.", texts.join("; ")))?;
        }
        if self.report().bytes_reclaimable > 0 {
            out.line(&format!(
                "Reclaimable: {}.",
                format_size(self.report().bytes_reclaimable)
            ))?;
        }
        Ok(())
    }
}

fn objects(count: u64) -> String {
    format!("{} objects", format_count(count))
}

fn section<T: DeserializeOwned>(
    out: &mut Human<'_>,
    findings: &Findings,
    kind: Kind,
    heading: &Heading,
    row: impl Fn(&T) -> Vec<String>,
) -> io::Result<()> {
    let mut table = Table::new(heading.columns);
    let mut lines = findings.lines(kind);
    for line in lines.by_ref().take(ROWS) {
        table.row(row(&serde_json::from_slice(&line?)?));
    }
    if table.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let title = match kind {
        Kind::Foreign => "Foreign objects: not put there by this system, never deleted",
        Kind::Sidecars => "Sidecars without their object",
        _ => heading.title,
    };
    out.heading(title)?;
    out.table(&table)?;
    let more = lines.count();
    if more > 0 {
        let more = format_count(more as u64);
        out.line(&format!(
            "… and {more} more: --output json, ndjson or csv shows all"
        ))?;
    }
    Ok(())
}

/// The day and minute of an RFC 3339 time.
fn day(time: &str) -> String {
    time.get(..16)
        .map_or_else(|| time.to_owned(), |text| text.replace('T', " "))
}
