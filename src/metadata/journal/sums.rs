//! What is kept of a file's content besides its checksum.

/// What is kept of a file's content in parts, so that they can be compared in whatever order they come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartSums {
    /// Bytes of each part but the last.
    pub size: u64,
    /// SHA-256 of each.
    pub sha256: Vec<[u8; 32]>,
}
