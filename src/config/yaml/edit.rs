//! Changes to a document that leave everything else as it was typed: comments, order, quotes, line endings.
//!
//! What comes out is read again and compared with what was meant; where the two differ, nothing comes out.

use std::str::FromStr;

use yaml_edit::YamlNode;

use super::{Document, Mapping, Value, insert, remove};
use crate::config::path::{KeyPath, Step};

/// One change to a mapping somewhere in a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The key gets this value, whether it was there or not; mappings on the way are made.
    Set(KeyPath, Value),
    /// The key goes, with all that is in it.
    Remove(KeyPath),
}

impl Document {
    /// The text with these changes made.
    ///
    /// # Errors
    /// A sentence without a subject, where the changes cannot be made or would not read back as meant.
    pub fn edited(&self, changes: &[Change]) -> Result<String, String> {
        let meant = meant(self.root(), changes)?;
        let failed = || "cannot be edited without losing something; change it by hand".to_owned();
        let before = ended(self.text());
        let document = yaml_edit::Document::from_str(&before).map_err(|_| failed())?;
        for change in changes {
            let root = document.as_mapping().ok_or_else(failed)?;
            match change {
                Change::Set(path, value) => set(&root, &keys(path)?, value).ok_or_else(failed)?,
                Change::Remove(path) => take(&root, &keys(path)?).ok_or_else(failed)?,
            }
        }
        let text = document.to_string();
        let reread = Self::parse(text.clone()).map_err(|_| failed())?;
        let faithful = reread.duplicates().is_empty() && *reread.root() == meant;
        if !faithful || !same_endings(&before, &text) {
            return Err(failed());
        }
        Ok(format!("{}{text}", self.mark()))
    }
}

/// The text with its last line ended, so that another can follow.
fn ended(text: &str) -> String {
    let end = match text {
        _ if text.ends_with('\n') => "",
        _ if text.contains("\r\n") => "\r\n",
        _ => "\n",
    };
    format!("{text}{end}")
}

/// The tree that the changes should lead to.
fn meant(root: &Mapping, changes: &[Change]) -> Result<Mapping, String> {
    let mut root = root.clone();
    for change in changes {
        match change {
            Change::Set(path, value) => {
                if !insert(&mut root, path, value.clone()) {
                    return Err(format!("has no mapping at `{path}`"));
                }
            }
            Change::Remove(path) => {
                if remove(&mut root, path).is_none() {
                    return Err(format!("has nothing at `{path}`"));
                }
            }
        }
    }
    Ok(root)
}

fn keys<'p>(path: &'p KeyPath) -> Result<Vec<&'p str>, String> {
    let key = |step: &'p Step| match step {
        Step::Key(key) => Ok(key.as_str()),
        Step::Item(_) => Err(format!("`{path}` is inside a list; give the whole list")),
    };
    path.steps().iter().map(key).collect()
}

fn set(root: &yaml_edit::Mapping, keys: &[&str], value: &Value) -> Option<()> {
    let (last, parents) = keys.split_last()?;
    let mut at = root.clone();
    for (depth, key) in parents.iter().enumerate() {
        let Some(inner) = at.get_mapping(*key) else {
            let below = keys[depth + 1..].iter().rev();
            let nested = below.fold(value.clone(), |inner, key| {
                Value::Mapping(Mapping::from_iter([(Value::from(*key), inner)]))
            });
            return put(&at, key, &nested);
        };
        at = inner;
    }
    put(&at, last, value)
}

fn put(map: &yaml_edit::Mapping, key: &str, value: &Value) -> Option<()> {
    match value {
        Value::String(text) => map.set(key, text.as_str()),
        Value::Bool(flag) => map.set(key, *flag),
        Value::Number(number) if number.is_f64() => map.set(key, number.as_f64()?),
        Value::Number(number) => map.set(key, number.as_i64()?),
        collection => map.set(key, node(collection)?),
    }
    Some(())
}

/// A mapping or list as the editor holds it, in block style.
fn node(value: &Value) -> Option<YamlNode> {
    let document = yaml_edit::Document::from_str(&block(value, 0)?).ok()?;
    match value {
        Value::Mapping(_) => document.as_mapping().map(YamlNode::Mapping),
        _ => document.as_sequence().map(YamlNode::Sequence),
    }
}

/// The value in block style, lists further in than their keys, as CivicPress writes them.
fn block(value: &Value, indent: usize) -> Option<String> {
    let margin = " ".repeat(indent);
    let mut text = String::new();
    match value {
        Value::Mapping(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                text = format!("{text}{margin}{}:{}", scalar(key)?, after(value, indent)?);
            }
        }
        Value::Sequence(items) if !items.is_empty() => {
            for item in items {
                text = format!("{text}{margin}-{}", after(item, indent)?);
            }
        }
        other => text = scalar(other)?,
    }
    Some(text)
}

/// What follows a key or a dash.
fn after(value: &Value, indent: usize) -> Option<String> {
    let nested = match value {
        Value::Mapping(entries) => !entries.is_empty(),
        Value::Sequence(items) => !items.is_empty(),
        _ => false,
    };
    Some(if nested {
        format!("\n{}", block(value, indent + 2)?)
    } else {
        format!(" {}\n", scalar(value)?)
    })
}

/// On one line, quoted where it has to be.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.contains(char::is_control) => serde_json::to_string(text).ok(),
        value => Some(
            serde_yaml::to_string(value)
                .ok()?
                .trim_end_matches('\n')
                .to_owned(),
        ),
    }
}

fn take(root: &yaml_edit::Mapping, keys: &[&str]) -> Option<()> {
    let (last, parents) = keys.split_last()?;
    let within = |keys: &[&str]| {
        keys.iter()
            .try_fold(root.clone(), |map, key| map.get_mapping(*key))
    };
    let parent = within(parents)?;
    match parents.split_last() {
        // Without its last key a mapping would read as nothing at all, which is another thing than an empty one.
        Some((key, above)) if parent.len() == 1 && parent.contains_key(*last) => {
            within(above)?.set(*key, YamlNode::Mapping(yaml_edit::Mapping::new_flow()));
        }
        _ => drop(parent.remove(*last)?),
    }
    Some(())
}

/// A file of Windows lines stays one.
fn same_endings(before: &str, after: &str) -> bool {
    let all_windows = |text: &str| text.matches('\n').count() == text.matches("\r\n").count();
    before.contains('\r') == after.contains('\r') && all_windows(before) == all_windows(after)
}

#[cfg(test)]
mod tests {
    use super::super::lookup;
    use super::*;

    const TOWN: &str = include_str!("../../../tests/fixtures/config/valid/commented.yml");

    fn path(keys: &str) -> KeyPath {
        KeyPath::of(&keys.split('.').collect::<Vec<_>>())
    }

    fn edited(text: &str, changes: &[Change]) -> Result<String, String> {
        Document::parse(text.to_owned()).unwrap().edited(changes)
    }

    /// Lines that only one of the two texts has, in order, each with its side.
    fn changed(before: &str, after: &str) -> Vec<String> {
        similar::TextDiff::from_lines(before, after)
            .iter_all_changes()
            .filter(|change| change.tag() != similar::ChangeTag::Equal)
            .map(|change| format!("{}{}", change.tag(), change.value().trim_end_matches('\n')))
            .collect()
    }

    #[test]
    fn a_changed_value_changes_its_line_and_no_other() {
        let set =
            |key: &str, value: Value| changed(TOWN, &edited(TOWN, &[Change::Set(path(key), value)]).unwrap());
        assert_eq!(
            set("global.max_file_size", "250MB".into()),
            [
                "-  max_file_size: 100MB   # as agreed 2024",
                "+  max_file_size: 250MB   # as agreed 2024"
            ]
        );
        assert_eq!(
            set("providers.local.path", "/srv/new".into()),
            [
                "-  local: { type: local, path: /srv }   # inline",
                "+  local: { type: local, path: /srv/new }   # inline"
            ]
        );
        assert_eq!(set("folders.public.quota", "5GB".into()), ["+    quota: 5GB"]);
        assert_eq!(
            set("cleanup.min_age", "2h".into()),
            ["+cleanup:", "+  min_age: 2h"]
        );
        assert_eq!(
            set("lifecycle.check_interval", 5.into()).last().unwrap(),
            "+  check_interval: 5"
        );
    }

    #[test]
    fn text_that_looks_like_something_else_is_quoted() {
        for text in [
            "true",
            "null",
            "12",
            "1e3",
            "a: b",
            "# c",
            "- d",
            "",
            " e ",
            "it's \"f\"",
            "é 会議",
            "line\nbreak",
            "*g",
            "&h",
            "!i",
            "@j",
            "0x1F",
            "~",
            "yes",
        ] {
            let change = [Change::Set(path("folders.public.description"), text.into())];
            let after = edited(TOWN, &change).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            let reread = Document::parse(after).unwrap();
            assert_eq!(
                lookup(reread.root(), &path("folders.public.description")),
                Some(&Value::from(text))
            );
        }
    }

    #[test]
    fn a_new_folder_goes_last_and_a_removed_one_takes_nothing_along() {
        let folder = Mapping::from_iter([
            ("path".into(), "archive".into()),
            (
                "allowed_types".into(),
                Value::Sequence(vec!["pdf".into(), "*".into()]),
            ),
        ]);
        let after = edited(TOWN, &[Change::Set(path("folders.archive"), folder.into())]).unwrap();
        assert_eq!(
            changed(TOWN, &after),
            [
                "+  archive:",
                "+    path: archive",
                "+    allowed_types:",
                "+      - pdf",
                "+      - '*'"
            ]
        );
        let after = edited(TOWN, &[Change::Remove(path("folders.permits"))]).unwrap();
        assert_eq!(
            changed(TOWN, &after),
            [
                "-  permits:",
                "-    path: permits",
                "-    allowed_types: [pdf,",
                "-      jpg]   # two"
            ]
        );
    }

    #[test]
    fn the_last_folder_leaves_an_empty_mapping_not_none() {
        let text = "folders:\n  only: { path: only }\ncleanup:\n  min_age: 2h\n";
        let after = edited(text, &[Change::Remove(path("folders.only"))]).unwrap();
        assert_eq!(after, "folders: {}\ncleanup:\n  min_age: 2h\n");
    }

    #[test]
    fn windows_lines_and_byte_order_marks_stay() {
        let windows = format!("\u{feff}{}", TOWN.replace('\n', "\r\n"));
        let changes = [
            Change::Set(path("global.max_file_size"), "250MB".into()),
            Change::Set(path("cleanup.min_age"), "2h".into()),
            Change::Remove(path("folders.permits")),
        ];
        let unix = edited(TOWN, &changes).unwrap();
        assert_eq!(
            edited(&windows, &changes).unwrap(),
            format!("\u{feff}{}", unix.replace('\n', "\r\n"))
        );
    }

    #[test]
    fn a_file_without_a_final_newline_can_be_added_to() {
        let after = edited(
            "active_provider: local",
            &[Change::Set(path("upload_timeout"), "1s".into())],
        )
        .unwrap();
        assert_eq!(after.trim_end(), "active_provider: local\nupload_timeout: 1s");
    }

    #[test]
    fn what_cannot_be_changed_is_refused() {
        let set = |key: KeyPath| edited(TOWN, &[Change::Set(key, 1.into())]).unwrap_err();
        assert_eq!(
            set(path("active_provider.x")),
            "has no mapping at `active_provider.x`"
        );
        assert!(
            edited(TOWN, &[Change::Remove(path("folders.nothing"))])
                .unwrap_err()
                .contains("folders.nothing")
        );
        assert!(
            edited("a: &x {b: 1}\nc: *x\n", &[Change::Set(path("a.b"), 2.into())]).is_err(),
            "c would change too"
        );
    }
}
