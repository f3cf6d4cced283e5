//! How long to wait before a request is sent again.
//!
//! The n-th wait is `first × multiplier^(n-1)`, at most `longest`; by default 1, 2, 4, 8, 10, 10 s. Each is shortened by up
//! to [`JITTER`] of itself, so that programs that failed together do not come back together. What the provider asks for in
//! `Retry-After` is never undercut: there the jitter comes on top. One who asks for more than [`PATIENCE`] is not waited for.
//!
//! # Source
//! RFC 9110, "Retry-After".

use std::time::Duration;

use super::RetryPolicy;

/// The share of a wait that chance may take off (or add to a wait that was asked for).
pub(super) const JITTER: f64 = 0.2;
/// The longest `Retry-After` that is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// The wait after so many tries (from 1), `chance` being in 0..1; `None` where no more are to follow.
pub(super) fn wait(
    policy: &RetryPolicy,
    tries: u32,
    asked: Option<Duration>,
    chance: f64,
) -> Option<Duration> {
    if tries > policy.retries || asked.is_some_and(|asked| asked > PATIENCE) {
        return None;
    }
    let exponent = i32::try_from(tries.saturating_sub(1)).unwrap_or(i32::MAX);
    let longest = policy.longest_wait.as_secs_f64();
    let nominal = policy.first_wait.as_secs_f64() * policy.multiplier.powi(exponent);
    let own = nominal.min(longest) * (1.0 - JITTER * chance);
    let own = Duration::try_from_secs_f64(own).unwrap_or(policy.longest_wait);
    let asked = asked.map(|asked| asked.mul_f64(1.0 + JITTER * chance));
    Some(asked.map_or(own, |asked| asked.max(own)))
}

/// Of 0..1.
pub(super) fn chance() -> f64 {
    let random = uuid::Uuid::new_v4().as_fields().0;
    f64::from(random) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        retries: 6,
        first_wait: Duration::from_secs(1),
        longest_wait: Duration::from_secs(10),
        multiplier: 2.0,
        budget: None,
    };

    #[test]
    fn waits_double_up_to_the_longest_and_end() {
        let waits: Vec<_> = (1..=7).map(|tries| wait(&POLICY, tries, None, 0.0)).collect();
        let seconds = |s| Some(Duration::from_secs(s));
        let expected = [1, 2, 4, 8, 10, 10].map(seconds);
        assert_eq!(waits[..6], expected);
        assert_eq!(waits[6], None);
    }

    #[test]
    fn who_asks_for_too_much_is_not_waited_for() {
        let asked = Some(PATIENCE + Duration::from_secs(1));
        assert_eq!(wait(&POLICY, 1, asked, 0.0), None);
        assert_eq!(wait(&POLICY, 1, Some(PATIENCE), 0.0), Some(PATIENCE));
    }

    proptest! {
        #[test]
        fn chance_takes_off_a_fifth_at_most_and_never_undercuts_what_was_asked(
            tries in 1..=6u32, asked in proptest::option::of(0..300u64), chance in 0.0..1.0f64,
        ) {
            let nominal = wait(&POLICY, tries, None, 0.0).unwrap();
            let own = wait(&POLICY, tries, None, chance).unwrap();
            prop_assert!(own <= nominal && own >= nominal.mul_f64(1.0 - JITTER));
            let asked = asked.map(Duration::from_secs);
            let waited = wait(&POLICY, tries, asked, chance).unwrap();
            prop_assert!(asked.is_none_or(|asked| waited >= asked && waited <= asked.mul_f64(1.0 + JITTER).max(own)));
        }
    }
}
