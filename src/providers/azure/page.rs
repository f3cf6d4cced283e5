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

/// What an empty blob that is no file has in its metadata; see [`unfinished`](super::unfinished).
pub(super) const DISCARDED: &str = "civic_discarded";

/// The page as far as it is read.
#[derive(Debug)]
struct Draft<T> {
    found: Vec<T>,
    common_prefixes: Vec<Vec<u8>>,
    next: Option<String>,
    /// Whether it says where the next page begins, or that there is none.
    marked: bool,
    entry: Entry,
    /// What an entry is, if it is anything that is looked for.
    meant: fn(Entry) -> Result<Option<T>, String>,
}

/// An entry without bytes: an empty blob, or one that has blocks and is none yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Empty {
    pub(super) key: Vec<u8>,
    /// Azurite tells it of what is not committed, and Azure does not.
    pub(super) last_modified: Option<DateTime<Utc>>,
    /// It is what an upload that was given up has left.
    pub(super) discarded: bool,
}

/// The `<Blob>` being read.
#[derive(Debug, Default)]
struct Entry {
    key: Option<Vec<u8>>,
    size: Option<u64>,
    last_modified: Option<DateTime<Utc>>,
    etag: Option<String>,
    no_object: bool,
    discarded: bool,
}

pub(super) fn parse(body: &[u8]) -> Result<Page, String> {
    let draft = Draft::read(body, Entry::object)?;
    Ok(Page {
        objects: draft.found,
        common_prefixes: draft.common_prefixes,
        next: draft.next,
    })
}

/// Of a page that shows what is not committed, too: whatever is empty, and where the next page begins.
pub(super) fn parse_empty(body: &[u8]) -> Result<(Vec<Empty>, Option<String>), String> {
    let draft = Draft::read(body, Entry::empty)?;
    Ok((draft.found, draft.next))
}

impl<T> Draft<T> {
    fn read(body: &[u8], meant: fn(Entry) -> Result<Option<T>, String>) -> Result<Self, String> {
        let mut draft = Self {
            found: Vec::new(),
            common_prefixes: Vec::new(),
            next: None,
            marked: false,
            entry: Entry::default(),
            meant,
        };
        walk(body, |element| draft.take(element))?;
        if draft.marked {
            Ok(draft)
        } else {
            Err("the answer does not say whether more follows".into())
        }
    }

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
                self.next = Some(element.text).filter(|marker| !marker.is_empty());
            }
            [_, "Blobs", "BlobPrefix", "Name", ""] => self.common_prefixes.push(name(element)?),
            [_, "Blobs", "Blob", "Name", ""] => entry.key = Some(name(element)?),
            [_, "Blobs", "Blob", "Properties", property] => entry.property(property, element.text)?,
            [_, "Blobs", "Blob", "Snapshot", ""] => entry.no_object |= !element.text.is_empty(),
            [_, "Blobs", "Blob", "Deleted", ""] | [_, "Blobs", "Blob", "Metadata", "hdi_isfolder"] => {
                entry.no_object |= element.text == "true";
            }
            [_, "Blobs", "Blob", "Metadata", field] if field.eq_ignore_ascii_case(DISCARDED) => {
                entry.discarded = element.text == "true";
            }
            [_, "Blobs", "Blob", "IsCurrentVersion", ""] => entry.no_object |= element.text == "false",
            [_, "Blobs", "Blob", "", ""] => self.found.extend((self.meant)(std::mem::take(entry))?),
            _ => {}
        }
        Ok(())
    }
}

impl Entry {
    fn object(self) -> Result<Option<Object>, String> {
        let object = Object {
            key: self.key.ok_or("an entry has no name")?,
            size: self.size.ok_or("an entry has no size")?,
            last_modified: self.last_modified.ok_or("an entry has no time")?,
            etag: self.etag,
        };
        Ok((!self.no_object).then_some(object))
    }

    fn empty(self) -> Result<Option<Empty>, String> {
        let is_empty = self.size.is_none_or(|size| size == 0);
        let empty = Empty {
            key: self.key.ok_or("an entry has no name")?,
            // The beginning of some calendar is no time.
            last_modified: self.last_modified.filter(|at| *at > DateTime::UNIX_EPOCH),
            discarded: self.discarded,
        };
        Ok((is_empty && !self.no_object).then_some(empty))
    }

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
    fn of_a_listing_with_all_that_is_not_committed_what_is_empty_is_read_with_a_time_or_without() {
        let azures = "<Blob><Name>a</Name><Properties><Content-Length>0</Content-Length><BlobType>BlockBlob</BlobType>\
                      <LeaseState>available</LeaseState></Properties></Blob>";
        let azurites = named("b").replace(">7<", ">0<");
        let left = blob(
            "<Name>c</Name>",
            "<Metadata><Civic_discarded>true</Civic_discarded></Metadata>",
        );
        let left = left
            .replace(">7<", ">0<")
            .replace("2025", "1601")
            .replace("Thu", "Tue");
        let folder = "<Metadata><hdi_isfolder>true</hdi_isfolder></Metadata>";
        let folder = blob("<Name>d</Name>", folder).replace(">7<", ">0<");
        let page = listing(&[azures, &azurites, &left, &folder, &named("e")].concat(), LAST);
        let (found, next) = parse_empty(page.as_bytes()).unwrap();
        let time = DateTime::parse_from_rfc3339("2025-01-02T03:04:05Z")
            .unwrap()
            .to_utc();
        let empty = |key: &str, last_modified, discarded| Empty {
            key: key.into(),
            last_modified,
            discarded,
        };
        assert_eq!(
            found,
            [
                empty("a", None, false),
                empty("b", Some(time), false),
                empty("c", None, true)
            ]
        );
        assert_eq!(next, None);
        assert!(parse(page.as_bytes()).is_err(), "an ordinary one has all times");
        assert!(parse_empty(listing(azures, "").as_bytes()).is_err());
        assert!(parse_empty(&page.as_bytes()[..page.len() - 1]).is_err());
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
