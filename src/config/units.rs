//! Sizes and durations as `storage.yml` spells them.
//!
//! Exact: what does not fit, or is no number, is an error that repeats the text; nothing is rounded but the
//! fraction of a byte or of a millisecond, which is dropped.

use std::time::Duration;

use crate::age::Age;

/// Units of size, powers of 1024 whether spelled `KB` or `KiB`, since CivicPress reads them so.
const SIZE_UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("B", 1),
    ("K", 1 << 10),
    ("KB", 1 << 10),
    ("KIB", 1 << 10),
    ("M", 1 << 20),
    ("MB", 1 << 20),
    ("MIB", 1 << 20),
    ("G", 1 << 30),
    ("GB", 1 << 30),
    ("GIB", 1 << 30),
    ("T", 1 << 40),
    ("TB", 1 << 40),
    ("TIB", 1 << 40),
];

/// Units of time in milliseconds.
const DURATION_UNITS: [(&str, u64); 7] = [
    ("", 1),
    ("MS", 1),
    ("S", 1_000),
    ("M", 60_000),
    ("H", 3_600_000),
    ("D", 86_400_000),
    ("W", 604_800_000),
];

/// No time in a configuration is longer than this many milliseconds (about 1,000 years), so that adding it to a
/// date never overflows.
const LONGEST_MS: u64 = 1_000 * 366 * 86_400_000;

/// Reads `10MB`, `1.5GB`, `512KiB`, `1024`; bytes. Case and spaces before the unit do not matter.
///
/// # Errors
/// A sentence that names the text, where it is no size or more than `i64::MAX` bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let bytes = scaled(text, &SIZE_UNITS)
        .ok_or_else(|| format!("`{text}` is not a size; write it like 10MB, 1.5GB or 512KiB"))?;
    u64::try_from(bytes)
        .ok()
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| {
            let most = i64::MAX;
            format!("`{text}` is larger than any storage; the largest size is {most} bytes, a little under 8388608TB")
        })
}

/// Reads `30s`, `5m`, `24h`, `30d`, `2w`, `250ms`; a plain number is milliseconds.
///
/// # Errors
/// A sentence that names the text, where it is no duration or longer than 1,000 years.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let ms = scaled(text, &DURATION_UNITS)
        .ok_or_else(|| format!("`{text}` is not a duration; write it like 30s, 5m, 24h or 30d"))?;
    u64::try_from(ms)
        .ok()
        .filter(|ms| *ms <= LONGEST_MS)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("`{text}` is longer than 1000 years"))
}

/// Units of months, which are counted by the calendar.
const MONTH_UNITS: [&str; 3] = ["MO", "MONTH", "MONTHS"];

/// Reads `365d`, `12mo`, `12 months`, and what [`parse_duration`] reads with a unit: nobody means `365` milliseconds.
///
/// # Errors
/// A sentence that names the text, where it is no age or longer than 1,000 years.
pub fn parse_age(text: &str) -> Result<Age, String> {
    let none = || format!("`{text}` is not an age; write it like 365d or 12mo");
    let trimmed = text.trim_matches(' ');
    let digits = trimmed
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let unit = unit.trim_start_matches(' ').to_ascii_uppercase();
    if unit.is_empty() && !number.trim_start_matches('0').is_empty() {
        return Err(format!("`{text}` has no unit; write it like 365d or 12mo"));
    }
    if !MONTH_UNITS.contains(&unit.as_str()) {
        scaled(text, &DURATION_UNITS).ok_or_else(none)?;
        return parse_duration(text).map(Age::Span);
    }
    if number.is_empty() {
        return Err(none());
    }
    let months = number.parse().ok().filter(|months| *months <= LONGEST_MONTHS);
    months
        .map(Age::Months)
        .ok_or_else(|| format!("`{text}` is longer than 1000 years"))
}

/// As [`LONGEST_MS`].
const LONGEST_MONTHS: u32 = 12_000;

/// The shortest spelling that [`parse_age`] reads back to exactly this.
#[must_use]
pub fn spell_age(age: Age) -> String {
    match age {
        Age::Span(span) => spell_duration(span),
        Age::Months(months) => format!("{months}mo"),
    }
}

/// `<digits>[.<digits>][ ]<unit>` in the unit's base, without the fraction; saturates far above what fits.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u128> {
    let text = text.trim_matches(' ');
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim_start_matches(' ').to_ascii_uppercase();
    let factor = u128::from(units.iter().find(|(name, _)| *name == unit)?.1);
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() && !unit.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (number, ""),
    };
    if whole.is_empty() || fraction.contains('.') {
        return None;
    }
    // 20 digits are more than any unit resolves; 30 more than any result holds.
    let whole: u128 = if whole.trim_start_matches('0').len() > 30 {
        u128::from(u64::MAX)
    } else {
        whole.parse().ok()?
    };
    let fraction = &fraction[..fraction.len().min(20)];
    let places = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    Some(
        whole
            .saturating_mul(factor)
            .saturating_add(fraction.saturating_mul(factor) / places),
    )
}

/// The shortest spelling that [`parse_size`] reads back to exactly this: `10MB`, `1536KB`, `1000`.
#[must_use]
pub fn spell_size(bytes: u64) -> String {
    let unit = [("TB", 40), ("GB", 30), ("MB", 20), ("KB", 10)]
        .into_iter()
        .find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    match unit {
        Some((name, shift)) => format!("{}{name}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// The shortest spelling that [`parse_duration`] reads back to exactly this (whole milliseconds): `30d`, `90s`, `250ms`.
#[must_use]
pub fn spell_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    let unit = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
        .into_iter()
        .find(|(_, unit)| ms > 0 && ms.is_multiple_of(*unit));
    match unit {
        Some((name, unit)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("10MB", 10 << 20),
            ("4096MB", 4 << 30),
            ("1.5GB", 3 << 29),
            ("1TB", 1 << 40),
            ("512KiB", 512 << 10),
            ("5 gb", 5 << 30),
            ("1.1B", 1),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn durations_are_milliseconds_unless_they_say_otherwise() {
        for (text, ms) in [
            ("10000", 10_000),
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
            ("30d", 30 * 86_400_000),
            ("1.5h", 5_400_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_named() {
        for text in [
            "", "MB", "-1MB", "+1", "1.5", "1.", ".5MB", "1.2.3MB", "10 M B", "١٠MB", "10XB", "1e3", "1_000",
            "NaN",
        ] {
            let error = parse_size(text).unwrap_err();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_never_small() {
        for text in [
            "8388608TB",
            "18446744073709551616",
            "99999999999999999999999999999999999999999TB",
        ] {
            assert!(parse_size(text).unwrap_err().contains("larger"), "{text}");
        }
        for text in [
            "400000d",
            "18446744073709551615",
            "99999999999999999999999999999999999999w",
        ] {
            assert!(parse_duration(text).unwrap_err().contains("longer"), "{text}");
        }
        for text in ["-1s", "5 minutes", "٣s", "1y", "1h30m"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ages_are_days_or_months_and_never_a_bare_number() {
        for (text, age) in [
            ("365d", Age::Span(Duration::from_secs(365 * 86_400))),
            ("12mo", Age::Months(12)),
            ("1 month", Age::Months(1)),
            ("18 Months", Age::Months(18)),
            ("5m", Age::Span(Duration::from_secs(300))),
            ("0", Age::Span(Duration::ZERO)),
        ] {
            assert_eq!(parse_age(text), Ok(age), "{text}");
        }
        assert!(parse_age("365").unwrap_err().contains("has no unit"));
        for text in ["mo", "-1mo", "1.5mo", "1mon", "", "a year", "1y"] {
            assert!(parse_age(text).unwrap_err().contains("365d"), "{text}");
        }
        for text in ["12001mo", "99999999999mo", "400000d"] {
            assert!(parse_age(text).unwrap_err().contains("longer"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_age_survives_its_spelling(months in 0..=LONGEST_MONTHS, ms in 1..=LONGEST_MS) {
            for age in [Age::Months(months), Age::Span(Duration::from_millis(ms))] {
                prop_assert_eq!(parse_age(&spell_age(age)), Ok(age));
            }
        }

        #[test]
        fn any_size_survives_its_spelling(bytes in 0..=i64::MAX.cast_unsigned()) {
            prop_assert_eq!(parse_size(&spell_size(bytes)), Ok(bytes));
        }

        #[test]
        fn any_duration_survives_its_spelling(ms in 0..=LONGEST_MS) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&spell_duration(duration)), Ok(duration));
        }

        #[test]
        fn a_unit_multiplies(number in 0u64..4096, at in 0..SIZE_UNITS.len()) {
            let (unit, factor) = SIZE_UNITS[at];
            prop_assert_eq!(parse_size(&format!("{number}{unit}")), Ok(number * factor));
        }

        #[test]
        fn no_text_panics_and_none_overflows(text in "\\PC{0,40}") {
            let _ = (parse_size(&text), parse_duration(&text));
        }

        #[test]
        fn digits_and_units_never_wrap(whole in "[0-9]{1,45}", fraction in "[0-9]{1,45}", unit in "(KB|TiB|d|s)") {
            let text = format!("{whole}.{fraction}{unit}");
            let floor: f64 = whole.parse().unwrap();
            if let Ok(bytes) = parse_size(&text) {
                #[expect(clippy::cast_precision_loss, reason = "a lower bound with room")]
                let bytes = bytes as f64;
                prop_assert!(bytes >= floor * 1023.0);
            }
            let _ = parse_duration(&text);
        }
    }
}
