//! How far an operation has come, on stderr: bars on a terminal, elsewhere a plain line every ten seconds, so that a
//! cron mail stays short; or JSON lines for a program.
//!
//! The operation only leaves numbers behind; a thread of its own looks at them now and then. A million calls of
//! `advance` therefore cost a million stores, and a stalled operation still shows where it stands.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde_json::json;

use super::printer::to_stderr;
use super::{escape, format_count};
use crate::engine::Progress;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressMode {
    None,
    /// Bars with rate and estimate.
    Bars,
    /// A line every ten seconds; none in a run that is shorter.
    Lines,
    /// `{"completed":…,"total":…,"current":"…","percentage":…}`, twice a second and at the end of each stretch.
    Json,
}

impl ProgressMode {
    const fn every(self) -> Duration {
        match self {
            Self::None | Self::Lines => Duration::from_secs(10),
            Self::Bars => Duration::from_millis(100),
            Self::Json => Duration::from_millis(500),
        }
    }
}

/// [`Progress`] for people and programs.
#[derive(Debug)]
pub struct Reporter {
    mode: ProgressMode,
    bars: MultiProgress,
    stretch: Mutex<Option<Stretch>>,
    seen: Arc<Seen>,
}

impl Reporter {
    /// Bars are drawn in `bars`, so that log lines can stand above them.
    #[must_use]
    pub fn new(mode: ProgressMode, bars: MultiProgress) -> Self {
        Self {
            mode,
            bars,
            stretch: Mutex::new(None),
            seen: Arc::default(),
        }
    }

    fn replace(&self, next: Option<Stretch>) {
        let previous = std::mem::replace(&mut *lock(&self.stretch), next);
        if let Some(stretch) = previous {
            stretch.end();
        }
    }
}

impl Progress for Reporter {
    fn start(&self, what: &str, total: Option<u64>) {
        if self.mode == ProgressMode::None {
            return;
        }
        self.replace(None);
        self.seen.reset();
        let display = Display::new(self.mode, &self.bars, what, total);
        self.replace(Some(Stretch::begin(display, Arc::clone(&self.seen))));
    }

    fn advance(&self, completed: u64, current: &dyn fmt::Display) {
        self.seen.completed.store(completed, Ordering::Relaxed);
        if self.seen.wanted.load(Ordering::Relaxed) {
            self.seen.wanted.store(false, Ordering::Relaxed);
            *lock(&self.seen.current) = current.to_string();
        }
    }

    fn finish(&self) {
        self.replace(None);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.replace(None);
    }
}

/// What the operation leaves behind for the thread that shows it.
#[derive(Debug, Default)]
struct Seen {
    completed: AtomicU64,
    /// Set where a name would be shown soon: only then is one formatted.
    wanted: AtomicBool,
    current: Mutex<String>,
}

impl Seen {
    fn reset(&self) {
        self.completed.store(0, Ordering::Relaxed);
        self.wanted.store(true, Ordering::Relaxed);
        lock(&self.current).clear();
    }
}

/// From `start` to `finish`: a thread that shows, and the way to end it at once.
#[derive(Debug)]
struct Stretch {
    over: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Stretch {
    fn begin(display: Display, seen: Arc<Seen>) -> Self {
        let over = Arc::new((Mutex::new(false), Condvar::new()));
        let signal = Arc::clone(&over);
        let thread = std::thread::Builder::new()
            .name("progress".into())
            .spawn(move || watch(&display, &seen, &signal));
        Self {
            over,
            thread: thread.ok(),
        }
    }

    fn end(self) {
        *lock(&self.over.0) = true;
        self.over.1.notify_all();
        if let Some(thread) = self.thread {
            drop(thread.join());
        }
    }
}

/// Shows what was seen every now and then until the stretch is over.
fn watch(display: &Display, seen: &Seen, (over, changed): &(Mutex<bool>, Condvar)) {
    const LEAD: Duration = Duration::from_millis(50);
    let mut ended = lock(over);
    while !*ended {
        ended = wait(changed, ended, display.mode.every().saturating_sub(LEAD));
        seen.wanted.store(true, Ordering::Relaxed);
        if !*ended {
            ended = wait(changed, ended, LEAD);
        }
        if !*ended {
            display.show(seen);
        }
    }
    display.end(seen);
}

fn wait<'a>(changed: &Condvar, ended: MutexGuard<'a, bool>, time: Duration) -> MutexGuard<'a, bool> {
    changed
        .wait_timeout_while(ended, time, |ended| !*ended)
        .map_or_else(|poisoned| poisoned.into_inner().0, |(ended, _)| ended)
}

/// A panic elsewhere must not take the progress with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How one stretch looks.
#[derive(Debug)]
struct Display {
    mode: ProgressMode,
    what: String,
    total: Option<u64>,
    since: Instant,
    bar: Option<ProgressBar>,
}

impl Display {
    fn new(mode: ProgressMode, bars: &MultiProgress, what: &str, total: Option<u64>) -> Self {
        let what = escape(what).into_owned();
        let bar = (mode == ProgressMode::Bars).then(|| bars.add(bar(&what, total)));
        Self {
            mode,
            what,
            total,
            since: Instant::now(),
            bar,
        }
    }

    fn show(&self, seen: &Seen) {
        let completed = seen.completed.load(Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_position(completed);
            bar.tick();
            return;
        }
        match self.mode {
            ProgressMode::Json => to_stderr(&format!("{}\n", self.json(completed, &lock(&seen.current)))),
            _ => to_stderr(&format!("{}\n", self.line(completed))),
        }
    }

    fn end(&self, seen: &Seen) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        } else if self.mode == ProgressMode::Json {
            // Nothing is current any more, and the name kept is not the last one.
            lock(&seen.current).clear();
            self.show(seen);
        }
    }

    fn json(&self, completed: u64, current: &str) -> serde_json::Value {
        json!({
            "completed": completed,
            "total": self.total,
            "current": current,
            "percentage": percentage(completed, self.total),
        })
    }

    fn line(&self, completed: u64) -> String {
        let of = self.total.map_or_else(String::new, |total| {
            let percent = percentage(completed, self.total).unwrap_or(0);
            format!(" of {} ({percent} %)", format_count(total))
        });
        let seconds = self.since.elapsed().as_secs();
        let rate = completed / seconds.max(1);
        format!(
            "{}: {}{of}, {}/s, {seconds} s",
            self.what,
            format_count(completed),
            format_count(rate)
        )
    }
}

/// Whole percent, 100 only where everything is done.
fn percentage(completed: u64, total: Option<u64>) -> Option<u64> {
    let total = total?;
    let percent = u128::from(completed.min(total)) * 100 / u128::from(total.max(1));
    Some(if total == 0 {
        100
    } else {
        u64::try_from(percent).unwrap_or(100)
    })
}

fn bar(what: &str, total: Option<u64>) -> ProgressBar {
    let template = if total.is_some() {
        "{msg} [{bar:24}] {human_pos}/{human_len}  {rate}  ETA {eta}"
    } else {
        "{spinner} {msg} {human_pos}  {rate}  {elapsed}"
    };
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    if let Ok(style) = ProgressStyle::with_template(template) {
        let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = write!(out, "{:.0}/s", state.per_sec());
        };
        bar.set_style(style.progress_chars("=> ").with_key("rate", rate));
    }
    bar.with_message(what.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use indicatif::MultiProgress;
    use serde_json::json;

    use super::{Display, ProgressMode, Reporter, percentage};
    use crate::engine::Progress;

    #[test]
    fn a_percentage_needs_a_total_and_reaches_100_only_at_the_end() {
        assert_eq!(percentage(5, None), None);
        assert_eq!(percentage(999, Some(1000)), Some(99));
        assert_eq!(percentage(1000, Some(1000)), Some(100));
        assert_eq!(percentage(1200, Some(1000)), Some(100));
        assert_eq!(percentage(0, Some(0)), Some(100));
    }

    #[test]
    fn json_says_what_is_known_and_null_where_it_is_not() {
        let display = |total| Display::new(ProgressMode::Json, &MultiProgress::new(), "Comparing", total);
        assert_eq!(
            display(Some(4)).json(1, "a"),
            json!({"completed": 1, "total": 4, "current": "a", "percentage": 25})
        );
        assert_eq!(
            display(None).json(1, ""),
            json!({"completed": 1, "total": null, "current": "", "percentage": null})
        );
    }

    #[test]
    fn a_line_is_readable_in_a_mail() {
        let display = Display::new(
            ProgressMode::Lines,
            &MultiProgress::new(),
            "Comparing local",
            Some(2_000_000),
        );
        assert_eq!(
            display.line(1_000_000),
            "Comparing local: 1,000,000 of 2,000,000 (50 %), 1,000,000/s, 0 s"
        );
    }

    #[test]
    fn a_stretch_ends_at_once_although_its_next_line_is_seconds_away() {
        let reporter = Reporter::new(ProgressMode::Lines, MultiProgress::new());
        let began = Instant::now();
        reporter.start("Comparing", None);
        reporter.advance(1, &"a");
        reporter.finish();
        reporter.start("again", Some(1));
        drop(reporter);
        assert!(began.elapsed().as_secs() < 5);
    }

    #[test]
    fn names_are_formatted_only_when_one_is_about_to_be_shown() {
        struct Counted<'a>(&'a std::cell::Cell<u64>);
        impl std::fmt::Display for Counted<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.set(self.0.get() + 1);
                f.write_str("name")
            }
        }
        let formatted = std::cell::Cell::new(0);
        let reporter = Reporter::new(ProgressMode::Lines, MultiProgress::new());
        reporter.start("Comparing", None);
        for i in 0..1_000_000 {
            reporter.advance(i, &Counted(&formatted));
        }
        reporter.finish();
        assert!(formatted.get() < 100, "{} times", formatted.get());
    }
}
