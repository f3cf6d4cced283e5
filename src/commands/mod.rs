//! One file per command: typed arguments become a plain request, the engine answers, a view renders. No command
//! prints, and none knows another.

mod ask;
mod batch;
mod changes;
mod edited;
mod named;
mod ownership;
mod selection;
mod shared;
mod text;

pub mod cleanup;
pub mod completions;
pub mod config;
pub mod delete;
pub mod download;
pub mod folder;
pub mod health;
pub mod info;
pub mod init;
pub mod lifecycle;
pub mod list;
pub mod man;
pub mod metrics;
pub mod migrate;
pub mod r#move;
pub mod quota;
pub mod reconstruct;
pub mod runs;
pub mod trash;
pub mod undo;
pub mod update;
pub mod upload;
pub mod usage;
pub mod verify;
