//! `civic_storage`: the library behind `civic`, the administration tool for UUID-tracked file storage.
//!
//! A town's files live in *providers* (a local directory, a bucket); one row per file lives in the *metadata*
//! database. This program answers questions about the pair, and later mends it. It never stores anything else, and it
//! shares both with CivicPress, which keeps running meanwhile.
//!
//! Where a line of code belongs:
//!
//! - [`cli`] says what may be typed. It turns the two spellings of a command into one, parses, and dispatches.
//! - [`commands`] has one file per command: typed arguments become a plain request, the engine answers, a [`View`]
//!   renders that answer.
//! - [`output`] owns stdout and stderr: formats, colour, width, escaping, progress, logs. Nothing else prints.
//! - [`engine`] is what the product does: request in, report out. It knows no command line, no terminal, no
//!   configuration file. Time comes from a [`Clock`].
//! - [`providers`] knows where the bytes are: listing, HEAD, and the mapping between an object's key and a record's
//!   `provider_path`. It knows no database.
//! - [`resilience`] stands between this program and a provider that is slow, flaky or down: retries, time limits, a
//!   circuit breaker. [`providers`] puts it around each provider, and nobody else does.
//! - [`metadata`] knows the rows of `storage_files`. It knows no provider; their roots come in as text.
//! - [`config`] reads `storage.yml`, `.civicrc` and the environment, once, into plain values.
//! - [`age`] says when a file is how old, by time or by the calendar.
//! - [`notify`] takes warnings to those who want them: a file, a webhook.
//! - [`metrics`] counts what was done, and adds it up.
//! - [`spill`] keeps out of core what grows with the number of files.
//! - [`failpoint`] marks where tests kill the program; release builds have none.
//! - [`error`] is the edge: each room's typed errors become one `Failure` with code, hint and exit code, in one match.
//!
//! Arrows point one way: `cli -> commands -> engine -> {providers, metadata}`; commands also ask `config` and build
//! views for `output`. This file alone wires them: [`Context`] is the composition root, built per run and passed
//! down, never global.
//!
//! What is not needed is not made. `civic --version` reads no file; `storage:usage` opens the database and builds no
//! HTTP client. So every part of [`Context`] comes into being when it is first asked for.
//!
//! [`View`]: output::View
//! [`Clock`]: engine::Clock

pub mod age;
mod circuits;
pub mod cli;
pub mod commands;
pub mod config;
mod context;
pub mod engine;
pub mod error;
pub mod failpoint;
pub mod metadata;
pub mod metrics;
pub mod notify;
pub mod output;
pub mod providers;
pub mod resilience;
pub mod spill;

pub use context::Context;
