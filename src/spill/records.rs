//! Length-prefixed fields, written through a buffer and read back with positioned reads, so that any number of
//! readers share one file.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// Bytes a field's length takes.
pub(super) const LENGTH: usize = 4;

/// The length prefix of a field; a field of 4 GiB is a mistake of the caller.
pub(super) fn length_of(field: &[u8]) -> io::Result<[u8; LENGTH]> {
    u32::try_from(field.len())
        .map(u32::to_le_bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a record of more than 4 GiB"))
}

pub(super) fn write_field(out: &mut impl Write, field: &[u8]) -> io::Result<()> {
    out.write_all(&length_of(field)?)?;
    out.write_all(field)
}

/// Reads fields from a stretch of a file.
#[derive(Debug)]
pub(super) struct FieldReader {
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    taken: usize,
    capacity: usize,
}

impl FieldReader {
    /// Reads `start..end` in pieces of `capacity` bytes; a longer field is read in one piece.
    pub(super) fn new(start: u64, end: u64, capacity: usize) -> Self {
        Self {
            at: start,
            end,
            buffer: Vec::new(),
            taken: 0,
            capacity: capacity.max(LENGTH),
        }
    }

    /// The next field, or `None` at the end of the stretch.
    pub(super) fn next(&mut self, file: &File) -> io::Result<Option<Vec<u8>>> {
        if self.taken == self.buffer.len() && self.at == self.end {
            return Ok(None);
        }
        let mut length = [0; LENGTH];
        length.copy_from_slice(self.take(file, LENGTH)?);
        let length = u32::from_le_bytes(length) as usize;
        Ok(Some(self.take(file, length)?.to_vec()))
    }

    fn take(&mut self, file: &File, wanted: usize) -> io::Result<&[u8]> {
        if self.buffer.len() - self.taken < wanted {
            self.refill(file, wanted)?;
        }
        let from = self.taken;
        self.taken += wanted;
        Ok(&self.buffer[from..self.taken])
    }

    /// Moves what is left to the front and reads until `wanted` bytes are there.
    fn refill(&mut self, file: &File, wanted: usize) -> io::Result<()> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let held = self.buffer.len();
        let more = self.capacity.max(wanted).saturating_sub(held).min(left);
        if held + more < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.buffer.shrink_to(self.capacity);
        self.buffer.resize(held + more, 0);
        file.read_exact_at(&mut self.buffer[held..], self.at)?;
        self.at += more as u64;
        Ok(())
    }
}
