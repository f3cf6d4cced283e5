//! Reads one page of a listing, or one object of it, as the JSON API writes them, or says why it is none. JSON holds
//! any name as it is, and an answer that was cut short is no JSON.
//!
//! Source: Cloud Storage JSON API reference, "Objects: list" and "Objects".

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::providers::paged::{Object, Page};
use crate::providers::{EntryKind, Key, Listed};

/// What is read of an object; everything else stays where it is.
pub(super) const ITEM_FIELDS: &str = "name,size,updated,generation";
/// The same of a page.
pub(super) const FIELDS: &str = "kind,nextPageToken,prefixes,items(name,size,updated,generation)";
const KIND: &str = "storage#objects";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPage {
    kind: String,
    next_page_token: Option<String>,
    #[serde(default)]
    prefixes: Vec<String>,
    #[serde(default)]
    items: Vec<RawObject>,
}

/// 64-bit numbers come as text.
#[derive(Deserialize)]
struct RawObject {
    name: String,
    size: String,
    updated: DateTime<Utc>,
    generation: String,
}

pub(super) fn parse(body: &[u8]) -> Result<Page, String> {
    let page: RawPage = serde_json::from_slice(body).map_err(|e| unread(&e))?;
    if page.kind != KIND {
        return Err("the answer is no listing".into());
    }
    Ok(Page {
        objects: page.items.into_iter().map(read).collect::<Result<_, _>>()?,
        common_prefixes: page.prefixes.into_iter().map(String::into_bytes).collect(),
        next: page.next_page_token.filter(|token| !token.is_empty()),
    })
}

/// One object, by its whole name.
pub(super) fn object(body: &[u8]) -> Result<Object, String> {
    read(serde_json::from_slice(body).map_err(|e| unread(&e))?)
}

fn read(raw: RawObject) -> Result<Object, String> {
    if raw.generation.is_empty() || !raw.generation.bytes().all(|b| b.is_ascii_digit()) {
        return Err("a generation cannot be read".into());
    }
    Ok(Object {
        size: raw.size.parse().map_err(|_| "a size cannot be read")?,
        key: raw.name.into_bytes(),
        last_modified: raw.updated,
        etag: Some(raw.generation),
    })
}

/// Where it stopped making sense; not the text, which is the server's.
fn unread(error: &serde_json::Error) -> String {
    format!(
        "the answer cannot be read (line {}, column {})",
        error.line(),
        error.column()
    )
}

impl Object {
    /// The object as what stands at a key.
    pub(super) fn listed(self, key: Key) -> Listed {
        Listed {
            key,
            kind: EntryKind::Object,
            size: self.size,
            last_modified: self.last_modified,
            etag: self.etag,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEM: &str = r#"{"name":"a\u0001/é \r","size":"7","updated":"2025-01-02T03:04:05.678Z","generation":"1700000000000001"}"#;

    fn page(inside: &str) -> String {
        format!(r#"{{"kind":"storage#objects"{inside}}}"#)
    }

    #[test]
    fn a_page_is_read_whole_whatever_its_names() {
        let text = page(&format!(
            r#","nextPageToken":"t","prefixes":["p/"],"items":[{ITEM}]"#
        ));
        let page = parse(text.as_bytes()).unwrap();
        let object = &page.objects[0];
        assert_eq!(
            (object.key.as_slice(), object.size),
            ("a\u{1}/é \r".as_bytes(), 7)
        );
        assert_eq!(object.last_modified.to_rfc3339(), "2025-01-02T03:04:05.678+00:00");
        assert_eq!(object.etag.as_deref(), Some("1700000000000001"));
        assert_eq!(
            (page.common_prefixes, page.next),
            (vec![b"p/".to_vec()], Some("t".into()))
        );
        assert!(parse(self::page("").as_bytes()).unwrap().next.is_none());
    }

    #[test]
    fn a_listing_that_cannot_be_trusted_is_an_error() {
        let whole = page(&format!(r#","items":[{ITEM}]"#));
        for cut in 0..whole.len() {
            assert!(parse(&whole.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
        let item = |from: &str, to: &str| page(&format!(r#","items":[{}]"#, ITEM.replace(from, to)));
        for bad in [
            "{}".to_owned(),
            r#"{"kind":"storage#buckets"}"#.to_owned(),
            r#"{"error":{"code":503}}"#.to_owned(),
            "<html>Sign in</html>".to_owned(),
            format!("{whole}{{}}"),
            item("\"7\"", "\"-7\""),
            item("2025-01-02T03:04:05.678Z", "yesterday"),
            item("1700000000000001", ""),
            item("\"size\":\"7\",", ""),
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_repeats_nothing_of_the_answer() {
        let error = parse(br#"{"kind":["hunter2"]}"#).err().unwrap();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
