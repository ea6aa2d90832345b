//! Where a log ends, as its writer finds it.

use super::chain::{self, BEFORE_ALL, Hash};
use super::record::{Entry, Kind};
use super::sign::Head;
use super::{CURRENT, Files, HEAD, LogError};

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tail {
    /// The log's id; empty before its first record.
    pub(super) log: String,
    /// Number of the last record, 0 before the first.
    pub(super) seq: u64,
    /// Hash of its line.
    pub(super) hash: Hash,
    /// Counter and number of the last checkpoint.
    pub(super) checkpoint: (u64, u64),
    /// Number of the first record of [`CURRENT`].
    pub(super) first: u64,
    /// Bytes of [`CURRENT`] that are whole lines.
    pub(super) length: u64,
    /// What follows them.
    pub(super) torn: Vec<u8>,
    /// Whether a crash kept the head of the last checkpoint from being written.
    pub(super) lacks_head: bool,
}

/// Whether bytes after the last good line are what a crash leaves: the beginning of a line, or blocks that were never written.
pub(super) fn is_torn(rest: &[u8]) -> bool {
    !rest.contains(&b'\n') || rest.contains(&0)
}

/// The names of full files in their order, each with the number in it.
pub(super) fn rotated(names: &[String]) -> Vec<(u64, String)> {
    let number = |name: &String| {
        let digits = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?;
        Some((digits.parse().ok()?, name.clone()))
    };
    let mut rotated: Vec<(u64, String)> = names.iter().filter_map(number).collect();
    rotated.sort();
    rotated
}

/// The lines of a file with their places, and what follows the last newline.
pub(super) fn lines(bytes: &[u8]) -> (impl Iterator<Item = (usize, &[u8])>, &[u8]) {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut at = 0;
    let lines = bytes[..end].split_inclusive(|byte| *byte == b'\n').map(move |line| {
        let start = at;
        at += line.len();
        (start, &line[..line.len() - 1])
    });
    (lines, &bytes[end..])
}

impl Tail {
    /// Reads the end of a log: all of [`CURRENT`], and the last line of the file before.
    ///
    /// # Errors
    /// When it does not go on from there: records are missing or were changed.
    pub(super) fn read(files: &dyn Files, public_key: &str) -> Result<Tail, LogError> {
        let mut tail = Tail {
            log: String::new(),
            seq: 0,
            hash: BEFORE_ALL,
            checkpoint: (0, 0),
            first: 1,
            length: 0,
            torn: Vec::new(),
            lacks_head: false,
        };
        if let Some((_, name)) = rotated(&files.names()?).pop() {
            tail.start_after(&name, &files.read(&name)?.unwrap_or_default())?;
        }
        let head = files.read(HEAD)?;
        let head = head.map(|head| Head::parse(&head, public_key).ok_or(LogError::Head)).transpose()?;
        let current = files.read(CURRENT)?.unwrap_or_default();
        let mut headed = head.as_ref().is_some_and(|head| tail.is_at(head));
        for (start, line) in lines(&current).0 {
            let entry = Entry::parse(line).ok().filter(|entry| tail.goes_on_with(entry));
            let Some(entry) = entry else {
                tail.length = start as u64;
                break;
            };
            tail.take(&entry, line);
            tail.length = (start + line.len() + 1) as u64;
            headed |= head.as_ref().is_some_and(|head| tail.is_at(head));
        }
        let rest = &current[usize::try_from(tail.length).unwrap_or(usize::MAX).min(current.len())..];
        if !is_torn(rest) {
            return Err(LogError::Changed { seq: tail.seq + 1 });
        }
        tail.torn = rest.to_vec();
        tail.check(head.as_ref(), headed)?;
        Ok(tail)
    }

    /// Begins after the last line of a full file.
    fn start_after(&mut self, name: &str, bytes: &[u8]) -> Result<(), LogError> {
        let broken = || LogError::Rotated(name.to_owned());
        let (_, line) = lines(bytes).0.last().ok_or_else(broken)?;
        let entry = Entry::parse(line).map_err(|_| broken())?;
        self.take(&entry, line);
        self.first = self.seq + 1;
        Ok(())
    }

    fn goes_on_with(&self, entry: &Entry) -> bool {
        entry.seq == self.seq + 1 && entry.prev == chain::hex(&self.hash)
    }

    fn take(&mut self, entry: &Entry, line: &[u8]) {
        (self.seq, self.hash) = (entry.seq, chain::hash(line));
        if let (Kind::Genesis | Kind::Checkpoint, Some(log)) = (entry.record.kind, entry.record.text("log")) {
            self.log = log.to_owned();
        }
        if entry.record.kind == Kind::Checkpoint {
            self.checkpoint = (entry.record.number("head").unwrap_or(0), entry.seq);
        }
    }

    fn is_at(&self, head: &Head) -> bool {
        self.seq == head.seq && chain::hex(&self.hash) == head.hash
    }

    /// Holds the end against `head.json`. A crash may have come between a checkpoint and its head, but nothing after.
    fn check(&mut self, head: Option<&Head>, headed: bool) -> Result<(), LogError> {
        let (counter, seq) = head.map_or((0, 0), |head| (head.head, head.seq));
        if head.is_some() && !headed {
            return Err(if self.seq < seq { LogError::Short { seq: self.seq, head: seq } } else { LogError::Changed { seq } });
        }
        let (last, at) = self.checkpoint;
        self.lacks_head = last == counter + 1 && at == self.seq;
        let is_newest = last == counter || self.lacks_head;
        if is_newest { Ok(()) } else { Err(LogError::OldHead { head: counter, log: last }) }
    }
}
