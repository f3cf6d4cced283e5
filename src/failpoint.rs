//! Places where tests end or stop the program, as a power cut or an operator would: between any two effects of
//! destructive work stands a call of [`reach`], named `<operation>.<where>`.
//!
//! `CIVIC_FAILPOINT=upload.after-put` kills the process the first time it comes there, `upload.after-put:3` the third
//! time; `CIVIC_FAILPOINT_STOP` stops it in the same way until it is continued. `CIVIC_CLOCK_AHEAD` has so many seconds go by
//! that did not. A release build has none of this.

/// Ends or stops this process where the environment names the point; does nothing in a release build.
#[cfg(not(debug_assertions))]
#[inline]
pub fn reach(_point: &'static str) {}

/// How far ahead the clock is: nothing, in a release build.
#[cfg(not(debug_assertions))]
#[inline]
#[must_use]
pub fn ahead() -> chrono::TimeDelta {
    chrono::TimeDelta::zero()
}

#[cfg(debug_assertions)]
pub use armed::{ahead, reach};

#[cfg(debug_assertions)]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use chrono::TimeDelta;
    use rustix::process::{Signal, getpid, kill_process};

    /// So long a signal may be on its way.
    const TAKEN: Duration = Duration::from_millis(500);

    struct Point {
        name: String,
        /// Visits left until it acts.
        visits: AtomicU32,
        signal: Signal,
    }

    static POINTS: LazyLock<Vec<Point>> = LazyLock::new(|| {
        [
            ("CIVIC_FAILPOINT", Signal::KILL),
            ("CIVIC_FAILPOINT_STOP", Signal::STOP),
        ]
        .into_iter()
        .filter_map(|(variable, signal)| Some(Point::parse(&std::env::var(variable).ok()?, signal)))
        .collect()
    });

    impl Point {
        fn parse(text: &str, signal: Signal) -> Self {
            let counted = text
                .rsplit_once(':')
                .and_then(|(name, count)| Some((name, count.parse().ok()?)));
            let (name, visits) = counted.unwrap_or((text, 1));
            Self {
                name: name.to_owned(),
                visits: AtomicU32::new(visits),
                signal,
            }
        }

        fn is_due(&self, point: &str) -> bool {
            let count = |left: u32| left.checked_sub(1);
            self.name == point
                && self
                    .visits
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, count)
                    == Ok(1)
        }
    }

    /// How far ahead of the machine's clock this process is.
    #[must_use]
    pub fn ahead() -> TimeDelta {
        static AHEAD: LazyLock<TimeDelta> = LazyLock::new(|| {
            let seconds = std::env::var("CIVIC_CLOCK_AHEAD").ok();
            let seconds = seconds.and_then(|seconds| seconds.parse().ok());
            TimeDelta::seconds(seconds.unwrap_or(0))
        });
        *AHEAD
    }

    /// Ends or stops this process where the environment names the point; does nothing in a release build.
    pub fn reach(point: &'static str) {
        for armed in POINTS.iter().filter(|armed| armed.is_due(point)) {
            // A signal that cannot be sent to oneself shows as a test that does not stop here.
            let _ = kill_process(getpid(), armed.signal);
            // Any thread may be the one that takes it, and on a busy machine not at once: this one does not go on.
            std::thread::sleep(TAKEN);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_point_acts_once_at_the_visit_that_was_asked_for() {
            let point = Point::parse("upload.after-put:3", Signal::KILL);
            assert!(!point.is_due("upload.before-put"));
            let visits = (0..5).map(|_| point.is_due("upload.after-put"));
            assert_eq!(visits.collect::<Vec<_>>(), [false, false, true, false, false]);
        }

        #[test]
        fn a_point_without_a_count_acts_at_the_first_visit() {
            let point = Point::parse("delete.after-intent", Signal::STOP);
            assert!(point.is_due("delete.after-intent"));
            assert!(!point.is_due("delete.after-intent"));
        }
    }
}
