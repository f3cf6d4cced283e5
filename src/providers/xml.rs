//! Answers in XML, read so that one that was cut short, goes on after its end or is no XML at all is never taken for
//! an answer. Knows no service.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// An element that has ended.
#[derive(Debug)]
pub(super) struct Element<'a> {
    /// Names of the elements it is in, its own last, without their namespaces.
    pub(super) path: &'a [String],
    pub(super) text: String,
    /// Whether it says of itself that its text is percent-encoded, as Azure's names may.
    pub(super) encoded: bool,
}

/// Calls `end` at the end of every element.
pub(super) fn walk(
    body: &[u8],
    mut end: impl FnMut(Element<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let body = std::str::from_utf8(body).map_err(|_| "the answer is not UTF-8")?;
    let mut reader = Reader::from_str(body.trim_start_matches('\u{feff}'));
    let mut path: Vec<String> = Vec::with_capacity(4);
    let mut text = String::new();
    let mut encoded = false;
    let mut closed = false;
    loop {
        match reader
            .read_event()
            .map_err(|e| format!("the answer is not XML: {e}"))?
        {
            Event::Start(_) | Event::Empty(_) if closed => {
                return Err("the answer goes on after its end".into());
            }
            Event::Start(start) => {
                path.push(start.local_name().as_ref().to_owned());
                text.clear();
                encoded = is_encoded(&start);
            }
            Event::Empty(start) => {
                path.push(start.local_name().as_ref().to_owned());
                end(Element {
                    path: &path,
                    text: String::new(),
                    encoded: false,
                })?;
                path.pop();
                closed = path.is_empty();
            }
            Event::End(_) => {
                end(Element {
                    path: &path,
                    text: std::mem::take(&mut text),
                    encoded: std::mem::take(&mut encoded),
                })?;
                path.pop();
                closed = path.is_empty();
            }
            Event::Text(part) => text.push_str(&part.into_inner()),
            Event::CData(part) => text.push_str(&part.into_inner()),
            Event::GeneralRef(reference) => text.push(character(&reference)?),
            Event::DocType(_) => {
                return Err("the answer is a document of another kind, an HTML page perhaps".into());
            }
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof if closed => return Ok(()),
            Event::Eof => return Err("the answer ends before its end".into()),
        }
    }
}

fn is_encoded(start: &BytesStart<'_>) -> bool {
    let attribute = start.try_get_attribute("Encoded").ok().flatten();
    attribute.is_some_and(|attribute| attribute.value.as_ref() == "true")
}

fn character(reference: &BytesRef<'_>) -> Result<char, String> {
    if let Some(character) = reference
        .resolve_char_ref()
        .map_err(|e| format!("the answer is not XML: {e}"))?
    {
        return Ok(character);
    }
    match reference.xml10_content().as_ref() {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        other => Err(format!("the answer is not XML: &{other}; stands for nothing")),
    }
}

/// The text of the first element of that name, however deep; for answers that are errors.
pub(super) fn element(body: &[u8], name: &str) -> Option<String> {
    let mut found = None;
    // What was read before the body stopped making sense is still worth showing.
    let _cut_short = walk(body, |element| {
        if element.path.last().is_some_and(|last| last == name) && found.is_none() {
            found = Some(element.text);
        }
        Ok(())
    });
    found
}

/// An element's text as a value.
pub(super) fn read<T: std::str::FromStr>(text: &str, name: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{name} cannot be read"))
}

/// Percent-decoding that takes no `%` it does not understand.
pub(super) fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let well_formed = text
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'%')
        .all(|(at, _)| {
            text.get(at + 1..at + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        });
    if !well_formed {
        return Err("a key is said to be URL-encoded, and is not".into());
    }
    Ok(Cow::from(percent_encoding::percent_decode(text)).into_owned())
}
