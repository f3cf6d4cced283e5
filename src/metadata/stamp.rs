//! Times as databases hold them. Read generously, but never guessed: what is not plainly a time stays as written,
//! since a time that is read too old could cost a file.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How this program writes times: UTC, to the second.
const WRITTEN: &str = "%Y-%m-%d %H:%M:%S";

/// A database time: understood where it can be, and never written back in another form than it was found in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stamp {
    /// `YYYY-MM-DD HH:MM:SS` in UTC, as this program writes it (to the second).
    At(DateTime<Utc>),
    /// The same moment in another spelling.
    Spelled { at: DateTime<Utc>, text: String },
    /// Null, or text that is no time: never old enough for anything.
    Unreadable(Option<String>),
}

/// 2000-01-01 to 2100-01-01 in seconds; the same range in milliseconds does not touch it.
const EPOCH_SECONDS: std::ops::Range<i64> = 946_684_800..4_102_444_800;

impl Stamp {
    /// Reads `YYYY-MM-DD HH:MM:SS` (UTC, as SQLite's `CURRENT_TIMESTAMP` writes it), ISO 8601 with `T`, fractions, `Z` or
    /// an offset, `HH:MM` without seconds, and a bare date (its midnight).
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let trimmed = text.trim();
        if let Some(at) = plain(text.as_bytes()) {
            return Self::At(at);
        }
        let read = plain(trimmed.as_bytes())
            .or_else(|| zoned(trimmed))
            .or_else(|| naive(trimmed).map(|time| time.and_utc()));
        let text = text.to_owned();
        match read {
            Some(at) => Self::Spelled { at, text },
            None => Self::Unreadable(Some(text)),
        }
    }

    /// Reads seconds or milliseconds since 1970, each only where it falls between the years 2000 and 2100: there the
    /// two cannot be taken for one another.
    #[must_use]
    pub fn from_integer(value: i64) -> Self {
        let read = if EPOCH_SECONDS.contains(&value) {
            DateTime::from_timestamp(value, 0)
        } else if EPOCH_SECONDS.contains(&value.div_euclid(1000)) {
            DateTime::from_timestamp_millis(value)
        } else {
            None
        };
        let text = value.to_string();
        match read {
            Some(at) => Self::Spelled { at, text },
            None => Self::Unreadable(Some(text)),
        }
    }

    /// The time, where it could be read.
    #[must_use]
    pub const fn time(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::At(at) | Self::Spelled { at, .. } => Some(*at),
            Self::Unreadable(_) => None,
        }
    }

    /// What the database holds: the text it was read from, or the one to be written.
    #[must_use]
    pub fn stored(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::At(at) => Some(Cow::Owned(at.format(WRITTEN).to_string())),
            Self::Spelled { text, .. } => Some(Cow::Borrowed(text)),
            Self::Unreadable(text) => text.as_deref().map(Cow::Borrowed),
        }
    }

    /// ISO 8601 in UTC; what could not be read as it was written.
    #[must_use]
    pub fn iso(&self) -> Option<String> {
        match self {
            Self::At(at) | Self::Spelled { at, .. } => Some(at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            Self::Unreadable(text) => text.clone(),
        }
    }

    /// `YYYY-MM` of the time in UTC, where it could be read.
    #[must_use]
    pub fn month(&self) -> Option<String> {
        self.time().map(|time| time.format("%Y-%m").to_string())
    }
}

/// `YYYY-MM-DD HH:MM:SS`, which nearly every row has, without a parser: a scan reads a million of them.
fn plain(text: &[u8]) -> Option<DateTime<Utc>> {
    let [
        y1,
        y2,
        y3,
        y4,
        b'-',
        m1,
        m2,
        b'-',
        d1,
        d2,
        b' ',
        h1,
        h2,
        b':',
        n1,
        n2,
        b':',
        s1,
        s2,
    ] = *text
    else {
        return None;
    };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0, |number: u32, digit| {
            digit
                .is_ascii_digit()
                .then(|| number * 10 + u32::from(digit - b'0'))
        })
    };
    let year = i32::try_from(number(&[y1, y2, y3, y4])?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, number(&[m1, m2])?, number(&[d1, d2])?)?;
    let time = date.and_hms_opt(number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?)?;
    Some(time.and_utc())
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.iso().serialize(serializer)
    }
}

/// The same moment as was serialized, in the form that this program writes where that loses nothing of it.
impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        Ok(match text.as_deref().map(Self::from_text) {
            Some(Self::Spelled { at, .. }) if at.timestamp_subsec_nanos() == 0 => Self::At(at),
            Some(stamp) => stamp,
            None => Self::Unreadable(None),
        })
    }
}

fn zoned(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%#z"))
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z"))
        .ok()?;
    four_digit_year(text).then(|| time.to_utc())
}

fn naive(text: &str) -> Option<NaiveDateTime> {
    const SHAPES: [&str; 4] = [
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%dT%H:%M",
    ];
    if !four_digit_year(text) {
        return None;
    }
    SHAPES
        .iter()
        .find_map(|shape| NaiveDateTime::parse_from_str(text, shape).ok())
        .or_else(|| {
            NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .ok()?
                .and_hms_opt(0, 0, 0)
        })
}

/// chrono also takes `26-1-2` for the year 26: nearly two thousand years old, when somebody meant 2026.
fn four_digit_year(text: &str) -> bool {
    text.len() >= 10 && text.as_bytes()[..4].iter().all(u8::is_ascii_digit) && text.as_bytes()[4] == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iso(text: &str) -> Option<String> {
        Stamp::from_text(text).time().map(|time| time.to_rfc3339())
    }

    #[test]
    fn every_spelling_of_one_moment_is_that_moment() {
        for text in [
            "2026-11-23 18:38:39",
            "2026-11-23T18:38:39",
            "2026-11-23T18:38:39Z",
            "2026-11-23 18:38:39Z",
            "2026-11-23T18:38:39.000Z",
            "2026-11-23T13:38:39-05:00",
            "2026-11-24T00:08:39+0530",
            "2026-11-23 20:38:39.000 +02:00",
            " 2026-11-23 18:38:39 ",
        ] {
            assert_eq!(iso(text).as_deref(), Some("2026-11-23T18:38:39+00:00"), "{text}");
        }
    }

    #[test]
    fn fractions_minutes_and_bare_dates_are_read() {
        assert_eq!(
            iso("2026-11-23 18:38:39.250").as_deref(),
            Some("2026-11-23T18:38:39.250+00:00")
        );
        assert_eq!(
            iso("2026-11-23 18:38").as_deref(),
            Some("2026-11-23T18:38:00+00:00")
        );
        assert_eq!(iso("2026-11-23").as_deref(), Some("2026-11-23T00:00:00+00:00"));
    }

    #[test]
    fn what_is_not_plainly_a_time_stays_as_written() {
        for text in [
            "",
            "yesterday",
            "26-11-23 18:38:39",
            "0000-00-00 00:00:00",
            "2026-02-30",
            "2026-11-23 25:00:00",
            "2026",
            "+2026-11-23",
            "23.11.2026",
            "18:38:39",
            "2026-11-23x",
        ] {
            assert_eq!(Stamp::from_text(text), Stamp::Unreadable(Some(text.to_owned())));
        }
    }

    #[test]
    fn integers_are_seconds_or_milliseconds_where_only_one_can_be_meant() {
        let moment = Stamp::from_text("2026-11-23 18:38:39");
        assert_eq!(Stamp::from_integer(1_795_459_119).time(), moment.time());
        assert_eq!(Stamp::from_integer(1_795_459_119_000).time(), moment.time());
        for value in [0, -1, 2026, 20_261_123, 4_102_444_800, i64::MAX, i64::MIN] {
            assert_eq!(
                Stamp::from_integer(value),
                Stamp::Unreadable(Some(value.to_string()))
            );
        }
    }

    #[test]
    fn what_goes_back_into_a_database_is_what_was_read_from_it() {
        for text in [
            "2026-11-23 18:38:39",
            "2026-11-23T18:38:39.120Z",
            " 2026-11-23 18:38:39",
            "2026-11-23",
            "yesterday",
            "",
        ] {
            assert_eq!(Stamp::from_text(text).stored().as_deref(), Some(text));
        }
        assert_eq!(
            Stamp::from_integer(1_795_459_119).stored().as_deref(),
            Some("1795459119")
        );
        assert_eq!(Stamp::Unreadable(None).stored(), None);
    }

    #[test]
    fn another_spelling_of_the_same_moment_is_another_stamp() {
        assert_ne!(
            Stamp::from_text("2026-11-23T18:38:39Z"),
            Stamp::from_text("2026-11-23 18:38:39")
        );
    }

    #[test]
    fn json_keeps_the_moment_and_what_is_no_moment() {
        for text in [
            "2026-11-23 18:38:39",
            "2026-11-23T18:38:39.120+02:00",
            "yesterday",
        ] {
            let stamp = Stamp::from_text(text);
            let back: Stamp = serde_json::from_str(&serde_json::to_string(&stamp).unwrap()).unwrap();
            assert_eq!((back.time(), back.iso()), (stamp.time(), stamp.iso()));
        }
        let written = Stamp::from_text("2026-11-23 18:38:39");
        let back: Stamp = serde_json::from_str(&serde_json::to_string(&written).unwrap()).unwrap();
        assert_eq!(back, written);
        assert_eq!(
            serde_json::from_str::<Stamp>("null").unwrap(),
            Stamp::Unreadable(None)
        );
    }
}
