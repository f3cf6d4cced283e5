//! What operations were done, how often, how well and how fast; by operation, provider and folder. Plain counts that add
//! up exactly, whoever counted them and in whatever order. No I/O: others keep them, and show them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What a series is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `put`, or a command: `storage:upload`.
    pub operation: String,
    /// Empty for a command.
    pub provider: String,
    /// Empty where there is none.
    pub folder: String,
}

/// One operation that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub failed: bool,
    pub bytes: u64,
    pub took: Duration,
}

/// Operations of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series {
    pub count: u64,
    pub failures: u64,
    pub bytes: u64,
    /// Microseconds, all together.
    pub micros: u64,
    pub durations: Histogram,
}

impl Series {
    pub fn add(&mut self, sample: Sample) {
        let micros = u64::try_from(sample.took.as_micros()).unwrap_or(u64::MAX);
        self.count += 1;
        self.failures += u64::from(sample.failed);
        self.bytes = self.bytes.saturating_add(sample.bytes);
        self.micros = self.micros.saturating_add(micros);
        self.durations.add(micros);
    }

    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.failures += other.failures;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.micros = self.micros.saturating_add(other.micros);
        self.durations.merge(&other.durations);
    }

    /// Of one; 1 where nothing was done.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
    pub fn success_rate(&self) -> f64 {
        match self.count {
            0 => 1.0,
            count => (count - self.failures) as f64 / count as f64,
        }
    }
}

/// Values of microseconds, counted in buckets: one for each below 32, and sixteen for each power of two above, so that a
/// bucket is a sixteenth of its values wide at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram(BTreeMap<u16, u64>);

const EXACT: u64 = 32;

impl Histogram {
    /// From buckets and their counts, as [`Self::buckets`] gives them.
    #[must_use]
    pub fn of(buckets: impl IntoIterator<Item = (u16, u64)>) -> Self {
        let mut histogram = Self::default();
        for (bucket, count) in buckets {
            *histogram.0.entry(bucket).or_default() += count;
        }
        histogram
    }

    pub fn add(&mut self, micros: u64) {
        *self.0.entry(bucket(micros)).or_default() += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }

    pub fn buckets(&self) -> impl Iterator<Item = (u16, u64)> {
        self.0.iter().map(|(bucket, count)| (*bucket, *count))
    }

    /// Microseconds that so many of a thousand stay within: the end of the bucket that the last of them is in. `None` where
    /// there are no values.
    #[must_use]
    pub fn quantile(&self, permille: u64) -> Option<u64> {
        let all: u64 = self.0.values().sum();
        let rank = u128::from(all) * u128::from(permille);
        let rank = u64::try_from(rank.div_ceil(1000)).unwrap_or(u64::MAX).max(1);
        let mut seen = 0;
        let found = self.0.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        found.map(|(bucket, _)| last(*bucket))
    }

    /// How many values are below a power of two.
    #[must_use]
    pub fn below(&self, power: u32) -> u64 {
        let end = bucket(1 << power);
        self.0.range(..end).map(|(_, count)| count).sum()
    }
}

fn bucket(micros: u64) -> u16 {
    if micros < EXACT {
        return u16::try_from(micros).unwrap_or(0);
    }
    let power = micros.ilog2();
    let within = (micros >> (power - 4)) & 15;
    u16::try_from(EXACT + u64::from(power - 5) * 16 + within).unwrap_or(u16::MAX)
}

/// The largest value of a bucket.
fn last(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < EXACT {
        return bucket;
    }
    let (power, within) = ((bucket - EXACT) / 16 + 5, (bucket - EXACT) % 16);
    let first = (16 + u128::from(within)) << (power - 4);
    u64::try_from(first + (1 << (power - 4)) - 1).unwrap_or(u64::MAX)
}

/// All series.
pub type Snapshot = BTreeMap<Key, Series>;

/// What one process has counted and nobody has taken yet.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Snapshot>);

impl Metrics {
    pub fn record(&self, key: Key, sample: Sample) {
        self.locked().entry(key).or_default().add(sample);
    }

    /// Everything so far, once.
    #[must_use]
    pub fn take(&self) -> Snapshot {
        std::mem::take(&mut *self.locked())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.locked().is_empty()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Name, help and value.
type Counter = (&'static str, &'static str, fn(&Series) -> u64);

/// Powers of two of microseconds that the exported histogram ends its buckets at: a millisecond to over an hour.
const ENDS: [u32; 12] = [10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32];

/// In the text format of Prometheus, version 0.0.4. `circuits` says of providers whether nothing, or a probe only, is sent
/// to them.
///
/// # Source
/// Prometheus documentation, "Exposition formats".
#[must_use]
pub fn prometheus<'a>(snapshot: &Snapshot, circuits: impl Iterator<Item = (&'a str, bool)>) -> String {
    let mut text = String::new();
    let counters: [Counter; 3] = [
        ("operations_total", "Operations that have ended.", |series| {
            series.count
        }),
        (
            "operation_failures_total",
            "Operations that have failed.",
            |series| series.failures,
        ),
        (
            "operation_bytes_total",
            "Bytes that operations have moved.",
            |series| series.bytes,
        ),
    ];
    for (name, help, value) in counters {
        head(&mut text, (name, help, "counter"));
        for (key, series) in snapshot {
            line(&mut text, (name, &labels(key)), &value(series).to_string());
        }
    }
    let name = "operation_duration_seconds";
    head(&mut text, (name, "How long operations took.", "histogram"));
    for (key, series) in snapshot {
        let labels = labels(key);
        for power in ENDS {
            let le = format!("{labels},le=\"{}\"", seconds(1 << power));
            line(
                &mut text,
                (&format!("{name}_bucket"), &le),
                &series.durations.below(power).to_string(),
            );
        }
        let all = format!("{labels},le=\"+Inf\"");
        line(
            &mut text,
            (&format!("{name}_bucket"), &all),
            &series.count.to_string(),
        );
        line(
            &mut text,
            (&format!("{name}_sum"), &labels),
            &seconds(series.micros),
        );
        line(
            &mut text,
            (&format!("{name}_count"), &labels),
            &series.count.to_string(),
        );
    }
    let name = "circuit_open";
    head(
        &mut text,
        (name, "Whether requests to the provider are held back.", "gauge"),
    );
    for (provider, open) in circuits {
        let labels = format!("provider=\"{}\"", escaped(provider));
        line(&mut text, (name, &labels), if open { "1" } else { "0" });
    }
    text
}

fn head(text: &mut String, (name, help, kind): (&str, &str, &str)) {
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        text,
        "# HELP civic_storage_{name} {help}\n# TYPE civic_storage_{name} {kind}\n"
    );
}

fn line(text: &mut String, (name, labels): (&str, &str), value: &str) {
    let _ = writeln!(text, "civic_storage_{name}{{{labels}}} {value}");
}

fn labels(key: &Key) -> String {
    let Key {
        operation,
        provider,
        folder,
    } = key;
    format!(
        "operation=\"{}\",provider=\"{}\",folder=\"{}\"",
        escaped(operation),
        escaped(provider),
        escaped(folder)
    )
}

fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(folder: &str) -> Key {
        Key {
            operation: "put".to_owned(),
            provider: "local".to_owned(),
            folder: folder.to_owned(),
        }
    }

    fn sample() -> impl Strategy<Value = Sample> {
        let micros = prop_oneof![0..64_u64, 0..10_000_000_u64, any::<u64>()];
        (any::<bool>(), any::<u64>(), micros).prop_map(|(failed, bytes, micros)| Sample {
            failed,
            bytes,
            took: Duration::from_micros(micros),
        })
    }

    fn series(samples: &[Sample]) -> Series {
        let mut series = Series::default();
        for sample in samples {
            series.add(*sample);
        }
        series
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole(samples in prop::collection::vec(sample(), 0..60), at in any::<prop::sample::Index>()) {
            let at = at.index(samples.len() + 1);
            let mut parts = series(&samples[..at]);
            parts.merge(&series(&samples[at..]));
            prop_assert_eq!(&parts, &series(&samples));
            prop_assert_eq!(&Histogram::of(parts.durations.buckets()), &parts.durations);
        }

        #[test]
        fn a_value_is_in_a_bucket_that_is_a_sixteenth_wide(micros in any::<u64>()) {
            let end = last(bucket(micros));
            prop_assert!(end >= micros && end - micros <= micros / 16);
            prop_assert_eq!(bucket(end), bucket(micros));
            prop_assert!(end == u64::MAX || bucket(end + 1) == bucket(micros) + 1);
        }

        #[test]
        fn quantiles_are_those_of_the_sorted_values(
            mut micros in prop::collection::vec(0..1_000_000_u64, 1..80),
            permille in 0..=1000_u64,
        ) {
            let mut histogram = Histogram::default();
            for value in &micros {
                histogram.add(*value);
            }
            micros.sort_unstable();
            let rank = (micros.len() as u64 * permille).div_ceil(1000).max(1);
            let exact = micros[usize::try_from(rank).unwrap() - 1];
            prop_assert_eq!(histogram.quantile(permille), Some(last(bucket(exact))));
            let below = micros.iter().filter(|value| **value < 1 << 16).count();
            prop_assert_eq!(histogram.below(16), below as u64);
        }
    }

    #[test]
    fn of_nothing_there_is_no_quantile() {
        assert_eq!(Histogram::default().quantile(500), None);
        assert!((Series::default().success_rate() - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn prometheus_reads_it() {
        let metrics = Metrics::default();
        let took = |micros| Sample {
            failed: micros > 1024,
            bytes: 10,
            took: Duration::from_micros(micros),
        };
        metrics.record(key("per\"mits\\\n"), took(1024));
        metrics.record(key("per\"mits\\\n"), took(1_500_000));
        let text = prometheus(&metrics.take(), [("town", true)].into_iter());
        assert!(metrics.is_empty());
        let labels = r#"operation="put",provider="local",folder="per\"mits\\\n""#;
        for line in [
            "# TYPE civic_storage_operations_total counter",
            &format!("civic_storage_operations_total{{{labels}}} 2"),
            &format!("civic_storage_operation_failures_total{{{labels}}} 1"),
            &format!("civic_storage_operation_bytes_total{{{labels}}} 20"),
            &format!("civic_storage_operation_duration_seconds_bucket{{{labels},le=\"0.001024\"}} 0"),
            &format!("civic_storage_operation_duration_seconds_bucket{{{labels},le=\"0.004096\"}} 1"),
            &format!("civic_storage_operation_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 2"),
            &format!("civic_storage_operation_duration_seconds_sum{{{labels}}} 1.501024"),
            &format!("civic_storage_operation_duration_seconds_count{{{labels}}} 2"),
        ] {
            assert!(text.lines().any(|there| there == line), "{line}\n{text}");
        }
    }
}
