//! Plans: what a dry run found, in a file that somebody can read, keep and approve, and that `--apply` then does, that and
//! nothing else.
//!
//! NDJSON: a header, a line per item with its evidence, and an end that counts them and holds a SHA-256 of all before it.
//! Applying one compares anew and acts only on what is in both, with the same evidence: a plan can take nothing away that a
//! run without it would leave, however it was edited.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::finding::{Findings, Kind};
use super::report::Skipped;
use super::{CleanupRequest, Clock};
use crate::engine::hash::hex;
use crate::engine::marker::Claim;
use crate::providers::Provider;
use crate::spill::Sorter;

const VERSION: u32 = 1;
/// No line is longer: the longest holds a key of 1,024 bytes and a few numbers.
const LONGEST: u64 = 1 << 20;
/// Bytes that comparing a plan with the findings may take.
const BUDGET: usize = 2 << 20;
/// A plan from further ahead than this was made by a clock that is wrong, or for later.
const AHEAD: TimeDelta = TimeDelta::minutes(5);

/// For what a plan was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    version: u32,
    made_at: DateTime<Utc>,
    run_id: String,
    /// The installation's id, where it has one already.
    installation: Option<String>,
    database: String,
    providers: Vec<Place>,
    pub kinds: Vec<Kind>,
    pub folder: Option<String>,
    pub min_age_seconds: u64,
    pub repair_sizes: bool,
}

/// A provider, and where it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub name: String,
    roots: Vec<String>,
}

impl Place {
    fn of(provider: &Provider) -> Self {
        Self {
            name: provider.name.clone(),
            roots: provider.mapping.roots().to_vec(),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Line {
    Plan(Header),
    Item { kind: Kind, item: serde_json::Value },
    End { items: u64, sha256: String },
}

/// Why a plan cannot be made or will not be applied. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("--plan {file}: {error}")]
    File { file: PathBuf, error: io::Error },
    #[error("--plan {file}, line {line}: {why}")]
    Malformed { file: PathBuf, line: u64, why: String },
    #[error("--plan {file}: {why}")]
    Refused { file: PathBuf, why: String },
    #[error("the temporary directory failed: {0}")]
    Spill(#[from] io::Error),
}

/// A plan as it was written.
#[derive(Debug, Clone, Serialize)]
pub struct Written {
    pub file: PathBuf,
    pub items: u64,
    pub sha256: String,
}

/// A plan that was read to its end and is what was written.
#[derive(Debug)]
pub struct Plan {
    pub file: PathBuf,
    pub header: Header,
    pub items: u64,
    pub sha256: String,
    findings: Findings,
}

impl Plan {
    /// The providers that it is about.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        self.header.providers.iter().map(|place| place.name.as_str())
    }
}

/// What an apply would act on, of these kinds, in the order in which it would.
fn actions(kinds: &[Kind], repair_sizes: bool) -> impl Iterator<Item = Kind> {
    let all = [
        Kind::OrphanedObjects,
        Kind::OrphanedRecords,
        Kind::Sidecars,
        Kind::Multipart,
        Kind::Mismatches,
    ];
    let acted = move |kind: &Kind| *kind != Kind::Mismatches || repair_sizes;
    all.into_iter().filter(|kind| kinds.contains(kind)).filter(acted)
}

/// Whether an apply would act on the item: of sidecars and uploads it leaves some.
fn may_go(item: &serde_json::Value) -> bool {
    ["hasRecord", "tooRecent", "inFlight"]
        .iter()
        .all(|flag| item[*flag] != true)
}

/// Writes what was found to a new file, which has its name only once all of it is on the disk.
///
/// # Errors
/// Where the file is there already, or cannot be written.
pub fn write(
    file: &Path,
    request: &CleanupRequest,
    (findings, repair_sizes): (&Findings, bool),
    clock: &dyn Clock,
) -> Result<Written, PlanError> {
    let failed = |error| PlanError::File {
        file: file.to_owned(),
        error,
    };
    let directory = match file.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    let mut temporary = tempfile::Builder::new()
        .prefix(".civic-plan-")
        .tempfile_in(directory)
        .map_err(failed)?;
    let header = Header {
        version: VERSION,
        made_at: clock.now(),
        run_id: request.run_id.clone(),
        installation: request.claim.installation.clone(),
        database: request.claim.database.clone(),
        providers: request
            .providers
            .iter()
            .map(|provider| Place::of(provider))
            .collect(),
        kinds: request.kinds.clone(),
        folder: request.folder.clone(),
        min_age_seconds: request.min_age.as_secs(),
        repair_sizes,
    };
    let (items, sha256) = write_lines(temporary.as_file_mut(), header, findings).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    temporary
        .persist_noclobber(file)
        .map_err(|error| failed(error.error))?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed)?;
    Ok(Written {
        file: file.to_owned(),
        items,
        sha256,
    })
}

fn write_lines(file: &mut File, header: Header, findings: &Findings) -> io::Result<(u64, String)> {
    let (mut out, mut hash, mut items) = (BufWriter::new(file), Sha256::new(), 0);
    let kinds: Vec<Kind> = actions(&header.kinds, header.repair_sizes).collect();
    let mut put = |line: &Line| -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        hash.update(&text);
        out.write_all(&text)
    };
    put(&Line::Plan(header))?;
    for kind in kinds {
        for line in findings.lines(kind) {
            let item = serde_json::from_slice(&line?)?;
            if may_go(&item) {
                items += 1;
                put(&Line::Item { kind, item })?;
            }
        }
    }
    let sha256 = hex(hash.finalize());
    let end = Line::End {
        items,
        sha256: sha256.clone(),
    };
    serde_json::to_writer(&mut out, &end)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok((items, sha256))
}

/// Reads a plan to its end. Memory does not grow with it.
///
/// # Errors
/// Where it is not, byte for byte, what was written: cut short, edited, of another version, no plan at all.
pub fn read(file: &Path) -> Result<Plan, PlanError> {
    let failed = |error| PlanError::File {
        file: file.to_owned(),
        error,
    };
    let mut lines = Lines {
        file,
        input: BufReader::new(File::open(file).map_err(failed)?),
        number: 0,
    };
    let (mut hash, mut items, mut findings) = (Sha256::new(), 0, Findings::default());
    let first = lines.next()?.ok_or_else(|| lines.wrong("the file is empty"))?;
    let Ok(Line::Plan(header)) = serde_json::from_slice(&first) else {
        return Err(lines.wrong("this is not the beginning of a plan"));
    };
    if header.version != VERSION {
        let why = format!(
            "it is of version {}, and this program knows {VERSION}",
            header.version
        );
        return Err(lines.wrong(&why));
    }
    hash.update(&first);
    let cut = "it ends before its end: it was cut short";
    loop {
        let text = lines.next()?.ok_or_else(|| lines.wrong(cut))?;
        match serde_json::from_slice(&text) {
            Ok(Line::Item { kind, item }) => {
                items += 1;
                findings.push(kind, &item)?;
                hash.update(&text);
            }
            Ok(Line::End {
                items: counted,
                sha256,
            }) => {
                if counted != items || hex(hash.finalize()) != sha256 {
                    return Err(lines.wrong("it is not what was written: it was edited"));
                }
                if lines.next()?.is_some() {
                    return Err(lines.wrong("something stands behind its end"));
                }
                return Ok(Plan {
                    file: file.to_owned(),
                    header,
                    items,
                    sha256,
                    findings,
                });
            }
            Ok(Line::Plan(_)) | Err(_) => return Err(lines.wrong("this is no item of a plan")),
        }
    }
}

/// Lines of bounded length, with their numbers.
struct Lines<'a> {
    file: &'a Path,
    input: BufReader<File>,
    number: u64,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, PlanError> {
        let mut text = Vec::new();
        self.number += 1;
        let mut bounded = io::Read::take(&mut self.input, LONGEST);
        let count = bounded
            .read_until(b'\n', &mut text)
            .map_err(|error| PlanError::File {
                file: self.file.to_owned(),
                error,
            })?;
        match (count, text.last()) {
            (0, _) => Ok(None),
            (_, Some(b'\n')) => Ok(Some(text)),
            _ => Err(self.wrong("the line does not end: it was cut short")),
        }
    }

    fn wrong(&self, why: &str) -> PlanError {
        PlanError::Malformed {
            file: self.file.to_owned(),
            line: self.number,
            why: why.to_owned(),
        }
    }
}

impl Plan {
    /// Whether it was made for this deployment, as it is now, and not too long ago.
    ///
    /// # Errors
    /// Why not.
    pub fn fits(
        &self,
        (claim, providers): (&Claim, &[std::sync::Arc<Provider>]),
        (now, max_age): (DateTime<Utc>, Duration),
    ) -> Result<(), PlanError> {
        let refused = |why: String| PlanError::Refused {
            file: self.file.clone(),
            why,
        };
        let header = &self.header;
        let same = match &header.installation {
            Some(theirs) => claim.installation.as_ref() == Some(theirs),
            None => header.database == claim.database,
        };
        if !same {
            let why = format!(
                "it was made for another deployment, with the database {}",
                header.database
            );
            return Err(refused(why));
        }
        for place in &header.providers {
            let ours = providers.iter().find(|provider| provider.name == place.name);
            if ours.map(|provider| Place::of(provider)).as_ref() != Some(place) {
                let why = format!("provider {} is not where it was when it was made", place.name);
                return Err(refused(why));
            }
        }
        let age = now - header.made_at;
        if age < -AHEAD {
            return Err(refused(format!("it is of {}, which is to come", header.made_at)));
        }
        if age.to_std().is_ok_and(|age| age > max_age) {
            let why = format!(
                "it is {} old, and --plan-max-age allows {}",
                told(age.to_std().unwrap_or_default()),
                told(max_age)
            );
            return Err(refused(why));
        }
        Ok(())
    }

    /// Of what was found now, that which is in the plan with the same evidence; and how much of the plan is not found any
    /// more.
    ///
    /// # Errors
    /// Where the temporary directory fails.
    pub fn narrow(&self, found: &Findings) -> io::Result<(Findings, Skipped)> {
        let (mut both, mut changed) = (Findings::default(), Skipped::default());
        for kind in actions(&self.header.kinds, self.header.repair_sizes) {
            let mut sorted = Sorter::new(BUDGET);
            for (findings, side) in [(found, FOUND), (&self.findings, PLANNED)] {
                for line in findings.lines(kind) {
                    // Through a value, so that the order of fields tells nothing.
                    let item: serde_json::Value = serde_json::from_slice(&line?)?;
                    sorted.push(item.to_string().as_bytes(), &[side])?;
                }
            }
            let mut last: (Vec<u8>, u8) = (Vec::new(), 0);
            let mut end = |(line, sides): (Vec<u8>, u8)| -> io::Result<()> {
                match sides {
                    sides if sides == FOUND | PLANNED => both.push_line(kind, &line),
                    PLANNED => {
                        count(&mut changed, kind);
                        Ok(())
                    }
                    _ => Ok(()),
                }
            };
            for pair in sorted.finish()? {
                let (line, side) = pair?;
                if line == last.0 {
                    last.1 |= side[0];
                } else {
                    end(std::mem::replace(&mut last, (line, side[0])))?;
                }
            }
            end(last)?;
        }
        Ok((both, changed))
    }
}

const FOUND: u8 = 1;
const PLANNED: u8 = 2;

const fn count(skipped: &mut Skipped, kind: Kind) {
    match kind {
        Kind::OrphanedRecords => skipped.records += 1,
        Kind::Sidecars => skipped.sidecars += 1,
        Kind::Multipart => skipped.uploads += 1,
        Kind::Mismatches => skipped.mismatches += 1,
        _ => skipped.objects += 1,
    }
}

fn told(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds >= 2 * 3600 => format!("{} h", seconds / 3600),
        seconds if seconds >= 120 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}
