//! Checkpoints: who signs them, and what is signed.

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use super::{Files, LogError, PUBLIC_KEY, SIGNING_KEY, Storage, VERSION, chain};

/// The key of a log.
pub(super) struct Signer {
    pair: Ed25519KeyPair,
}

impl Signer {
    /// Takes the key of a folder, or makes one where the log is to begin.
    pub(super) fn open(storage: &mut dyn Storage, may_begin: bool) -> Result<Signer, LogError> {
        let kept = storage.read(SIGNING_KEY)?;
        let key = match kept {
            Some(key) => key,
            None if !may_begin => return Err(LogError::NoKey),
            None => {
                let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| LogError::Random)?;
                storage.create(SIGNING_KEY, key.as_ref())?;
                key.as_ref().to_vec()
            }
        };
        let pair = Ed25519KeyPair::from_pkcs8(&key).map_err(|_| LogError::Key)?;
        let signer = Signer { pair };
        if storage.read(PUBLIC_KEY)?.is_none() {
            storage.create(PUBLIC_KEY, format!("{}\n", signer.public_key()).as_bytes())?;
        }
        Ok(signer)
    }

    /// What checks its signatures, in hexadecimal digits.
    pub(super) fn public_key(&self) -> String {
        chain::hex(self.pair.public_key().as_ref())
    }

    /// A signature, in hexadecimal digits.
    pub(super) fn sign(&self, text: &str) -> String {
        chain::hex(self.pair.sign(text.as_bytes()).as_ref())
    }
}

/// The public key of a folder, if it has one.
pub(super) fn public_key(files: &dyn Files) -> std::io::Result<Option<String>> {
    let key = files.read(PUBLIC_KEY)?;
    Ok(key.map(|key| String::from_utf8_lossy(&key).trim().to_owned()))
}

/// Whether a text has a good signature by a key; both in hexadecimal digits.
pub(super) fn is_signed(public_key: &str, text: &str, signature: &str) -> bool {
    let (Some(key), Some(signature)) = (chain::bytes(public_key), chain::bytes(signature)) else { return false };
    UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &signature).is_ok()
}

/// What a checkpoint signs.
pub(super) struct Signed<'a> {
    /// The log's id.
    pub(super) log: &'a str,
    /// The counter: one more at each checkpoint.
    pub(super) head: u64,
    /// The checkpoint's own number.
    pub(super) seq: u64,
    /// The hash of the line before.
    pub(super) prev: &'a str,
    /// When it was made.
    pub(super) time: &'a str,
}

impl Signed<'_> {
    pub(super) fn text(&self) -> String {
        let Signed { log, head, seq, prev, time } = self;
        format!("tessera audit checkpoint 1\n{log}\n{head}\n{seq}\n{prev}\n{time}\n")
    }
}

/// `head.json`: the newest checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    pub(super) v: u32,
    /// The log's id.
    pub(super) log: String,
    /// The checkpoint's counter.
    pub(super) head: u64,
    /// Its record's number.
    pub(super) seq: u64,
    /// The hash of its line.
    pub(super) hash: String,
    /// When it was made.
    pub(super) time: String,
    /// Over all of this.
    pub(super) signature: String,
}

impl Head {
    /// The same, signed.
    pub(super) fn signed(signer: &Signer, head: Head) -> Head {
        Head { signature: signer.sign(&head.text()), ..head }
    }

    /// Reads `head.json`; none where it is no head or not signed by this key.
    pub(super) fn parse(bytes: &[u8], public_key: &str) -> Option<Head> {
        let head: Head = serde_json::from_slice(bytes).ok()?;
        (head.v == VERSION && is_signed(public_key, &head.text(), &head.signature)).then_some(head)
    }

    fn text(&self) -> String {
        let Head { v, log, head, seq, hash, time, .. } = self;
        format!("tessera audit head {v}\n{log}\n{head}\n{seq}\n{hash}\n{time}\n")
    }
}
