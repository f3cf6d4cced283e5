//! The line of a key. The library tells lines in errors only, so a walk that fails on purpose at the key asks for it:
//! slower than an index, but needed for messages alone, and no second parser can disagree with the first.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::config::path::Step;

/// What an error at a known place says; recognised when it comes back with its line.
pub const FOUND: &str = "<found>";

/// Walks to a path and fails there, since only errors carry a line.
#[derive(Clone, Copy)]
pub struct Probe<'a> {
    pub path: &'a [Step],
    /// How many keys of this name to pass by.
    pub nth: usize,
}

impl Probe<'_> {
    /// The error that carries the line, or another where the path leads elsewhere.
    fn arrived<E: serde::de::Error>(self) -> E {
        E::custom(if self.path.is_empty() {
            FOUND
        } else {
            "leads elsewhere"
        })
    }
}

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // Even at the goal the value is entered, since only an error from inside carries the value's own line.
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what is looked for")
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Err(self.arrived())
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        Err(self.arrived())
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        Err(self.arrived())
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        Err(self.arrived())
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Err(self.arrived())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Err(self.arrived())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let Some((Step::Item(wanted), rest)) = self.path.split_first() else {
            return Err(self.arrived());
        };
        for _ in 0..*wanted {
            access.next_element::<IgnoredAny>()?;
        }
        let item = Probe {
            path: rest,
            nth: self.nth,
        };
        access.next_element_seed(item)?;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), rest)) = self.path.split_first() else {
            return Err(self.arrived());
        };
        let mut skip = if rest.is_empty() { self.nth } else { 0 };
        loop {
            let stop = rest.is_empty() && skip == 0;
            let Some(matched) = access.next_key_seed(KeyProbe { wanted, stop })? else {
                return Ok(());
            };
            if matched && rest.is_empty() {
                skip -= 1;
            }
            if matched && !rest.is_empty() {
                return access.next_value_seed(Probe {
                    path: rest,
                    nth: self.nth,
                });
            }
            access.next_value::<IgnoredAny>()?;
        }
    }
}

/// Compares a key, and fails on it where it is the one that was looked for.
struct KeyProbe<'a> {
    wanted: &'a str,
    stop: bool,
}

impl<'de> DeserializeSeed<'de> for KeyProbe<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyProbe<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
        match key == self.wanted {
            true if self.stop => Err(E::custom(FOUND)),
            matched => Ok(matched),
        }
    }
}
