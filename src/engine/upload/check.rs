//! What is refused before anything is read: by its name, its kind and its size.

use std::fs::{File, Metadata};
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::name;

/// Types that Windows or a shell runs when they are opened: never taken, whatever a folder allows. CivicPress refuses
/// the first five. `js` is not among them: folders that list it mean web pages.
pub const EXECUTABLE: [&str; 18] = [
    "exe", "bat", "cmd", "sh", "ps1", "com", "cpl", "hta", "jse", "lnk", "msi", "msp", "pif", "reg", "scr",
    "vbe", "vbs", "wsf",
];

/// What a folder takes.
#[derive(Debug, Clone)]
pub struct FolderRules {
    pub name: String,
    /// In lower case, without the dot; `*` is any.
    pub allowed_types: Vec<String>,
    /// Bytes: the folder's own limit or the global one, whichever is lower.
    pub max_size: u64,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("it has no name")]
    NoName,
    #[error("its name is not UTF-8: rename it")]
    NotUtf8,
    #[error("type {0} is executable and never stored")]
    Executable(String),
    #[error("type {extension} is not allowed in folder {folder}")]
    Type { extension: String, folder: String },
    #[error("it has {size} bytes, and folder {folder} takes {limit} at most")]
    TooLarge { size: u64, limit: u64, folder: String },
    #[error("it is a directory: give --recursive for what is in it")]
    Directory,
    #[error("it is a symlink, and none in a directory is followed")]
    Symlink,
    #[error("it is no regular file")]
    NotRegular,
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

impl Refusal {
    /// The code of the item's error.
    pub(in crate::engine) fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(error) if error.kind() == io::ErrorKind::NotFound => "STORAGE_FILE_NOT_FOUND",
            Self::Unreadable(_) => "STORAGE_ERROR",
            _ => "STORAGE_VALIDATION_ERROR",
        }
    }
}

/// A file that may be stored, open.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) file: File,
    pub(super) size: u64,
}

impl Candidate {
    /// The file from its beginning. Nobody may be reading it still.
    pub(super) fn again(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }
}

/// Opens and judges a file. Blocks, but never on a FIFO.
pub(super) fn candidate(path: PathBuf, folder: &FolderRules) -> Result<Candidate, (PathBuf, Refusal)> {
    match judged(&path, folder) {
        Ok((name, file, size)) => Ok(Candidate {
            path,
            name,
            file,
            size,
        }),
        Err(refusal) => Err((path, refusal)),
    }
}

fn judged(path: &Path, folder: &FolderRules) -> Result<(String, File, u64), Refusal> {
    let name = file_name(path)?;
    let meta = std::fs::metadata(path)?;
    regular(&meta)?;
    typed(&name, folder)?;
    let file = open(path)?;
    let meta = file.metadata()?;
    regular(&meta)?;
    sized(meta.len(), folder)?;
    Ok((name, file, meta.len()))
}

fn file_name(path: &Path) -> Result<String, Refusal> {
    let name = path.file_name().ok_or(Refusal::NoName)?;
    let name = name.to_str().ok_or(Refusal::NotUtf8)?;
    if name.trim().is_empty() {
        return Err(Refusal::NoName);
    }
    Ok(name.to_owned())
}

fn regular(meta: &Metadata) -> Result<(), Refusal> {
    if meta.is_dir() {
        Err(Refusal::Directory)
    } else if meta.is_file() {
        Ok(())
    } else {
        Err(Refusal::NotRegular)
    }
}

/// Whether the folder takes a file of this name and size, wherever it comes from.
pub(in crate::engine) fn takes(name: &str, size: u64, folder: &FolderRules) -> Result<(), Refusal> {
    typed(name, folder)?;
    sized(size, folder)
}

fn sized(size: u64, folder: &FolderRules) -> Result<(), Refusal> {
    if size > folder.max_size {
        return Err(Refusal::TooLarge {
            size,
            limit: folder.max_size,
            folder: folder.name.clone(),
        });
    }
    Ok(())
}

fn typed(name: &str, folder: &FolderRules) -> Result<(), Refusal> {
    let extension = name::extension(name);
    // Windows drops dots and blanks at the end of a name, and so takes `a.exe.` for `a.exe`.
    let run_as = name::extension(name.trim_end_matches(['.', ' ']));
    for told in [&extension, &run_as] {
        if EXECUTABLE.contains(&told.as_str()) {
            return Err(Refusal::Executable(told.clone()));
        }
    }
    let allowed = |kind: &String| kind == "*" || *kind == extension;
    if folder.allowed_types.iter().any(allowed) {
        return Ok(());
    }
    Err(Refusal::Type {
        extension: if extension.is_empty() {
            "(none)".to_owned()
        } else {
            extension
        },
        folder: folder.name.clone(),
    })
}

/// Should a FIFO have taken the file's place, opening it must not wait for a writer.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(
        path,
        flags,
        rustix::fs::Mode::empty(),
    )?))
}
