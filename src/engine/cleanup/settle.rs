//! What only the end of all scans can tell: a record whose object is gone, but whose UUID some object carries
//! elsewhere, is no orphan. Removing it would leave that object without a record, and the next run would take it
//! for an orphan: the file would be lost in two steps that each look right.

use std::io;

use serde::Deserialize;

use super::finding::{Findings, Kind, Misplaced};
use super::report::Counts;
use super::scan::Scan;
use crate::spill::Sorter;

const SORT_BUDGET: usize = 2 << 20;

/// Sorts a record's line before the lines of objects that carry its id.
const RECORD: u8 = 0;
const OBJECT: u8 = 1;
/// Of an object that the scans did not see: it counts only where it is a record's last copy.
const ELSEWHERE: u8 = 2;

#[derive(Deserialize)]
struct HasId {
    id: String,
}

/// Where settled findings go.
#[derive(Debug)]
pub struct Settled<'a> {
    pub kinds: &'a [Kind],
    pub findings: &'a mut Findings,
    pub counts: &'a mut Counts,
}

impl Settled<'_> {
    fn keep(&mut self, kind: Kind, line: &[u8]) -> io::Result<()> {
        if self.kinds.contains(&kind) {
            self.findings.push_line(kind, line)
        } else {
            Ok(())
        }
    }

    fn orphan(&mut self, line: &[u8]) -> io::Result<()> {
        self.counts.orphaned_records += 1;
        self.keep(Kind::OrphanedRecords, line)
    }

    fn misplaced(&mut self, line: &[u8], record_object_missing: bool) -> io::Result<()> {
        self.counts.misplaced += 1;
        let mut finding: Misplaced = serde_json::from_slice(line)?;
        finding.record_object_missing = record_object_missing;
        self.keep(Kind::Misplaced, &serde_json::to_vec(&finding)?)
    }
}

/// Moves what the scans left pending to where it belongs.
///
/// # Errors
/// Where the temporary directory fails.
pub fn settle(scans: &[Scan], elsewhere: &Findings, settled: &mut Settled<'_>) -> io::Result<()> {
    let pending = scans.iter().map(|scan| &scan.pending);
    if pending
        .chain([elsewhere])
        .all(|found| found.is_empty(Kind::Misplaced))
    {
        // Nothing to match: keep the order in which they were found.
        for scan in scans {
            for line in scan.pending.lines(Kind::OrphanedRecords) {
                settled.orphan(&line?)?;
            }
        }
        return Ok(());
    }
    // The record seen last, until an object with its id shows or the next id comes.
    let mut waiting: Option<(Vec<u8>, Vec<u8>)> = None;
    let mut found: Option<Vec<u8>> = None;
    for pair in sorted_by_id(scans, elsewhere)?.finish()? {
        let (mut id, line) = pair?;
        let side = id.pop();
        if waiting
            .as_ref()
            .is_some_and(|(record, _)| side == Some(RECORD) || *record != id)
            && let Some((_, orphan)) = waiting.take()
        {
            settled.orphan(&orphan)?;
        }
        if side == Some(RECORD) {
            waiting = Some((id, line));
            continue;
        }
        let last_copy = waiting.take().is_some();
        if last_copy {
            found = Some(id.clone());
        } else if side == Some(ELSEWHERE) {
            continue;
        }
        settled.misplaced(&line, found.as_ref() == Some(&id))?;
    }
    waiting.map_or(Ok(()), |(_, orphan)| settled.orphan(&orphan))
}

fn sorted_by_id(scans: &[Scan], elsewhere: &Findings) -> io::Result<Sorter> {
    let mut sorter = Sorter::new(SORT_BUDGET);
    let mut add = |found: &Findings, kind, side| -> io::Result<()> {
        for line in found.lines(kind) {
            let line = line?;
            let HasId { id } = serde_json::from_slice(&line)?;
            let mut key = id.to_lowercase().into_bytes();
            key.push(side);
            sorter.push(&key, &line)?;
        }
        Ok(())
    };
    for scan in scans {
        add(&scan.pending, Kind::OrphanedRecords, RECORD)?;
        add(&scan.pending, Kind::Misplaced, OBJECT)?;
    }
    add(elsewhere, Kind::Misplaced, ELSEWHERE)?;
    Ok(sorter)
}
