-- What operations were done, added up over all processes. Buckets are counts by bucket, as JSON.

CREATE TABLE civic_storage_metrics (
    operation TEXT NOT NULL,
    provider TEXT NOT NULL,
    folder TEXT NOT NULL,
    count INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    micros INTEGER NOT NULL,
    buckets TEXT NOT NULL,
    PRIMARY KEY (operation, provider, folder)
) STRICT, WITHOUT ROWID;
