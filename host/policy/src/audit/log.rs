//! The writer's side of a log.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::chain::{self, BEFORE_ALL, Hash};
use super::record::{Kind, Record, timestamp};
use super::sign::{Head, Signed, Signer};
use super::tail::{Tail, rotated};
use super::{ARGUMENTS_KEY, CURRENT, HEAD, Storage, VERSION};

/// Why a log can't be written, or a line not read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process has it.
    #[error("another process writes the audit log in {0}: stop it, or give this one another `data` folder")]
    Locked(PathBuf),
    /// A file can't be read or written.
    #[error("a file of it can't be read or written: {0}")]
    Io(#[from] io::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers for the audit log's keys")]
    Random,
    /// The key that signs is gone.
    #[error("the audit log has records and no signing.key: put the key back, or move the folder away to begin another log")]
    NoKey,
    /// The key that signs is none.
    #[error("the audit log's signing.key is no Ed25519 key: put the right one back, or move the folder away")]
    Key,
    /// `head.json` is none of this log.
    #[error("the audit log's head.json is malformed or not signed by signing.key: {SEE}")]
    Head,
    /// `head.json` is older than the log.
    #[error("the audit log's head.json is checkpoint {head} and the log has checkpoint {log}: it was replaced. {SEE}")]
    OldHead {
        /// The counter in `head.json`, 0 where there is none.
        head: u64,
        /// The counter of the log's last checkpoint.
        log: u64,
    },
    /// Signed records are gone.
    #[error("the audit log ends with record {seq} and its signed head is record {head}: records are missing. {SEE}")]
    Short {
        /// The last record that is there.
        seq: u64,
        /// The one that the head names.
        head: u64,
    },
    /// A record is not the one that was written.
    #[error("record {seq} of the audit log was changed, or the one before it. {SEE}")]
    Changed {
        /// Its number.
        seq: u64,
    },
    /// The last full file can't be gone on from.
    #[error("the file {0} of the audit log ends in no record. {SEE}")]
    Rotated(String),
    /// A line is no record.
    #[error("it is no record of an audit log: {0}")]
    Line(String),
}

/// What to do where a log does not hold together.
const SEE: &str = "`tessera audit verify` tells what is wrong; to begin another log, move the folder away";

/// The key of the digests in `args`, random for each log and known to who can read its folder. Without it nobody can find a
/// short text by trying out what has the same digest.
#[derive(Debug, Clone)]
pub struct ArgumentsKey(hmac::Key);

impl ArgumentsKey {
    /// HMAC-SHA-256 over parts, as `hmac-sha256:` and hexadecimal digits.
    pub fn digest(&self, parts: &[&[u8]]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        format!("hmac-sha256:{}", chain::hex(context.sign().as_ref()))
    }
}

/// A log that is written: records go into memory, from there to the storage, and count once they are synced.
///
/// It is for one thread. After an error everything that is not durable is kept and written again.
pub struct Log {
    storage: Box<dyn Storage>,
    signer: Signer,
    arguments: ArgumentsKey,
    /// Length at which a file is full, in bytes.
    bytes_max: u64,
    id: String,
    /// Number of the last record.
    seq: u64,
    /// Hash of its line.
    hash: Hash,
    /// Number of the first record of the file.
    first: u64,
    /// Counter of the last checkpoint.
    head: u64,
    /// Records since then.
    unsigned: u64,
    /// Lines that are not durable.
    pending: Vec<u8>,
    /// Bytes of them that were written.
    written: usize,
    /// Bytes of the file that are durable.
    durable: u64,
    /// Whether the file may hold more than that and what was written.
    is_dirty: bool,
    /// A head whose record was appended.
    head_due: Option<Head>,
}

impl Log {
    /// Goes on with a log, or begins one where there is none. What a crash left of a line is cut off, and recorded.
    ///
    /// # Errors
    /// When the log does not hold together, and what the storage says.
    pub fn open(mut storage: Box<dyn Storage>, bytes_max: u64, now: SystemTime) -> Result<Log, LogError> {
        let is_new = is_new(&*storage)?;
        let signer = Signer::open(&mut *storage, is_new)?;
        let arguments = arguments_key(&mut *storage)?;
        let tail = Tail::read(&*storage, &signer.public_key())?;
        let mut log = Log {
            storage,
            signer,
            arguments,
            bytes_max,
            id: tail.log,
            seq: tail.seq,
            hash: tail.hash,
            first: tail.first,
            head: tail.checkpoint.0,
            unsigned: tail.seq - tail.checkpoint.1,
            pending: Vec::new(),
            written: 0,
            durable: tail.length,
            is_dirty: !tail.torn.is_empty(),
            head_due: None,
        };
        if tail.lacks_head {
            log.head_due = Some(log.head_of(&timestamp(now)));
        }
        if log.seq == 0 {
            log.begin(now)?;
        }
        if !tail.torn.is_empty() {
            let (bytes, sha256) = (tail.torn.len(), chain::hex(&Sha256::digest(&tail.torn)));
            log.append(now, &Record::new(Kind::Recovered).with_detail([("bytes", json!(bytes)), ("sha256", json!(sha256))]));
        }
        log.checkpoint(now)?;
        Ok(log)
    }

    fn begin(&mut self, now: SystemTime) -> Result<(), LogError> {
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| LogError::Random)?;
        (self.id, self.hash) = (chain::hex(&id), BEFORE_ALL);
        let detail = [("log", json!(self.id)), ("public_key", json!(self.signer.public_key()))];
        self.append(now, &Record::new(Kind::Genesis).with_detail(detail));
        Ok(())
    }

    /// The key of the digests of arguments.
    pub fn arguments_key(&self) -> &ArgumentsKey {
        &self.arguments
    }

    /// Number of the last record.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Records since the last checkpoint.
    pub fn unsigned(&self) -> u64 {
        self.unsigned
    }

    /// Bytes in memory.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Adds a record, in memory. Where a [`checkpoint`](Self::checkpoint) has failed, that comes first: nothing may stand between
    /// a checkpoint and its head.
    pub fn append(&mut self, time: SystemTime, record: &Record) {
        self.append_at(&timestamp(time), record);
    }

    fn append_at(&mut self, time: &str, record: &Record) {
        self.seq += 1;
        self.hash = record.write(&mut self.pending, self.seq, time, &self.hash);
        self.unsigned += 1;
    }

    /// Hands what is in memory to the storage.
    ///
    /// # Errors
    /// What the storage says. It is kept in memory then.
    pub fn write(&mut self) -> io::Result<()> {
        self.put_head()?; // nothing comes after a checkpoint before its head is there
        if self.is_dirty {
            self.storage.truncate(self.durable)?;
            (self.is_dirty, self.written) = (false, 0);
        }
        let rest = &self.pending[self.written..];
        if !rest.is_empty() {
            self.is_dirty = true; // until all is there
            self.storage.append(rest)?;
            (self.is_dirty, self.written) = (false, self.pending.len());
        }
        Ok(())
    }

    /// Makes all records durable.
    ///
    /// # Errors
    /// What the storage says. Nothing that was not durable before counts as such then.
    pub fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        if !self.pending.is_empty() {
            self.is_dirty = true; // what a failed sync leaves is not known
            self.storage.sync()?;
            self.is_dirty = false;
            self.durable += self.pending.len() as u64;
            self.pending.clear();
            self.written = 0;
        }
        self.put_head()
    }

    /// Signs all records, makes them durable, and begins another file where this one is full.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn checkpoint(&mut self, now: SystemTime) -> io::Result<()> {
        if self.head_due.is_some() {
            self.sync()?; // one that failed before
        }
        if self.unsigned > 0 {
            self.sign(&timestamp(now));
        }
        self.sync()?;
        if self.durable >= self.bytes_max {
            self.storage.rotate(&format!("audit-{:012}.jsonl", self.first))?;
            (self.durable, self.first) = (0, self.seq + 1);
        }
        Ok(())
    }

    fn sign(&mut self, time: &str) {
        self.head += 1;
        let prev = chain::hex(&self.hash);
        let signed = Signed { log: &self.id, head: self.head, seq: self.seq + 1, prev: &prev, time };
        let signature = self.signer.sign(&signed.text());
        let detail = [("log", json!(self.id)), ("head", json!(self.head)), ("signature", json!(signature))];
        self.append_at(time, &Record::new(Kind::Checkpoint).with_detail(detail));
        self.head_due = Some(self.head_of(time));
        self.unsigned = 0;
    }

    /// The head for the last record, a checkpoint.
    fn head_of(&self, time: &str) -> Head {
        let (log, time, hash) = (self.id.clone(), time.to_owned(), chain::hex(&self.hash));
        Head::signed(
            &self.signer,
            Head { v: VERSION, log, head: self.head, seq: self.seq, hash, time, signature: String::new() },
        )
    }

    /// Replaces the head if its record is durable.
    fn put_head(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() || self.head_due.is_none() {
            return Ok(());
        }
        let head = serde_json::to_vec(&self.head_due).map_err(io::Error::other)?;
        self.storage.replace(HEAD, &head)?;
        self.head_due = None;
        Ok(())
    }
}

/// Whether there is no record yet.
fn is_new(storage: &dyn Storage) -> io::Result<bool> {
    let has_current = storage.read(CURRENT)?.is_some_and(|current| current.contains(&b'\n'));
    let names = storage.names()?;
    Ok(!has_current && rotated(&names).is_empty() && !names.iter().any(|name| name == HEAD))
}

fn arguments_key(storage: &mut dyn Storage) -> Result<ArgumentsKey, LogError> {
    let key = match storage.read(ARGUMENTS_KEY)? {
        Some(key) => key,
        None => {
            let mut key = vec![0; 32];
            SystemRandom::new().fill(&mut key).map_err(|_| LogError::Random)?;
            storage.create(ARGUMENTS_KEY, &key)?;
            key
        }
    };
    Ok(ArgumentsKey(hmac::Key::new(hmac::HMAC_SHA256, &key)))
}
