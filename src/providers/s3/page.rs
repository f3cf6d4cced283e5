//! Reads one page of `ListObjectsV2`, or says why it is none. A page that cannot be trusted to the last byte is
//! an error: an answer that was cut short must never look like a short listing.
//!
//! Source: Amazon S3 API Reference, "ListObjectsV2".

use chrono::{DateTime, Utc};

use crate::providers::paged::{Object, Page};
use crate::providers::xml::{read, unescape, walk};

/// The page as it was written, before its parts are checked against each other.
#[derive(Debug, Default)]
struct Draft {
    objects: Vec<Object>,
    /// Still encoded, in the order of `objects`.
    keys: Vec<String>,
    common_prefixes: Vec<String>,
    truncated: Option<bool>,
    next: Option<String>,
    key_count: Option<usize>,
    url_encoded: bool,
    entry: Entry,
}

/// The `<Contents>` being read.
#[derive(Debug, Default)]
struct Entry {
    key: Option<String>,
    size: Option<u64>,
    last_modified: Option<DateTime<Utc>>,
    etag: Option<String>,
}

pub(super) fn parse(body: &[u8]) -> Result<Page, String> {
    let mut draft = Draft::default();
    walk(body, |element| draft.take(element.path, element.text))?;
    draft.finish()
}

impl Draft {
    fn take(&mut self, path: &[String], text: String) -> Result<(), String> {
        let mut names = [""; 3];
        if path.len() > names.len() {
            return Ok(());
        }
        for (name, part) in names.iter_mut().zip(path) {
            *name = part;
        }
        match names {
            [root, ..] if root != "ListBucketResult" => return Err("the answer is no listing".into()),
            [_, "IsTruncated", ""] => self.truncated = Some(read(&text, "IsTruncated")?),
            [_, "NextContinuationToken", ""] => self.next = Some(text),
            [_, "KeyCount", ""] => self.key_count = Some(read(&text, "KeyCount")?),
            [_, "EncodingType", ""] => self.url_encoded = text == "url",
            [_, "CommonPrefixes", "Prefix"] => self.common_prefixes.push(text),
            [_, "Contents", "Key"] => self.entry.key = Some(text),
            [_, "Contents", "Size"] => self.entry.size = Some(read(&text, "Size")?),
            [_, "Contents", "LastModified"] => self.entry.last_modified = Some(time(&text)?),
            [_, "Contents", "ETag"] => self.entry.etag = Some(text).filter(|e| !e.is_empty()),
            [_, "Contents", ""] => self.close_entry()?,
            _ => {}
        }
        Ok(())
    }

    fn close_entry(&mut self) -> Result<(), String> {
        let entry = std::mem::take(&mut self.entry);
        self.keys.push(entry.key.ok_or("an entry has no key")?);
        self.objects.push(Object {
            key: Vec::new(),
            size: entry.size.ok_or("an entry has no size")?,
            last_modified: entry.last_modified.ok_or("an entry has no time")?,
            etag: entry.etag,
        });
        Ok(())
    }

    fn finish(mut self) -> Result<Page, String> {
        let seen = self.keys.len() + self.common_prefixes.len();
        if self.key_count.is_some_and(|count| count != seen) {
            return Err(format!(
                "{seen} entries where the answer counts {}",
                self.key_count.unwrap_or(0)
            ));
        }
        let next = match (self.truncated, self.next.take().filter(|t| !t.is_empty())) {
            (Some(true), Some(token)) => Some(token),
            (Some(true), None) => return Err("more is announced, but not where it begins".into()),
            (Some(false), _) => None,
            (None, _) => return Err("the answer does not say whether more follows".into()),
        };
        let decode = self.decoder();
        for (object, key) in self.objects.iter_mut().zip(&self.keys) {
            object.key = decode(key)?;
        }
        Ok(Page {
            common_prefixes: self
                .common_prefixes
                .iter()
                .map(|p| decode(p))
                .collect::<Result<_, _>>()?,
            objects: self.objects,
            next,
        })
    }

    /// How this page's keys are to be read. A `+` of an encoded page is a blank, as on AWS, unless the page shows
    /// that its writer spells blanks `%20`: then it would not have spelt one `+`.
    fn decoder(&self) -> fn(&str) -> Result<Vec<u8>, String> {
        if !self.url_encoded {
            return |text| Ok(text.as_bytes().to_vec());
        }
        let mut names = self.keys.iter().chain(&self.common_prefixes);
        if names.any(|name| name.contains("%20")) {
            |text| unescape(text.as_bytes())
        } else {
            |text| unescape(text.replace('+', " ").as_bytes())
        }
    }
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text.trim())
        .map(|at| at.to_utc())
        .map_err(|_| "LastModified cannot be read".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(inside: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inside}</ListBucketResult>"
        )
    }

    fn contents(key: &str) -> String {
        format!(
            "<Contents><Key>{key}</Key><LastModified>2025-01-02T03:04:05.678Z</LastModified>\
             <ETag>&quot;abc&quot;</ETag><Size>7</Size><Owner><ID>1</ID><Key>no</Key></Owner></Contents>"
        )
    }

    fn keys(inside: &str) -> Vec<String> {
        let page = parse(listing(inside).as_bytes()).unwrap();
        page.objects
            .into_iter()
            .map(|o| String::from_utf8(o.key).unwrap())
            .collect()
    }

    const LAST: &str = "<IsTruncated>false</IsTruncated>";
    const URL: &str = "<EncodingType>url</EncodingType>";

    #[test]
    fn an_entry_is_read_whole() {
        let page =
            parse(listing(&format!("{LAST}<KeyCount>1</KeyCount>{}", contents("a/b"))).as_bytes()).unwrap();
        let object = &page.objects[0];
        assert_eq!((object.key.as_slice(), object.size), (&b"a/b"[..], 7));
        assert_eq!(object.etag.as_deref(), Some("\"abc\""));
        assert_eq!(object.last_modified.to_rfc3339(), "2025-01-02T03:04:05.678+00:00");
        assert_eq!(page.next, None);
    }

    #[test]
    fn unencoded_keys_are_taken_as_they_are() {
        let inside = format!(
            "{LAST}{}{}{}",
            contents("a+b%20c"),
            contents("&lt;&amp;&#x9;&#13;"),
            contents(" //.. ")
        );
        assert_eq!(keys(&inside), ["a+b%20c", "<&\t\r", " //.. "]);
    }

    #[test]
    fn encoded_keys_are_decoded() {
        let inside = format!(
            "{LAST}{URL}{}{}",
            contents("a+b%2Bc%252F"),
            contents("%01%0A%C3%A9")
        );
        assert_eq!(keys(&inside), ["a b+c%2F", "\u{1}\né"]);
    }

    #[test]
    fn a_plus_stays_one_where_blanks_are_spelt_otherwise() {
        let inside = format!("{LAST}{URL}{}{}", contents("a+b"), contents("a%20b"));
        assert_eq!(keys(&inside), ["a+b", "a b"]);
    }

    #[test]
    fn a_listing_that_cannot_be_trusted_is_an_error() {
        let whole = listing(&format!("{LAST}{}{}", contents("a"), contents("b")));
        for cut in 0..whole.len() {
            assert!(parse(&whole.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
        for bad in [
            String::new(),
            "<!DOCTYPE html><html><body>Sign in</body></html>".into(),
            "<html><body/></html>".into(),
            "<Error><Code>SlowDown</Code></Error>".into(),
            listing(""),
            listing("<IsTruncated>true</IsTruncated>"),
            listing("<IsTruncated>true</IsTruncated><NextContinuationToken/>"),
            listing(&format!("{LAST}<KeyCount>2</KeyCount>{}", contents("a"))),
            listing(&format!("{LAST}<Contents><Key>a</Key></Contents>")),
            listing(&format!("{LAST}{URL}{}", contents("100%"))),
            listing(&format!("{LAST}{}", contents("&unknown;"))),
            format!("{whole}<ListBucketResult/>"),
            listing(LAST).replace("</ListBucketResult>", "</Other>"),
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
