-- SHA-256 of the parts of a large file, 32 bytes each, so that they can be compared in whatever order they come. They go with the
-- SHA-256 of the whole, and count for nothing without it.

CREATE TABLE civic_storage_part_sums (
    file_id TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,
    part_size INTEGER NOT NULL,
    sums BLOB NOT NULL
) STRICT;
