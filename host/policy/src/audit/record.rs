//! What one line says.

use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::chain::{self, Hash};
use super::{LogError, VERSION};

/// Longest text of one field, in characters.
const TEXT_CHARS_MAX: usize = 1000;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The log began: the first record of all. `detail` holds the log's id and its public key.
    Genesis,
    /// A request was answered, or refused: `action` and `target` are its method and path.
    Request,
    /// The rest of a streamed answer: what it used, or how it ended.
    End,
    /// A component asked for a right.
    Decision,
    /// A server started, or stopped in an orderly way.
    Server,
    /// A component was loaded or refused, or is gone.
    Component,
    /// A component has another policy.
    Policy,
    /// A caller's key was made, changed or revoked.
    Key,
    /// A guard gave its verdict.
    Guard,
    /// The rows of a tenant are erased: `begin` before, `done` with counts after.
    Erase,
    /// A signature over all records before.
    Checkpoint,
    /// Records that could not be written: `detail` says how many.
    Lost,
    /// Bytes after the last whole line, as a crash leaves them, were cut off: `detail` holds their count and their SHA-256.
    Recovered,
}

/// How a request for something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It was granted.
    Allow,
    /// It was refused.
    Deny,
    /// The mode is `observe`: it would have been refused, and was done.
    WouldDeny,
}

impl Decision {
    /// As in a record: `allow`, `deny`, `would_deny`.
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Allow => "allow",
            Decision::Deny => "deny",
            Decision::WouldDeny => "would_deny",
        }
    }
}

/// What the log says of one thing that happened. Its texts are names, places and reasons: never headers, bodies or values of
/// secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What it is about.
    pub kind: Kind,
    /// The request's id.
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Arc<str>>,
    /// For whom it was.
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Arc<str>>,
    /// Who asked.
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Arc<str>>,
    /// The address that the request came from.
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Arc<str>>,
    /// The component's name.
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub component: Option<Arc<str>>,
    /// SHA-256 of the component's code.
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Arc<str>>,
    /// SHA-256 of the policy that it was under, as [`Snapshot::hash`](crate::Snapshot::hash) gives it.
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Arc<str>>,
    /// What was done.
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Arc<str>>,
    /// To what.
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Arc<str>>,
    /// Whether it was allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Why: for a denial the line that people are told, with file and line of the policy.
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// The rule that forbade it, as `FILE:LINE ID`, or the reason's name.
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    /// The answer's status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// A keyed digest of what was asked, see [`ArgumentsKey`](super::ArgumentsKey).
    #[serde(with = "text", default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Arc<str>>,
    /// What it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What else there is to say, by the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<Map<String, Value>>>,
}

/// What a request has used until then. What is 0 is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens that models read.
    #[serde(skip_serializing_if = "is_zero")]
    pub input_tokens: u64,
    /// Tokens that models generated.
    #[serde(skip_serializing_if = "is_zero")]
    pub output_tokens: u64,
    /// Nanoseconds that the device worked.
    #[serde(skip_serializing_if = "is_zero")]
    pub device_ns: u64,
    /// Nanoseconds that the component's code ran, as far as they were counted by then: at each of the server's epochs.
    #[serde(skip_serializing_if = "is_zero")]
    pub cpu_ns: u64,
    /// Microseconds from the request's head to this record.
    #[serde(skip_serializing_if = "is_zero")]
    pub took_us: u64,
    /// Uses of rights that have no record of their own.
    #[serde(flatten)]
    pub counts: Counts,
}

/// How often the rights were used that have no record of their own, because they are used often and change nothing outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Files and folders that were looked at.
    #[serde(skip_serializing_if = "is_zero")]
    pub reads: u64,
    /// Settings that were read.
    #[serde(skip_serializing_if = "is_zero")]
    pub settings: u64,
    /// Lines that were logged.
    #[serde(skip_serializing_if = "is_zero")]
    pub lines: u64,
    /// Decisions beyond those that one request may have a record of.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Record {
    /// A record of a kind that says nothing else.
    pub fn new(kind: Kind) -> Record {
        Record {
            kind,
            request: None,
            tenant: None,
            caller: None,
            client: None,
            component: None,
            digest: None,
            policy: None,
            action: None,
            target: None,
            decision: None,
            reason: None,
            rule: None,
            status: None,
            args: None,
            usage: None,
            detail: None,
        }
    }

    /// The same, with more to say.
    pub fn with_detail(self, detail: impl IntoIterator<Item = (&'static str, Value)>) -> Record {
        let detail = detail.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Record { detail: Some(Box::new(detail)), ..self }
    }

    /// A text of the detail.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.detail.as_ref()?.get(key)?.as_str()
    }

    /// A number of the detail.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.detail.as_ref()?.get(key)?.as_u64()
    }

    /// Puts the line of this record at the end of `lines`, with a newline, and gives the line's hash.
    pub(super) fn write(&self, lines: &mut Vec<u8>, seq: u64, time: &str, prev: &Hash) -> Hash {
        let start = lines.len();
        lines.extend_from_slice(format!("{{\"v\":{VERSION},\"seq\":{seq},\"time\":\"{time}\"").as_bytes());
        let fields = lines.len();
        serde_json::to_writer(&mut *lines, self).expect("texts and numbers make good JSON, and memory takes it");
        lines[fields] = b','; // in the place of its `{`
        lines.pop(); // its `}`
        lines.extend_from_slice(b",\"prev\":\"");
        lines.extend_from_slice(chain::hex(prev).as_bytes());
        lines.extend_from_slice(b"\"}");
        let hash = chain::hash(&lines[start..]);
        lines.push(b'\n');
        hash
    }
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Version of the format: 1.
    pub v: u32,
    /// Its number, from 1.
    pub seq: u64,
    /// When it happened, as RFC 3339 has it, in UTC with microseconds.
    pub time: String,
    /// What it says.
    #[serde(flatten)]
    pub record: Record,
    /// SHA-256 of the line before, in hexadecimal digits.
    pub prev: String,
}

impl Entry {
    /// Reads a line, without its newline.
    ///
    /// # Errors
    /// When it is none of this format.
    pub fn parse(line: &[u8]) -> Result<Entry, LogError> {
        let entry: Entry = serde_json::from_slice(line).map_err(|cause| LogError::Line(cause.to_string()))?;
        match entry.v {
            VERSION => Ok(entry),
            other => Err(LogError::Line(format!("it is of version {other}; this program reads {VERSION}"))),
        }
    }
}

/// A time as records have it.
pub fn timestamp(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// A text from outside, short enough for a record; JSON escapes what is in it.
pub fn shorten(text: &str) -> Arc<str> {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => text[..end].into(),
        None => text.into(),
    }
}

/// Optional shared texts, which serde knows only with another feature.
mod text {
    use super::{Arc, Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text.as_deref().unwrap_or_default())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<str>>, D::Error> {
        Ok(Some(String::deserialize(deserializer)?.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let record = Record {
            request: Some("r-1".into()),
            target: Some("/\"\n\u{0}é".into()),
            decision: Some(Decision::WouldDeny),
            status: Some(200),
            usage: Some(Usage { cpu_ns: 7, counts: Counts { reads: 2, ..Counts::default() }, ..Usage::default() }),
            ..Record::new(Kind::Request).with_detail([("count", json!(3))])
        };
        let mut lines = Vec::new();
        let time = timestamp(SystemTime::UNIX_EPOCH + Duration::from_micros(1_767_323_045_000_007));
        let hash = record.write(&mut lines, 9, &time, &[0xab; 32]);
        let line = lines.strip_suffix(b"\n").expect("a newline");
        assert!(!line.contains(&b'\n'));
        assert_eq!(hash, chain::hash(line));
        let entry = Entry::parse(line).expect("a line");
        assert_eq!((entry.seq, entry.time.as_str()), (9, "2026-01-02T03:04:05.000007Z"));
        assert_eq!((entry.prev, entry.record), ("ab".repeat(32), record));
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for line in ["", "{}", "[]", "{\"v\":2,\"seq\":1,\"time\":\"\",\"kind\":\"server\",\"prev\":\"\"}"] {
            assert!(Entry::parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shorten(&"é".repeat(1001)).chars().count(), 1000);
        assert_eq!(&*shorten("short"), "short");
    }
}
