//! The catalogue of error codes: what scripts and monitoring read. README's table is made from it by a test.

use serde::Serialize;

use super::Exit;

/// The error codes of the JSON envelope and of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Code {
    #[serde(rename = "STORAGE_ERROR")]
    Error,
    #[serde(rename = "STORAGE_QUOTA_EXCEEDED")]
    QuotaExceeded,
    #[serde(rename = "STORAGE_PROVIDER_UNAVAILABLE")]
    ProviderUnavailable,
    #[serde(rename = "STORAGE_TIMEOUT")]
    Timeout,
    #[serde(rename = "STORAGE_CIRCUIT_OPEN")]
    CircuitOpen,
    #[serde(rename = "STORAGE_VALIDATION_ERROR")]
    Validation,
    #[serde(rename = "STORAGE_FILE_NOT_FOUND")]
    FileNotFound,
    #[serde(rename = "STORAGE_ORPHANED_FILE")]
    OrphanedFile,
    #[serde(rename = "STORAGE_INTEGRITY_ERROR")]
    Integrity,
    #[serde(rename = "STORAGE_CONFIGURATION_ERROR")]
    Configuration,
    #[serde(rename = "STORAGE_BATCH_OPERATION_ERROR")]
    BatchOperation,
    #[serde(rename = "STORAGE_LOCKED")]
    Locked,
    #[serde(rename = "STORAGE_REFUSED")]
    Refused,
}

/// What README says of a code.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub code: Code,
    pub name: &'static str,
    /// Whether the same command may work later without anything being changed.
    pub retryable: bool,
    pub meaning: &'static str,
    pub remedy: &'static str,
}

const fn entry(
    code: Code,
    name: &'static str,
    retryable: bool,
    (meaning, remedy): (&'static str, &'static str),
) -> Entry {
    Entry {
        code,
        name,
        retryable,
        meaning,
        remedy,
    }
}

/// Every code.
pub const CATALOGUE: [Entry; 13] = [
    entry(
        Code::Error,
        "STORAGE_ERROR",
        false,
        (
            "something else failed; the message says what",
            "what the message says",
        ),
    ),
    entry(
        Code::QuotaExceeded,
        "STORAGE_QUOTA_EXCEEDED",
        false,
        (
            "the folder or the whole storage has no room for it",
            "make room, or raise the quota in storage.yml",
        ),
    ),
    entry(
        Code::ProviderUnavailable,
        "STORAGE_PROVIDER_UNAVAILABLE",
        true,
        (
            "the provider does not answer, denies, or has no root",
            "`civic storage:health` tells more",
        ),
    ),
    entry(
        Code::Timeout,
        "STORAGE_TIMEOUT",
        true,
        (
            "no whole answer within the limit that the message names",
            "try later, or raise that key in storage.yml",
        ),
    ),
    entry(
        Code::CircuitOpen,
        "STORAGE_CIRCUIT_OPEN",
        true,
        (
            "not tried: the provider failed again and again of late",
            "wait until the time that the message names is over; then the next request tries it",
        ),
    ),
    entry(
        Code::Validation,
        "STORAGE_VALIDATION_ERROR",
        false,
        ("a flag, a name or a file is none that can be taken", "correct it"),
    ),
    entry(
        Code::FileNotFound,
        "STORAGE_FILE_NOT_FOUND",
        false,
        (
            "no record has this id or name, or its object is gone",
            "`civic storage:list --search TEXT` finds ids and names",
        ),
    ),
    entry(
        Code::OrphanedFile,
        "STORAGE_ORPHANED_FILE",
        false,
        (
            "storage and database disagree",
            "`civic storage:cleanup` shows it",
        ),
    ),
    entry(
        Code::Integrity,
        "STORAGE_INTEGRITY_ERROR",
        false,
        (
            "the bytes are not those that were stored",
            "`civic storage:verify --checksum` looks at all",
        ),
    ),
    entry(
        Code::Configuration,
        "STORAGE_CONFIGURATION_ERROR",
        false,
        (
            "storage.yml, the environment or the database cannot be used as they are",
            "`civic storage:config --validate` names each line",
        ),
    ),
    entry(
        Code::BatchOperation,
        "STORAGE_BATCH_OPERATION_ERROR",
        false,
        (
            "some or all items failed, each with a code of its own; worth another try where all of them are",
            "`failed` and `errorSummary` list them",
        ),
    ),
    entry(
        Code::Locked,
        "STORAGE_LOCKED",
        true,
        (
            "another run holds the provider",
            "wait until it has ended; `civic storage:runs` shows it",
        ),
    ),
    entry(
        Code::Refused,
        "STORAGE_REFUSED",
        false,
        (
            "a safety rule spoke",
            "look; then `--override RULE`, where the message names one",
        ),
    ),
];

impl Code {
    fn entry(self) -> &'static Entry {
        let found = CATALOGUE.iter().find(|entry| entry.code == self);
        found.unwrap_or(&CATALOGUE[0])
    }

    /// As JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The code of that name; [`Code::Error`] for any other.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let found = CATALOGUE.iter().find(|entry| entry.name == name);
        found.map_or(Self::Error, |entry| entry.code)
    }

    /// What helps, in general.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        self.entry().remedy
    }

    #[must_use]
    pub fn is_retryable(self) -> bool {
        self.entry().retryable
    }

    const fn is_providers(self) -> bool {
        matches!(
            self,
            Self::ProviderUnavailable | Self::Timeout | Self::CircuitOpen
        )
    }
}

impl Exit {
    /// Of a command none of whose items went through, by the codes of all of them.
    #[must_use]
    pub fn of_failed<'a>(codes: impl IntoIterator<Item = &'a String>) -> Self {
        let codes: Vec<Code> = codes.into_iter().map(|name| Code::named(name)).collect();
        if codes.iter().all(|code| code.is_providers()) {
            Self::Unavailable
        } else if codes.iter().all(|code| *code == Code::QuotaExceeded) {
            Self::QuotaExceeded
        } else {
            Self::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_listed_once_under_the_name_that_json_has() {
        for entry in &CATALOGUE {
            assert_eq!(serde_json::to_value(entry.code).unwrap(), entry.name);
            assert_eq!(Code::named(entry.name), entry.code);
            assert_eq!(entry.code.name(), entry.name);
        }
        assert_eq!(Code::named("STORAGE_NOTHING"), Code::Error);
    }

    #[test]
    fn the_exit_code_of_nothing_done_is_that_of_its_only_reason() {
        let of = |codes: &[Code]| {
            let names: Vec<String> = codes.iter().map(|code| code.name().to_owned()).collect();
            Exit::of_failed(&names)
        };
        assert_eq!(
            of(&[Code::Timeout, Code::CircuitOpen, Code::ProviderUnavailable]),
            Exit::Unavailable
        );
        assert_eq!(of(&[Code::QuotaExceeded]), Exit::QuotaExceeded);
        assert_eq!(of(&[Code::QuotaExceeded, Code::Timeout]), Exit::Failed);
        assert_eq!(of(&[Code::Validation]), Exit::Failed);
    }
}
