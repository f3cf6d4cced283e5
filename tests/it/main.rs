//! The whole program, run as an operator runs it. One binary, so that it links once; a module per topic.
//!
//! Tests that need a server live in modules named `needs_server`: `make test` starts the servers and runs them all, a
//! bare `cargo nextest run` skips them by that name, a bare `cargo test` prints a line for each it leaves out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

mod backups;
mod bounded;
mod catalogue;
mod change;
mod cleanup_apply;
mod cleanup_fixture;
mod cleanup_limited;
mod cleanup_odd;
mod cleanup_rules;
mod complaints;
mod conditional;
mod config;
mod crowd;
mod damaged;
mod delete;
mod download;
mod edge;
mod failover;
mod faults;
mod gcs;
mod harness;
mod health;
mod kills;
mod lifecycle;
mod lost_database;
mod metadata;
mod metrics;
mod migrate;
mod mounted;
mod multipart;
mod ownership;
mod plans;
mod prompts;
mod providers;
mod questions;
mod quota;
mod reconstruct;
mod recovery;
mod runs;
mod shells;
mod sidecars;
mod trash;
mod unreliable;
mod upload;
mod usage;
mod verify;
