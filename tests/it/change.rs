//! Changing what a record says, moving its file, and taking that back: row and sidecar agree at the end, whoever is killed on the way, and
//! what somebody else edited stays edited.

mod moves;
mod update;

use std::fs;

use serde_json::Value;

use crate::common::deployment::{Deployment, key, uuid};
use crate::delete::rows;

/// Files 1 to `count` in `permits`, each of other bytes, with a record and a sidecar as CivicPress would write it.
pub fn town(count: u32) -> Deployment {
    let town = Deployment::new();
    for n in 1..=count {
        let (at, bytes) = (key("permits", n), format!("bytes of {n}"));
        town.old_file(&at);
        fs::write(town.storage().join(&at), &bytes).unwrap();
        town.local_record(n, &at);
        let sql = "UPDATE storage_files SET size = ?1 WHERE id = ?2";
        let size = i64::try_from(bytes.len()).unwrap();
        town.db().execute(sql, (size, uuid(n))).unwrap();
        let sidecar: String = town
            .db()
            .query_row("SELECT json_pretty(?1, '  ')", [text_of_row(&town, n)], |row| {
                row.get(0)
            })
            .unwrap();
        fs::write(town.storage().join(at + ".meta.json"), sidecar).unwrap();
    }
    town
}

/// What a sidecar of file `n` has to say by its row.
pub fn told_by_row(town: &Deployment, n: u32) -> Value {
    serde_json::from_str(&text_of_row(town, n)).unwrap()
}

fn text_of_row(town: &Deployment, n: u32) -> String {
    let sql = "SELECT json_object('id', id, 'original_name', original_name, 'stored_filename', stored_filename,
        'folder', folder, 'relative_path', relative_path, 'provider_path', provider_path, 'size', size,
        'mime_type', mime_type, 'description', description, 'uploaded_by', uploaded_by,
        'created_at', replace(created_at, ' ', 'T') || '.000Z', 'updated_at', replace(updated_at, ' ', 'T') || '.000Z')
        FROM storage_files WHERE id = ?1";
    town.db()
        .query_row(sql, [uuid(n)], |row| row.get(0))
        .unwrap_or_else(|error| panic!("no record {n}: {error}"))
}

/// The local sidecar beside where the row says that the file is.
pub fn sidecar(town: &Deployment, n: u32) -> Value {
    let path = told_by_row(town, n)["provider_path"].as_str().unwrap().to_owned() + ".meta.json";
    serde_json::from_slice(&fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))).unwrap()
}

#[track_caller]
pub fn assert_agrees(town: &Deployment, n: u32) {
    assert_eq!(sidecar(town, n), told_by_row(town, n));
}

/// One column of file `n`.
pub fn column(town: &Deployment, n: u32, name: &str) -> Value {
    told_by_row(town, n)[name].clone()
}

/// Steps of any run that nobody has settled.
pub fn unsettled(town: &Deployment) -> i64 {
    let sql = "SELECT count(*) FROM civic_storage_steps WHERE state = 'intended'";
    town.db().query_row(sql, [], |row| row.get(0)).unwrap()
}

fn edit(town: &Deployment, n: u32, assignment: &str) {
    let sql = format!("UPDATE storage_files SET {assignment} WHERE id = ?1");
    assert_eq!(town.db().execute(&sql, [uuid(n)]).unwrap(), 1);
}

fn row_count(town: &Deployment) -> usize {
    rows(town.db()).len()
}
