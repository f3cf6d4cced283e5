//! The JSON Schema of `storage.yml`, made from the structs that read it, and what it says about keys.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::raw;

/// Keys of other sections that the top level takes too, with the place they belong to.
pub const LIFTED: [(&str, [&str; 2]); 2] = [
    ("lifecycle_enabled", ["lifecycle", "enabled"]),
    ("lifecycle_check_interval", ["lifecycle", "check_interval"]),
];

/// Keys of the top level that `global` takes too.
pub const LOWERED: [&str; 2] = ["failover_providers", "failover_enabled"];

/// The schema, for editors and for `storage:config --schema`. Unknown keys are let through by it, as they are here.
#[must_use]
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<raw::Root>()
        .to_value();
    let global = properties(&schema["$defs"]["Global"]);
    let lifecycle = properties(&schema["$defs"]["Lifecycle"]);
    let top = properties(&schema);
    if let Some(Value::Object(keys)) = schema.get_mut("properties") {
        keys.extend(global);
        for (name, [_, key]) in LIFTED {
            keys.insert(name.to_owned(), lifecycle[key].clone());
        }
    }
    if let Some(Value::Object(keys)) = schema.pointer_mut("/$defs/Global/properties") {
        keys.extend(LOWERED.map(|key| (key.to_owned(), top[key].clone())));
    }
    schema
}

fn properties(schema: &Value) -> Map<String, Value> {
    schema["properties"].as_object().cloned().unwrap_or_default()
}

/// What the schema says about the keys of one mapping.
#[derive(Debug)]
pub enum Keys<'s> {
    /// These and no others.
    Known(&'s Map<String, Value>),
    /// Any name; each value follows the schema.
    Named(&'s Value),
    /// Not looked into.
    Free,
}

/// The rule for the keys of whatever this part of `root` describes.
#[must_use]
pub fn keys<'s>(root: &'s Value, part: &'s Value) -> Keys<'s> {
    if let Some(target) = part["$ref"].as_str().and_then(|r| r.strip_prefix('#')) {
        return root.pointer(target).map_or(Keys::Free, |part| keys(root, part));
    }
    if let Some(choices) = part["anyOf"].as_array() {
        let known = choices.iter().map(|choice| keys(root, choice));
        return known
            .into_iter()
            .find(|k| !matches!(k, Keys::Free))
            .unwrap_or(Keys::Free);
    }
    match (&part["properties"], &part["additionalProperties"]) {
        (Value::Object(known), _) => Keys::Known(known),
        (_, named @ Value::Object(_)) => Keys::Named(named),
        _ => Keys::Free,
    }
}

/// What the schema says about the items of a list.
#[must_use]
pub fn items<'s>(root: &'s Value, part: &'s Value) -> Option<&'s Value> {
    if let Some(target) = part["$ref"].as_str().and_then(|r| r.strip_prefix('#')) {
        return items(root, root.pointer(target)?);
    }
    part.get("items")
}
