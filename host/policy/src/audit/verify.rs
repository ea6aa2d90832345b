//! The reader's side of a log: whether it is as it was written.

use std::io;

use super::chain::{self, BEFORE_ALL, Hash};
use super::record::{Entry, Kind};
use super::sign::{self, Head, Signed};
use super::tail::{is_torn, lines, rotated};
use super::{CURRENT, Files, HEAD, PUBLIC_KEY};

/// Most findings that a report holds.
const FINDINGS_MAX: usize = 1000;

/// How often files are listed again that were rotated meanwhile.
const ROTATIONS_MAX: usize = 8;

/// What a log is held against besides itself.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    /// The public key in hexadecimal digits, kept elsewhere. Without it the folder's own is believed.
    pub public_key: Option<String>,
    /// The counter of a head that was seen before: an older one was put in its place.
    pub head_min: u64,
    /// Only these files, which may begin anywhere. Empty for all.
    pub only: Vec<String>,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// The record's number, as far as it is known.
    pub seq: u64,
    /// What is wrong.
    pub what: String,
}

/// What a crash left after the last whole record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub file: String,
    /// The last whole record.
    pub after: u64,
    /// Bytes that follow it.
    pub bytes: u64,
}

/// A record of bytes that were cut off after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The record's number.
    pub seq: u64,
    /// When.
    pub time: String,
    /// How many.
    pub bytes: u64,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong, in the order of the files. Empty where nothing is.
    pub findings: Vec<Finding>,
    /// The torn end, where there is one.
    pub torn: Option<Torn>,
    /// Torn ends of earlier crashes.
    pub recovered: Vec<Recovered>,
    /// The log's id.
    pub log: String,
    /// Files that were read.
    pub files: usize,
    /// Records in them.
    pub records: u64,
    /// Checkpoints among them.
    pub checkpoints: u64,
    /// Records that the log says could not be written.
    pub lost: u64,
    /// When the first and the last record were made.
    pub span: Option<(String, String)>,
    /// The counter of the newest checkpoint.
    pub head: u64,
    /// Records after it, which nobody has signed.
    pub unsigned: u64,
}

/// The files of a log, in their order.
///
/// # Errors
/// When the folder can't be listed.
pub fn files(log: &dyn Files) -> io::Result<Vec<String>> {
    let names = log.names()?;
    let mut files: Vec<String> = rotated(&names).into_iter().map(|(_, name)| name).collect();
    files.extend(names.into_iter().filter(|name| name == CURRENT));
    Ok(files)
}

/// Reads a whole log and tells what is not as it was written. A log that is being written may be read.
///
/// # Errors
/// When a file can't be read.
pub fn verify(log: &dyn Files, checks: &Checks) -> io::Result<Report> {
    let mut report = attempt(log, checks)?;
    for _ in 0..ROTATIONS_MAX {
        match report {
            (true, _) => report = attempt(log, checks)?,
            (false, report) => return Ok(report),
        }
    }
    Ok(report.1)
}

/// Reads it once; says whether a file was rotated meanwhile.
fn attempt(log: &dyn Files, checks: &Checks) -> io::Result<(bool, Report)> {
    // Before the records: there may be more of them by then, never fewer.
    let head = log.read(HEAD)?;
    let own_key = sign::public_key(log)?;
    let names = files(log)?;
    let chosen: Vec<&String> = names.iter().filter(|name| checks.only.is_empty() || checks.only.contains(*name)).collect();
    let key = checks.public_key.clone().or(own_key.clone()).unwrap_or_default();
    let mut reader = Reader::new(key, &head, !checks.only.is_empty());
    if own_key.is_none_or(|own| own != reader.key) {
        reader.offend(PUBLIC_KEY, 0, "it is not the key that this log is held against, or gone".into());
    }
    for name in &chosen {
        let bytes = log.read(name)?.unwrap_or_default();
        reader.file(name, &bytes, *name == CURRENT);
    }
    for name in checks.only.iter().filter(|name| !names.contains(name)) {
        reader.offend(name, 0, "it is no file of a log, by its name: it was not read".into());
    }
    let has_end = chosen.last().is_some_and(|name| *name == CURRENT) || checks.only.is_empty();
    if has_end {
        reader.end(head.is_some(), checks.head_min);
    }
    Ok((files(log)? != names, reader.report))
}

/// What is known on the way through the files.
struct Reader {
    key: String,
    /// The head, if it is signed.
    head: Option<Head>,
    /// Whether the record that the head names is the one that it was.
    is_headed: bool,
    /// Number of the next record; none before the first of a part.
    next: Option<u64>,
    /// Hash of the line before.
    hash: Option<Hash>,
    /// Counter of the last checkpoint, and its number.
    checkpoint: Option<(u64, u64)>,
    /// Number of the last record that was read.
    last: u64,
    report: Report,
}

impl Reader {
    fn new(key: String, head: &Option<Vec<u8>>, may_begin_anywhere: bool) -> Reader {
        let head = head.as_ref().and_then(|head| Head::parse(head, &key));
        let (next, hash) = if may_begin_anywhere { (None, None) } else { (Some(1), Some(BEFORE_ALL)) };
        let checkpoint = (!may_begin_anywhere).then_some((0, 0));
        Reader { key, head, is_headed: false, next, hash, checkpoint, last: 0, report: Report::default() }
    }

    fn offend(&mut self, file: &str, line: usize, what: String) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(Finding { file: file.into(), line, seq: self.last, what });
        }
    }

    fn file(&mut self, name: &str, bytes: &[u8], is_written: bool) {
        self.report.files += 1;
        let (whole, rest) = lines(bytes);
        let mut count = 0;
        for (start, line) in whole {
            count += 1;
            match Entry::parse(line) {
                Ok(entry) => self.entry(name, count, line, &entry),
                Err(_) if is_written && is_torn(&bytes[start..]) => return self.torn(name, &bytes[start..]),
                Err(error) => {
                    self.offend(name, count, error.to_string());
                    // What comes next can be held against nothing.
                    (self.next, self.hash) = (self.next.map(|next| next + 1), None);
                }
            }
        }
        match rest {
            [] => {}
            rest if is_written => self.torn(name, rest),
            _ => self.offend(name, count + 1, "the file does not end with a whole record".into()),
        }
        let named = rotated(&[name.to_owned()]).first().map(|(number, _)| *number);
        if count == 0 && named.is_some() {
            self.offend(name, 0, "the file has no records".into());
        } else if named.is_some() && self.checkpoint.is_none_or(|(_, number)| number != self.last) {
            self.offend(name, count, "a full file ends with a checkpoint, and this one does not".into());
        }
    }

    fn torn(&mut self, name: &str, rest: &[u8]) {
        self.report.torn = Some(Torn { file: name.into(), after: self.last, bytes: rest.len() as u64 });
    }

    fn entry(&mut self, name: &str, line_number: usize, line: &[u8], entry: &Entry) {
        let before = self.last;
        self.last = entry.seq;
        match self.next {
            Some(next) if entry.seq > next => {
                let missing = if entry.seq == next + 1 {
                    format!("record {next} is missing")
                } else {
                    format!("records {next} to {} are missing", entry.seq - 1)
                };
                self.offend(name, line_number, format!("{missing} before record {}", entry.seq));
            }
            Some(next) if entry.seq < next => {
                let what = format!("record {} stands after record {before}: it was put in or moved", entry.seq);
                self.offend(name, line_number, what);
            }
            _ => {}
        }
        let follows = self.next.is_none_or(|next| next == entry.seq);
        if self.hash.is_some_and(|hash| chain::hex(&hash) != entry.prev) && follows {
            let what = match before {
                0 => format!("record {} does not begin a log", entry.seq),
                _ => format!("record {} names another hash for record {before}: one of the two was changed", entry.seq),
            };
            self.offend(name, line_number, what);
        }
        let hash = chain::hash(line);
        self.special(name, line_number, entry);
        self.is_headed |= self.head.as_ref().is_some_and(|head| head.seq == entry.seq && head.hash == chain::hex(&hash));
        (self.next, self.hash) = (entry.seq.checked_add(1), Some(hash));
        self.report.records += 1;
        self.report.unsigned = if entry.record.kind == Kind::Checkpoint { 0 } else { self.report.unsigned + 1 };
        match &mut self.report.span {
            Some((_, last)) => last.clone_from(&entry.time),
            none => *none = Some((entry.time.clone(), entry.time.clone())),
        }
    }

    /// What some kinds mean for the log itself.
    fn special(&mut self, name: &str, line: usize, entry: &Entry) {
        let record = &entry.record;
        match record.kind {
            Kind::Genesis => {
                self.report.log = record.text("log").unwrap_or_default().to_owned();
                if record.text("public_key") != Some(self.key.as_str()) {
                    self.offend(name, line, "the log began with another public key".into());
                }
                if entry.seq != 1 {
                    self.offend(name, line, "a log begins in the middle of this one".into());
                }
            }
            Kind::Checkpoint => self.signed(name, line, entry),
            Kind::Lost => self.report.lost += record.number("count").unwrap_or(0),
            Kind::Recovered => {
                let bytes = record.number("bytes").unwrap_or(0);
                self.report.recovered.push(Recovered { seq: entry.seq, time: entry.time.clone(), bytes });
            }
            _ if entry.seq == 1 => self.offend(name, line, "the first record is not the one that begins a log".into()),
            _ => {}
        }
    }

    fn signed(&mut self, name: &str, line: usize, entry: &Entry) {
        let record = &entry.record;
        let (log, head) = (record.text("log").unwrap_or_default(), record.number("head").unwrap_or(0));
        // What was signed is the hash of what is there, not what the line says of it.
        let prev = self.hash.map_or_else(|| entry.prev.clone(), |hash| chain::hex(&hash));
        let signed = Signed { log, head, seq: entry.seq, prev: &prev, time: &entry.time };
        if !sign::is_signed(&self.key, &signed.text(), record.text("signature").unwrap_or_default()) {
            self.offend(name, line, format!("checkpoint {head} is not signed by this log's key, or for other records"));
        }
        if self.report.log.is_empty() {
            self.report.log = log.to_owned();
        } else if self.report.log != log {
            self.offend(name, line, format!("checkpoint {head} is of another log"));
        }
        if let Some((before, _)) = self.checkpoint.filter(|(before, _)| before + 1 != head) {
            self.offend(name, line, format!("checkpoint {head} follows checkpoint {before}"));
        }
        self.checkpoint = Some((head, entry.seq));
        self.report.checkpoints += 1;
        self.report.head = head;
    }

    /// Holds the end against the head.
    fn end(&mut self, has_head: bool, head_min: u64) {
        let (last, at) = self.checkpoint.unwrap_or((0, 0));
        let (counter, seq) = self.head.as_ref().map_or((0, 0), |head| (head.head, head.seq));
        let what = match (has_head, &self.head) {
            (true, None) => Some("it is malformed or not signed by this log's key".to_owned()),
            (false, _) if last > 1 || last == 1 && at != self.last => {
                Some(format!("it is gone; the log has checkpoint {last}"))
            }
            (true, Some(head)) if head.log != self.report.log && seq <= self.last => Some("it is of another log".into()),
            (true, Some(_)) if seq > self.last => {
                Some(format!("it names record {seq} and the log ends with record {}: what followed is cut off", self.last))
            }
            (true, Some(_)) if !self.is_headed => Some(format!("record {seq} is not the one that it names: it was changed")),
            (true, Some(_)) if last > counter + 1 || last == counter + 1 && at != self.last => {
                Some(format!("it is checkpoint {counter} and the log has checkpoint {last}: an older one was put in its place"))
            }
            _ => None,
        };
        if let Some(what) = what {
            self.offend(HEAD, 0, what);
        }
        if counter.max(last) < head_min {
            let what = format!("the newest checkpoint is {} and checkpoint {head_min} was seen before", counter.max(last));
            self.offend(HEAD, 0, what);
        }
        if self.report.records == 0 && self.report.torn.is_none() {
            self.offend(CURRENT, 0, "there are no records".into());
        }
    }
}
