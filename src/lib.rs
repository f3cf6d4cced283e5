//! `civic_storage`: the library behind `civic`, the administration tool for UUID-tracked file storage.

pub mod config;
pub mod engine;
pub mod error;
pub mod metadata;
pub mod output;
pub mod providers;
pub mod spill;
