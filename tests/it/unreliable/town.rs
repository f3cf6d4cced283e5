//! A town whose provider is behind a [`Proxy`], with waits so short that a test can afford them.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::deployment::Run;
use crate::common::proxy::Proxy;
use crate::common::{Remote, World};

/// Waits of a few milliseconds, and no circuit that a test's faults would open.
const QUICK: [&str; 4] = [
    "retry_attempts: 3",
    "retry_initial_delay: 1",
    "retry_max_delay: 5",
    "circuit_breaker_enabled: false",
];

pub struct Town {
    pub world: World,
    pub proxy: Proxy,
    /// `s3`, `azure` or `gcs`, also the name of the provider.
    pub kind: &'static str,
}

impl Town {
    /// In a bucket that other towns of this test may use, too.
    pub fn on(bucket: impl Remote + Sync + 'static) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let prefix = format!("{}/town", COUNT.fetch_add(1, Ordering::SeqCst));
        let proxy = Proxy::before(bucket.endpoint());
        let kind = bucket.kind();
        let town = Self {
            world: World::by_way_of(&proxy.endpoint(), bucket, &prefix),
            proxy,
            kind,
        };
        for line in QUICK {
            town.set(line);
        }
        town
    }

    /// One more line of `storage.yml`.
    pub fn set(&self, line: &str) {
        let key = line.split(':').next().unwrap();
        self.world.town().env().edit_config(|yaml| {
            let kept: Vec<_> = yaml.lines().filter(|old| !old.starts_with(key)).collect();
            format!("{}\n{line}\n", kept.join("\n"))
        });
    }

    pub fn civic(&self, args: &[&str]) -> Run {
        self.world.town().civic(args)
    }

    /// Where downloads go.
    pub fn out(&self) -> PathBuf {
        self.world.town().env().tmp().join("out")
    }

    /// Which files there are, and where: `NAME@FOLDER/PROVIDER`, what is in the trash, what was downloaded.
    pub fn shape(&self) -> String {
        let sql = "SELECT original_name || '@' || folder || '/' || iif(provider_path LIKE '/%', 'vault', 's3') \
                   FROM storage_files ORDER BY 1";
        let mut rows = self.world.town().db().prepare(sql).unwrap();
        let rows = rows.query_map([], |row| row.get(0)).unwrap();
        let mut words: Vec<String> = rows.map(Result::unwrap).collect();
        let trashed = self
            .civic(&["storage:trash", "list", "--json"])
            .items("items", "id");
        if !trashed.is_empty() {
            words.push(format!("trash {}", trashed.len()));
        }
        if self.out().exists() {
            words.push("out".to_owned());
        }
        words.extend(self.left_in_tmp());
        words.join(" ")
    }

    /// What lies about where the binary works that no test put there.
    pub fn left_in_tmp(&self) -> Vec<String> {
        let entries = fs::read_dir(self.world.town().env().tmp()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| !["inbox", "out", "disk", "list", "secret"].contains(&name.as_str()))
            .collect()
    }

    #[track_caller]
    pub fn assert_no_upload_left(&self) {
        let look = ["--dry-run", "--kind", "multipart", "--min-age", "0"];
        let look = self.world.town().cleanup(&look).json();
        assert_eq!(
            look["data"]["counts"]["multipartUploads"].as_u64().unwrap_or(0),
            0,
            "{look}"
        );
    }

    /// Every record has its bytes, and nothing is there without a record.
    #[track_caller]
    pub fn assert_settled(&self) {
        self.proxy.calm();
        self.world.assert_whole();
        self.world.assert_nothing_left_behind();
    }

    /// A file outside of the storage; its path.
    pub fn source(&self, name: &str, bytes: &[u8]) -> String {
        let inbox = self.world.town().env().tmp().join("inbox");
        fs::create_dir_all(&inbox).unwrap();
        let path = inbox.join(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    pub fn upload(&self, files: &[String]) -> Run {
        let mut args = vec!["storage:upload", "--json", "--folder", "permits"];
        args.extend(files.iter().map(String::as_str));
        self.civic(&args)
    }

    /// An upload that nothing disturbs; its id.
    pub fn stored(&self, name: &str, bytes: &[u8]) -> String {
        let run = self.upload(&[self.source(name, bytes)]);
        assert_eq!(run.code, 0, "{run:?}");
        run.json()["data"]["successful"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

/// How much of it a test does: what the variable says, or this, which takes a few seconds.
pub fn size(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}
