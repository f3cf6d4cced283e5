//! The only room that knows the YAML library. Reads text into a tree, refuses what YAML allows and a
//! configuration should not hold (tags, duplicate keys, many documents), and finds the line of any key.
//!
//! Never echoes a value in an error: what stands in the wrong place may be a secret.

mod edit;
mod lines;
mod tree;

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed};
pub use serde_yaml::{Mapping, Value};

use super::path::{KeyPath, Step};
pub use edit::Change;
use lines::{FOUND, Probe};
use tree::Tree;

/// Larger than any real file by a factor of a thousand, small enough to be read at once.
pub const MAX_BYTES: usize = 1 << 20;

/// What some editors begin a file with.
const MARK: char = '\u{feff}';

/// A message and, where the parser knew it, the line it belongs to (from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    pub line: Option<usize>,
    pub message: String,
}

/// A parsed file: its text and the tree in it.
#[derive(Clone)]
pub struct Document {
    text: String,
    /// The file begins with a byte order mark, which `text` does not hold.
    marked: bool,
    root: Mapping,
    duplicates: Vec<KeyPath>,
}

/// Its size only, since the rest may hold secrets.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes)", self.text.len())
    }
}

impl Document {
    /// # Errors
    /// Where the text is too large, no YAML, more than one document, or no mapping.
    pub fn parse(text: String) -> Result<Self, SyntaxError> {
        let fail = |message: &str| SyntaxError {
            line: None,
            message: message.to_owned(),
        };
        if text.len() > MAX_BYTES {
            return Err(fail("is larger than 1 MB, which no configuration is"));
        }
        // The library takes a byte order mark in the middle of its input for a second document.
        let (text, marked) = match text.strip_prefix(MARK) {
            Some(rest) => (rest.to_owned(), true),
            None => (text, false),
        };
        let duplicates = RefCell::new(Vec::new());
        let tree = Tree {
            at: KeyPath::default(),
            duplicates: &duplicates,
        };
        let parsed = tree.deserialize(serde_yaml::Deserializer::from_str(&text));
        match parsed.map_err(|error| syntax_error(&error))? {
            Value::Mapping(root) => Ok(Self {
                text,
                marked,
                root,
                duplicates: duplicates.into_inner(),
            }),
            Value::Null => Err(fail("is empty")),
            _ => Err(fail("does not hold a mapping of keys to values")),
        }
    }

    #[must_use]
    pub fn root(&self) -> &Mapping {
        &self.root
    }

    /// The text, without a byte order mark.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn mark(&self) -> &'static str {
        if self.marked { "\u{feff}" } else { "" }
    }

    /// Keys that stand twice in one mapping; the tree holds the last of each.
    #[must_use]
    pub fn duplicates(&self) -> &[KeyPath] {
        &self.duplicates
    }

    /// The line of a key, or of an item of a list; `None` where it is not in the file.
    #[must_use]
    pub fn line_of(&self, path: &KeyPath) -> Option<usize> {
        self.line_of_nth(path, 0)
    }

    /// The line where a key stands again in the same mapping, `nth` counted from 0.
    #[must_use]
    pub fn line_of_nth(&self, path: &KeyPath, nth: usize) -> Option<usize> {
        let probe = Probe {
            path: path.steps(),
            nth,
        };
        let error = probe
            .deserialize(serde_yaml::Deserializer::from_str(&self.text))
            .err()?;
        error.to_string().contains(FOUND).then_some(())?;
        error.location().map(|at| at.line())
    }
}

/// What stands at the path.
#[must_use]
pub fn lookup<'v>(root: &'v Mapping, path: &KeyPath) -> Option<&'v Value> {
    let (first, rest) = path.steps().split_first()?;
    let Step::Key(key) = first else { return None };
    rest.iter()
        .try_fold(root.get(key.as_str())?, |value, step| match step {
            Step::Key(key) => value.as_mapping()?.get(key.as_str()),
            Step::Item(index) => value.as_sequence()?.get(*index),
        })
}

/// Removes what stands at the path, or the whole list where that is an item of one, since the others would move.
pub fn remove(root: &mut Mapping, path: &KeyPath) -> Option<Value> {
    let items = path
        .steps()
        .iter()
        .rev()
        .take_while(|step| matches!(step, Step::Item(_)));
    let steps = &path.steps()[..path.steps().len() - items.count()];
    let (Step::Key(last), parents) = steps.split_last()? else {
        return None;
    };
    let (Step::Key(first), rest) = (
        parents.first().unwrap_or(&steps[0]),
        parents.get(1..).unwrap_or_default(),
    ) else {
        return None;
    };
    if parents.is_empty() {
        return root.shift_remove(last.as_str());
    }
    let parent = rest
        .iter()
        .try_fold(root.get_mut(first.as_str())?, |value, step| match step {
            Step::Key(key) => value.as_mapping_mut()?.get_mut(key.as_str()),
            Step::Item(index) => value.as_sequence_mut()?.get_mut(*index),
        });
    parent?.as_mapping_mut()?.shift_remove(last.as_str())
}

/// Puts a value at a path of keys, with the mappings on the way; `false` where something else is in that way.
pub fn insert(root: &mut Mapping, path: &KeyPath, value: Value) -> bool {
    let Some((Step::Key(last), parents)) = path.steps().split_last() else {
        return false;
    };
    let mut at = root;
    for step in parents {
        let Step::Key(key) = step else { return false };
        let entry = at.entry(Value::from(key.as_str())).or_insert(Value::Null);
        if entry.is_null() {
            *entry = Value::Mapping(Mapping::new());
        }
        let Some(map) = entry.as_mapping_mut() else {
            return false;
        };
        at = map;
    }
    at.insert(Value::from(last.as_str()), value);
    true
}

/// Reads a type from a tree.
///
/// # Errors
/// The place of the first thing that did not fit, and what was expected there.
pub fn typed<T: DeserializeOwned>(root: &Mapping) -> Result<T, (KeyPath, String)> {
    serde_path_to_error::deserialize(Value::Mapping(root.clone())).map_err(|error| {
        use serde_path_to_error::Segment;
        let path = error
            .path()
            .iter()
            .map_while(|segment| match segment {
                Segment::Map { key } => Some(Step::Key(key.clone())),
                Segment::Seq { index } => Some(Step::Item(*index)),
                Segment::Enum { .. } | Segment::Unknown => None,
            })
            .collect();
        (path, without_value(&error.into_inner().to_string()))
    })
}

/// Reads a value as somebody types it on a command line: `10MB`, `true`, `[a, b]`.
///
/// # Errors
/// Where it is not YAML.
pub fn parse_value(text: &str) -> Result<Value, SyntaxError> {
    let duplicates = RefCell::new(Vec::new());
    let tree = Tree {
        at: KeyPath::default(),
        duplicates: &duplicates,
    };
    let value = tree.deserialize(serde_yaml::Deserializer::from_str(text));
    let value = value.map_err(|error| syntax_error(&error))?;
    match duplicates.into_inner().first() {
        Some(key) => Err(SyntaxError {
            line: None,
            message: format!("`{key}` stands there twice"),
        }),
        None => Ok(value),
    }
}

/// serde's `invalid type: string "x", expected a boolean` without the `"x"`.
fn without_value(message: &str) -> String {
    let Some((what, expected)) = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "))
    else {
        return message.to_owned();
    };
    let kind = match what.split_whitespace().next() {
        Some("string" | "character") => "text",
        Some("integer" | "floating") => "a number",
        Some("boolean") => "true or false",
        Some("map") => "a mapping",
        Some("sequence") => "a list",
        _ => "nothing",
    };
    let expected = match expected {
        "a boolean" => "true or false",
        "a string" => "text",
        "a sequence" => "a list",
        _ if expected.starts_with("struct ") || expected == "a map" => "a mapping",
        _ if expected.starts_with(['u', 'i']) || expected.starts_with("a number") => {
            "a whole number, not below 0"
        }
        "f64" => "a number",
        _ => expected,
    };
    format!("expected {expected}, found {kind}")
}

fn syntax_error(error: &serde_yaml::Error) -> SyntaxError {
    let line = error.location().map(|at| at.line());
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or(&text);
    let message = if message.contains("more than one document") {
        "holds more than one YAML document"
    } else {
        message
    };
    // A tag such as `!!int` is held against its value while the text is read, and names it, which may be a secret.
    let at = message
        .find("invalid value: ")
        .or_else(|| message.find("invalid type: "));
    let (place, complaint) = message.split_at(at.unwrap_or(message.len()));
    SyntaxError {
        line,
        message: format!("{place}{}", without_value(complaint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Document {
        Document::parse(text.to_owned()).unwrap()
    }

    fn error(text: &str) -> (Option<usize>, String) {
        let error = Document::parse(text.to_owned()).unwrap_err();
        (error.line, error.message)
    }

    #[test]
    fn a_value_that_belied_its_tag_was_repeated() {
        for tag in ["!!int", "!!float", "!!bool", "!!null"] {
            let (line, message) = error(&format!("a:\n  secret: {tag} hunter2, expected x\n"));
            assert_eq!(line, Some(2), "{message}");
            assert!(
                message.contains("a.secret: ") && !message.contains("hunter2"),
                "{message}"
            );
        }
    }

    #[test]
    fn every_key_has_its_line() {
        let document = parse("# c\na:\n  b: 1\n  c:\n    - x\n    - y: 2\n\"q k\": [1,\n  2]\n2019: z\n");
        for (path, line) in [
            (KeyPath::of(&["a"]), 2),
            (KeyPath::of(&["a", "b"]), 3),
            (KeyPath::of(&["a", "c"]).item(1).key("y"), 6),
            (KeyPath::of(&["q k"]).item(1), 8),
            (KeyPath::of(&["2019"]), 9),
        ] {
            assert_eq!(document.line_of(&path), Some(line), "{path}");
        }
        assert_eq!(document.line_of(&KeyPath::of(&["a", "z"])), None);
        assert_eq!(document.line_of(&KeyPath::of(&["a", "b", "c"])), None);
    }

    #[test]
    fn duplicates_are_found_at_every_depth() {
        let document = parse("a: {x: 1}\nb:\n  x: 1\n  y: 2\n  x: 3\na: 2\n");
        let found: Vec<String> = document.duplicates().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["b.x", "a"]);
        assert_eq!(document.line_of_nth(&KeyPath::of(&["b", "x"]), 1), Some(5));
        assert_eq!(document.line_of_nth(&KeyPath::of(&["a"]), 1), Some(6));
    }

    #[test]
    fn windows_files_read_like_others() {
        let document = parse("\u{feff}a: 1\r\nb:\r\n  c: x\r\n");
        assert_eq!(document.line_of(&KeyPath::of(&["b", "c"])), Some(3));
        assert_eq!(
            lookup(document.root(), &KeyPath::of(&["b", "c"])),
            Some(&Value::from("x"))
        );
    }

    #[test]
    fn what_is_no_configuration_is_refused_with_its_line() {
        assert_eq!(error("").1, "is empty");
        assert_eq!(error("# only a comment\n").1, "is empty");
        assert_eq!(error("- a\n").1, "does not hold a mapping of keys to values");
        assert_eq!(error("a: 1\n\tb: 2\n").0, Some(2));
        assert_eq!(
            error("a: 1\nb: !secret x\n"),
            (Some(2), "b: YAML tags (`!…`) have no meaning here".to_owned())
        );
        assert_eq!(error("a: 1\n---\nb: 2\n").1, "holds more than one YAML document");
        assert_eq!(
            error(&format!("a: {}", "x".repeat(MAX_BYTES))).1,
            "is larger than 1 MB, which no configuration is"
        );
    }

    #[test]
    fn laughing_a_billion_times_is_refused() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..10 {
            let list = vec![format!("*a{}", level - 1); 10].join(",");
            text = format!("{text}a{level}: &a{level} [{list}]\n");
        }
        assert_eq!(error(&text).1, "repetition limit exceeded");
    }

    #[test]
    fn an_error_of_type_does_not_repeat_the_value() {
        #[derive(Debug, serde::Deserialize)]
        struct Wanted {
            #[expect(dead_code, reason = "only its type matters")]
            flag: bool,
        }
        let document = parse("flag: hunter2\n");
        let (path, message) = typed::<Wanted>(document.root()).unwrap_err();
        assert_eq!(
            (path.to_string().as_str(), message.as_str()),
            ("flag", "expected true or false, found text")
        );
    }
}
