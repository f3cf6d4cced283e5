-- Files are looked up by folder and name, once for each that is uploaded with --skip-existing.

CREATE INDEX IF NOT EXISTS civic_storage_files_named
    ON storage_files (folder COLLATE BINARY, original_name COLLATE BINARY);
