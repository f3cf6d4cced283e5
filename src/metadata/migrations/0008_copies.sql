-- Where else a file's bytes are, for reading while its own provider is down.

CREATE TABLE civic_storage_copies (
    file_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (file_id, provider)
) STRICT, WITHOUT ROWID;
