//! The journal on SQLite: the contract, and what only a file that others write too can show.

use std::sync::Arc;

use super::{Town, insert};
use crate::metadata::contract::Seed;
use crate::metadata::contract::journal::{Journaled, journal_suite};
use crate::metadata::sqlite::SqliteJournal;

journal_suite!(journaled);

#[expect(clippy::needless_pass_by_value, reason = "the suite hands its rows over")]
fn journaled(seeds: Vec<Seed>) -> Journaled {
    let town = Town::new();
    let civicpress = town.writer("WAL");
    insert(&civicpress, &seeds);
    Journaled {
        store: Arc::new(SqliteJournal::open(&town.path()).unwrap()),
        _keep: Box::new((civicpress, town)),
    }
}
