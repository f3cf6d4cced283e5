//! Where in a YAML document something stands: the dotted key that messages name and lookups use.

use std::fmt;

/// One step down into a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    Key(String),
    /// Position in a list, from 0.
    Item(usize),
}

/// A way into a document, outermost step first; empty is the document itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(Vec<Step>);

impl KeyPath {
    /// The path of these keys.
    #[must_use]
    pub fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Step::Key((*key).to_owned())).collect())
    }

    /// Reads `folders.permits.quota` or `folders."a.b".quota`; `None` where a key is empty or a quote is not closed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text;
        loop {
            let (key, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
            };
            if key.is_empty() || key.contains('[') {
                return None;
            }
            steps.push(Step::Key(key.to_owned()));
            if after.is_empty() {
                return Some(Self(steps));
            }
            rest = after.strip_prefix('.')?;
        }
    }

    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        self.step(Step::Item(index))
    }

    #[must_use]
    pub fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// One step up; `None` at the document itself.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Self(rest.to_vec()))
    }

    /// What is left of this path below `ancestor`.
    #[must_use]
    pub fn below(&self, ancestor: &Self) -> Option<&[Step]> {
        self.0.strip_prefix(ancestor.0.as_slice())
    }

    /// Whether the path leads through this key.
    #[must_use]
    pub fn passes(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|step| matches!(step, Step::Key(key) if key == name))
    }
}

impl FromIterator<Step> for KeyPath {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

/// `providers.s3.aliases[0]`; a key with a dot in it is quoted.
impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    let dot = if at > 0 { "." } else { "" };
                    if key.contains(['.', '[', '"', '/']) || key.contains(char::is_control) || key.is_empty()
                    {
                        write!(f, "{dot}{key:?}")?;
                    } else {
                        write!(f, "{dot}{key}")?;
                    }
                }
            }
        }
        Ok(())
    }
}
