//! A large file goes to the disk while the rest of it arrives: at its end little is left to be waited for.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Bytes after which the disk is asked to begin.
const EVERY: u64 = 32 << 20;

/// What has been written of a file, and how much of it the disk was asked for.
pub(super) struct Behind {
    file: Arc<File>,
    waiting: u64,
    under_way: Option<JoinHandle<io::Result<()>>>,
}

impl Behind {
    pub(super) fn new(file: &File) -> io::Result<Self> {
        Ok(Self {
            file: Arc::new(file.try_clone()?),
            waiting: 0,
            under_way: None,
        })
    }

    /// So many bytes were written.
    ///
    /// # Errors
    /// What the disk had to say of those before: it is said once, and a later sync would not hear it again.
    pub(super) fn wrote(&mut self, bytes: usize) -> io::Result<()> {
        self.waiting = self.waiting.saturating_add(bytes as u64);
        let is_busy = self.under_way.as_ref().is_some_and(|work| !work.is_finished());
        if self.waiting < EVERY || is_busy {
            return Ok(());
        }
        self.finish()?;
        self.waiting = 0;
        let file = Arc::clone(&self.file);
        self.under_way = Some(thread::spawn(move || file.sync_data()));
        Ok(())
    }

    /// Waits for what is under way.
    ///
    /// # Errors
    /// As [`Behind::wrote`].
    pub(super) fn finish(&mut self) -> io::Result<()> {
        match self.under_way.take().map(JoinHandle::join) {
            Some(Ok(synced)) => synced,
            Some(Err(_)) => Err(io::Error::other("the thread that waits for the disk panicked")),
            None => Ok(()),
        }
    }
}
