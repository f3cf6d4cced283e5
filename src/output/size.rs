//! Byte counts for people.

/// `19.17 MB`, `1.5 KB`, `0 B`: powers of 1024, at most two decimals, in the spelling of CivicPress's own
/// `sizeFormatted`.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];
    let unit = (bytes.max(1).ilog2() / 10) as usize;
    let (whole, hundredths) = hundredths_of(bytes, unit);
    let (whole, hundredths, unit) = if whole == 1024 && unit + 1 < UNITS.len() {
        (1, 0, unit + 1)
    } else {
        (whole, hundredths, unit)
    };
    let decimals = format!("{hundredths:02}");
    match decimals.trim_end_matches('0') {
        "" => format!("{whole} {}", UNITS[unit]),
        some => format!("{whole}.{some} {}", UNITS[unit]),
    }
}

/// The count in that unit, rounded half up, without floating point: an exabyte has more digits than `f64`.
fn hundredths_of(bytes: u64, unit: usize) -> (u128, u128) {
    let divisor = 1_u128 << (10 * unit);
    let rounded = (u128::from(bytes) * 100 + divisor / 2) / divisor;
    (rounded / 100, rounded % 100)
}

/// `66`, `1,000,000`: thousands apart, as people read them.
#[must_use]
pub fn format_count(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::{format_count, format_size};

    #[test]
    fn sizes_read_as_civicpress_writes_them() {
        let cases = [
            (0, "0 B"),
            (1, "1 B"),
            (1023, "1023 B"),
            (1024, "1 KB"),
            (1536, "1.5 KB"),
            (20_096_182, "19.17 MB"),
            (1_048_575, "1 MB"),
            (1_u64 << 40, "1 TB"),
            (u64::MAX, "16 EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(format_size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        assert_eq!(format_count(0), "0");
        assert_eq!(format_count(999), "999");
        assert_eq!(format_count(1_000), "1,000");
        assert_eq!(format_count(1_234_567), "1,234,567");
    }
}
