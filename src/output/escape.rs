//! Names come from users and end in terminals. What could move a cursor, forge a line or turn the reading order
//! around is shown as an escape, so that a name looks like itself and nothing else.
//!
//! Never used on data that a program reads as data: JSON and CSV have their own quoting.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The name, with control characters (C0, DEL, C1), line and paragraph separators and bidirectional controls
/// written as `\n`, `\t`, `\r`, `\x1b` or `\u{202e}`. A backslash stays as it is: it is common and harmless.
///
/// # Source
/// Unicode 15, table "Bidi_Control"; ECMA-48 for C0 and C1.
#[must_use]
pub fn escape(name: &str) -> Cow<'_, str> {
    if !name.chars().any(is_unsafe) {
        return Cow::Borrowed(name);
    }
    let mut safe = String::with_capacity(name.len() + 16);
    for c in name.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("\\t"),
            '\r' => safe.push_str("\\r"),
            c if !is_unsafe(c) => safe.push(c),
            c if c.is_ascii() => drop(write!(safe, "\\x{:02x}", u32::from(c))),
            c => drop(write!(safe, "\\u{{{:x}}}", u32::from(c))),
        }
    }
    Cow::Owned(safe)
}

/// Whether a terminal could take this character for more than a letter.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["会議録.pdf", "Résumé final.doc", "a\\b", "🏛️ plan.png", ""] {
            assert_eq!(escape(name), name);
        }
    }

    #[test]
    fn what_moves_a_cursor_or_turns_text_around_is_shown() {
        assert_eq!(escape("a\x1b[31mb"), "a\\x1b[31mb");
        assert_eq!(escape("a\nb\tc\rd"), "a\\nb\\tc\\rd");
        assert_eq!(escape("\u{9b}2J\x7f"), "\\u{9b}2J\\x7f");
        assert_eq!(escape("gpj.\u{202e}exe\u{2066}"), "gpj.\\u{202e}exe\\u{2066}");
    }
}
