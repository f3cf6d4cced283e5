//! One file per command: typed arguments become a plain request, the engine answers, a view renders. No command
//! prints, and none knows another.

pub mod cleanup;
pub mod completions;
pub mod man;
mod text;
