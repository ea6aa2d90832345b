//! The audit log: who did what, by which component, under which policy, in lines that vouch for each other.
//!
//! A folder holds `audit.jsonl`, which is written now, and `audit-N.jsonl`, which are full, N being the number of their first
//! record. Each line is one [`Entry`] in JSON with the SHA-256 of the line before, across files. Now and then a line is a
//! checkpoint: an Ed25519 signature over the number of the record, the hash before it, the time and a counter. The last one is
//! in `head.json` as well, with the hash of its line. So what was changed, taken out, put in, moved or cut off is told by
//! [`verify`], with the record and the file; what no checkpoint covers yet is told as the unsigned tail.
//!
//! Who can read `signing.key` can write another history. Who keeps a copy of `signing.pub` and of the head's counter elsewhere
//! sees that as well: both can be given to [`Checks`].

mod chain;
mod disk;
#[cfg(test)]
mod faulty;
mod log;
mod record;
mod sign;
mod tail;
#[cfg(test)]
mod tests;
mod verify;

use std::io;

pub use disk::{Disk, Folder};
pub use log::{ArgumentsKey, Log, LogError};
pub use record::{Counts, Decision, Entry, Kind, Record, Usage, shorten, timestamp};
pub use verify::{Checks, Finding, Recovered, Report, Torn, files, verify};

/// The file that is written.
pub const CURRENT: &str = "audit.jsonl";

/// The file with the newest checkpoint.
pub const HEAD: &str = "head.json";

/// The file with the key that checks signatures, in hexadecimal digits.
pub const PUBLIC_KEY: &str = "signing.pub";

/// The file with the key that signs, in PKCS#8.
const SIGNING_KEY: &str = "signing.key";

/// The file with the key of the digests of arguments.
const ARGUMENTS_KEY: &str = "arguments.key";

/// Version of the format.
const VERSION: u32 = 1;

/// The files of a log, to read.
pub trait Files {
    /// Names of all files, in any order; none where there is no such folder.
    ///
    /// # Errors
    /// When the folder can't be listed.
    fn names(&self) -> io::Result<Vec<String>>;

    /// What a file holds; `None` where there is none.
    ///
    /// # Errors
    /// When it can't be read.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
}

/// Where a log is kept. After an error a call is made again, and has to do what it left undone.
pub trait Storage: Files + Send {
    /// Puts bytes at the end of [`CURRENT`]. They need not be durable; after an error some of them may be there.
    ///
    /// # Errors
    /// When not all were written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes all of [`CURRENT`] durable.
    ///
    /// # Errors
    /// When that is not certain.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts [`CURRENT`] to a length in bytes.
    ///
    /// # Errors
    /// When it may be longer still.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Gives [`CURRENT`] this name, durably, and begins an empty one.
    ///
    /// # Errors
    /// When one of the two is not done.
    fn rotate(&mut self, name: &str) -> io::Result<()>;

    /// Makes a file that others can't read, durably and as a whole or not at all.
    ///
    /// # Errors
    /// When it could not be made, or is there already.
    fn create(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Puts other bytes into the place of a file, durably: at every moment the file is the old one or the new one.
    ///
    /// # Errors
    /// When it may be the old one.
    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
}
