-- What the program keeps beside storage_files. Times are microseconds since 1970, rows and requests JSON.

CREATE TABLE civic_storage_installation (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    id TEXT NOT NULL
) STRICT;

CREATE TABLE civic_storage_runs (
    id TEXT PRIMARY KEY,
    operation TEXT NOT NULL,
    status TEXT NOT NULL,
    actor TEXT,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    process TEXT NOT NULL,
    request TEXT NOT NULL,
    summary TEXT,
    started_at INTEGER NOT NULL,
    beat_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;

CREATE INDEX civic_storage_runs_started ON civic_storage_runs (started_at, id);
CREATE INDEX civic_storage_runs_running ON civic_storage_runs (id) WHERE status = 'running';

-- One row per provider that was ever held; the token outlives its holders.
CREATE TABLE civic_storage_leases (
    provider TEXT PRIMARY KEY,
    run_id TEXT,
    token INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- Which leases a run was granted, so that one it has lost is known from one it never had.
CREATE TABLE civic_storage_grants (
    run_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    token INTEGER NOT NULL,
    PRIMARY KEY (run_id, provider)
) STRICT, WITHOUT ROWID;

CREATE TABLE civic_storage_intents (
    file_id TEXT PRIMARY KEY,
    run_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    key TEXT NOT NULL,
    size INTEGER NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    process TEXT NOT NULL,
    renewed_at INTEGER NOT NULL
) STRICT;

CREATE INDEX civic_storage_intents_run ON civic_storage_intents (run_id);

CREATE TABLE civic_storage_checksums (
    file_id TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE civic_storage_steps (
    run_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    action TEXT NOT NULL,
    state TEXT NOT NULL,
    provider TEXT NOT NULL,
    key TEXT,
    to_key TEXT,
    evidence TEXT,
    file_id TEXT,
    row_before TEXT,
    row_after TEXT,
    undoes_run TEXT,
    undoes_number INTEGER,
    error TEXT,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (run_id, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX civic_storage_steps_file ON civic_storage_steps (file_id) WHERE file_id IS NOT NULL;
CREATE INDEX civic_storage_steps_intended ON civic_storage_steps (run_id, number) WHERE state = 'intended';
CREATE INDEX civic_storage_steps_undoes ON civic_storage_steps (undoes_run, undoes_number)
    WHERE undoes_run IS NOT NULL;
