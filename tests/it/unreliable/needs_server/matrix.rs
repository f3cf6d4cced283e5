//! Every operation under every fault: what passes is absorbed and logged, what lasts is told and leaves nothing half done,
//! what is refused is not asked for again, and silence ends at its limit.

use crate::common::deployment::Run;
use crate::common::proxy::{Fault, Seen};
use crate::common::{Bucket, TestEnv};
use crate::unreliable::town::Town;

/// One way to work with a provider, and the request of it that is hit.
struct Operation {
    /// Makes what is needed, and gives the command.
    command: fn(&Town) -> Vec<String>,
    hit: fn(&str) -> bool,
    /// How the operator and the log name what is hit.
    name: &'static str,
    /// What limits its time.
    limit: &'static str,
    /// The town's shape before and after.
    shapes: [&'static str; 2],
    /// Where the answer that names an upload in parts is lost, nobody can end it but a cleanup.
    may_leave_upload: bool,
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Of two parts.
fn large() -> Vec<u8> {
    (0..5_300_003_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect()
}

fn upload_of(town: &Town, bytes: &[u8]) -> Vec<String> {
    let file = town.source("a", bytes);
    words(&["storage:upload", "--json", "--folder", "permits", &file])
}

fn is_object(line: &str, method: &str) -> bool {
    let path = line.split('?').next().unwrap();
    path.starts_with(method) && path.contains("/town/permits/")
}

const UPLOAD: Operation = Operation {
    command: |town| upload_of(town, b"hello"),
    hit: |line| is_object(line, "PUT "),
    name: "upload",
    limit: "upload_timeout",
    shapes: ["", "a@permits/s3"],
    may_leave_upload: false,
};

const PART: Operation = Operation {
    command: |town| upload_of(town, &large()),
    hit: |line| line.contains("partNumber=2") || line.contains("comp=block&"),
    ..UPLOAD
};

/// S3 only: Azure has no request that begins an upload in parts.
const BEGIN: Operation = Operation {
    command: |town| upload_of(town, &large()),
    hit: |line| line.starts_with("POST ") && line.contains("?uploads"),
    may_leave_upload: true,
    ..UPLOAD
};

const COMPLETE: Operation = Operation {
    command: |town| upload_of(town, &large()),
    hit: |line| line.starts_with("POST ") && line.contains("uploadId=") || line.contains("comp=blocklist"),
    ..UPLOAD
};

const DOWNLOAD: Operation = Operation {
    command: |town| {
        let id = town.stored("a", &large());
        let out = town.out().display().to_string();
        words(&["storage:download", "--json", &id, "--out", &out])
    },
    hit: |line| is_object(line, "GET "),
    name: "download",
    limit: "download_timeout",
    shapes: ["a@permits/s3", "a@permits/s3 out"],
    ..UPLOAD
};

const LIST: Operation = Operation {
    command: |town| {
        town.stored("a", b"hello");
        words(&["storage:cleanup", "--json", "--min-age", "0"])
    },
    hit: |line| line.contains("list-type=2") || line.contains("comp=list"),
    name: "",
    limit: "list_timeout",
    shapes: ["a@permits/s3", "a@permits/s3"],
    ..UPLOAD
};

const TRASH: Operation = Operation {
    command: |town| {
        let id = town.stored("a", b"hello");
        words(&["storage:delete", "--json", "--yes", &id])
    },
    hit: |line| line.starts_with("PUT ") && line.contains("/.trash/"),
    name: "copy",
    limit: "upload_timeout",
    shapes: ["a@permits/s3", "trash 1"],
    ..UPLOAD
};

const DELETE: Operation = Operation {
    hit: |line| is_object(line, "DELETE "),
    name: "delete",
    limit: "delete_timeout",
    ..TRASH
};

const PURGE: Operation = Operation {
    command: |town| {
        let ids = ["a", "b"].map(|name| town.stored(name, b"hello"));
        words(&["storage:delete", "--json", "--yes", "--purge", &ids[0], &ids[1]])
    },
    hit: |line| line.starts_with("POST "),
    name: "delete",
    limit: "delete_timeout",
    shapes: ["a@permits/s3 b@permits/s3", ""],
    ..UPLOAD
};

/// Where Azure takes no batch, it is asked for each by itself.
const PURGE_ONE_BY_ONE: Operation = Operation {
    hit: |line| line.starts_with("POST ") || is_object(line, "DELETE "),
    ..PURGE
};

const MOVE: Operation = Operation {
    command: |town| {
        let id = town.stored("a", b"hello");
        words(&["storage:move", "--json", "--yes", &id, "--folder", "public"])
    },
    hit: |line| line.starts_with("PUT ") && line.contains("/town/public/"),
    name: "copy",
    limit: "upload_timeout",
    shapes: ["a@permits/s3", "a@public/s3"],
    ..UPLOAD
};

const MOVED: Operation = Operation {
    hit: |line| is_object(line, "DELETE "),
    name: "delete",
    limit: "delete_timeout",
    ..MOVE
};

const AWAY: Operation = Operation {
    command: |town| {
        town.stored("a", b"hello");
        town.world.with_vault();
        words(&[
            "storage:migrate",
            "--json",
            "--yes",
            "--from",
            town.kind,
            "--to",
            "vault",
        ])
    },
    hit: |line| is_object(line, "GET "),
    name: "",
    limit: "download_timeout",
    shapes: ["a@permits/s3", "a@permits/vault trash 1"],
    ..UPLOAD
};

const VERIFY: Operation = Operation {
    command: |town| {
        town.stored("a", b"hello");
        words(&["storage:verify", "--json", "--checksum"])
    },
    hit: |line| is_object(line, "GET "),
    name: "",
    limit: "download_timeout",
    shapes: ["a@permits/s3", "a@permits/s3"],
    ..UPLOAD
};

const HEALTH: Operation = Operation {
    command: |_| words(&["storage:health", "--json", "--refresh"]),
    hit: |line| line.starts_with("PUT ") && line.contains("/.civic/health-"),
    name: "health check",
    limit: "upload_timeout",
    shapes: ["", ""],
    ..UPLOAD
};

/// A town for one cell, everything made that its command needs.
fn cell(operation: &Operation, bucket: &Bucket, attempts: u32) -> (Town, Vec<String>) {
    let town = Town::on(bucket.clone());
    town.set(&format!("retry_attempts: {attempts}"));
    town.set("stream_threshold: 1MB");
    let command = (operation.command)(&town);
    assert_eq!(town.shape(), operation.shapes[0]);
    town.proxy.forget();
    (town, command)
}

fn run(town: &Town, command: &[String]) -> Run {
    town.civic(&command.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Three faults in a row, and then all is well: nobody sees it but the log.
fn absorbed(operation: &Operation, bucket: &Bucket) {
    for faults in [
        [Fault::Status(503), Fault::Close, Fault::DropAnswer],
        [Fault::CutAnswer, Fault::StatusAfter(429, 0), Fault::Status(502)],
    ] {
        let (town, command) = cell(operation, bucket, 3);
        for fault in faults {
            town.proxy.inject((0, 1), fault, operation.hit);
        }
        let run = run(&town, &command);
        assert_eq!(run.code, 0, "{faults:?}: {run:?}");
        let hit = town
            .proxy
            .seen()
            .iter()
            .filter(|seen| seen.fault.is_some())
            .count();
        assert_eq!(hit, 3, "{faults:?}: {:?}", town.proxy.seen());
        let logged = run
            .stderr
            .lines()
            .filter(|line| line.contains("trying again ") || line.contains("going on "))
            .filter(|line| line.contains(&format!("provider=\"{}\"", town.kind)))
            .filter(|line| {
                ["attempt=", "wait_ms=", "cause="]
                    .iter()
                    .all(|key| line.contains(key))
            })
            .count();
        assert_eq!(logged, 3, "{faults:?}: {}", run.stderr);
        assert_eq!(town.shape(), operation.shapes[1], "{faults:?}: {run:?}");
        clean(&town, operation);
    }
}

/// The only thing that failed, with what it failed of.
#[track_caller]
fn assert_told(run: &Run, code: &str, words: &[&str]) {
    assert_eq!(run.code, 5, "{run:?}");
    assert!(run.stdout.contains(&format!("\"{code}\"")), "{run:?}");
    for word in words {
        assert!(run.stdout.contains(word), "{word}: {run:?}");
    }
    assert!(run.stderr.contains("error: "), "{run:?}");
}

/// It does not pass: told after one more try, and everything is as before or done once something else runs.
fn lasting(operation: &Operation, bucket: &Bucket) {
    for fault in [Fault::Status(503), Fault::Close, Fault::DropAnswer] {
        let (town, command) = cell(operation, bucket, 1);
        town.proxy.inject((0, 1000), fault, operation.hit);
        let run = run(&town, &command);
        // Where the answer was lost, a look may have told.
        if !(fault == Fault::DropAnswer && run.code == 0) {
            let words = [&format!("{}: ", town.kind), operation.name];
            assert_told(&run, "STORAGE_PROVIDER_UNAVAILABLE", &words);
        }
        settled(&town, operation, (&run, fault));
    }
}

fn refused(operation: &Operation, bucket: &Bucket) {
    let (town, command) = cell(operation, bucket, 3);
    town.proxy.inject((0, 1000), Fault::Status(403), operation.hit);
    let run = run(&town, &command);
    assert_told(&run, "STORAGE_PROVIDER_UNAVAILABLE", &[town.kind, "denied"]);
    assert!(!run.stderr.contains("trying again"), "{run:?}");
    let seen = town.proxy.seen();
    let hit: Vec<_> = seen
        .iter()
        .filter(|seen| seen.fault.is_some())
        .map(Seen::line)
        .collect();
    let again = |line: &String| {
        let count = hit.iter().filter(|other| *other == line).count();
        // Azure's blocks are committed by a list of all, and discarded by a list of none.
        count > if line.ends_with("comp=blocklist") { 2 } else { 1 }
    };
    assert!(
        !hit.is_empty() && !hit.iter().any(again),
        "nothing is asked for twice: {seen:?}"
    );
    settled(&town, operation, (&run, Fault::Status(403)));
}

fn silent(operation: &Operation, bucket: &Bucket) {
    let (town, command) = cell(operation, bucket, 0);
    town.set(&format!("{}: 1500ms", operation.limit));
    town.proxy.inject((0, 1000), Fault::Silence, operation.hit);
    let run = run(&town, &command);
    let limit = format!("1500 ms ({})", operation.limit);
    assert_told(&run, "STORAGE_TIMEOUT", &[town.kind, operation.name, &limit]);
    settled(&town, operation, (&run, Fault::Silence));
}

/// Well again: what was left open is brought to its end by whatever runs next, one way or the other.
fn settled(town: &Town, operation: &Operation, (run, fault): (&Run, Fault)) {
    town.proxy.calm();
    if run.code == 0 {
        assert_eq!(town.shape(), operation.shapes[1], "{fault:?}: {run:?}");
    }
    town.stored("zz", b"later");
    let (shape, mut either) = (town.shape(), operation.shapes.iter());
    let with_later = |before: &str| {
        let mut words: Vec<&str> = before.split(' ').filter(|word| !word.is_empty()).collect();
        let at = words.iter().take_while(|word| word.contains('@')).count();
        words.insert(at, "zz@permits/s3");
        words.join(" ") == shape
    };
    assert!(
        either.any(|before| with_later(before)),
        "{fault:?}: {shape}, {run:?}"
    );
    clean(town, operation);
}

fn clean(town: &Town, operation: &Operation) {
    town.assert_settled();
    if !operation.may_leave_upload {
        town.assert_no_upload_left();
    }
}

fn all(operation: &Operation, bucket: Option<Bucket>) {
    let Some(bucket) = bucket else { return };
    absorbed(operation, &bucket);
    lasting(operation, &bucket);
    refused(operation, &bucket);
    silent(operation, &bucket);
}

/// A test for each operation on each of two services.
macro_rules! matrix {
    ($service:ident: $($name:ident = $operation:ident),+ $(,)?) => {
        mod $service {
            use super::*;
            $(#[test]
            fn $name() {
                all(&$operation, TestEnv::$service());
            })+
        }
    };
}

matrix! { seaweed:
    upload = UPLOAD,
    part = PART,
    begin_of_parts = BEGIN,
    end_of_parts = COMPLETE,
    download = DOWNLOAD,
    list = LIST,
    copy_to_the_trash = TRASH,
    deletion = DELETE,
    purge_in_bulk = PURGE,
    copy_of_a_move = MOVE,
    end_of_a_move = MOVED,
    migration_away = AWAY,
    verification = VERIFY,
    health_check = HEALTH,
}

matrix! { azurite:
    upload = UPLOAD,
    part = PART,
    end_of_parts = COMPLETE,
    download = DOWNLOAD,
    list = LIST,
    copy_to_the_trash = TRASH,
    deletion = DELETE,
    purge = PURGE_ONE_BY_ONE,
    end_of_a_move = MOVED,
    migration_away = AWAY,
    verification = VERIFY,
    health_check = HEALTH,
}
