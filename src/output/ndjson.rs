//! One JSON object a line: every item, then one that sums up or says what went wrong.

use std::io::{self, Write};

use serde_json::Value;

use super::Outcome;
use crate::error::Failure;

/// Writes the items, then `{"type":"summary",…}`, which carries `error` where there is one.
pub(super) fn write(out: &mut dyn Write, outcome: &Outcome) -> io::Result<()> {
    let view = outcome.view.as_ref();
    view.items(&mut |item| line(out, "item", item))?;
    let mut summary = as_object(view.summary());
    summary.insert("operation".into(), view.operation().into());
    summary.insert("success".into(), outcome.failure.is_none().into());
    if let Some(failure) = &outcome.failure {
        summary.insert("error".into(), serde_json::to_value(failure)?);
    }
    line(out, "summary", Value::Object(summary))
}

/// Writes one item of an answer that is still in the making.
pub(super) fn item(out: &mut dyn Write, item: Value) -> io::Result<()> {
    line(out, "item", item)
}

/// Writes a failure that came before there was anything to report, as the only line.
pub(super) fn write_failure(out: &mut dyn Write, failure: &Failure) -> io::Result<()> {
    line(
        out,
        "error",
        serde_json::json!({ "success": false, "error": failure }),
    )
}

/// `type` stands in front, where a person who looks at the lines finds it.
fn line(out: &mut dyn Write, kind: &str, value: Value) -> io::Result<()> {
    let mut object = as_object(value);
    let kind = object.remove("type").unwrap_or_else(|| kind.into());
    write!(out, "{{\"type\":{kind}")?;
    for (key, value) in &object {
        write!(out, ",{}:{value}", Value::from(key.as_str()))?;
    }
    out.write_all(b"}\n")
}

fn as_object(value: Value) -> serde_json::Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => serde_json::Map::from_iter([("value".to_owned(), other)]),
    }
}

#[cfg(test)]
mod tests {
    use super::line;
    use serde_json::json;

    fn text(value: serde_json::Value) -> String {
        let mut out = Vec::new();
        line(&mut out, "item", value).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_line_opens_with_its_type() {
        assert_eq!(
            text(json!({"a": 1, "z\"": null})),
            "{\"type\":\"item\",\"a\":1,\"z\\\"\":null}\n"
        );
        assert_eq!(text(json!({})), "{\"type\":\"item\"}\n");
    }

    #[test]
    fn a_type_of_its_own_is_kept() {
        assert_eq!(
            text(json!({"a": 1, "type": "folder"})),
            "{\"type\":\"folder\",\"a\":1}\n"
        );
    }
}
