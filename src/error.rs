//! The edge: every room's errors become one [`Failure`], with the code that scripts read, the exit code that cron
//! reads and a hint for people. Nothing below this file knows exit codes.
//!
//! Rules: a message is one sentence that names the file, key or flag; a hint says what to do; neither ever holds
//! a secret.

mod catalogue;

use serde::Serialize;
use serde_json::Value;

use crate::config::{self, ConfigError, Problem, WriteError};
use crate::engine::cleanup::{ApplyError, ScanError};
use crate::engine::gather::GatherError;
use crate::engine::journal::JournalError;
use crate::engine::reconstruct::ReconstructError;
use crate::engine::upload::UploadError;
use crate::metadata::MetadataError;
use crate::providers::ProviderError;

pub use catalogue::{CATALOGUE, Code, Entry};

/// Exit codes, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Some items failed, the rest are done.
    Partial = 3,
    /// Findings, with `--fail-on-findings`.
    Findings = 4,
    /// A provider is unhealthy or unreachable.
    Unavailable = 5,
    QuotaExceeded = 6,
    /// Another run holds the lock.
    Locked = 7,
    /// Refused by a safety rule.
    Refused = 8,
    Interrupted = 130,
}

/// Why a command did not do all it was asked.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    #[serde(skip)]
    pub exit: Exit,
    pub code: Code,
    pub message: String,
    pub retryable: bool,
    /// An object; provider, operation, path, file, line where they apply.
    pub details: Value,
    pub hint: Option<String>,
    /// Another run has what this one needs, and nothing was begun.
    #[serde(skip)]
    pub held: bool,
    /// Nobody is to be told but by the exit code.
    #[serde(skip)]
    pub quiet: bool,
}

impl Failure {
    #[must_use]
    pub fn new(exit: Exit, code: Code, message: impl Into<String>) -> Self {
        Self {
            exit,
            code,
            message: message.into(),
            retryable: false,
            details: Value::Object(serde_json::Map::new()),
            hint: None,
            held: false,
            quiet: false,
        }
    }

    /// Wrong usage: a flag, an argument, a name that is not known.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, Code::Validation, message)
    }

    /// No record has this id or name.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, Code::FileNotFound, message)
    }

    /// A name that nothing has, with the nearest that something has.
    #[must_use]
    pub fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let failure = Self::usage(format!("there is no {what} named {name}")).detail(what, name);
        match config::nearest(name, known.iter().copied()) {
            Some(nearest) if known.len() > 8 => failure.hint(format!("did you mean {nearest}?")),
            Some(nearest) => failure.hint(format!("did you mean {nearest}? There are: {}", known.join(", "))),
            None => failure,
        }
    }

    /// Stopped by the operator.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::new(Exit::Interrupted, Code::Error, "interrupted").retryable()
    }

    /// The answer could not be written.
    #[must_use]
    pub fn unwritten(error: &std::io::Error) -> Self {
        Self::new(
            Exit::Failed,
            Code::Error,
            format!("the answer could not be written: {error}"),
        )
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same command may work later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// The same where that is so.
    #[must_use]
    pub fn retryable_if(mut self, may_pass: bool) -> Self {
        self.retryable |= may_pass;
        self
    }

    /// Adds all of an object to `details`.
    #[must_use]
    pub fn with(mut self, more: Option<&Value>) -> Self {
        if let (Value::Object(details), Some(Value::Object(more))) = (&mut self.details, more) {
            details.extend(more.clone());
            // Of an item it stands among the details, of a command beside them.
            let retryable = details.remove("retryable");
            self.retryable |= retryable == Some(Value::Bool(true));
        }
        self
    }

    /// Adds to `details`.
    #[must_use]
    pub fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        if let Value::Object(details) = &mut self.details {
            details.insert(key.to_owned(), value.into());
        }
        self
    }
}

/// Every error of the rooms below, so that one match decides what each means at the edge.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    ConfigWrite(#[from] WriteError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error(transparent)]
    Gather(#[from] GatherError),
    #[error(transparent)]
    Reconstruct(#[from] ReconstructError),
}

impl<E> From<E> for Failure
where
    RoomError: From<E>,
{
    fn from(error: E) -> Self {
        let error = RoomError::from(error);
        let message = error.to_string();
        match error {
            RoomError::Config(error) => configuration(error, message),
            RoomError::ConfigWrite(error) => unwritten_config(&error, message),
            RoomError::Metadata(error) | RoomError::Gather(GatherError::Metadata(error)) => {
                metadata(error, &message)
            }
            RoomError::Provider(error) | RoomError::Reconstruct(ReconstructError::Provider(error)) => {
                provider(error, message)
            }
            RoomError::Scan(error) => scan(error, message),
            RoomError::Apply(error) => apply(error, message),
            RoomError::Journal(error) | RoomError::Reconstruct(ReconstructError::Journal(error)) => {
                journal(error, message)
            }
            RoomError::Reconstruct(ReconstructError::Spill(_))
            | RoomError::Upload(UploadError::Spill(_))
            | RoomError::Gather(GatherError::Spill(_)) => no_room(message),
        }
    }
}

fn configuration(error: ConfigError, message: String) -> Failure {
    let problems: Vec<Value> = error.problems.iter().map(problem).collect();
    let failure = Failure::new(Exit::Usage, Code::Configuration, message).detail("problems", problems);
    match error.hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn unwritten_config(error: &WriteError, message: String) -> Failure {
    let failure = Failure::new(Exit::Failed, Code::Error, message);
    match error {
        WriteError::Changed { .. } => failure.retryable().hint("look at it and run the command again"),
        WriteError::Failed { .. } => failure,
    }
}

fn problem(problem: &Problem) -> Value {
    serde_json::json!({
        "file": problem.file,
        "line": problem.line,
        "key": problem.key.to_string(),
        "message": problem.message,
    })
}

fn metadata(error: MetadataError, message: &str) -> Failure {
    let failed = |database| Failure::new(Exit::Failed, Code::Error, message).detail("database", database);
    let unusable =
        |database| Failure::new(Exit::Usage, Code::Configuration, message).detail("database", database);
    match error {
        MetadataError::Missing { database } => {
            unusable(database).hint("name the database with --database, or the deployment with --system-data")
        }
        MetadataError::NoTable { database } => {
            unusable(database).hint("this is no CivicPress database; name the right one with --database")
        }
        MetadataError::Busy { database, .. } | MetadataError::Changed { database } => {
            failed(database).retryable().hint("run the command again")
        }
        MetadataError::Fenced { run } => Failure::new(Exit::Locked, Code::Locked, message)
            .retryable()
            .detail("run", run)
            .hint("see what became of it with storage:runs, and run the command again"),
        MetadataError::Failed { database, .. } => failed(database),
    }
}

/// The temporary directory is full or cannot be written.
fn no_room(message: String) -> Failure {
    Failure::new(Exit::Failed, Code::Error, message)
        .hint("make room there, or name another directory with TMPDIR")
}

fn scan(error: ScanError, message: String) -> Failure {
    match error {
        ScanError::Provider(error) => provider(error, message),
        ScanError::Metadata(error) => metadata(error, &message),
        ScanError::Spill(_) => no_room(message),
        ScanError::ListingMissed { provider, key } => Failure::new(Exit::Failed, Code::Integrity, message)
            .detail("provider", provider)
            .detail("key", key)
            .hint("run the command again; if it stays, ask whoever runs the storage service"),
        ScanError::Unordered => Failure::new(Exit::Failed, Code::Error, message),
    }
}

fn apply(error: ApplyError, message: String) -> Failure {
    match error {
        ApplyError::Scan(error) => scan(error, message),
        ApplyError::Journal(error) => journal(error, message),
        ApplyError::Metadata(error) => metadata(error, &message),
        ApplyError::Provider(error) => provider(error, message),
        ApplyError::Spill(error) => scan(ScanError::Spill(error), message),
    }
}

fn journal(error: JournalError, message: String) -> Failure {
    match error {
        JournalError::Store(error) => metadata(error, &message),
        JournalError::Spill(_) => no_room(message),
        JournalError::Held { provider, run } => {
            let failure = Failure::new(Exit::Locked, Code::Locked, message)
                .retryable()
                .detail("provider", provider)
                .detail("run", run.id)
                .hint("wait until it has ended; storage:runs shows how it stands");
            Failure {
                held: true,
                ..failure
            }
        }
    }
}

fn provider(error: ProviderError, message: String) -> Failure {
    let unavailable = Failure::new(Exit::Unavailable, Code::ProviderUnavailable, message.clone());
    match error {
        ProviderError::RootMissing { provider, root } => unavailable
            .detail("provider", provider)
            .detail("root", root)
            .hint("mount it, or correct the provider's path or bucket in storage.yml"),
        ProviderError::Unavailable {
            provider, operation, ..
        } => unavailable
            .retryable()
            .detail("provider", provider)
            .detail("operation", operation),
        ProviderError::TimedOut {
            provider,
            operation,
            limit,
            key,
        } => Failure::new(Exit::Unavailable, Code::Timeout, message)
            .retryable()
            .detail("provider", provider)
            .detail("operation", operation)
            .detail("limitMs", u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
            .hint(format!("try later, or raise {key} in storage.yml")),
        ProviderError::CircuitOpen {
            provider,
            operation,
            retry_in,
        } => Failure::new(Exit::Unavailable, Code::CircuitOpen, message)
            .retryable()
            .detail("provider", provider)
            .detail("operation", operation)
            .detail("retryInSeconds", retry_in.as_secs())
            .hint(Code::CircuitOpen.remedy()),
        ProviderError::Denied {
            provider, operation, ..
        } => unavailable
            .detail("provider", provider)
            .detail("operation", operation)
            .hint("check the provider's credentials and permissions"),
        ProviderError::Invalid {
            provider, operation, ..
        } => Failure::new(Exit::Failed, Code::Error, message)
            .detail("provider", provider)
            .detail("operation", operation),
        ProviderError::Configuration { provider, .. } => {
            Failure::new(Exit::Usage, Code::Configuration, message).detail("provider", provider)
        }
    }
}
