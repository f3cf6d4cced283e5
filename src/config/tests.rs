//! The configuration as a whole: files in, model or problems out.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;

/// A directory like an installation's, with a `storage.yml`.
struct Town {
    dir: tempfile::TempDir,
    request: LoadRequest,
}

impl Town {
    fn with(yaml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let system_data = root.join(".system-data");
        std::fs::create_dir(&system_data).unwrap();
        std::fs::write(system_data.join("storage.yml"), yaml).unwrap();
        let request = LoadRequest {
            cwd: root,
            ..LoadRequest::default()
        };
        Self { dir, request }
    }

    fn fixture(name: &str) -> Self {
        let town = Self::with("");
        std::fs::copy(fixture(name), town.path(".system-data/storage.yml")).unwrap();
        town
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.request.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.request.cwd.join(name)
    }

    fn write(self, name: &str, text: &str) -> Self {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
        self
    }

    fn load(&self) -> Loaded {
        load(&self.request).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Problems and warnings without the directory in front.
    fn problems(&self) -> String {
        load(&self.request)
            .unwrap_err()
            .to_string()
            .replace(&format!("{}/", self.path("").display()), "")
            .replace(&format!("{}/", self.request.cwd.display()), "")
    }

    fn warnings(&self) -> Vec<String> {
        let here = format!("{}/.system-data/", self.request.cwd.display());
        self.load()
            .warnings
            .iter()
            .map(|w| w.to_string().replace(&here, ""))
            .collect()
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/config")
        .join(name)
}

fn s3(config: &Config, name: &str) -> S3Config {
    match &config.provider(name).unwrap().kind {
        ProviderKind::S3(s3) => s3.clone(),
        other => panic!("{other:?}"),
    }
}

fn key_id(config: &Config, name: &str) -> Option<String> {
    s3(config, name).credentials.map(|c| {
        format!(
            "{}/{}/{}",
            c.access_key_id,
            c.secret_access_key.expose_secret(),
            c.session_token.as_ref().map_or("-", |t| t.expose_secret())
        )
    })
}

#[test]
fn the_file_of_a_real_deployment_loads_without_a_warning() {
    let town = Town::fixture("valid/civicpress-0.3.1.yml");
    let loaded = town.load();
    assert_eq!(town.warnings(), [""; 0]);
    let config = &loaded.config;
    let names: Vec<_> = config
        .providers
        .iter()
        .map(|p| (p.name.as_str(), p.enabled))
        .collect();
    assert_eq!(
        names,
        [("local", true), ("s3", false), ("azure", false), ("gcs", false)]
    );
    assert!(
        matches!(&config.providers[0].kind, ProviderKind::Local(l) if l.path == Path::new("/srv/civicpress/storage"))
    );
    assert_eq!(config.folders.len(), 9);
    assert_eq!(config.folders["misc"].path, "misc_docs");
    assert_eq!(config.folders["recordings"].max_size, Some(4 << 30));
    assert_eq!(config.folders["recordings_raw"].access, Access::Private);
    assert_eq!(
        loaded.database.to_string(),
        format!("sqlite:{}", town.path(".system-data/civic.db").display())
    );
}

#[test]
fn every_valid_file_loads_without_a_warning() {
    for entry in std::fs::read_dir(fixture("valid")).unwrap() {
        let path = entry.unwrap().path();
        let town = Town::fixture(path.to_str().unwrap())
            .env("TOWN_ID", "AKIA")
            .write(".system-data/secret.txt", "s3cret\n");
        assert_eq!(town.warnings(), [""; 0], "{}", path.display());
    }
}

#[test]
fn every_invalid_file_says_all_that_is_wrong_with_it() {
    let mut seen = 0;
    for entry in std::fs::read_dir(fixture("invalid")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "yml") {
            let expected = path.with_extension("txt");
            let problems = Town::fixture(path.to_str().unwrap())
                .problems()
                .replace(".system-data/storage.yml", "storage.yml")
                + "\n";
            if std::env::var_os("UPDATE_EXPECTED").is_some() {
                std::fs::write(&expected, &problems).unwrap();
            }
            assert_eq!(
                problems,
                std::fs::read_to_string(&expected).unwrap(),
                "{}",
                path.display()
            );
            assert!(
                !problems.contains("hunter2") && !problems.contains("12345678"),
                "{problems}"
            );
            seen += 1;
        }
    }
    assert!(seen > 15);
}

#[test]
fn a_backend_alone_is_a_provider_named_local() {
    let town = Town::fixture("valid/legacy-backend.yml");
    let config = town.load().config;
    assert_eq!(config.providers.len(), 1);
    assert!(
        matches!(&config.provider("local").unwrap().kind, ProviderKind::Local(l) if l.path == town.path(".system-data/files"))
    );
    assert_eq!(config.folders["public"].allowed_types, ["pdf", "txt"]);
}

#[test]
fn keys_are_read_from_wherever_they_may_stand() {
    let town = Town::fixture("valid/everywhere.yml")
        .env("TOWN_ID", "AKIA")
        .write(".system-data/secret.txt", "s3cret\n");
    let config = town.load().config;
    assert_eq!(config.global.max_file_size, 3 << 29);
    assert_eq!(config.global.retry_initial_delay, Duration::from_secs(2));
    assert_eq!(config.global.upload_timeout, Duration::from_secs(300));
    assert_eq!(
        (config.failover.enabled, config.failover.providers),
        (false, vec!["town-s3".to_owned()])
    );
    assert!(!config.lifecycle.enabled);
    assert_eq!(config.lifecycle.check_interval, Duration::from_secs(12 * 3600));
    assert_eq!(config.providers[1].prefix, "archive/");
    assert_eq!(
        config.providers[1].aliases,
        ["s3://old-bucket/prefix", "/srv/old/storage"]
    );
    assert_eq!(
        s3(&town.load().config, "town-s3").endpoint.as_deref(),
        Some("https://s3.example.org:9000")
    );
    assert_eq!(
        key_id(&town.load().config, "town-s3").as_deref(),
        Some("AKIA/s3cret/-")
    );
    assert_eq!(
        config.lifecycle.notify.file,
        Some(town.path(".system-data/warnings.ndjson"))
    );
}

#[test]
fn global_wins_over_the_top_level_with_a_warning() {
    let town = Town::with(
        "upload_timeout: 1s\nfailover_enabled: true\nglobal:\n  upload_timeout: 2s\n  failover_enabled: false\n",
    );
    let config = town.load().config;
    assert_eq!(config.global.upload_timeout, Duration::from_secs(2));
    assert!(!config.failover.enabled);
    assert_eq!(
        town.warnings(),
        [
            "storage.yml:1: upload_timeout: is not used, since `global.upload_timeout` says otherwise",
            "storage.yml:2: failover_enabled: is not used, since `global.failover_enabled` says otherwise",
        ]
    );
}

#[test]
fn an_unknown_key_names_the_nearest_one() {
    let town = Town::with(
        "max_file_sise: 1MB\nmin_age: 2h\nproviders:\n  local:\n    type: local\n    pth: x\n    bucket: b\nfolders:\n  a: { acess: public }\n\
         lifecycle:\n  policies:\n    - { name: x, folder: a, action: warn, max_age: 1d, match: { typs: [pdf] } }\n",
    );
    assert_eq!(
        town.warnings(),
        [
            "storage.yml:1: max_file_sise: is not a known key; the nearest is `max_file_size`",
            "storage.yml:2: min_age: is not known here; it belongs under `cleanup`",
            "storage.yml:6: providers.local.pth: is not a known key; the nearest is `path`",
            "storage.yml:7: providers.local.bucket: means nothing on a provider of type local",
            "storage.yml:9: folders.a.acess: is not a known key; the nearest is `access`",
            "storage.yml:12: lifecycle.policies[0].match.typs: is not a known key; the nearest is `types`",
        ]
    );
}

const TWO_BUCKETS: &str = "providers:\n  local: { type: local }\n  cold: { type: s3, bucket: one, prefix: a }\n  hot-one: { type: s3, bucket: '', credentials: { access_key_id: file, secret_access_key: file } }\n";

#[test]
fn credentials_come_from_the_first_that_has_them() {
    let town = Town::with(TWO_BUCKETS).env("CIVIC_STORAGE_HOT_ONE_BUCKET", "two");
    let config = town.load().config;
    assert_eq!(key_id(&config, "cold"), None, "left to the platform");
    assert_eq!(key_id(&config, "hot-one").as_deref(), Some("file/file/-"));

    let town = town
        .env("AWS_ACCESS_KEY_ID", "aws")
        .env("AWS_SECRET_ACCESS_KEY", "aws")
        .env("AWS_SESSION_TOKEN", "aws");
    let config = town.load().config;
    assert_eq!(key_id(&config, "cold").as_deref(), Some("aws/aws/aws"));
    assert_eq!(key_id(&config, "hot-one").as_deref(), Some("aws/aws/aws"));

    let town = town
        .env("S3_ACCESS_KEY_ID", "s3")
        .env("S3_SECRET_ACCESS_KEY", "s3");
    assert_eq!(
        key_id(&town.load().config, "cold").as_deref(),
        Some("s3/s3/-"),
        "a token belongs to its key"
    );

    let town = town
        .env("CIVIC_STORAGE_HOT_ONE_ACCESS_KEY_ID", "own")
        .env("CIVIC_STORAGE_HOT_ONE_SECRET_ACCESS_KEY", "own");
    let config = town.load().config;
    assert_eq!(key_id(&config, "hot-one").as_deref(), Some("own/own/-"));
    assert_eq!(key_id(&config, "cold").as_deref(), Some("s3/s3/-"));
}

#[test]
fn half_a_set_of_keys_is_never_used() {
    let town = Town::with(TWO_BUCKETS)
        .env("S3_BUCKET", "two")
        .env("AWS_ACCESS_KEY_ID", "x");
    assert!(
        town.warnings()[0].ends_with("AWS_ACCESS_KEY_ID is set without its other half, so it is not used")
    );
    let town = town.env("CIVIC_STORAGE_COLD_SECRET_ACCESS_KEY", "x");
    assert!(
        town.problems()
            .contains("CIVIC_STORAGE_COLD_SECRET_ACCESS_KEY is set without CIVIC_STORAGE_COLD_ACCESS_KEY_ID")
    );
}

#[test]
fn a_general_variable_moves_no_bucket_that_the_file_names() {
    let town = Town::with(TWO_BUCKETS)
        .env("S3_BUCKET", "env")
        .env("S3_REGION", "eu-1");
    let config = town.load().config;
    assert_eq!(
        (s3(&config, "cold").bucket, s3(&config, "hot-one").bucket),
        ("one".into(), "env".into())
    );
    assert_eq!(s3(&config, "cold").region, "eu-1", "empty in the file");
    let alone =
        Town::with("providers:\n  local: { type: local }\n  s3: { type: s3, bucket: file, region: file }\n")
            .env("S3_BUCKET", "env");
    let config = alone.load().config;
    assert_eq!(
        (s3(&config, "s3").bucket, s3(&config, "s3").region),
        ("env".into(), "file".into())
    );
}

#[test]
fn a_variable_set_to_nothing_is_not_set() {
    let town = Town::with(TWO_BUCKETS)
        .env("S3_BUCKET", "two")
        .env("CIVIC_STORAGE_COLD_BUCKET", "")
        .env("STORAGE_ACTIVE_PROVIDER", "");
    let config = town.load().config;
    assert_eq!(
        (
            s3(&config, "cold").bucket.as_str(),
            config.active_provider.as_str()
        ),
        ("one", "local")
    );
}

#[test]
fn the_active_provider_can_be_overridden() {
    let town = Town::with(TWO_BUCKETS)
        .env("S3_BUCKET", "two")
        .env("STORAGE_ACTIVE_PROVIDER", "cold");
    assert_eq!(town.load().config.active_provider, "cold");
}

#[test]
fn azure_takes_its_account_from_a_connection_string() {
    let yaml = "providers:\n  local: { type: local }\n  az: { type: azure, container_name: files }\n";
    let town = Town::with(yaml).env(
        "AZURE_STORAGE_CONNECTION_STRING",
        "DefaultEndpointsProtocol=https;AccountName=town;AccountKey=a2V5==",
    );
    let config = town.load().config;
    let ProviderKind::Azure(azure) = &config.provider("az").unwrap().kind else {
        panic!()
    };
    assert_eq!(
        (azure.account_name.as_str(), azure.account_key.is_some()),
        ("town", false)
    );
    assert!(azure.connection_string.is_some());
}

#[test]
fn nothing_that_is_debug_shows_a_secret() {
    let yaml = "providers:\n  local: { type: local }\n  s3: { type: s3, bucket: b, credentials: { access_key_id: id, secret_access_key: hunter2, session_token: hunter3 } }\n";
    let town = Town::with(yaml).env("SOME_TOKEN", "hunter2");
    let shown = format!("{:?} {:?}", town.load(), town.request);
    assert!(!shown.contains("hunter"), "{shown}");
}

#[test]
fn the_database_is_the_one_civicpress_names() {
    let town = Town::with("{active_provider: local}").write(
        ".civicrc",
        "version: 1\ndatabase:\n  type: sqlite\n  sqlite:\n    file: data/town.db\n",
    );
    assert_eq!(
        town.load().database.to_string(),
        format!("sqlite:{}", town.path("data/town.db").display())
    );
    let mut town = town.env(
        "CIVIC_DATABASE_URL",
        "postgres://clerk:hunter2@db.example:5433/town?sslmode=require&password=hunter2",
    );
    assert_eq!(
        town.load().database.to_string(),
        "postgres://clerk@db.example:5433/town"
    );
    town.request.database = Some("sqlite:here.db".into());
    assert_eq!(
        town.load().database.to_string(),
        format!("sqlite:{}", town.path("here.db").display())
    );
    assert_eq!(town.load().civicpress_database, Some(town.path("data/town.db")));
    town.request.database = Some("mysql://hunter2".into());
    assert_eq!(
        town.problems(),
        "--database is neither sqlite:PATH nor postgres://…"
    );
}

#[test]
fn a_broken_civicrc_is_named_unless_a_flag_makes_it_needless() {
    let mut town = Town::with("{active_provider: local}").write(".civicrc", "database:\n  sqlite: 5\n");
    assert_eq!(
        town.problems(),
        ".civicrc:2: database.sqlite: expected a mapping, found a number"
    );
    town.request.database = Some("sqlite:x.db".into());
    town.load();
}

#[test]
fn system_data_is_found_from_below_and_a_missing_file_has_a_hint() {
    let mut town = Town::with("{active_provider: local}").write("deep/er/x", "");
    town.request.cwd = town.path("deep/er");
    let loaded = town.load();
    assert_eq!(
        loaded.system_data,
        town.dir.path().canonicalize().unwrap().join(".system-data")
    );
    town.request.system_data = Some("..".into());
    let error = load(&town.request).unwrap_err();
    assert!(
        error.to_string().ends_with("deep/storage.yml: does not exist"),
        "{error}"
    );
    assert!(error.hint.unwrap().contains("civic storage:init"));
    town.request.system_data = Some("nowhere".into());
    assert!(
        load(&town.request)
            .unwrap_err()
            .to_string()
            .starts_with("--system-data names ")
    );
}

#[test]
fn a_named_file_brings_its_directory_along() {
    let town = Town::with("").write("conf/storage.yml", "active_provider: local\n");
    std::fs::remove_dir_all(town.path(".system-data")).unwrap();
    let mut request = town.request.clone();
    request.config_file = Some("conf/storage.yml".into());
    assert_eq!(load(&request).unwrap().system_data, town.path("conf"));
    request.config_file = Some("conf/nothing.yml".into());
    assert!(
        load(&request)
            .unwrap_err()
            .to_string()
            .starts_with("--config names ")
    );
}
