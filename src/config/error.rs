//! What is wrong with a configuration, said so that it can be mended: file, line, key, and one sentence each.
//!
//! A message never holds a credential's value, nor the value of a key that might have been meant as one.

use std::fmt;
use std::path::PathBuf;

use super::path::KeyPath;

/// One thing wrong, or odd, at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: Option<PathBuf>,
    /// From 1.
    pub line: Option<usize>,
    /// The dotted key; empty where the whole file is meant.
    pub key: KeyPath,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        if !self.key.steps().is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Something that works, though probably not as it was meant; `--strict` makes it an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub Problem);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why there is no configuration: everything that was found wrong, in the order of the file. Exit code 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
    /// What to do about it, where that is the same for all.
    pub hint: Option<String>,
}

impl ConfigError {
    /// One problem that belongs to no key.
    #[must_use]
    pub fn at_file(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::from(Problem {
            file: Some(file.into()),
            line: None,
            key: KeyPath::default(),
            message: message.into(),
        })
    }

    /// One problem that belongs to no file: a flag or a variable.
    #[must_use]
    pub fn at_flag(message: impl Into<String>) -> Self {
        Self::from(Problem {
            file: None,
            line: None,
            key: KeyPath::default(),
            message: message.into(),
        })
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
            hint: None,
        }
    }
}

/// One line per problem.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
