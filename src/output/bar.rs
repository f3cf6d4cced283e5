//! Shares as bars, for terminals.

/// Cells of a whole bar.
const CELLS: u128 = 16;
/// From an eighth of a cell to a whole one.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// As long as the part is of the whole, to an eighth of a cell; something for whatever is not nothing.
#[must_use]
pub fn bar(part: u64, whole: u64) -> String {
    let eighths = u128::from(part.min(whole)) * CELLS * 8 / u128::from(whole.max(1));
    let eighths = usize::try_from(eighths).unwrap_or(0).max(usize::from(part > 0));
    let mut bar = "█".repeat(eighths / 8);
    bar.extend((eighths % 8).checked_sub(1).map(|rest| EIGHTHS[rest]));
    bar
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!(bar(0, 100), "");
        assert_eq!(bar(0, 0), "");
        assert_eq!(bar(1, u64::MAX), "▏", "not nothing");
        assert_eq!(bar(50, 100), "████████");
        assert_eq!(bar(55, 100), "████████▊");
        assert_eq!(bar(100, 100), "████████████████");
        assert_eq!(bar(u64::MAX, u64::MAX).chars().count(), 16);
        assert_eq!(bar(200, 100).chars().count(), 16, "never longer");
    }
}
