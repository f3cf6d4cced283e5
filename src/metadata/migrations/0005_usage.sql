-- Usage: what it is counted from, what the trash holds, and reports that are kept for a while. No trigger ever tells of a
-- change to storage_files: the number below tells of this program's own, and nothing of anybody else's.

CREATE INDEX IF NOT EXISTS civic_storage_files_places ON storage_files (
    folder COLLATE BINARY,
    CASE WHEN instr(stored_filename, '/') = 0
             AND substr(provider_path, -length(stored_filename) - 1) = '/' || stored_filename
        THEN substr(provider_path, 1, length(provider_path) - length(stored_filename)) ELSE provider_path END,
    size
);

-- Grows with every transaction of this program that changed something.
CREATE TABLE civic_storage_generation (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    number INTEGER NOT NULL
) STRICT;
INSERT INTO civic_storage_generation (only_one, number) VALUES (1, 0);

CREATE TABLE civic_storage_reports (
    request TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,
    newest INTEGER,
    made_at INTEGER NOT NULL,
    report TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What a step holds in the trash once it is settled, and of which folder it was.
ALTER TABLE civic_storage_steps ADD COLUMN held_bytes INTEGER;
ALTER TABLE civic_storage_steps ADD COLUMN held_folder TEXT;
UPDATE civic_storage_steps SET
    held_bytes = max(0, coalesce(evidence ->> '$.size', row_before ->> '$.size', 0)),
    held_folder = coalesce(row_before ->> '$.folder', rtrim(rtrim(key, replace(key, '/', '')), '/'))
    WHERE action IN ('trash', 'migrate');
CREATE INDEX civic_storage_steps_held ON civic_storage_steps (held_folder, held_bytes)
    WHERE state = 'settled' AND held_bytes IS NOT NULL;
