//! Object keys, byte-exact, and the shape that this system gives its own.
//!
//! A key is relative to its provider's root or prefix. It is bytes, because names on disk need not be UTF-8; a
//! key is never decoded, normalised or re-encoded on its way from a listing to a comparison.

use std::fmt;

/// Suffix of the record that CivicPress writes beside a local file.
pub const SIDECAR_SUFFIX: &[u8] = b".meta.json";

/// An object's key below its provider's root, compared byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<[u8]>);

impl Key {
    #[must_use]
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key as text, where it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Whether a record could name it: UTF-8, and no segment that is empty, `.` or `..`.
    #[must_use]
    pub fn is_addressable(&self) -> bool {
        self.as_str().is_some_and(|text| {
            text.split('/').all(|s| !matches!(s, "" | "." | "..")) && !text.contains('\0')
        })
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

/// UTF-8 as it is; bytes that are not UTF-8 as `\xNN`. Not escaped for terminals: that is the printer's work.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02X}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// A key of the form `<folder>/<base>_<uuid><.ext>`, or with the older `.` before the UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredShape<'a> {
    pub folder: &'a str,
    /// UUID v4 in lower case, as it stands in the key.
    pub id: &'a str,
}

const UUID_LEN: usize = 36;

/// Reads the shape off a key, or says that it has none.
///
/// # Source
/// CivicPress 0.3.1 names files `<base>_<uuid><.ext>`, base of `[A-Za-z0-9-_]`, ext of `[A-Za-z0-9.]`; releases
/// before it wrote `<base>.<uuid><.ext>`. UUIDs are version 4 in lower case.
#[must_use]
pub fn stored_shape(key: &[u8]) -> Option<StoredShape<'_>> {
    let text = std::str::from_utf8(key).ok()?;
    let (folder, name) = text.rsplit_once('/')?;
    if folder.split('/').any(|s| matches!(s, "" | "." | "..")) {
        return None;
    }
    let bytes = name.as_bytes();
    let ext_at = |at: usize| at + UUID_LEN;
    // The extension holds neither `_` nor `-`, so the UUID is the last one in the name: look from the right.
    let starts = (1..=bytes.len().checked_sub(UUID_LEN)?).rev();
    for at in starts {
        let separated = matches!(bytes[at - 1], b'_' | b'.');
        if !separated || !is_uuid_v4(&bytes[at..ext_at(at)]) {
            continue;
        }
        let base_ok = bytes[..at - 1]
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let ext = &bytes[ext_at(at)..];
        let ext_ok =
            ext.is_empty() || (ext[0] == b'.' && ext.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'.'));
        return (base_ok && ext_ok).then(|| StoredShape {
            folder,
            id: &name[at..ext_at(at)],
        });
    }
    None
}

/// Every UUID that stands anywhere in a key, in lower case, the last one first: that is the key's own where it has
/// the shape. Of any version and in either case, since this decides what is kept.
#[must_use]
pub fn uuids_in(key: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut end = key.len();
    while let Some(start) = end.checked_sub(UUID_LEN) {
        let bytes = &key[start..end];
        if is_uuid(bytes) {
            found.push(String::from_utf8_lossy(bytes).to_lowercase());
            end = start;
        } else {
            end -= 1;
        }
    }
    found
}

fn is_uuid(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(i, b)| match i {
        8 | 13 | 18 | 23 => *b == b'-',
        _ => b.is_ascii_hexdigit(),
    })
}

fn is_uuid_v4(bytes: &[u8]) -> bool {
    bytes.len() == UUID_LEN
        && bytes.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            14 => *b == b'4',
            19 => matches!(b, b'8' | b'9' | b'a' | b'b'),
            _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// The object a sidecar's key belongs to, where the key is a sidecar's.
#[must_use]
pub fn sidecar_object(key: &[u8]) -> Option<&[u8]> {
    let object = key.strip_suffix(SIDECAR_SUFFIX)?;
    stored_shape(object).map(|_| object)
}

/// Names this program keeps for itself: `.civic/` and `.trash/` under a provider's root, and the unfinished files
/// `.civic-tmp-*` in any folder.
#[must_use]
pub fn is_reserved(key: &[u8]) -> bool {
    let name = key.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    key.starts_with(b".civic/") || key.starts_with(b".trash/") || name.starts_with(b".civic-tmp-")
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
