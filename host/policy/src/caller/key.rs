//! Keys: what a client shows to be let in, and the file that knows them.
//!
//! A key is `tessera_`, an id of 8 characters, `_`, and 32 random bytes in base64url. The file keeps the SHA-256 of each and
//! never the key: with so many random bits nobody finds a key by trying, so that a slow hash, as for passwords, would only make
//! requests slow.

mod file;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::file::{KeyError, Keys, rfc3339};
use super::label::Labels;
use super::scope::{Scope, Selection};
use crate::name::{ComponentName, ModelName, Tenant};

/// What every key begins with, so that people and scanners of leaks know one.
const PREFIX: &str = "tessera_";

/// Characters of an id: no two that look the same, and 32 of them.
const ID_ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Random bytes of an id, and characters that they give: five bits each.
const ID_BYTES: usize = 5;
const ID_CHARACTERS: usize = 8;

/// Random bytes of what is secret of a key.
const SECRET_BYTES: usize = 32;

/// Longest name of a key, in characters.
const NAME_CHARACTERS_MAX: usize = 64;

/// The public part of a key, by which people name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

impl KeyId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<KeyId, KeyError> {
        let is_id = text.len() == ID_CHARACTERS && text.bytes().all(|byte| ID_ALPHABET.contains(&byte));
        if is_id { Ok(KeyId(text.into())) } else { Err(KeyError::NoId(text.chars().take(80).collect())) }
    }
}

impl TryFrom<String> for KeyId {
    type Error = KeyError;

    fn try_from(text: String) -> Result<KeyId, KeyError> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> String {
        id.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key as the file knows it. Times are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// Whose requests come with it.
    pub tenant: Tenant,
    /// What it allows.
    pub scope: Scope,
    /// SHA-256 of it.
    pub digest: [u8; 32],
    /// When it was made.
    pub created: u64,
    /// When it lets nobody in any more.
    pub expires: Option<u64>,
    /// When it was revoked.
    pub revoked: Option<u64>,
}

/// A key that is to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What people call it; may be empty.
    pub name: String,
    /// Whose requests come with it.
    pub tenant: Tenant,
    /// Components that it lets ask.
    pub components: Selection<ComponentName>,
    /// Models that may run for it.
    pub models: Selection<ModelName>,
    /// Whether it is an operator's.
    pub is_admin: bool,
    /// Which documents it finds.
    pub labels: Labels,
    /// Seconds for which it is good; none is for ever.
    pub seconds: Option<u64>,
}

impl NewKey {
    /// Makes the key, at this time in seconds since 1970: what the file keeps, and the text that is shown once.
    ///
    /// # Errors
    /// When the name is too long or has characters that move a terminal's cursor, or the system gives no random numbers.
    pub fn make(self, now: u64) -> Result<(Key, String), KeyError> {
        if self.name.chars().count() > NAME_CHARACTERS_MAX || self.name.chars().any(char::is_control) {
            return Err(KeyError::Name(NAME_CHARACTERS_MAX));
        }
        let mut random = [0; ID_BYTES + SECRET_BYTES];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random).map_err(|_| KeyError::Random)?;
        let (id, secret) = random.split_at(ID_BYTES);
        let id = id_of(id);
        let text = format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret));
        let scope = Scope { components: self.components, models: self.models, is_admin: self.is_admin, labels: self.labels };
        let expires = self.seconds.map(|seconds| now.saturating_add(seconds));
        let digest = digest_of_key(&text);
        Ok((Key { id, name: self.name, tenant: self.tenant, scope, digest, created: now, expires, revoked: None }, text))
    }
}

/// Five bits make a character.
fn id_of(random: &[u8]) -> KeyId {
    let bits = random.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    let character = |place: usize| char::from(ID_ALPHABET[(bits >> (5 * place) & 31) as usize]);
    KeyId((0..ID_CHARACTERS).map(character).collect())
}

/// What a key is known by: SHA-256 of the whole text that a client sends.
pub fn digest_of_key(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

impl Key {
    /// Whether it lets nobody in at this time, in seconds since 1970, because its own time is over.
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_key() -> NewKey {
        NewKey {
            name: "a laptop".into(),
            tenant: "acme".parse().expect("a name"),
            components: Selection::All,
            models: Selection::All,
            is_admin: false,
            labels: Labels::default(),
            seconds: Some(10),
        }
    }

    #[test]
    fn a_key_is_a_prefix_an_id_and_256_random_bits() {
        let (key, text) = new_key().make(100).expect("a key");
        let parts: Vec<&str> = text.splitn(3, '_').collect();
        assert_eq!((parts[0], parts[1], parts[2].len()), ("tessera", key.id.as_str(), 43));
        assert_eq!(key.digest, digest_of_key(&text));
        assert_eq!((key.created, key.expires, key.revoked), (100, Some(110), None));
        assert!(!key.is_expired(109) && key.is_expired(110));
        let (other, other_text) = new_key().make(100).expect("a key");
        assert!(other.id != key.id && other_text != text && other.digest != key.digest);
        assert_eq!(key.id.as_str().parse::<KeyId>().expect("an id"), key.id);
    }

    #[test]
    fn a_name_that_could_forge_a_line_is_refused() {
        for name in ["a\nb", "\u{1b}[31m", &"x".repeat(65)] {
            assert!(matches!(NewKey { name: name.into(), ..new_key() }.make(0), Err(KeyError::Name(64))), "{name:?}");
        }
        assert!(NewKey { name: "ä".repeat(64), ..new_key() }.make(0).is_ok());
    }

    #[test]
    fn an_id_has_eight_characters_of_its_alphabet() {
        assert_eq!(id_of(&[0; 5]).as_str(), "aaaaaaaa");
        assert_eq!(id_of(&[255; 5]).as_str(), "99999999");
        for text in ["", "aaaaaaa", "aaaaaaaaa", "AAAAAAAA", "aaaaaaa_", "aaaaaaa\n", "aaaaaaa0"] {
            assert!(text.parse::<KeyId>().is_err(), "{text}");
        }
    }
}
