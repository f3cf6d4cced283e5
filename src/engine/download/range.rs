//! Byte ranges as HTTP writes them: `0-499`, `500-`, `-500` for the last 500.

use std::ops::Range;
use std::str::FromStr;

/// Which bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// From the first to the last of them, both included.
    Between(u64, u64),
    From(u64),
    /// So many at the end.
    Last(u64),
}

impl ByteRange {
    /// The bytes that a file of this size has of it; `None` where it has none.
    #[must_use]
    pub fn of(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::Between(first, last) => first..last.saturating_add(1).min(size),
            Self::From(first) => first..size,
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

impl FromStr for ByteRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a range is FIRST-LAST, FIRST- or -COUNT, in bytes from 0".to_owned();
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            if digits { text.parse().ok() } else { None }.ok_or_else(wrong)
        };
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        match (first, last) {
            ("", count) => Ok(Self::Last(number(count)?)),
            (first, "") => Ok(Self::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    Err(wrong())
                } else {
                    Ok(Self::Between(first, last))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_http() {
        let of = |text: &str, size| text.parse::<ByteRange>().unwrap().of(size);
        assert_eq!(of("0-499", 1000), Some(0..500));
        assert_eq!(of("500-", 1000), Some(500..1000));
        assert_eq!(of("-300", 1000), Some(700..1000));
        assert_eq!(of("-3000", 1000), Some(0..1000));
        assert_eq!(of("999-5000", 1000), Some(999..1000));
        assert_eq!(of("0-18446744073709551615", 1000), Some(0..1000));
        for none in ["1000-", "1000-2000", "-0"] {
            assert_eq!(of(none, 1000), None, "{none}");
        }
        assert_eq!(of("0-", 0), None);
        for wrong in [
            "",
            "-",
            "5",
            "5-4",
            "a-b",
            "+1-2",
            "1 - 2",
            "bytes=0-1",
            "0-18446744073709551616",
            "1-2-3",
        ] {
            assert!(wrong.parse::<ByteRange>().is_err(), "{wrong}");
        }
    }
}
