//! An external merge sort: sorted runs in one unlinked file, merged as they are read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::TempDir;
use super::records::{FieldReader, write_field};

/// Runs merged at once; more are first merged into fewer, so that read buffers stay within the budget.
const MAX_FAN_IN: usize = 64;
const MIN_READ: usize = 4 << 10;
const MAX_READ: usize = 64 << 10;
const WRITE: usize = 64 << 10;

/// Sorts records by key, byte by byte; equal keys keep the order they came in. Memory stays within the budget (and
/// a few buffers) whatever the number of records, and nothing touches the disk while they fit in it.
#[derive(Debug)]
pub struct Sorter {
    budget: usize,
    dir: TempDir,
    chunk: Chunk,
    spilled: Option<Spilled>,
}

impl Sorter {
    /// `budget` in bytes.
    pub fn new(budget: usize) -> Self {
        Self::in_dir(budget, TempDir::from_env())
    }

    pub(super) fn in_dir(budget: usize, dir: TempDir) -> Self {
        Self {
            budget,
            dir,
            chunk: Chunk::default(),
            spilled: None,
        }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Writing to the temporary directory; the sorter is then of no more use.
    pub fn push(&mut self, key: &[u8], payload: &[u8]) -> io::Result<()> {
        if !self.chunk.is_empty() && self.chunk.bytes_with(key, payload) > self.budget {
            self.spill()?;
        }
        self.chunk.push(key, payload, self.budget)
    }

    /// Whether anything went to the disk.
    pub fn has_spilled(&self) -> bool {
        self.spilled.is_some()
    }

    fn spill(&mut self) -> io::Result<()> {
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            none => none.insert(Spilled::new(&self.dir)?),
        };
        self.chunk.sort();
        let dir = &self.dir;
        spilled
            .append(|out| self.chunk.write(out))
            .map_err(|e| dir.fault(&e))?;
        self.chunk.clear();
        Ok(())
    }

    /// Ends the input and gives the records in order.
    ///
    /// # Errors
    /// Writing to or reading from the temporary directory.
    pub fn finish(mut self) -> io::Result<SortedRuns> {
        if self.spilled.is_none() {
            self.chunk.sort();
            self.chunk.shrink();
            return Ok(SortedRuns(Source::Memory(self.chunk, 0)));
        }
        self.spill()?;
        self.chunk = Chunk::default();
        let fan_in = (self.budget / MIN_READ).clamp(2, MAX_FAN_IN);
        let Some(mut spilled) = self.spilled else {
            return Ok(SortedRuns(Source::Memory(self.chunk, 0)));
        };
        while spilled.runs.len() > fan_in {
            spilled = spilled.merged(&self.dir, fan_in, self.budget)?;
        }
        let merge = Merge::new(&spilled.file, &spilled.runs, self.budget).map_err(|e| self.dir.fault(&e))?;
        Ok(SortedRuns(Source::Disk(spilled.file, merge, self.dir)))
    }
}

/// Sorted records; an error ends them.
#[derive(Debug)]
pub struct SortedRuns(Source);

#[derive(Debug)]
enum Source {
    Memory(Chunk, usize),
    Disk(File, Merge, TempDir),
}

impl Iterator for SortedRuns {
    type Item = io::Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Memory(chunk, at) => {
                let (key, payload) = chunk.get(*at)?;
                *at += 1;
                Some(Ok((key.to_vec(), payload.to_vec())))
            }
            Source::Disk(file, merge, dir) => merge.next(file).map_err(|e| dir.fault(&e)).transpose(),
        }
    }
}

/// Records in memory: their bytes in one arena, and where each lies.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    at: usize,
    key: u32,
    payload: u32,
}

impl Span {
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.at..self.at + self.key as usize]
    }
}

impl Chunk {
    fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    fn bytes_with(&self, key: &[u8], payload: &[u8]) -> usize {
        self.bytes.len() + key.len() + payload.len() + (self.spans.len() + 1) * size_of::<Span>()
    }

    fn push(&mut self, key: &[u8], payload: &[u8], budget: usize) -> io::Result<()> {
        let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "a record of more than 4 GiB");
        let length = |field: &[u8]| u32::try_from(field.len()).map_err(|_| too_long());
        let span = Span {
            at: self.bytes.len(),
            key: length(key)?,
            payload: length(payload)?,
        };
        grow(&mut self.bytes, key.len() + payload.len(), budget);
        grow(&mut self.spans, 1, budget / size_of::<Span>());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(payload);
        self.spans.push(span);
        Ok(())
    }

    fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let span = self.spans.get(index)?;
        let payload_at = span.at + span.key as usize;
        let payload = &self.bytes[payload_at..payload_at + span.payload as usize];
        Some((span.key(&self.bytes), payload))
    }

    /// Records of one key lie in the arena as they came, so the place settles ties; of those at one place all but
    /// the last are empty.
    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.spans.sort_unstable_by(|a, b| {
            let by_key = a.key(bytes).cmp(b.key(bytes));
            by_key.then((a.at, a.payload).cmp(&(b.at, b.payload)))
        });
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for (key, payload) in (0..self.spans.len()).filter_map(|i| self.get(i)) {
            write_field(out, key)?;
            write_field(out, payload)?;
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.spans.shrink_to_fit();
    }
}

/// Makes room by doubling, but never past `most`: a doubled arena would be twice the budget.
fn grow<T>(items: &mut Vec<T>, more: usize, most: usize) {
    let wanted = items.len() + more;
    if wanted > items.capacity() {
        let target = (items.capacity() * 2).clamp(wanted, most.max(wanted));
        items.reserve_exact(target - items.len());
    }
}

/// Sorted runs, one after the other in a file.
#[derive(Debug)]
struct Spilled {
    file: File,
    end: u64,
    runs: Vec<(u64, u64)>,
}

impl Spilled {
    fn new(dir: &TempDir) -> io::Result<Self> {
        Ok(Self {
            file: dir.file()?,
            end: 0,
            runs: Vec::new(),
        })
    }

    /// Adds what `write` writes as one run.
    fn append<F>(&mut self, write: F) -> io::Result<()>
    where
        F: FnOnce(&mut Counted<BufWriter<&File>>) -> io::Result<()>,
    {
        let mut out = Counted {
            inner: BufWriter::with_capacity(WRITE, &self.file),
            count: 0,
        };
        write(&mut out)?;
        out.flush()?;
        let start = self.end;
        self.end += out.count;
        self.runs.push((start, self.end));
        Ok(())
    }

    /// The same records in fewer runs. Neighbours are merged, so that equal keys keep their order.
    fn merged(self, dir: &TempDir, fan_in: usize, budget: usize) -> io::Result<Self> {
        let mut fewer = Self::new(dir)?;
        for group in self.runs.chunks(fan_in) {
            let pour = |out: &mut Counted<BufWriter<&File>>| {
                let mut merge = Merge::new(&self.file, group, budget)?;
                while let Some((key, payload)) = merge.next(&self.file)? {
                    write_field(out, &key)?;
                    write_field(out, &payload)?;
                }
                Ok(())
            };
            fewer.append(pour).map_err(|e| dir.fault(&e))?;
        }
        Ok(fewer)
    }
}

/// Counts what goes through.
struct Counted<W> {
    inner: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buf)?;
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A k-way merge: the heap holds the head of each run, smallest first, earlier runs first among equals.
#[derive(Debug)]
struct Merge {
    readers: Vec<FieldReader>,
    heads: BinaryHeap<Reverse<Head>>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    key: Vec<u8>,
    run: usize,
    payload: Vec<u8>,
}

impl Merge {
    fn new(file: &File, runs: &[(u64, u64)], budget: usize) -> io::Result<Self> {
        let capacity = (budget / runs.len().max(1)).clamp(MIN_READ, MAX_READ);
        let mut merge = Self {
            readers: runs
                .iter()
                .map(|&(start, end)| FieldReader::new(start, end, capacity))
                .collect(),
            heads: BinaryHeap::with_capacity(runs.len()),
        };
        for run in 0..runs.len() {
            let head = merge.read(file, run)?;
            merge.heads.extend(head.map(Reverse));
        }
        Ok(merge)
    }

    fn read(&mut self, file: &File, run: usize) -> io::Result<Option<Head>> {
        let reader = &mut self.readers[run];
        let Some(key) = reader.next(file)? else {
            return Ok(None);
        };
        let payload = reader.next(file)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Some(Head { key, run, payload }))
    }

    fn next(&mut self, file: &File) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let Some(Reverse(Head { run, .. })) = self.heads.peek() else {
            return Ok(None);
        };
        let following = self.read(file, *run)?;
        let Some(mut top) = self.heads.peek_mut() else {
            return Ok(None);
        };
        let Reverse(head) = match following {
            Some(following) => std::mem::replace(&mut *top, Reverse(following)),
            None => PeekMut::pop(top),
        };
        Ok(Some((head.key, head.payload)))
    }
}

#[cfg(test)]
#[path = "sorter_tests.rs"]
mod tests;
