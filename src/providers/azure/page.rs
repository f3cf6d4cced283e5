//! Reads one page of `List Blobs`, or says why it is none. A page that cannot be trusted to the last byte is an
//! error: an answer that was cut short must never look like a short listing.
//!
//! Directories of a hierarchical namespace are left out, as `hdi_isfolder` markers are where the server shows them;
//! so is all that is no blob's current state (snapshots, versions, what was deleted), though none is asked for.
//!
//! Source: Azure Storage REST API, "List Blobs".

use chrono::{DateTime, Utc};

use crate::providers::paged::{Object, Page};
use crate::providers::xml::{Element, read, unescape, walk};

/// The page as far as it is read.
#[derive(Debug, Default)]
struct Draft {
    page: Page,
    /// Whether it says where the next page begins, or that there is none.
    marked: bool,
    entry: Entry,
}

/// The `<Blob>` being read.
#[derive(Debug, Default)]
struct Entry {
    key: Option<Vec<u8>>,
    size: Option<u64>,
    last_modified: Option<DateTime<Utc>>,
    etag: Option<String>,
    no_object: bool,
}

pub(super) fn parse(body: &[u8]) -> Result<Page, String> {
    let mut draft = Draft::default();
    walk(body, |element| draft.take(element))?;
    if draft.marked {
        Ok(draft.page)
    } else {
        Err("the answer does not say whether more follows".into())
    }
}

impl Draft {
    fn take(&mut self, element: Element<'_>) -> Result<(), String> {
        let mut names = [""; 5];
        if element.path.len() > names.len() {
            return Ok(());
        }
        for (name, part) in names.iter_mut().zip(element.path) {
            *name = part;
        }
        let entry = &mut self.entry;
        match names {
            [root, ..] if root != "EnumerationResults" => return Err("the answer is no listing".into()),
            [_, "NextMarker", ..] => {
                self.marked = true;
                self.page.next = Some(element.text).filter(|marker| !marker.is_empty());
            }
            [_, "Blobs", "BlobPrefix", "Name", ""] => self.page.common_prefixes.push(name(element)?),
            [_, "Blobs", "Blob", "Name", ""] => entry.key = Some(name(element)?),
            [_, "Blobs", "Blob", "Properties", property] => entry.property(property, element.text)?,
            [_, "Blobs", "Blob", "Snapshot", ""] => entry.no_object |= !element.text.is_empty(),
            [_, "Blobs", "Blob", "Deleted", ""] | [_, "Blobs", "Blob", "Metadata", "hdi_isfolder"] => {
                entry.no_object |= element.text == "true";
            }
            [_, "Blobs", "Blob", "IsCurrentVersion", ""] => entry.no_object |= element.text == "false",
            [_, "Blobs", "Blob", "", ""] => self.close_entry()?,
            _ => {}
        }
        Ok(())
    }

    fn close_entry(&mut self) -> Result<(), String> {
        let entry = std::mem::take(&mut self.entry);
        let object = Object {
            key: entry.key.ok_or("an entry has no name")?,
            size: entry.size.ok_or("an entry has no size")?,
            last_modified: entry.last_modified.ok_or("an entry has no time")?,
            etag: entry.etag,
        };
        if !entry.no_object {
            self.page.objects.push(object);
        }
        Ok(())
    }
}

impl Entry {
    fn property(&mut self, property: &str, text: String) -> Result<(), String> {
        match property {
            "Content-Length" => self.size = Some(read(&text, property)?),
            "Last-Modified" => self.last_modified = Some(time(&text)?),
            "Etag" => self.etag = Some(text).filter(|etag| !etag.is_empty()),
            "ResourceType" => self.no_object |= text == "directory",
            _ => {}
        }
        Ok(())
    }
}

/// A name that XML cannot hold comes percent-encoded, and says so.
fn name(element: Element<'_>) -> Result<Vec<u8>, String> {
    if element.encoded {
        unescape(element.text.as_bytes())
    } else {
        Ok(element.text.into_bytes())
    }
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc2822(text.trim())
        .map(|at| at.to_utc())
        .map_err(|_| "Last-Modified cannot be read".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: &str = "<NextMarker />";

    fn listing(blobs: &str, end: &str) -> String {
        format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"https://t/\" \
             ContainerName=\"files\"><Prefix>town/</Prefix><MaxResults>5000</MaxResults><Blobs>{blobs}</Blobs>{end}\
             </EnumerationResults>"
        )
    }

    fn blob(name: &str, more: &str) -> String {
        format!(
            "<Blob>{name}<Properties><Creation-Time>Tue, 01 Jan 2019 00:00:00 GMT</Creation-Time><Last-Modified>Thu, 02 \
             Jan 2025 03:04:05 GMT</Last-Modified><Etag>0x8D</Etag><Content-Length>7</Content-Length>\
             <BlobType>BlockBlob</BlobType></Properties>{more}</Blob>"
        )
    }

    fn named(name: &str) -> String {
        blob(&format!("<Name>{name}</Name>"), "")
    }

    fn keys(blobs: &str) -> Vec<String> {
        let page = parse(listing(blobs, LAST).as_bytes()).unwrap();
        let keys = page
            .objects
            .into_iter()
            .map(|o| String::from_utf8(o.key).unwrap());
        keys.collect()
    }

    #[test]
    fn an_entry_is_read_whole() {
        let blob = named("a/b");
        let page = parse(listing(&blob, "<NextMarker>2!92!x=</NextMarker>").as_bytes()).unwrap();
        let object = &page.objects[0];
        assert_eq!((object.key.as_slice(), object.size), (&b"a/b"[..], 7));
        assert_eq!(object.etag.as_deref(), Some("0x8D"));
        assert_eq!(object.last_modified.to_rfc3339(), "2025-01-02T03:04:05+00:00");
        assert_eq!(page.next.as_deref(), Some("2!92!x="));
    }

    #[test]
    fn names_are_as_they_are_and_decoded_only_where_they_say_so() {
        let blobs = format!(
            "{}{}{}",
            named("a+b%20c"),
            named("&lt;&amp;&#x9; //.. "),
            blob("<Name Encoded=\"true\">a+%01%EF%BF%BE%2525</Name>", "")
        );
        assert_eq!(keys(&blobs), ["a+b%20c", "<&\t //.. ", "a+\u{1}\u{fffe}%25"]);
    }

    #[test]
    fn what_is_no_blob_of_now_is_left_out() {
        let one = |more: &str| blob("<Name>x</Name>", more);
        let directory = one("").replace("<BlobType>", "<ResourceType>directory</ResourceType><BlobType>");
        let blobs = [
            directory,
            one("<Metadata><hdi_isfolder>true</hdi_isfolder></Metadata>"),
            one("<Snapshot>2025-01-02T03:04:05.1234567Z</Snapshot>"),
            one("<VersionId>1</VersionId><IsCurrentVersion>false</IsCurrentVersion>"),
            one("<Deleted>true</Deleted>"),
        ];
        assert_eq!(keys(&blobs.concat()), [""; 0]);
        let kept = one(
            "<VersionId>1</VersionId><IsCurrentVersion>true</IsCurrentVersion><Metadata><a>b</a></Metadata>",
        );
        assert_eq!(keys(&kept), ["x"]);
    }

    #[test]
    fn a_listing_that_cannot_be_trusted_is_an_error() {
        let good = named("a");
        let whole = listing(&good, LAST);
        for cut in (0..whole.len()).filter(|at| whole.is_char_boundary(*at)) {
            assert!(parse(&whole.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
        for bad in [
            String::new(),
            "<!DOCTYPE html><html><body>Sign in</body></html>".into(),
            "<html><body/></html>".into(),
            "<Error><Code>ServerBusy</Code></Error>".into(),
            listing(&good, ""),
            listing("<Blob><Name>a</Name></Blob>", LAST),
            listing(&good.replace(">7<", ">seven<"), LAST),
            listing(&good.replace("GMT", "local"), LAST),
            listing(&good.replace("<Name>a", "<Name Encoded=\"true\">100%"), LAST),
            format!("{whole}<EnumerationResults/>"),
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
