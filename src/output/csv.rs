//! Items as CSV (RFC 4180), with a heading line. Values stand as they are: a program reads them.

use std::io::{self, Write};

use serde_json::Value;

use super::{View, escape};

/// Writes one line per item; `for_terminal` escapes what a terminal could take for more than text.
pub(super) fn write(out: &mut dyn Write, view: &dyn View, for_terminal: bool) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    let columns = view.columns();
    csv.write_record(columns).map_err(as_io)?;
    view.items(&mut |item| {
        let fields = columns.iter().map(|column| {
            let text = field(reach(&item, column));
            if for_terminal {
                escape(&text).into_owned()
            } else {
                text
            }
        });
        csv.write_record(fields).map_err(as_io)
    })?;
    csv.flush()
}

/// The error of the stream itself, so that a broken pipe is known for what it is.
fn as_io(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// The value at `a.b`: a key with that very name, else `b` inside of `a`.
fn reach<'a>(item: &'a Value, column: &str) -> Option<&'a Value> {
    item.get(column)
        .or_else(|| column.split('.').try_fold(item, |value, key| value.get(key)))
}

fn field(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{field, reach};
    use serde_json::json;

    #[test]
    fn columns_reach_into_objects() {
        let item = json!({"a": {"b": 1}, "c.d": "x", "n": null});
        assert_eq!(field(reach(&item, "a.b")), "1");
        assert_eq!(field(reach(&item, "c.d")), "x");
        assert_eq!(field(reach(&item, "n")), "");
        assert_eq!(field(reach(&item, "a.z")), "");
    }
}
