//! Cleanup among other people's files, odd names and a database that is being written: nothing stops a run that can
//! go on, and nothing foreign becomes a finding.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{TimeDelta, Utc};

use crate::common::TestEnv;
use crate::common::deployment::{Deployment, days, key, uuid};
use crate::common::fake_s3::{BUCKET, Behaviour, FakeObject, FakeS3};

/// One object in agreement, one orphan: what every test here expects to find among the rest.
fn seeded() -> Deployment {
    let deployment = Deployment::new();
    deployment.old_file(&key("permits", 1));
    deployment.local_record(1, &key("permits", 1));
    deployment.old_file(&key("permits", 2));
    deployment
}

#[test]
fn odd_names_on_disk_are_foreign_and_stop_nothing() {
    let deployment = seeded();
    let permits = deployment.storage().join("permits");
    for name in [
        &b"\xff\xfe.pdf"[..],
        b"tab\there",
        b"x#1",
        b"new\nline",
        b"a b",
        b"-rf",
        b"...",
    ] {
        fs::write(permits.join(OsStr::from_bytes(name)), "x").unwrap();
    }
    fs::write(permits.join("n".repeat(255)), "x").unwrap();
    symlink("nowhere", permits.join("dangling")).unwrap();
    symlink("loop", permits.join("loop")).unwrap();
    symlink("/etc", permits.join("outside")).unwrap();
    symlink(".", permits.join("here")).unwrap();
    let fifo = permits.join(format!("fifo_{}.txt", uuid(9)));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let run = deployment.cleanup(&["--kind", "foreign,orphaned-objects"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.items("orphanedObjects", "key"), [key("permits", 2)]);
    assert_eq!(run.count("foreign"), 13);
    assert!(
        run.items("foreign", "key")
            .contains(&"permits/\\xFF\\xFE.pdf".to_owned())
    );
}

#[test]
fn a_directory_that_cannot_be_read_is_a_clear_error_and_claims_nothing() {
    let deployment = seeded();
    let closed = deployment.storage().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let output = unprivileged(&deployment)
        .args(["storage:cleanup", "--json"])
        .output()
        .unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(output.status.code(), Some(5), "{stdout}");
    assert!(
        json["error"]["message"].as_str().unwrap().contains("closed"),
        "{stdout}"
    );
    assert_eq!(json["data"]["providers"][0]["complete"], false);
    assert_eq!(json["data"]["counts"]["orphanedObjects"], 0);
}

/// `civic`, and where the test runs as root, whom modes do not bind: as nobody, from a copy that nobody may run.
pub fn unprivileged(deployment: &Deployment) -> Command {
    const NOBODY: u32 = 65534;
    let process = deployment.process();
    if !rustix::process::getuid().is_root() {
        return process;
    }
    let root = deployment.storage().ancestors().nth(2).unwrap().to_owned();
    let copy = root.join("civic");
    if !copy.exists() {
        fs::copy(process.get_program(), &copy).unwrap();
    }
    let owner = format!("{NOBODY}:{NOBODY}");
    assert!(
        Command::new("chown")
            .args(["-R", &owner])
            .arg(&root)
            .status()
            .unwrap()
            .success()
    );
    let mut nobody = Command::new(&copy);
    nobody.env_clear().envs(
        process
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    nobody.current_dir(process.get_current_dir().unwrap()).uid(NOBODY);
    nobody
}

#[test]
fn a_symlinked_folder_makes_no_record_an_orphan() {
    let deployment = seeded();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join(format!("file_{}.txt", uuid(5))), "x").unwrap();
    symlink(elsewhere.path(), deployment.storage().join("public")).unwrap();
    deployment.local_record(5, &key("public", 5));
    let run = deployment.cleanup(&[]);
    assert_eq!(run.code, 3, "{}", run.stdout);
    assert_eq!(run.count("orphanedRecords"), 0);
    assert_eq!(run.items("errors", "file").len(), 1);
}

#[test]
fn odd_keys_in_a_shared_bucket_are_foreign_and_stop_nothing() {
    let long = "k".repeat(1024);
    let odd = [
        "//",
        "/lead",
        "a//b",
        "a/../b",
        ".",
        "..",
        "dir/",
        "tab\there",
        "x#1",
        "per%2Fcent",
        "plus+",
        "é ü",
        &long,
    ];
    let mut keys: Vec<String> = odd.iter().map(|&k| k.to_owned()).collect();
    keys.extend([
        key("permits", 1),
        key("permits", 2),
        format!("permits/../{}", key("permits", 3)),
    ]);
    keys.sort();
    let object = |k: &String| FakeObject {
        key: k.clone(),
        size: 1,
        last_modified: Utc::now() - TimeDelta::days(30),
    };
    let behaviour = Behaviour {
        objects: keys.iter().map(object).collect(),
        page_size: 4,
        ..Behaviour::default()
    };
    let fake = FakeS3::start(behaviour);
    let deployment = Deployment::new();
    deployment.providers(&Deployment::s3(&fake.endpoint(), BUCKET, ""));
    deployment.record(1, &format!("s3://{BUCKET}"), &key("permits", 1), (1, days(30)));
    let run = deployment.cleanup(&["--kind", "foreign,orphaned-objects"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.items("orphanedObjects", "key"), [key("permits", 2)]);
    assert_eq!(run.count("foreign"), 14);
    assert!(run.items("foreign", "key").contains(&long));
}

#[test]
fn names_reach_a_terminal_escaped() {
    let deployment = seeded();
    let name = "public/\u{1b}[2J\u{202e}evil.txt";
    deployment.old_file(name);
    let run = deployment.civic(&["storage:cleanup", "--kind", "foreign"]);
    assert!(
        !run.stdout.contains('\u{1b}') && !run.stdout.contains('\u{202e}'),
        "{:?}",
        run.stdout
    );
    assert!(run.stdout.contains("\\x1b[2J"), "{}", run.stdout);
}

/// Another program uploads as CivicPress does, the file first and the row later, and deletes again, while runs go on.
#[test]
fn a_database_that_is_being_written_gives_no_false_finding() {
    let deployment = seeded();
    let stop = AtomicBool::new(false);
    let database = TestEnv::database(deployment.env());
    let storage = deployment.storage();
    std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            let db = rusqlite::Connection::open(database).unwrap();
            db.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
            let insert = "INSERT INTO storage_files (id, original_name, stored_filename, folder, relative_path, \
                          provider_path, size, mime_type) VALUES (?1, 'n', 's', 'public', ?2, ?3, 1, 'text/plain')";
            fs::create_dir_all(storage.join("public")).unwrap();
            for n in 1000.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let path = storage.join(key("public", n));
                fs::write(&path, "x").unwrap();
                db.execute(insert, [uuid(n), key("public", n), path.display().to_string()]).unwrap();
                if n % 3 == 0 {
                    db.execute("DELETE FROM storage_files WHERE id = ?1", [uuid(n)]).unwrap();
                    fs::remove_file(&path).unwrap();
                }
                if n % 50 == 0 {
                    db.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
                }
            }
        });
        for _ in 0..20 {
            let run = deployment.cleanup(&[]);
            assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
            assert_eq!(run.items("orphanedObjects", "key"), [key("permits", 2)]);
            assert_eq!(
                (run.count("orphanedRecords"), run.count("mismatches")),
                (0, 0),
                "{}",
                run.stdout
            );
        }
        stop.store(true, Ordering::Relaxed);
    });
}

mod needs_server {
    use super::*;

    /// SeaweedFS lists directory by directory: `a/b` before `a b`, which is not the order of bytes.
    #[test]
    fn an_order_of_components_loses_nothing() {
        let Some(bucket) = TestEnv::seaweed() else { return };
        let deployment = Deployment::new();
        deployment.providers(&bucket.provider_yaml("s3", ""));
        let root = format!("s3://{}", bucket.name);
        for (n, folder) in [
            (1, "permits"),
            (2, "permits 2024"),
            (3, "permits-old"),
            (4, "permits/archive"),
        ] {
            bucket.put(key(folder, n), "x");
            deployment.record(n, &root, &key(folder, n), (1, days(30)));
        }
        bucket.put(key("permits-old", 5), "x");
        deployment.record(6, &root, &key("permits 2024", 6), (1, days(30)));
        let run = deployment.cleanup(&["--min-age", "0"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(run.items("orphanedObjects", "key"), [key("permits-old", 5)]);
        assert_eq!(run.items("orphanedRecords", "id"), [uuid(6)]);
        let verbose = deployment.civic(&["storage:cleanup", "--min-age", "0", "-v"]);
        assert!(
            verbose.stderr.contains("not in byte order"),
            "the server's order was the one to be tested"
        );
    }
}
