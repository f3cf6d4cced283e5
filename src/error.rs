//! The edge: every room's errors become one [`Failure`], with the code that scripts read, the exit code that cron
//! reads and a hint for people. Nothing below this file knows exit codes.
//!
//! Rules: a message is one sentence that names the file, key or flag; a hint says what to do; neither ever holds
//! a secret.

use serde::Serialize;
use serde_json::Value;

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

/// The error codes of the JSON envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Code {
    #[serde(rename = "STORAGE_ERROR")]
    Error,
    #[serde(rename = "STORAGE_PROVIDER_UNAVAILABLE")]
    ProviderUnavailable,
    #[serde(rename = "STORAGE_VALIDATION_ERROR")]
    Validation,
    #[serde(rename = "STORAGE_FILE_NOT_FOUND")]
    FileNotFound,
    #[serde(rename = "STORAGE_CONFIGURATION_ERROR")]
    Configuration,
    #[serde(rename = "STORAGE_BATCH_OPERATION_ERROR")]
    BatchOperation,
    #[serde(rename = "STORAGE_LOCKED")]
    Locked,
    #[serde(rename = "STORAGE_REFUSED")]
    Refused,
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
}
