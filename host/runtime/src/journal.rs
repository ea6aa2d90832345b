//! The last lines of each component, for operators to ask for: what it logged, and what happened to it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// Lines of one component that are kept.
const LINES_MAX: usize = 512;
/// Bytes of all of them.
const BYTES_MAX: usize = 256 << 10;
/// Characters of a line that are kept.
const LINE_CHARS_MAX: usize = 4096;
/// Components that have a journal.
const JOURNALS_MAX: usize = 10_000;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// Its number, from 1: the next one is always higher.
    pub(crate) seq: u64,
    /// When it was written, in milliseconds of Unix time.
    unix_ms: u64,
    /// `debug`, `info`, `warn`, `error`; `host` is what the server says of the component.
    level: &'static str,
    /// The request that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    text: String,
}

/// The journal of one component.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<Line>,
    bytes: usize,
    last: u64,
}

impl Journal {
    /// A line of the component's own.
    pub(crate) fn log(&self, level: &'static str, request: &str, text: &str) {
        self.push(level, Some(request.into()), text);
    }

    /// A line that the server says of the component.
    pub(crate) fn tell(&self, text: impl AsRef<str>) {
        self.push("host", None, text.as_ref());
    }

    fn push(&self, level: &'static str, request: Option<String>, text: &str) {
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let unix_ms = u64::try_from(unix_ms).unwrap_or(u64::MAX);
        let text: String = text.chars().take(LINE_CHARS_MAX).collect();
        let mut lines = self.lines();
        lines.last += 1;
        let seq = lines.last;
        lines.bytes += text.len();
        lines.kept.push_back(Line { seq, unix_ms, level, request, text });
        while lines.kept.len() > LINES_MAX || lines.bytes > BYTES_MAX {
            let Some(first) = lines.kept.pop_front() else { return };
            lines.bytes -= first.text.len();
        }
    }

    /// The lines after this number, the latest of them at most so many.
    pub(crate) fn after(&self, seq: u64, lines_max: usize) -> Vec<Line> {
        let lines = self.lines();
        let after = lines.kept.iter().filter(|line| line.seq > seq);
        let beyond = after.clone().count().saturating_sub(lines_max);
        after.skip(beyond).cloned().collect()
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The journals of all components, by name. They outlive what they are about.
#[derive(Debug, Default)]
pub(crate) struct Journals(Mutex<BTreeMap<String, Arc<Journal>>>);

impl Journals {
    /// The journal of a component: the one it had, or a new one.
    pub(crate) fn of(&self, component: &str) -> Arc<Journal> {
        let mut journals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(journal) = journals.get(component) {
            return journal.clone();
        }
        if journals.len() >= JOURNALS_MAX {
            return Arc::default(); // it is kept by nobody
        }
        journals.entry(component.into()).or_default().clone()
    }

    /// The journal of a component, if it has one.
    pub(crate) fn find(&self, component: &str) -> Option<Arc<Journal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(component).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_can_be_asked_for_from_a_number_on() {
        let journal = Journals::default().of("a");
        for line in 1..=LINES_MAX + 10 {
            journal.log("info", "1-1", &format!("line {line}"));
        }
        let texts = |lines: Vec<Line>| lines.into_iter().map(|line| line.text).collect::<Vec<_>>();
        assert_eq!(journal.after(0, usize::MAX).first().map(|line| line.seq), Some(11));
        assert_eq!(texts(journal.after(520, 99)), ["line 521", "line 522"]);
        assert_eq!(texts(journal.after(0, 1)), ["line 522"]);
        journal.tell("x".repeat(10_000));
        assert_eq!(journal.after(522, 9)[0].text.len(), LINE_CHARS_MAX);
        for _ in 0..LINES_MAX {
            journal.tell("x".repeat(10_000));
        }
        let kept: usize = journal.after(0, usize::MAX).iter().map(|line| line.text.len()).sum();
        assert!((BYTES_MAX / 2..=BYTES_MAX).contains(&kept), "{kept}");
    }

    #[test]
    fn a_component_has_one_journal() {
        let journals = Journals::default();
        journals.of("a").tell("here");
        assert_eq!(journals.find("a").map(|journal| journal.after(0, 9).len()), Some(1));
        assert!(journals.find("b").is_none());
    }
}
