-- How far long looks have come, so that the next one goes on from there.

CREATE TABLE civic_storage_notes (
    topic TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (topic, name)
) STRICT, WITHOUT ROWID;
