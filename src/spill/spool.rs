//! An append-only list of records, written once and read as often as wanted.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::TempDir;
use super::records::{FieldReader, LENGTH, write_field};

/// What stays in memory before it is written out, in bytes.
const TAIL: usize = 256 << 10;
const READ: usize = 64 << 10;

/// Records kept in the order they came. Up to 256 KiB of them stay in memory; what is beyond lies on disk.
#[derive(Debug)]
pub struct Spool {
    dir: TempDir,
    /// The file and how much of it is written; a record lies either wholly in it or wholly in the tail.
    file: Option<(File, u64)>,
    tail: Vec<u8>,
    most: usize,
    count: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Self::new()
    }
}

impl Spool {
    pub fn new() -> Self {
        Self::in_dir(TAIL, TempDir::from_env())
    }

    pub(super) fn in_dir(most: usize, dir: TempDir) -> Self {
        Self {
            dir,
            file: None,
            tail: Vec::new(),
            most,
            count: 0,
        }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Writing to the temporary directory; the record is then not in the spool.
    pub fn push(&mut self, record: &[u8]) -> io::Result<()> {
        if !self.tail.is_empty() && self.tail.len() + LENGTH + record.len() > self.most {
            self.write_out()?;
        }
        write_field(&mut self.tail, record)?;
        self.count += 1;
        Ok(())
    }

    fn write_out(&mut self) -> io::Result<()> {
        let (file, written) = match &mut self.file {
            Some(file) => file,
            none => none.insert((self.dir.file()?, 0)),
        };
        file.write_all_at(&self.tail, *written)
            .map_err(|e| self.dir.fault(&e))?;
        *written += self.tail.len() as u64;
        self.tail.clear();
        self.tail.shrink_to(self.most);
        Ok(())
    }

    /// How many records it holds.
    pub const fn len(&self) -> u64 {
        self.count
    }

    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All records from the first, whatever other iterators do.
    pub fn iter(&self) -> SpoolIter<'_> {
        let written = self.file.as_ref().map_or(0, |(_, written)| *written);
        SpoolIter {
            spool: self,
            disk: FieldReader::new(0, written, READ),
            tail: &self.tail,
        }
    }
}

impl<'a> IntoIterator for &'a Spool {
    type Item = io::Result<Vec<u8>>;
    type IntoIter = SpoolIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Records of a [`Spool`]; an error ends what can be trusted.
#[derive(Debug)]
pub struct SpoolIter<'a> {
    spool: &'a Spool,
    disk: FieldReader,
    tail: &'a [u8],
}

impl Iterator for SpoolIter<'_> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((file, _)) = &self.spool.file {
            match self.disk.next(file) {
                Ok(None) => {}
                Ok(Some(record)) => return Some(Ok(record)),
                Err(e) => return Some(Err(self.spool.dir.fault(&e))),
            }
        }
        let (length, rest) = self.tail.split_first_chunk::<LENGTH>()?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.tail = rest;
        Some(Ok(record.to_vec()))
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
