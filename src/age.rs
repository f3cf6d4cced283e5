//! Ages: how old a file has to be, as a length of time or in months of the calendar.
//!
//! An age is never reached early. Where a month has no such day, the next month's first one stands for it: what was
//! made on 31 January is one month old on 1 March, and what was made on 29 February a year old on 1 March.

use std::time::Duration;

use chrono::{DateTime, Datelike, Months, TimeDelta, Utc};

/// How old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    Span(Duration),
    Months(u32),
}

impl Age {
    /// When what was made at `born` is this old; `None` where no calendar reaches so far.
    #[must_use]
    pub fn after(self, born: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Span(span) => born.checked_add_signed(TimeDelta::from_std(span).ok()?),
            Self::Months(months) => {
                let there = born.checked_add_months(Months::new(months))?;
                if there.day() == born.day() {
                    Some(there)
                } else {
                    // The last day of a shorter month.
                    there.checked_add_signed(TimeDelta::days(1))
                }
            }
        }
    }

    /// The moment that lies so long before `at`, or a little earlier.
    #[must_use]
    pub fn before(self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Span(span) => at.checked_sub_signed(TimeDelta::from_std(span).ok()?),
            Self::Months(months) => at.checked_sub_months(Months::new(months)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn months(months: u32, born: &str) -> String {
        let there = Age::Months(months).after(time(born)).unwrap();
        there.format("%Y-%m-%dT%H:%M").to_string()
    }

    #[test]
    fn months_end_where_the_calendar_says_and_never_a_day_early() {
        for (count, born, there) in [
            (1, "2026-01-15T10:30:00Z", "2026-02-15T10:30"),
            (1, "2026-01-28T00:00:00Z", "2026-02-28T00:00"),
            (1, "2026-01-29T00:00:00Z", "2026-03-01T00:00"),
            (1, "2026-01-31T10:30:00Z", "2026-03-01T10:30"),
            (1, "2028-01-29T00:00:00Z", "2028-02-29T00:00"),
            (1, "2028-01-31T00:00:00Z", "2028-03-01T00:00"),
            (3, "2026-08-31T00:00:00Z", "2026-12-01T00:00"),
            (12, "2027-02-28T00:00:00Z", "2028-02-28T00:00"),
            (12, "2028-02-29T00:00:00Z", "2029-03-01T00:00"),
            (48, "2028-02-29T00:00:00Z", "2032-02-29T00:00"),
            (0, "2026-01-31T00:00:00Z", "2026-01-31T00:00"),
        ] {
            assert_eq!(months(count, born), there, "{born} and {count} months");
        }
    }

    #[test]
    fn days_are_days_whatever_the_calendar_does() {
        let year = Age::Span(Duration::from_secs(365 * 86_400));
        let there = |born| year.after(time(born)).unwrap();
        assert_eq!(there("2027-02-28T00:00:00Z"), time("2028-02-28T00:00:00Z"));
        assert_eq!(there("2028-02-28T00:00:00Z"), time("2029-02-27T00:00:00Z"));
    }

    #[test]
    fn what_no_calendar_reaches_is_no_time() {
        assert_eq!(Age::Months(u32::MAX).after(time("2026-01-01T00:00:00Z")), None);
        assert_eq!(Age::Span(Duration::MAX).after(time("2026-01-01T00:00:00Z")), None);
        assert_eq!(Age::Months(u32::MAX).before(time("2026-01-01T00:00:00Z")), None);
    }

    proptest! {
        /// Against counting by hand: year and month as numbers, then the first day from the wanted one on that exists.
        #[test]
        fn months_agree_with_counting_by_hand(day in 0i64..80_000, count in 0u32..1200) {
            let born = time("1970-01-01T12:00:00Z") + TimeDelta::days(day);
            let month = i64::from(born.year()) * 12 + i64::from(born.month0()) + i64::from(count);
            let (year, month0) = (i32::try_from(month / 12).unwrap(), u32::try_from(month % 12).unwrap());
            let wanted = chrono::NaiveDate::from_ymd_opt(year, month0 + 1, born.day());
            let next = month + 1;
            let first = chrono::NaiveDate::from_ymd_opt(
                i32::try_from(next / 12).unwrap(),
                u32::try_from(next % 12).unwrap() + 1,
                1,
            );
            let there = Age::Months(count).after(born).unwrap();
            prop_assert_eq!(there.date_naive(), wanted.or(first).unwrap());
            prop_assert_eq!(there.time(), born.time());
        }

        #[test]
        fn an_older_file_is_never_due_later(a in 0i64..40_000, b in 0i64..40_000, count in 0u32..600) {
            let born = |day| time("1990-01-01T00:00:00Z") + TimeDelta::days(day);
            let (young, old) = (born(a.max(b)), born(a.min(b)));
            let age = Age::Months(count);
            prop_assert!(age.after(old).unwrap() <= age.after(young).unwrap());
        }

        #[test]
        fn so_long_before_is_never_less_than_that_long(day in 0i64..40_000, count in 0u32..600) {
            let at = time("2000-03-01T00:00:00Z") + TimeDelta::days(day);
            let warned = Age::Months(count).before(at).unwrap();
            prop_assert!(warned <= at);
            prop_assert!(Age::Span(Duration::from_secs(86_400)).before(at).unwrap() == at - TimeDelta::days(1));
        }
    }
}
