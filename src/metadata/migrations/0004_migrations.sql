-- Where the key is to which a step takes an object, where that may be another provider than the one it comes from.

ALTER TABLE civic_storage_steps ADD COLUMN to_provider TEXT;
