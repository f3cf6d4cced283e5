//! From the library's events to a tree: every key as text, duplicates noted instead of lost, tags refused.

use std::cell::RefCell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_yaml::{Mapping, Value};

use crate::config::path::KeyPath;

/// Without the number itself, which may be a secret that was not put in quotes.
const TOO_LARGE: &str = "no number here can be so large; the largest is 9223372036854775807 (a little under \
    8388608TB), and digits that are text go in quotes";

/// Builds a [`Value`] whose keys are all text, noting duplicates instead of losing them.
pub struct Tree<'a> {
    pub at: KeyPath,
    pub duplicates: &'a RefCell<Vec<KeyPath>>,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i128<E: serde::de::Error>(self, _: i128) -> Result<Value, E> {
        Err(E::custom(TOO_LARGE))
    }

    fn visit_u128<E: serde::de::Error>(self, _: u128) -> Result<Value, E> {
        Err(E::custom(TOO_LARGE))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(Tree {
            at: self.at.item(items.len()),
            duplicates: self.duplicates,
        })? {
            items.push(item);
        }
        Ok(Value::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Mapping::new();
        while let Some(key) = access.next_key::<String>()? {
            let at = self.at.key(&key);
            let value = access.next_value_seed(Tree {
                at: at.clone(),
                duplicates: self.duplicates,
            })?;
            if entries.insert(Value::String(key), value).is_some() {
                self.duplicates.borrow_mut().push(at);
            }
        }
        Ok(Value::Mapping(entries))
    }

    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(A::Error::custom("YAML tags (`!…`) have no meaning here"))
    }
}
