//! The names that CivicPress really gave.

use civic_storage::providers::{Mapping, sidecar_object, stored_shape};
use rusqlite::Connection;

use crate::common::{OLD_ROOT, TestEnv};

struct Row {
    id: String,
    folder: String,
    relative_path: String,
    provider_path: String,
}

fn rows(env: &TestEnv) -> Vec<Row> {
    let database = Connection::open(env.database()).unwrap();
    let mut query = database
        .prepare("SELECT id, folder, relative_path, provider_path FROM storage_files")
        .unwrap();
    let rows = query.query_map([], |row| {
        Ok(Row {
            id: row.get(0)?,
            folder: row.get(1)?,
            relative_path: row.get(2)?,
            provider_path: row.get(3)?,
        })
    });
    rows.unwrap().map(Result::unwrap).collect()
}

#[test]
fn every_stored_name_has_the_shape_and_carries_its_records_id() {
    let env = TestEnv::fixture();
    let rows = rows(&env);
    assert_eq!(rows.len(), 66);
    for row in rows {
        let shape = stored_shape(row.relative_path.as_bytes()).unwrap();
        assert_eq!((shape.id, shape.folder), (row.id.as_str(), row.folder.as_str()));
        let sidecar = format!("{}.meta.json", row.relative_path);
        assert_eq!(
            sidecar_object(sidecar.as_bytes()),
            Some(row.relative_path.as_bytes())
        );
    }
}

#[test]
fn every_recorded_path_of_the_old_root_is_the_key_of_its_relative_path() {
    let env = TestEnv::fixture();
    let mapping = Mapping::new(env.storage().to_str().unwrap(), &[OLD_ROOT.to_owned()]);
    for row in rows(&env) {
        let key = mapping.key_of(&row.provider_path).unwrap();
        assert_eq!(key.as_str(), Some(row.relative_path.as_str()));
    }
}
