//! What an object that no record names is, judged by its key alone.

use std::collections::HashSet;

use crate::providers::{EntryKind, Key, Listed, SIDECAR_SUFFIX, is_reserved, sidecar_object, stored_shape};

/// Classes of objects without a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// This program's own: trash, marker, probes. Not counted.
    Reserved,
    /// A sidecar; `alone` where the object it belongs to was not listed.
    Sidecar { alone: bool },
    /// Not a name that this system gives, or in a folder that it does not know. Never deleted.
    Foreign,
    /// Of this system's shape: an orphan, unless a UUID in it is some record's or it is too young.
    Candidate,
}

/// Classifies objects that come in key order.
#[derive(Debug)]
pub struct Classifier {
    folders: HashSet<String>,
    /// Keys seen that the current key begins with: a sidecar's object is among them or was not listed.
    open: Vec<Key>,
}

impl Classifier {
    /// `folders`: those of storage.yml and those that any record is in. An object of our shape in any other
    /// folder may be another program's, which also names its files by UUID.
    pub const fn new(folders: HashSet<String>) -> Self {
        Self {
            folders,
            open: Vec::new(),
        }
    }

    /// Whether it is a folder of this system's.
    pub fn knows(&self, folder: &str) -> bool {
        self.folders.contains(folder)
    }

    /// To be called for every object in key order, those with a record included.
    pub fn saw(&mut self, key: &Key) {
        self.close(key);
        if !key.as_bytes().ends_with(SIDECAR_SUFFIX) {
            self.open.push(key.clone());
        }
    }

    /// The class of an object without a record. Call [`saw`](Self::saw) with it as well.
    pub fn class(&mut self, entry: &Listed) -> Class {
        let key = entry.key.as_bytes();
        self.close(&entry.key);
        if is_reserved(key) {
            return Class::Reserved;
        }
        if entry.kind == EntryKind::Special {
            return Class::Foreign;
        }
        if let Some(object) = sidecar_object(key) {
            let known = stored_shape(object).is_some_and(|shape| self.folders.contains(shape.folder));
            let alone = !self.open.iter().any(|seen| seen.as_bytes() == object);
            return if known {
                Class::Sidecar { alone }
            } else {
                Class::Foreign
            };
        }
        match stored_shape(key) {
            Some(shape) if self.folders.contains(shape.folder) => Class::Candidate,
            _ => Class::Foreign,
        }
    }

    fn close(&mut self, key: &Key) {
        while self
            .open
            .last()
            .is_some_and(|seen| !key.as_bytes().starts_with(seen.as_bytes()))
        {
            self.open.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0badc0de-0000-4000-8000-000000009999";

    fn classes(keys: &[String]) -> Vec<Class> {
        let mut classifier = Classifier::new(HashSet::from(["permits".to_owned()]));
        let mut sorted = keys.to_vec();
        sorted.sort();
        let one = |key: &String| {
            let entry = Listed {
                key: Key::from(key.as_str()),
                kind: EntryKind::Object,
                size: 1,
                last_modified: chrono::DateTime::UNIX_EPOCH,
                etag: None,
            };
            let class = classifier.class(&entry);
            classifier.saw(&entry.key);
            class
        };
        sorted.iter().map(one).collect()
    }

    #[test]
    fn an_object_of_our_shape_in_an_unknown_folder_is_foreign() {
        assert_eq!(classes(&[format!("exports/report_{ID}.csv")]), [Class::Foreign]);
        assert_eq!(classes(&[format!("permits/report_{ID}.csv")]), [Class::Candidate]);
    }

    #[test]
    fn a_sidecar_finds_its_object_past_keys_that_sort_between_them() {
        let keys = [
            format!("permits/a_{ID}"),
            format!("permits/a_{ID}+between"),
            format!("permits/a_{ID}-between"),
            format!("permits/a_{ID}.meta.json"),
        ];
        assert_eq!(classes(&keys)[3], Class::Sidecar { alone: false });
    }

    #[test]
    fn a_sidecar_without_its_object_is_alone() {
        let keys = [
            format!("permits/a_{ID}.pdf.meta.json"),
            format!("permits/b_{ID}.pdf"),
        ];
        assert_eq!(classes(&keys)[0], Class::Sidecar { alone: true });
    }

    #[test]
    fn trash_and_marker_are_reserved_and_only_below_the_root() {
        let keys = [
            format!(".civic/marker_{ID}"),
            format!(".trash/run/permits/a_{ID}.pdf"),
        ];
        assert_eq!(classes(&keys), [Class::Reserved, Class::Reserved]);
        assert_eq!(classes(&[format!("permits/.trash/a_{ID}.pdf")]), [Class::Foreign]);
    }
}
