-- What was told of a file before a lifecycle policy does something to it, one row per file and policy.

CREATE TABLE civic_storage_warnings (
    file_id TEXT NOT NULL,
    policy TEXT NOT NULL,
    announces TEXT NOT NULL,
    sent_at INTEGER NOT NULL,
    goes_at INTEGER NOT NULL,
    PRIMARY KEY (file_id, policy)
) STRICT, WITHOUT ROWID;
