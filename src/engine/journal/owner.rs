//! Which process does a run, and whether it still lives.

use std::fs;
use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::metadata::journal::{Owner, Run, UploadIntent};

/// So long without a sign of life is dead.
const SILENCE: TimeDelta = TimeDelta::minutes(10);

impl Owner {
    /// This process. Where the system has no `/proc`, nothing tells it from a later one, and only its silence does.
    #[must_use]
    pub fn of_this_process() -> Self {
        let pid = std::process::id();
        Self {
            host: line("/proc/sys/kernel/hostname").unwrap_or_default(),
            pid,
            process: start(pid)
                .and_then(|start| Some(format!("{} {start}", machine()?)))
                .unwrap_or_default(),
        }
    }

    /// Whether the process has certainly ended. A process of another machine, or of another container of this one, is
    /// never said to have.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        static HERE: LazyLock<Owner> = LazyLock::new(Owner::of_this_process);
        let here = &*HERE;
        match (split(&self.process), split(&here.process)) {
            (Some(owner), Some(now)) if self.host == here.host && owner.machine == now.machine => {
                // Started again since: nothing that ran before does.
                owner.boot != now.boot || owner.namespace == now.namespace && is_gone(self.pid, owner.start)
            }
            _ => false,
        }
    }
}

/// What shows now and then that it lives.
pub trait Alive {
    fn owner(&self) -> &Owner;
    /// The last sign of it.
    fn seen(&self) -> DateTime<Utc>;
}

impl Alive for Run {
    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn seen(&self) -> DateTime<Utc> {
        self.beat_at
    }
}

impl Alive for UploadIntent {
    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn seen(&self) -> DateTime<Utc> {
        self.renewed_at
    }
}

/// Whether nobody works on it any more: no sign of life for ten minutes, or its process on this host is gone.
#[must_use]
pub fn is_dead(work: &impl Alive, now: DateTime<Utc>) -> bool {
    now - work.seen() >= SILENCE || work.owner().has_ended()
}

struct Process<'a> {
    machine: &'a str,
    boot: &'a str,
    /// A process id means something in its own namespace only.
    namespace: &'a str,
    start: &'a str,
}

/// Machine, boot and PID namespace. (Sources: machine-id(5), random(4), pid_namespaces(7).)
fn machine() -> Option<String> {
    let machine = line("/etc/machine-id").unwrap_or_else(|| "-".to_owned());
    let boot = line("/proc/sys/kernel/random/boot_id")?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{machine} {boot} {}", namespace.to_str()?))
}

fn split(process: &str) -> Option<Process<'_>> {
    let mut words = process.split(' ');
    Some(Process {
        machine: words.next()?,
        boot: words.next()?,
        namespace: words.next()?,
        start: words.next()?,
    })
}

fn line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.trim().replace(' ', "_");
    (!line.is_empty()).then_some(line)
}

/// Whether no process of this id runs, or another one than was started then. A process that may not be looked at lives.
fn is_gone(pid: u32, started: &str) -> bool {
    let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    if test_kill_process(id) == Err(Errno::SRCH) {
        return true;
    }
    stat(pid).is_some_and(|(state, start)| start != started || matches!(state, 'Z' | 'X'))
}

fn start(pid: u32) -> Option<String> {
    stat(pid).map(|(_, start)| start)
}

/// State and start time: the third and the 22nd field; the second may hold anything, but ends at the last parenthesis.
/// (Source: proc_pid_stat(5).)
fn stat(pid: u32) -> Option<(char, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// An owner of this machine with another process id.
    fn neighbour(pid: u32) -> Owner {
        let start = start(pid).unwrap();
        Owner {
            pid,
            process: format!("{} {start}", machine().unwrap()),
            ..Owner::of_this_process()
        }
    }

    #[test]
    fn this_process_lives_and_is_the_same_twice() {
        let owner = Owner::of_this_process();
        assert_eq!(owner, Owner::of_this_process());
        assert!(!owner.process.is_empty() && !owner.host.is_empty());
        assert!(!owner.has_ended());
    }

    #[test]
    fn a_process_that_was_killed_has_ended_also_while_nobody_has_waited_for_it() {
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let owner = neighbour(child.id());
        assert!(!owner.has_ended());
        child.kill().unwrap();
        while !owner.has_ended() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(owner.has_ended());
    }

    #[test]
    fn a_later_process_of_the_same_id_is_another_one() {
        let mut owner = Owner::of_this_process();
        owner.process.push('1');
        assert!(owner.has_ended());
    }

    #[test]
    fn what_ran_before_the_machine_was_started_has_ended() {
        let mut owner = Owner::of_this_process();
        let boot = line("/proc/sys/kernel/random/boot_id").unwrap();
        owner.process = owner.process.replace(&boot, "another-boot");
        assert!(owner.has_ended());
    }

    #[test]
    fn nobody_elsewhere_is_judged_by_a_process_id() {
        let gone = Owner {
            process: format!("{} 1", machine().unwrap()),
            ..Owner::of_this_process()
        };
        assert!(gone.has_ended());
        let host = Owner {
            host: "elsewhere".to_owned(),
            ..gone.clone()
        };
        let container = Owner {
            process: gone.process.replace("pid:[", "pid:[9"),
            ..gone.clone()
        };
        let machine = Owner {
            process: format!("x{}", gone.process),
            ..gone.clone()
        };
        let unknown = Owner {
            process: String::new(),
            ..gone
        };
        for owner in [host, container, machine, unknown] {
            assert!(!owner.has_ended(), "{owner:?}");
        }
    }

    #[test]
    fn ten_minutes_of_silence_are_death_whoever_it_is() {
        let now = Utc::now();
        let intent = |minutes| UploadIntent {
            copies: Vec::new(),
            file_id: String::new(),
            run_id: String::new(),
            provider: String::new(),
            key: String::new(),
            size: 0,
            owner: Owner::of_this_process(),
            renewed_at: now - TimeDelta::minutes(minutes),
        };
        assert!(!is_dead(&intent(9), now));
        assert!(is_dead(&intent(10), now));
        assert!(
            !is_dead(&intent(-60), now),
            "a clock that was set back kills nobody"
        );
    }
}
