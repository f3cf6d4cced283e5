//! `civic`: parse, run, return the exit code. Everything else is the library's.

use std::process::ExitCode;

fn main() -> ExitCode {
    civic_storage::cli::run(std::env::args_os().collect())
}
