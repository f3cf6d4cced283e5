-- Usage by type, month and uploader; a transaction of its own, so that nobody waits for both indexes at once.

CREATE INDEX IF NOT EXISTS civic_storage_files_kinds ON storage_files (
    folder COLLATE BINARY, mime_type COLLATE BINARY, uploaded_by COLLATE BINARY, created_at COLLATE BINARY, size
);
