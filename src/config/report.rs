//! Where findings about a file are gathered, so that one run tells all of them, each with its line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::{Problem, Warning};
use super::path::KeyPath;
use super::yaml::Document;

/// A `storage.yml` and which of its keys were read as if they stood elsewhere.
#[derive(Debug, Clone)]
pub struct Source {
    pub file: PathBuf,
    pub document: Document,
    /// By the place a key is read from, the place it is written at.
    pub moved: BTreeMap<KeyPath, KeyPath>,
}

impl Source {
    /// Where the key is written in the file.
    #[must_use]
    pub fn written(&self, path: &KeyPath) -> KeyPath {
        let mut ancestor = Some(path.clone());
        while let Some(at) = ancestor {
            if let Some(written) = self.moved.get(&at) {
                let rest = path.below(&at).unwrap_or_default();
                return written.steps().iter().chain(rest).cloned().collect();
            }
            ancestor = at.parent();
        }
        path.clone()
    }

    /// The line of the key, or of the nearest mapping around it that is in the file.
    #[must_use]
    pub fn line_near(&self, path: &KeyPath) -> Option<usize> {
        let mut at = Some(self.written(path));
        while let Some(path) = at {
            if path.steps().is_empty() {
                return None;
            }
            if let Some(line) = self.document.line_of(&path) {
                return Some(line);
            }
            at = path.parent();
        }
        None
    }
}

/// Gathers what is wrong with one file.
#[derive(Debug)]
pub struct Report<'s> {
    source: &'s Source,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl<'s> Report<'s> {
    #[must_use]
    pub fn new(source: &'s Source) -> Self {
        Self {
            source,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn problem(&self, path: &KeyPath, message: String) -> Problem {
        Problem {
            file: Some(self.source.file.clone()),
            line: self.source.line_near(path),
            key: self.source.written(path),
            message,
        }
    }

    /// Only the first about a key counts, and none about what is inside a key that is wrong as a whole: the rest would
    /// be its consequences.
    pub fn error(&mut self, path: &KeyPath, message: impl Into<String>) {
        let problem = self.problem(path, message.into());
        if !self
            .problems
            .iter()
            .any(|earlier| problem.key.below(&earlier.key).is_some())
        {
            self.problems.push(problem);
        }
    }

    pub fn warn(&mut self, path: &KeyPath, message: impl Into<String>) {
        let warning = Warning(self.problem(path, message.into()));
        self.warnings.push(warning);
    }

    /// A key, as it is written, that another spelling of itself makes idle.
    pub fn overruled(&mut self, loser: KeyPath, winner: &KeyPath) {
        self.warnings.push(Warning(Problem {
            file: Some(self.source.file.clone()),
            line: self.source.document.line_of(&loser),
            key: loser,
            message: format!("is not used, since `{winner}` says otherwise"),
        }));
    }

    /// The same key again, at its own line.
    pub fn duplicate(&mut self, path: &KeyPath) {
        let document = &self.source.document;
        let first = document.line_of(path);
        self.problems.push(Problem {
            file: Some(self.source.file.clone()),
            line: document.line_of_nth(path, 1),
            key: path.clone(),
            message: match first {
                Some(line) => format!("is there twice; the first is in line {line}"),
                None => "is there twice".to_owned(),
            },
        });
    }

    /// All that was found, in the order of the file.
    #[must_use]
    pub fn finish(self) -> (Vec<Problem>, Vec<Warning>) {
        let (mut problems, mut warnings) = (self.problems, self.warnings);
        problems.sort_by_key(|problem| problem.line);
        warnings.sort_by_key(|warning| warning.0.line);
        (problems, warnings)
    }
}

/// The candidate that is most like the name.
#[must_use]
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(name, candidate), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// ` (did you mean x?)` where some candidate is more like the name than not.
#[must_use]
pub fn did_you_mean<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    match nearest(name, candidates) {
        Some(near) if strsim::normalized_damerau_levenshtein(name, near) >= 0.5 => {
            format!(" (did you mean {near}?)")
        }
        _ => String::new(),
    }
}
