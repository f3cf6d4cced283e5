//! The test bench itself: a checksum that misses a change would make every "nothing changed" worthless.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::SystemTime;

use crate::common::TestEnv;

#[test]
fn the_fixture_is_the_deployment_that_civicpress_made() {
    let env = TestEnv::fixture();
    assert_eq!(env.tree().len(), 153, "files and directories");
    let photo = fs::read_dir(env.storage().join("public"))
        .unwrap()
        .find_map(|entry| {
            let entry = entry.unwrap();
            entry
                .file_name()
                .to_str()
                .unwrap()
                .starts_with("Photo")
                .then_some(entry)
        });
    let age = photo.unwrap().metadata().unwrap().modified().unwrap().elapsed();
    assert!(
        age.is_err() || age.unwrap().as_secs() > 0,
        "unpacking keeps times"
    );
    let yaml = fs::read_to_string(env.config()).unwrap();
    assert_eq!(yaml.matches("aliases: [/srv/civicpress/storage]").count(), 1);
    assert_eq!(yaml.matches("path: /srv/").count(), 0);
}

#[test]
fn the_checksum_sees_content_mode_links_and_new_files() {
    let env = TestEnv::fixture();
    let before = env.tree();
    before.assert_unchanged(&env.tree());

    let ds_store = env.storage().join(".DS_Store");
    let modified = fs::metadata(&ds_store).unwrap().modified().unwrap();
    let mut content = fs::read(&ds_store).unwrap();
    content[0] ^= 1;
    fs::write(&ds_store, content).unwrap();
    set_modified(&ds_store, modified);
    assert_eq!(
        before.changes(&env.tree()).len(),
        1,
        "same length, same time, other content"
    );

    symlink("nowhere", env.storage().join("new")).unwrap();
    assert_eq!(
        before.changes(&env.tree()).len(),
        3,
        "the new link, and its directory's time"
    );
}

#[test]
fn the_binary_runs_without_the_callers_environment() {
    let env = TestEnv::fixture();
    env.civic(["--version"]).assert().success();
    let names: Vec<_> = env
        .process()
        .get_envs()
        .map(|(name, _)| name.to_owned())
        .collect();
    assert!(names.iter().any(|name| name == "HOME") && names.iter().any(|name| name == "TZ"));
}

fn set_modified(path: &std::path::Path, time: SystemTime) {
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

mod needs_server {
    use crate::common::TestEnv;

    #[test]
    fn seaweed_takes_a_key_byte_by_byte() {
        let Some(bucket) = TestEnv::seaweed() else { return };
        bucket.put("town/é x#1", "hello");
        assert_eq!(bucket.send("HEAD", "/town/%C3%A9%20x%231", b""), 200);
        bucket.delete("town/é x#1");
        assert_eq!(bucket.send("HEAD", "/town/%C3%A9%20x%231", b""), 404);
    }

    #[test]
    fn a_bucket_becomes_a_provider_of_the_fixture() {
        let Some(bucket) = TestEnv::seaweed() else { return };
        let env = TestEnv::fixture();
        let provider = bucket.provider_yaml("seaweed", "town");
        env.edit_config(|yaml| yaml.replacen("providers:\n", &format!("providers:\n{provider}"), 1));
        let yaml = std::fs::read_to_string(env.config()).unwrap();
        let config: serde_yaml::Value = serde_yaml::from_str(&yaml).unwrap();
        assert_eq!(config["providers"]["seaweed"]["bucket"], bucket.name.as_str());
    }

    #[test]
    fn rclone_takes_a_key_byte_by_byte() {
        let Some(bucket) = TestEnv::rclone() else { return };
        bucket.put("town/é x#1", "hello");
        assert_eq!(bucket.send("HEAD", "/town/%C3%A9%20x%231", b""), 200);
        bucket.delete("town/é x#1");
        assert_eq!(bucket.send("HEAD", "/town/%C3%A9%20x%231", b""), 404);
    }
}
