//! How far a download is, on stderr: a bar on a terminal, a line every tenth elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Files below this size come and go without a bar.
const SHOWN_BYTES_MIN: u64 = 1 << 20;
const BAR: &str = "{msg} [{bar:30}] {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
const BAR_WITHOUT_TOTAL: &str = "{msg} {spinner} {decimal_bytes}, {decimal_bytes_per_sec}";

/// Where progress is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Progress {
    /// A bar that redraws itself.
    Terminal,
    /// Lines that a log can keep.
    Lines,
    /// Nowhere.
    #[cfg(test)]
    Silent,
}

impl Progress {
    /// What fits stderr.
    pub(crate) fn stderr() -> Self {
        if io::stderr().is_terminal() { Self::Terminal } else { Self::Lines }
    }

    /// Tells one line. A closed stderr is no reason to stop.
    pub(crate) fn note(self, text: &str) {
        #[cfg(test)]
        if matches!(self, Self::Silent) {
            return;
        }
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Follows one download called `label`, which `start` bytes were there of before.
    pub(crate) fn meter(self, label: &str, start: u64, total: Option<u64>) -> Meter {
        let shown = total.is_none_or(|total| total >= SHOWN_BYTES_MIN);
        let view = match self {
            Self::Terminal if shown => View::Bar(bar(label, start, total)),
            Self::Lines if shown => View::Tenths(Tenths::new(label, start, total)),
            _ => View::Hidden,
        };
        Meter { view, progress: self, bytes_max: total.unwrap_or(u64::MAX) }
    }
}

/// One download being followed; dropping it takes its bar away.
#[derive(Debug)]
pub(crate) struct Meter {
    view: View,
    progress: Progress,
    bytes_max: u64,
}

#[derive(Debug)]
enum View {
    Bar(ProgressBar),
    Tenths(Tenths),
    Hidden,
}

impl Meter {
    /// Says that `bytes` of the whole are there; more than the whole, which a polled folder may hold, count as all.
    pub(crate) fn set(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes_max);
        match &mut self.view {
            View::Bar(bar) => bar.set_position(bytes),
            View::Tenths(tenths) => {
                let elapsed = tenths.began.elapsed();
                if let Some(line) = tenths.line(bytes, elapsed) {
                    self.progress.note(&line);
                }
            }
            View::Hidden => {}
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let View::Bar(bar) = &self.view {
            bar.finish_and_clear();
        }
    }
}

fn bar(label: &str, start: u64, total: Option<u64>) -> ProgressBar {
    let template = if total.is_some() { BAR } else { BAR_WITHOUT_TOTAL };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    bar.set_style(style.progress_chars("=> "));
    bar.set_message(label.to_owned());
    bar.set_position(start);
    bar.reset_eta();
    bar
}

/// A line each time another tenth is there.
#[derive(Debug)]
struct Tenths {
    label: String,
    start: u64,
    total: Option<u64>,
    told: u64,
    began: Instant,
}

impl Tenths {
    fn new(label: &str, start: u64, total: Option<u64>) -> Self {
        let mut tenths = Self { label: label.to_owned(), start, total, told: 0, began: Instant::now() };
        tenths.told = tenths.step(start);
        tenths
    }

    /// How many tenths `bytes` are; without a known total, how many steps of 16 MiB.
    fn step(&self, bytes: u64) -> u64 {
        match self.total {
            Some(total) => bytes.min(total).saturating_mul(10) / total.max(1),
            None => bytes >> 24,
        }
    }

    fn line(&mut self, bytes: u64, elapsed: Duration) -> Option<String> {
        let step = self.step(bytes);
        if step <= self.told {
            return None;
        }
        self.told = step;
        let seconds = elapsed.as_secs_f64().max(0.001);
        let rate = (bytes.saturating_sub(self.start) as f64 / seconds) as u64;
        let (label, done, rate_text) = (&self.label, size(bytes), size(rate));
        let Some(total) = self.total else {
            return Some(format!("{label}: {done}, {rate_text}/s"));
        };
        let left_s = total.saturating_sub(bytes) / rate.max(1);
        Some(format!("{label}: {} % ({done} of {}, {rate_text}/s, {left_s} s left)", step * 10, size(total)))
    }
}

/// `bytes` for people, in decimal units.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenth_is_told_once() {
        let mut tenths = Tenths::new("m", 0, Some(1000));
        let told: Vec<_> = (1..=1000).filter_map(|bytes| tenths.line(bytes, Duration::from_secs(1))).collect();
        assert_eq!(told.len(), 10);
        assert_eq!(told[3], "m: 40 % (400 B of 1.0 kB, 400 B/s, 1 s left)");
    }

    #[test]
    fn bytes_of_an_earlier_run_do_not_count_as_speed() {
        let mut tenths = Tenths::new("m", 500, Some(1000));
        assert_eq!(tenths.line(550, Duration::from_secs(1)), None);
        let line = tenths.line(600, Duration::from_secs(1)).expect("another tenth");
        assert!(line.contains("100 B/s"), "{line}");
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(size(612), "612 B");
        assert_eq!(size(90_868_376), "90.9 MB");
        assert_eq!(size(1_117_320_768), "1.12 GB");
    }
}
