//! The circuit breaker's states and the steps between them, as values: no clock, no lock, no storage.
//!
//! Closed: requests go out, failures in a row are counted. Open, after so many: none goes out until the timeout has passed.
//! Half-open: one request goes out, the probe, and decides; whoever holds it answers for it within its time, else another
//! may be the probe. A success closes the circuit, a failure opens it anew.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// How long a probe may take before another process may send one.
const PROBE: TimeDelta = TimeDelta::minutes(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitPolicy {
    /// Failures in a row that open it.
    pub threshold: u32,
    /// How long it stays open.
    pub timeout: Duration,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    #[default]
    Closed,
    Open,
    HalfOpen,
}

impl Phase {
    /// The word that people and JSON have for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// One provider's circuit. All processes share it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CircuitState {
    pub phase: Phase,
    /// In a row, up to now.
    pub failures: u32,
    /// When it opened, or the probe went out.
    pub since: Option<DateTime<Utc>>,
    /// The last failure, in one line.
    pub cause: Option<String>,
}

/// Whether a request may go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leave {
    Go,
    /// As the one probe, once this state is written down.
    Probe(CircuitState),
    Wait(Duration),
}

impl CircuitState {
    pub(super) fn leave(&self, policy: &CircuitPolicy, now: DateTime<Utc>) -> Leave {
        let rest = match self.phase {
            Phase::Closed => return Leave::Go,
            Phase::Open => TimeDelta::from_std(policy.timeout).unwrap_or(TimeDelta::MAX),
            Phase::HalfOpen => PROBE,
        };
        // A clock that was set back since makes nobody wait longer.
        let passed = self
            .since
            .map_or(TimeDelta::MAX, |since| (now - since).max(TimeDelta::zero()));
        if passed < rest {
            return Leave::Wait((rest - passed).to_std().unwrap_or_default());
        }
        Leave::Probe(Self {
            phase: Phase::HalfOpen,
            since: Some(now),
            ..self.clone()
        })
    }

    /// After a success; `None` where nothing changes. A late one of before the circuit opened proves nothing.
    pub(super) fn succeeded(&self, was_probe: bool) -> Option<Self> {
        let closes = was_probe || self.phase == Phase::Closed && self.failures > 0;
        (closes && *self != Self::default()).then(Self::default)
    }

    /// After a failure; `None` where nothing changes.
    pub(super) fn failed(
        &self,
        was_probe: bool,
        (policy, now): (&CircuitPolicy, DateTime<Utc>),
        cause: &str,
    ) -> Option<Self> {
        if self.phase != Phase::Closed && !was_probe {
            return None;
        }
        let failures = self.failures.saturating_add(1);
        let opens = was_probe || failures >= policy.threshold.max(1);
        Some(Self {
            phase: if opens { Phase::Open } else { Phase::Closed },
            failures,
            since: opens.then_some(now),
            cause: Some(cause.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: CircuitPolicy = CircuitPolicy {
        threshold: 5,
        timeout: Duration::from_secs(60),
    };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn opened(now: i64) -> CircuitState {
        (0..5).fold(CircuitState::default(), |state, _| {
            state.failed(false, (&POLICY, at(now)), "HTTP 503").unwrap()
        })
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_four_do_not() {
        let mut state = CircuitState::default();
        for _ in 0..4 {
            state = state.failed(false, (&POLICY, at(0)), "x").unwrap();
        }
        assert_eq!(
            (state.phase, state.leave(&POLICY, at(0))),
            (Phase::Closed, Leave::Go)
        );
        assert_eq!(state.succeeded(false), Some(CircuitState::default()), "in a row");
        assert_eq!(opened(0).phase, Phase::Open);
        assert_eq!(CircuitState::default().succeeded(false), None);
    }

    #[test]
    fn while_it_is_open_nothing_goes_out_and_after_its_time_one_probe() {
        let open = opened(0);
        assert_eq!(open.leave(&POLICY, at(59)), Leave::Wait(Duration::from_secs(1)));
        let Leave::Probe(half) = open.leave(&POLICY, at(60)) else {
            panic!("no probe");
        };
        assert_eq!(half.phase, Phase::HalfOpen);
        assert!(
            matches!(half.leave(&POLICY, at(61)), Leave::Wait(_)),
            "a single one"
        );
        assert!(
            matches!(half.leave(&POLICY, at(120)), Leave::Probe(_)),
            "its process died"
        );
        assert_eq!(half.succeeded(true), Some(CircuitState::default()));
        let again = half.failed(true, (&POLICY, at(62)), "x").unwrap();
        assert_eq!((again.phase, again.since), (Phase::Open, Some(at(62))));
        assert_eq!(
            half.failed(false, (&POLICY, at(62)), "x"),
            None,
            "a late one decides nothing"
        );
        assert_eq!(half.succeeded(false), None);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nobody_wait_longer_than_the_timeout() {
        assert_eq!(opened(1000).leave(&POLICY, at(0)), Leave::Wait(POLICY.timeout));
    }

    proptest! {
        /// Against the rule as one would say it: the last closing event, and failures since.
        #[test]
        fn it_is_open_exactly_after_the_threshold_of_failures_without_a_success_between(
            outcomes in proptest::collection::vec(any::<bool>(), 0..60),
        ) {
            let mut state = CircuitState::default();
            let mut row = 0;
            for good in outcomes {
                if state.phase == Phase::Open {
                    break;
                }
                let next = if good {
                    row = 0;
                    state.succeeded(false)
                } else {
                    row += 1;
                    state.failed(false, (&POLICY, at(0)), "x")
                };
                state = next.unwrap_or(state);
                prop_assert_eq!(state.phase == Phase::Open, row >= POLICY.threshold);
                prop_assert_eq!(state.failures, row);
            }
        }
    }
}
