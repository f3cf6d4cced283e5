//! Warnings as lines of JSON at the end of a file, on disk before they count as sent.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::engine::lifecycle::Notice;

/// A file that warnings are appended to; made where it is missing, never cut.
#[derive(Debug)]
pub struct NoticeFile(pub PathBuf);

/// The same, open.
pub(super) struct Open<'a> {
    file: File,
    name: &'a NoticeFile,
}

impl NoticeFile {
    pub(super) fn open(&self) -> Result<Open<'_>, String> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&self.0);
        let file = file.map_err(|error| self.fault(&error))?;
        Ok(Open { file, name: self })
    }

    fn fault(&self, error: &io::Error) -> String {
        format!("{}: {error}", self.0.display())
    }
}

impl Open<'_> {
    pub(super) fn append<'n>(self, notices: impl Iterator<Item = &'n Notice>) -> Result<(), String> {
        self.write(notices).map_err(|error| self.name.fault(&error))
    }

    /// In one write, so that lines of several processes do not mix.
    fn write<'n>(&self, notices: impl Iterator<Item = &'n Notice>) -> io::Result<()> {
        let mut lines = Vec::new();
        for notice in notices {
            serde_json::to_writer(&mut lines, notice)?;
            lines.push(b'\n');
        }
        if lines.is_empty() {
            return Ok(());
        }
        if self.is_torn()? {
            lines.insert(0, b'\n');
        }
        (&self.file).write_all(&lines)?;
        self.file.sync_all()
    }

    /// Whether the last line was cut off, as by a full disk.
    fn is_torn(&self) -> io::Result<bool> {
        let length = self.file.metadata()?.len();
        let Some(last) = length.checked_sub(1) else {
            return Ok(false);
        };
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, last)?;
        Ok(byte != *b"\n")
    }
}
