//! Times as databases hold them. Read generously, but never guessed: what is not plainly a time stays as written,
//! since a time that is read too old could cost a file.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

use super::Stamp;

/// 2000-01-01 to 2100-01-01 in seconds; the same range in milliseconds does not touch it.
const EPOCH_SECONDS: std::ops::Range<i64> = 946_684_800..4_102_444_800;

impl Stamp {
    /// Reads `YYYY-MM-DD HH:MM:SS` (UTC, as SQLite's `CURRENT_TIMESTAMP` writes it), ISO 8601 with `T`, fractions, `Z` or
    /// an offset, `HH:MM` without seconds, and a bare date (its midnight).
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let trimmed = text.trim();
        plain(trimmed.as_bytes())
            .or_else(|| zoned(trimmed))
            .or_else(|| naive(trimmed).map(|time| time.and_utc()))
            .map_or_else(|| Self::Unreadable(Some(text.to_owned())), Self::At)
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
        read.map_or_else(|| Self::Unreadable(Some(value.to_string())), Self::At)
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
        assert_eq!(Stamp::from_integer(1_795_459_119), moment);
        assert_eq!(Stamp::from_integer(1_795_459_119_000), moment);
        for value in [0, -1, 2026, 20_261_123, 4_102_444_800, i64::MAX, i64::MIN] {
            assert_eq!(
                Stamp::from_integer(value),
                Stamp::Unreadable(Some(value.to_string()))
            );
        }
    }
}
