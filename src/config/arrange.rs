//! Puts every key where it is read from: CivicPress's `backend` becomes a provider, `global` keys at the top
//! level go under `global`, failover keys under `global` go to the top. Then names the keys nobody knows.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::path::KeyPath;
use super::report::{Report, nearest};
use super::schema::{self, Keys, LIFTED, LOWERED};
use super::yaml::{self, Mapping, Value};

/// The tree, rearranged.
pub struct Arranged {
    pub root: Mapping,
    /// By the place a key is read from, the place it is written at.
    pub moved: BTreeMap<KeyPath, KeyPath>,
    /// Keys that lost against another spelling of themselves, which is named.
    pub overruled: Vec<(KeyPath, KeyPath)>,
    /// The file has nothing but a `backend` that is not a local one.
    pub refused_backend: bool,
}

impl Arranged {
    /// `schema` says which keys are `global`'s.
    #[must_use]
    pub fn new(root: Mapping, schema: &Json) -> Self {
        let mut arranged = Self {
            root,
            moved: BTreeMap::new(),
            overruled: Vec::new(),
            refused_backend: false,
        };
        arranged.backend();
        if let Some(global) = schema
            .pointer("/$defs/Global/properties")
            .and_then(Json::as_object)
        {
            for key in global.keys().filter(|key| !LOWERED.contains(&key.as_str())) {
                arranged.relocate(&KeyPath::of(&[key]), &KeyPath::of(&["global", key]), false);
            }
        }
        for (key, place) in LIFTED {
            arranged.relocate(&KeyPath::of(&[key]), &KeyPath::of(&place), false);
        }
        for key in LOWERED {
            arranged.relocate(&KeyPath::of(&["global", key]), &KeyPath::of(&[key]), true);
        }
        arranged
    }

    /// A file without `providers` has one provider, its `backend`; a file with them has no `backend`.
    fn backend(&mut self) {
        let Some(backend) = self.root.shift_remove("backend") else {
            return;
        };
        let declared = self.root.get("providers").is_some_and(|p| !p.is_null());
        let (Some(_), false) = (backend.as_mapping(), declared) else {
            return;
        };
        if backend
            .get("type")
            .is_some_and(|kind| kind.as_str() != Some("local"))
        {
            self.refused_backend = true;
            return;
        }
        let local = Mapping::from_iter([(Value::from("local"), backend)]);
        self.root.insert("providers".into(), local.into());
        self.moved
            .insert(KeyPath::of(&["providers", "local"]), KeyPath::of(&["backend"]));
    }

    fn relocate(&mut self, from: &KeyPath, to: &KeyPath, from_wins: bool) {
        let Some(value) = yaml::lookup(&self.root, from).cloned() else {
            return;
        };
        if let Some(there) = yaml::lookup(&self.root, to) {
            let (loser, winner) = if from_wins { (to, from) } else { (from, to) };
            if *there != value {
                self.overruled.push((loser.clone(), winner.clone()));
            }
            if !from_wins {
                yaml::remove(&mut self.root, from);
                return;
            }
        }
        if yaml::insert(&mut self.root, to, value) {
            yaml::remove(&mut self.root, from);
            self.moved.insert(to.clone(), from.clone());
        }
    }
}

/// Warns of every key that the schema does not know.
pub fn unknown_keys(root: &Mapping, schema: &Json, report: &mut Report<'_>) {
    walk(
        &Value::Mapping(root.clone()),
        &KeyPath::default(),
        (schema, schema),
        report,
    );
}

fn walk(value: &Value, at: &KeyPath, (root, part): (&Json, &Json), report: &mut Report<'_>) {
    match value {
        Value::Mapping(entries) => {
            let rule = schema::keys(root, part);
            for (key, value) in entries.iter().filter_map(|(k, v)| Some((k.as_str()?, v))) {
                let at = at.key(key);
                match rule {
                    Keys::Known(known) => match known.get(key) {
                        Some(part) => walk(value, &at, (root, part), report),
                        None => report.warn(&at, unknown(key, root, known)),
                    },
                    Keys::Named(part) => walk(value, &at, (root, part), report),
                    Keys::Free => {}
                }
            }
        }
        Value::Sequence(values) => {
            if let Some(part) = schema::items(root, part) {
                for (index, value) in values.iter().enumerate() {
                    walk(value, &at.item(index), (root, part), report);
                }
            }
        }
        _ => {}
    }
}

fn unknown(key: &str, root: &Json, known: &serde_json::Map<String, Json>) -> String {
    let section = ["cleanup", "lifecycle", "global"].into_iter().find(|section| {
        let part = &root["properties"][section];
        matches!(schema::keys(root, part), Keys::Known(keys) if keys.contains_key(key))
    });
    match section {
        Some(section) => format!("is not known here; it belongs under `{section}`"),
        None => match nearest(key, known.keys().map(String::as_str)) {
            Some(near) => format!("is not a known key; the nearest is `{near}`"),
            None => "is not a known key".to_owned(),
        },
    }
}
