//! Bytes go to the disk past the page cache where that can be done: it costs the machine half as much, what others read there
//! stays there, and at the end nothing is left to be waited for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use memmap2::{Advice, MmapMut};
use rustix::fs::{FallocateFlags, OFlags, fallocate, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// What a disk wants of where bytes lie, in memory and in the file.
///
/// # Source
/// open(2), `O_DIRECT`: multiples of the logical block size, which no disk has above 4096 bytes.
const ALIGNMENT: usize = 4096;

/// Bytes in memory that a disk can take from there.
#[derive(Debug)]
pub(super) struct Block {
    /// Begins with a page; none where the block has been given on.
    memory: Option<MmapMut>,
    filled: usize,
}

impl Block {
    /// Room for so many bytes, which takes memory as they come.
    ///
    /// # Errors
    /// There is no memory.
    pub(super) fn new(size: usize) -> io::Result<Self> {
        let memory = MmapMut::map_anon(size.next_multiple_of(ALIGNMENT))?;
        // A disk is told of every page: of large ones there are few. Where there are none, small ones do.
        let _ = memory.advise(Advice::HugePage);
        Ok(Self {
            memory: Some(memory),
            filled: 0,
        })
    }

    /// The same memory, empty.
    pub(super) fn reuse(&mut self) -> Self {
        Self {
            memory: self.memory.take(),
            filled: 0,
        }
    }

    /// Adds bytes, for which there must be room.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let end = self.filled + bytes.len();
        self.memory.as_deref_mut().unwrap_or_default()[self.filled..end].copy_from_slice(bytes);
        self.filled = end;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.upto(self.filled)
    }

    fn upto(&self, end: usize) -> &[u8] {
        &self.memory.as_deref().unwrap_or_default()[..end]
    }

    /// Writes it where it belongs, which is at a multiple of the block size of the disk. It is written up to the next such: the
    /// file is to be cut where it ends.
    pub(super) fn write(&self, file: &File, at: u64) -> io::Result<()> {
        let whole = self.filled.next_multiple_of(ALIGNMENT);
        let bytes = self.upto(whole);
        match file.write_all_at(bytes, at) {
            // Some file systems tell only now that it cannot be done so.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) && is_direct(file) => {
                fcntl_setfl(file, fcntl_getfl(file)? - OFlags::DIRECT)?;
                file.write_all_at(bytes, at)
            }
            written => written,
        }
    }
}

/// Takes the room for so many bytes, and has them go past the page cache; each where the file system can.
///
/// # Errors
/// There is no room.
pub(super) fn prepare(file: &File, size: u64) -> io::Result<()> {
    if let Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) =
        fallocate(file, FallocateFlags::empty(), 0, size)
    {
        return Err(error.into());
    }
    let _ = fcntl_setfl(file, fcntl_getfl(file)? | OFlags::DIRECT);
    Ok(())
}

/// Whether what is written goes past the page cache.
pub(super) fn is_direct(file: &File) -> bool {
    fcntl_getfl(file).is_ok_and(|flags| flags.contains(OFlags::DIRECT))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn written(at: u64) -> (Vec<u8>, bool) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = File::create(&path).unwrap();
        prepare(&file, 10_000).unwrap();
        let mut block = Block::new(10_000).unwrap();
        block.add(&[1; 9_000]);
        block.add(&[2; 1_000]);
        block.write(&file, at).unwrap();
        file.set_len(at + 10_000).unwrap();
        (fs::read(&path).unwrap(), is_direct(&file))
    }

    #[test]
    fn a_block_is_written_to_its_last_byte() {
        let (bytes, _) = written(4096);
        assert_eq!(bytes, [vec![0; 4096], vec![1; 9_000], vec![2; 1_000]].concat());
    }

    #[test]
    fn what_cannot_go_past_the_page_cache_goes_through_it() {
        let (bytes, is_direct) = written(3);
        assert_eq!(bytes, [vec![0; 3], vec![1; 9_000], vec![2; 1_000]].concat());
        assert!(
            !is_direct,
            "the kernel refuses that: no block begins at the third byte"
        );
    }

    #[test]
    fn a_block_that_serves_again_is_empty() {
        let mut block = Block::new(10).unwrap();
        block.add(b"0123456789");
        let mut block = block.reuse();
        assert_eq!(block.bytes(), b"");
        block.add(b"abc");
        assert_eq!(block.bytes(), b"abc");
    }
}
