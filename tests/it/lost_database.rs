//! `storage:reconstruct` where the database's file is gone, with a thousand files of hundreds of names that nobody would
//! choose: every record is what it was, in every column.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rusqlite::types::Value as Sql;
use serde_json::json;

use crate::common::deployment::Deployment;
use crate::delete::rows;

const FILES: usize = 1000;
/// The longest that a file system takes, in bytes.
const LONGEST: usize = 255;

const HEARTS: [&str; 28] = [
    "plain",
    "Procès-verbal d'été",
    "e\u{301}te\u{301} combined",
    "会議録 2026",
    "한국어 문서",
    "🏛️ 👩‍👩‍👧‍👦",
    "مخطط المدينة",
    "עברית",
    "\u{202e}fdp.exe.scan",
    "\u{feff}bom",
    "zero\u{200b}width\u{ad}",
    "line\nbreak",
    "carriage\r\nreturn",
    "tab\there",
    "bell\u{7}escape\u{1b}[31mdelete\u{7f}",
    "quote\"d",
    "it's 'single'",
    "100% %41 %2F %00 %",
    "back\\slash\\n",
    "$HOME `id` $(id) ${x}",
    "*?[a-z]{a,b}",
    "<b>&amp;<b>",
    "#fragment?query=1&x;y",
    "a+b c++",
    "a  b   c",
    "x=1, y: [2] | z",
    "~user@host!",
    "null",
];

const FRAMES: [(&str, &str); 13] = [
    ("", ""),
    ("", ".pdf"),
    ("", ".tar.gz"),
    (".", ""),
    ("..", ".txt"),
    ("-", ".txt"),
    ("--", ""),
    (" ", ".txt"),
    ("", " "),
    ("\u{3000}", "\u{a0}"),
    ("", "."),
    ("\n", "\n"),
    ("", ".meta.json"),
];

/// All of them different, none longer than a name can be.
fn names() -> Vec<String> {
    let framed = HEARTS
        .iter()
        .flat_map(|heart| FRAMES.map(|(begin, end)| format!("{begin}{heart}{end}")));
    let long = HEARTS.iter().flat_map(|heart| {
        let most = LONGEST / heart.len();
        [most, most / 2].map(|times| heart.repeat(times))
    });
    let names: BTreeSet<String> = framed.chain(long).collect();
    assert!(names.len() > 400, "{}", names.len());
    names.into_iter().collect()
}

/// A thousand files in two folders, with and without somebody and something to be said of them, in the order of their
/// names.
fn stored(town: &Deployment) {
    let (names, source) = (names(), town.env().tmp().join("source"));
    let about = "a description, é, \"quoted\"\nand % more";
    let long = "long ".repeat(700);
    let kinds: [&[&str]; 4] = [
        &["--folder", "permits"],
        &["--folder", "public", "--uploaded-by", "Zoë \"Z\" O'Neil"],
        &["--folder", "permits", "--description", about],
        &[
            "--folder",
            "public",
            "--description",
            &long,
            "--uploaded-by",
            "%41",
        ],
    ];
    for (kind, more) in kinds.iter().enumerate() {
        let part = source.join(kind.to_string());
        for n in (kind..FILES).step_by(kinds.len()) {
            put(
                &part.join((n / names.len()).to_string()),
                &names[n % names.len()],
                n,
            );
        }
        let args = ["storage:upload", "-r", part.to_str().unwrap(), "--json"];
        let run = town.civic(&[&args, *more].concat());
        assert_eq!(run.code, 0, "{} {}", run.stdout, run.stderr);
    }
}

fn put(directory: &Path, name: &str, n: usize) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join(name), format!("file {n}")).unwrap();
}

fn original_names(rows: &[Vec<Sql>]) -> BTreeSet<&str> {
    let names = rows.iter().map(|row| match &row[1] {
        Sql::Text(name) => name.as_str(),
        other => panic!("{other:?}"),
    });
    names.collect()
}

fn comes_back(town: &Deployment) {
    stored(town);
    // A deletion claims the storage for this database.
    let Sql::Text(first) = rows(town.db())[0][0].clone() else {
        panic!("an id")
    };
    assert_eq!(town.civic(&["storage:delete", "--yes", &first]).code, 0);
    let before = rows(town.db());
    assert_eq!(before.len(), FILES - 1);
    assert!(original_names(&before).len() > 400);
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", town.env().database().display()));
    }
    assert!(!town.env().database().exists());
    let args = ["storage:reconstruct", "--json", "--min-age", "0", "--create"];
    let run = town.civic(&[&args[..], &["--override", "ownership"]].concat());
    assert_eq!(run.code, 0, "{} {}", run.stdout, run.stderr);
    assert_eq!(run.json()["data"]["successfulCount"], json!(FILES - 1));
    let now = rows(&town.env().sql());
    assert_eq!(now.len(), before.len());
    for (now, before) in now.iter().zip(&before) {
        assert_eq!(now, before);
    }
    let look = town.cleanup(&["--min-age", "0"]);
    let kinds = [
        "orphanedObjects",
        "orphanedRecords",
        "mismatches",
        "misplaced",
        "foreign",
    ];
    assert_eq!(kinds.map(|kind| look.count(kind)), [0; 5], "{}", look.stdout);
}

#[test]
fn a_thousand_files_of_hundreds_of_awkward_names_have_every_record_back() {
    comes_back(&Deployment::new());
}

mod needs_server {
    use super::comes_back;
    use crate::common::deployment::Deployment;
    use crate::common::{Remote, TestEnv};

    #[test]
    fn a_thousand_files_of_hundreds_of_awkward_names_have_every_record_back_on_seaweedfs() {
        let Some(bucket) = TestEnv::seaweed() else { return };
        let town = Deployment::new();
        town.providers(&bucket.provider_yaml(bucket.kind(), "town"));
        comes_back(&town);
    }
}
