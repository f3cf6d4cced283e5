//! A deployment with one provider, on disk or in a bucket, whose bytes can be looked at from outside: a test that is
//! written once judges both.

use std::fs;

use super::Remote;
use super::deployment::{Deployment, days};

pub struct World {
    town: Deployment,
    bucket: Option<Box<dyn Remote + Sync>>,
    /// The provider's.
    prefix: String,
}

impl World {
    pub fn local() -> Self {
        Self {
            town: Deployment::new(),
            bucket: None,
            prefix: String::new(),
        }
    }

    /// Everything below the prefix `town` of the bucket.
    pub fn on(bucket: impl Remote + Sync + 'static) -> Self {
        let town = Deployment::new();
        town.providers(&bucket.provider_yaml(bucket.kind(), "town"));
        Self {
            town,
            bucket: Some(Box::new(bucket)),
            prefix: "town".to_owned(),
        }
    }

    /// Everything below this prefix of the bucket, whose server the binary reaches at another address than these looks do.
    pub fn by_way_of(endpoint: &str, bucket: impl Remote + Sync + 'static, prefix: &str) -> Self {
        let town = Deployment::new();
        let direct = bucket.provider_yaml(bucket.kind(), prefix);
        town.providers(&direct.replace(bucket.endpoint(), endpoint));
        Self {
            town,
            bucket: Some(Box::new(bucket)),
            prefix: prefix.to_owned(),
        }
    }

    /// With a second provider, `vault`, on disk; gives the name of the first.
    pub fn with_vault(&self) -> &'static str {
        let vault = self.town.env().root().join("vault");
        fs::create_dir_all(&vault).unwrap();
        let entry = format!(
            "providers:\n  vault: {{ type: local, path: {} }}\n",
            vault.display()
        );
        self.town
            .env()
            .edit_config(|yaml| yaml.replacen("providers:\n", &entry, 1));
        self.bucket.as_ref().map_or("local", |bucket| bucket.kind())
    }

    pub const fn town(&self) -> &Deployment {
        &self.town
    }

    /// What every `provider_path` begins with.
    pub fn root(&self) -> String {
        match &self.bucket {
            Some(bucket) => format!("{}/{}", bucket.root(), self.prefix),
            None => self.town.storage().display().to_string(),
        }
    }

    /// An object of ten bytes, as old as the provider lets it be.
    pub fn object(&self, key: &str) {
        match &self.bucket {
            Some(_) => self.object_of(key, &[b'x'; 10]),
            None => self.town.file(key, 10, days(30)),
        }
    }

    /// An object of these bytes, in the bucket.
    pub fn object_of(&self, key: &str, bytes: &[u8]) {
        let bucket = self.bucket.as_ref().expect("a bucket");
        bucket.put(&format!("{}/{key}", self.prefix), bytes);
    }

    /// The record of such an object, a month old.
    pub fn record(&self, n: u32, key: &str) -> String {
        self.town.record(n, &self.root(), key, (10, days(30)))
    }

    /// The bytes that a record's `provider_path` names; `None` where nothing is there.
    pub fn bytes(&self, provider_path: &str) -> Option<Vec<u8>> {
        match &self.bucket {
            Some(bucket) if !provider_path.starts_with('/') => {
                bucket.get(provider_path.strip_prefix(&bucket.root())?.strip_prefix('/')?)
            }
            _ => fs::read(provider_path).ok(),
        }
    }

    /// What the record of this id says of its bytes, and those bytes.
    ///
    /// Fails where the record is gone, or has no bytes.
    #[track_caller]
    pub fn file(&self, id: &str) -> (u64, Vec<u8>) {
        let sql = "SELECT provider_path, size FROM storage_files WHERE id = ?1";
        let row = self.town.db().query_row(sql, [id], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        });
        let (path, size) = row.unwrap_or_else(|error| panic!("the record of {id} is lost: {error}"));
        let bytes = self.bytes(&path);
        (
            size.unsigned_abs(),
            bytes.unwrap_or_else(|| panic!("{path} is lost")),
        )
    }

    /// Every record has bytes of its size.
    #[track_caller]
    pub fn assert_whole(&self) {
        for id in self.ids() {
            let (size, bytes) = self.file(&id);
            assert_eq!(bytes.len() as u64, size, "{id}");
        }
    }

    pub fn ids(&self) -> Vec<String> {
        let mut statement = self.town.db().prepare("SELECT id FROM storage_files").unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// A comparison without any minimum age finds nothing at all.
    #[track_caller]
    pub fn assert_nothing_left_behind(&self) {
        let look = self.town.cleanup(&["--min-age", "0"]);
        let left = [
            "orphanedObjects",
            "orphanedRecords",
            "mismatches",
            "inFlight",
            "misplaced",
            "sidecarsWithoutObject",
            "foreign",
        ]
        .map(|count| look.count(count));
        assert_eq!(left, [0; 7], "{}", look.stdout);
    }
}
