//! `storage:download`: files out of the storage, into files or to standard output.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use futures::{StreamExt, stream};

use super::batch::{Batch, Words};
use super::named::{self, no_room};
use super::shared::the_one;
use crate::Context;
use crate::engine::changes::details_of;
use crate::engine::cleanup::ItemError;
use crate::engine::download::{self, ByteRange, DownloadError, Elsewhere, Placing, Wanted};
use crate::engine::list::owner;
use crate::engine::{Interrupt, Progress, info, tell_queue};
use crate::error::{Code, Exit, Failure};
use crate::metadata::FileRecord;
use crate::metadata::journal::{Copy, JournalReader, PartSums};
use crate::output::Outcome;
use crate::providers::{Key, Provider};

/// Files that the database is asked about in one question.
const LOOKED_UP: usize = 500;

const WORDS: Words = Words {
    operation: "storage:download",
    done: "downloaded",
    planned: "would be downloaded",
};

/// Fetches files by id or by folder and name
///
/// A file is there under its name only once all of it has arrived and was compared with what was stored.
#[derive(Debug, Args)]
pub struct DownloadArgs {
    /// Ids, or folders and names (`permits/plan.pdf`)
    #[arg(value_name = "ID_OR_FILE", required_unless_present = "from_list")]
    files: Vec<String>,
    /// Read ids from this file, one a line; `-` is stdin
    #[arg(long, value_name = "FILE")]
    from_list: Option<String>,
    /// A file or directory to write to, made where several are fetched; - is standard output, for one file
    /// [default: the working directory, under the original names]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
    /// Only these bytes of one file: FIRST-LAST counted from 0, FIRST- to the end, -COUNT for the last
    #[arg(long, value_name = "A-B", allow_hyphen_values = true)]
    range: Option<ByteRange>,
    /// Keep what has arrived where a download breaks, and go on from what an earlier one kept
    #[arg(long, conflicts_with = "range")]
    resume: bool,
    /// How many files are fetched at once [default: global.max_concurrent_downloads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: Option<u16>,
}

/// Downloads.
///
/// # Errors
/// A name that several files have, before anything is fetched; what stands in the way of every file.
pub fn run(context: &Context, args: &DownloadArgs) -> Result<Outcome, Failure> {
    context.connections(args.concurrency);
    let to_stdout = args.out.as_deref() == Some(Path::new("-"));
    let names = named::read(&args.files, args.from_list.as_deref())?;
    if to_stdout && names.len() > 1 {
        return Err(Failure::usage("--out - takes one file"));
    }
    if to_stdout && args.resume {
        return Err(Failure::usage(
            "--resume needs a file to keep what has arrived in, and --out - has none",
        ));
    }
    if args.range.is_some() && names.len() > 1 {
        return Err(Failure::usage("--range takes one file"));
    }
    if to_stdout && context.printer().is_for_programs() {
        let message = "--out - writes the file itself, and no --output or --json beside it";
        return Err(Failure::usage(message));
    }
    context.block_on_changes(|interrupt| async move {
        let mut batch = Batch::new(WORDS, context.printer(), false);
        let found = find(context, &names, &mut batch).await?;
        let mut wanted = wanted(context, found, &mut batch).await?;
        if let Some(range) = args.range {
            limit(&mut wanted, range)?;
        }
        if to_stdout {
            return stream_one(context, wanted, batch, &interrupt).await;
        }
        let targets = targets(args, names.len(), wanted)?;
        fetch(context, args, targets, (&mut batch, &interrupt)).await?;
        Ok(batch.conclude(interrupt.is_requested()))
    })
}

/// The records that were named, each once.
async fn find(context: &Context, names: &[String], batch: &mut Batch) -> Result<Vec<FileRecord>, Failure> {
    let store = context.history()?;
    let mut found = Vec::with_capacity(names.len());
    for names in names.chunks(LOOKED_UP) {
        found.extend(info::find_all(store.as_ref(), names).await?);
    }
    let (mut records, mut seen) = (Vec::new(), HashSet::new());
    for (name, found) in names.iter().zip(found) {
        match the_one(found, name) {
            Ok(record) => {
                if seen.insert(record.id.clone()) {
                    records.push(record);
                }
            }
            Err(failure) if failure.exit == Exit::Usage => return Err(failure),
            Err(failure) => batch
                .fail(&ItemError {
                    file: name.clone(),
                    error: failure.message,
                    error_code: "STORAGE_FILE_NOT_FOUND".into(),
                    details: None,
                })
                .map_err(no_room)?,
        }
    }
    Ok(records)
}

/// Each record with the provider that has its bytes, its checksum where one is known, and its copies.
async fn wanted(
    context: &Context,
    records: Vec<FileRecord>,
    batch: &mut Batch,
) -> Result<Vec<Wanted>, Failure> {
    let (roots, store) = (context.roots()?, context.history()?);
    let mut providers = Providers {
        context,
        built: BTreeMap::new(),
    };
    let mut wanted = Vec::with_capacity(records.len());
    for records in records.chunks(LOOKED_UP) {
        let ids: Vec<String> = records.iter().map(|record| record.id.clone()).collect();
        let mut checksums = store.checksums(&ids).await?;
        let mut copies: BTreeMap<String, Vec<Elsewhere>> = BTreeMap::new();
        for (id, copy) in store.copies(&ids).await? {
            copies.entry(id).or_default().extend(providers.elsewhere(&copy));
        }
        for record in records {
            let provider = match owner(&record.provider_path, &roots) {
                None => Err(Failure::new(
                    Exit::Failed,
                    Code::Configuration,
                    format!("no configured provider has {}", record.provider_path),
                )),
                Some(name) => providers.get(name),
            };
            match provider {
                Ok(provider) => wanted.push(Wanted {
                    sha256: checksums.remove(&record.id),
                    copies: copies.remove(&record.id).unwrap_or_default(),
                    record: record.clone(),
                    provider,
                    parts: None,
                    key: None,
                    range: None,
                }),
                Err(failure) => batch
                    .fail(&ItemError {
                        file: title(record),
                        error: failure.message,
                        error_code: "STORAGE_CONFIGURATION_ERROR".into(),
                        details: None,
                    })
                    .map_err(no_room)?,
            }
        }
    }
    Ok(wanted)
}

/// Where they cannot be read, the whole can be compared all the same.
async fn part_sums(store: &dyn JournalReader, wanted: &Wanted) -> Option<Arc<PartSums>> {
    match store.part_sums(&wanted.record.id).await {
        Ok(known) => known.map(Arc::new),
        Err(error) => {
            tracing::warn!(
                "{}: what is kept of its parts cannot be read: {error}",
                wanted.record.original_name
            );
            None
        }
    }
}

/// Providers by name, each built once.
struct Providers<'a> {
    context: &'a Context,
    built: BTreeMap<String, Result<Arc<Provider>, Failure>>,
}

impl Providers<'_> {
    fn get(&mut self, name: &str) -> Result<Arc<Provider>, Failure> {
        if let Some(built) = self.built.get(name) {
            return built.clone();
        }
        let built = self.context.provider(name).map(Arc::new);
        self.built.insert(name.to_owned(), built.clone());
        built
    }

    /// Where a copy is, as far as storage.yml still has its provider.
    fn elsewhere(&mut self, copy: &Copy) -> Option<Elsewhere> {
        Some(Elsewhere {
            provider: self.get(&copy.provider).ok()?,
            key: Key::from(copy.key.as_str()),
        })
    }
}

/// Keeps to the bytes that were asked for.
fn limit(wanted: &mut [Wanted], range: ByteRange) -> Result<(), Failure> {
    for one in wanted {
        let size = size_of(&one.record);
        let asked = range.of(size).ok_or_else(|| {
            let name = title(&one.record);
            Failure::usage(format!("--range: {name} has no such bytes, but {size} in all"))
        })?;
        one.range = Some(asked);
    }
    Ok(())
}

/// Bytes, as recorded.
fn size_of(record: &FileRecord) -> u64 {
    u64::try_from(record.size).unwrap_or(0)
}

/// `folder/name`, as it may be typed.
fn title(record: &FileRecord) -> String {
    format!("{}/{}", record.folder, record.original_name)
}

async fn stream_one(
    context: &Context,
    wanted: Vec<Wanted>,
    batch: Batch,
    interrupt: &Interrupt,
) -> Result<Outcome, Failure> {
    let Some(wanted) = wanted.into_iter().next() else {
        return Ok(batch.conclude(false));
    };
    let out = Box::new(context.printer().bytes());
    match download::to_stream(&wanted, out, interrupt).await {
        Ok(()) => Ok(Outcome::silent(WORDS.operation)),
        Err(DownloadError::Interrupted) => Err(Failure::interrupted()),
        Err(error) => Err(batch_failure(batch, &wanted.record, &error)),
    }
}

/// The failure that a batch of this one file would come to.
fn batch_failure(mut batch: Batch, record: &FileRecord, error: &DownloadError) -> Failure {
    match batch.fail(&item_error(record, error)) {
        Ok(()) => batch.conclude(false).failure.unwrap_or_else(Failure::interrupted),
        Err(error) => no_room(error),
    }
}

fn item_error(record: &FileRecord, error: &DownloadError) -> ItemError {
    ItemError {
        file: title(record),
        error: error.to_string(),
        error_code: error.code().to_owned(),
        details: match error {
            DownloadError::Provider(error) => Some(details_of(error)),
            _ => None,
        },
    }
}

/// Where each file goes. Names that clash among them get a number.
fn targets(
    args: &DownloadArgs,
    names: usize,
    wanted: Vec<Wanted>,
) -> Result<Vec<(Wanted, PathBuf)>, Failure> {
    let several = names > 1 || args.from_list.is_some();
    let directory = match &args.out {
        None => PathBuf::new(),
        Some(out) if several || out.is_dir() || ends_at_slash(out) => out.clone(),
        Some(out) => return Ok(wanted.into_iter().map(|one| (one, out.clone())).collect()),
    };
    if !directory.as_os_str().is_empty() && !wanted.is_empty() {
        std::fs::create_dir_all(&directory).map_err(|error| {
            let message = format!("--out {}: {error}", directory.display());
            Failure::usage(message).detail("path", directory.display().to_string())
        })?;
    }
    let mut taken = HashSet::new();
    let place = |one: Wanted| {
        let name = download::safe_name(&one.record.original_name);
        let mut free = name.clone();
        let mut number = 1;
        while !taken.insert(free.clone()) {
            number += 1;
            free = download::numbered(&name, number);
        }
        (one, directory.join(free))
    };
    Ok(wanted.into_iter().map(place).collect())
}

fn ends_at_slash(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

async fn fetch(
    context: &Context,
    args: &DownloadArgs,
    targets: Vec<(Wanted, PathBuf)>,
    (batch, interrupt): (&mut Batch, &Interrupt),
) -> Result<(), Failure> {
    let placing = Placing {
        force: args.force,
        resume: args.resume,
    };
    let progress = context.progress();
    let waiting = targets.len() as u64;
    progress.start("Downloading", Some(waiting));
    let store = context.history()?;
    let one = |(mut wanted, target): (Wanted, PathBuf)| {
        let store = &store;
        async move {
            if interrupt.is_requested() {
                return (wanted.record, target, Err(DownloadError::Interrupted));
            }
            if download::is_in_parts(&wanted) {
                wanted.parts = part_sums(store.as_ref(), &wanted).await;
            }
            let outcome = download::to_file(&wanted, &target, placing, interrupt).await;
            (wanted.record, target, outcome)
        }
    };
    let configured = context.config()?.global.max_concurrent_downloads;
    let limit = args.concurrency.map_or(configured, usize::from).max(1);
    tell_queue("downloads", waiting, limit);
    let mut fetched = stream::iter(targets).map(one).buffer_unordered(limit);
    let mut completed = 0;
    while let Some((record, target, outcome)) = fetched.next().await {
        completed += 1;
        progress.advance(completed, &record.original_name);
        match outcome {
            Ok(()) => {
                let size = args.range.and_then(|range| range.of(size_of(&record)));
                let size = size.map_or_else(|| size_of(&record), |range| range.end - range.start);
                batch.success(&record, &target.display().to_string(), size)
            }
            Err(error) => batch.fail(&item_error(&record, &error)),
        }
        .map_err(no_room)?;
    }
    progress.finish();
    Ok(())
}
