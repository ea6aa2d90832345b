//! Signatures of components: what is signed, with what key, and how both are written down.
//!
//! Signatures are Ed25519 (RFC 8032). Keys of people stay with them, in PKCS#8 (RFC 5958); the server knows public keys alone.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{ComponentName, Digest};

/// How public keys begin.
const PREFIX: &str = "ed25519:";
/// The first and the last line of a signing key in text.
const PEM_LINES: [&str; 2] = ["-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"];

/// What a signature is about: one version of one component, with every byte of its two files.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// The component.
    pub name: &'a ComponentName,
    /// Its version.
    pub version: &'a Version,
    /// SHA-256 of `component.toml`.
    pub manifest: Digest,
    /// SHA-256 of `component.wasm`.
    pub code: Digest,
}

impl Statement<'_> {
    /// The signed text. Its first line says what it is, so that it can't be taken for anything else that a key has signed; no
    /// name, version or digest holds a line break.
    pub fn text(&self) -> String {
        let Statement { name, version, manifest, code } = self;
        format!("tessera component v1\nname {name}\nversion {version}\ncomponent.toml {manifest}\ncomponent.wasm {code}\n")
    }
}

/// Why a key can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignerKeyError {
    /// The text is no public key.
    #[error("`{0}` is no public key: write `ed25519:` and the 32 bytes in base64, as `tessera sign --new-key` prints them")]
    Public(String),
    /// The bytes are no signing key.
    #[error("it is no Ed25519 key in PKCS#8: `tessera sign --new-key FILE` makes one")]
    Private,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// A key that checks signatures, written `ed25519:` and its bytes in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl FromStr for PublicKey {
    type Err = SignerKeyError;

    fn from_str(text: &str) -> Result<PublicKey, SignerKeyError> {
        let bytes = text.strip_prefix(PREFIX).and_then(|key| BASE64_STANDARD.decode(key).ok());
        let key = bytes.and_then(|bytes| bytes.try_into().ok()).map(PublicKey);
        key.ok_or_else(|| SignerKeyError::Public(text.chars().take(80).collect()))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE64_STANDARD.encode(self.0))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = SignerKeyError;

    fn try_from(text: String) -> Result<PublicKey, SignerKeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.to_string()
    }
}

/// A key that signs. It shows nothing of itself.
pub struct SigningKey(Ed25519KeyPair);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

impl SigningKey {
    /// Makes a key; gives the text that a file of it holds, to be kept from everybody else.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate() -> Result<String, SignerKeyError> {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| SignerKeyError::Random)?;
        Ok(format!("{}\n{}\n{}\n", PEM_LINES[0], BASE64_STANDARD.encode(key), PEM_LINES[1]))
    }

    /// Reads a key from what a file holds, text (PEM) or not (DER).
    ///
    /// # Errors
    /// When it is no Ed25519 key in PKCS#8.
    pub fn parse(file: &[u8]) -> Result<SigningKey, SignerKeyError> {
        let text = std::str::from_utf8(file).ok().and_then(|text| text.trim().strip_prefix(PEM_LINES[0]));
        let decoded = text.and_then(|text| {
            let body: String = text.strip_suffix(PEM_LINES[1])?.split_whitespace().collect();
            BASE64_STANDARD.decode(body).ok()
        });
        let der = decoded.as_deref().unwrap_or(file);
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(SigningKey).map_err(|_| SignerKeyError::Private)
    }

    /// The key that checks what this one signs.
    pub fn public(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref().try_into();
        PublicKey(bytes.expect("a public key of Ed25519 has 32 bytes"))
    }

    /// Signs; `key` is the name by which `policies/signers.toml` knows the key.
    pub fn sign(&self, key: &str, statement: &Statement<'_>) -> Signature {
        let signature = BASE64_STANDARD.encode(self.0.sign(statement.text().as_bytes()));
        Signature { schema: 1, key: key.into(), signature }
    }
}

/// `component.sig`: the signature of a component, beside its two files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The format of this file: 1.
    schema: u32,
    /// The name of the key in `policies/signers.toml`.
    key: String,
    /// The 64 bytes in base64.
    signature: String,
}

/// Why `component.sig` can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The text is not a signature.
    #[error("{0}")]
    Malformed(toml::de::Error),
    /// The file is of another version of the format.
    #[error("it has schema {0}; this version of tessera reads schema 1")]
    Schema(u32),
}

impl Signature {
    /// Reads `component.sig`.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(text: &str) -> Result<Signature, SignatureError> {
        let signature: Signature = toml::from_str(text).map_err(SignatureError::Malformed)?;
        if signature.schema == 1 { Ok(signature) } else { Err(SignatureError::Schema(signature.schema)) }
    }

    /// The text of `component.sig`.
    pub fn to_text(&self) -> String {
        // A text of JSON is one of TOML as well.
        let [key, signature] = [&self.key, &self.signature].map(|text| serde_json::Value::from(text.as_str()));
        format!("schema = {}\nkey = {key}\nsignature = {signature}\n", self.schema)
    }

    /// The name of the key that made it, as it says itself.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether the key made it, and about this.
    pub fn is_of(&self, key: &PublicKey, statement: &Statement<'_>) -> bool {
        let Ok(bytes) = BASE64_STANDARD.decode(&self.signature) else { return false };
        UnparsedPublicKey::new(&ED25519, key.0).verify(statement.text().as_bytes(), &bytes).is_ok()
    }
}

/// The name of a key, from that of its file: what stands before the first dot.
pub fn key_name(file: &Path) -> Option<&str> {
    let name = file.file_name()?.to_str()?.split('.').next()?;
    is_key_name(name).then_some(name)
}

/// Whether a key can be called this in `policies/signers.toml`.
pub(crate) fn is_key_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=64).contains(&name.len()) && name.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test 2 of RFC 8032, section 7.1, as PKCS#8 version 1.
    const RFC_SECRET: &str = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
    const RFC_PUBLIC: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";

    fn bytes(hex: &str) -> Vec<u8> {
        let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
        (0..hex.len()).step_by(2).map(pair).collect()
    }

    fn key() -> SigningKey {
        SigningKey::parse(SigningKey::generate().expect("a key").as_bytes()).expect("reads back")
    }

    #[test]
    fn a_key_of_the_standard_has_its_public_key() {
        let der = [bytes("302e020100300506032b657004220420"), bytes(RFC_SECRET)].concat();
        let key = SigningKey::parse(&der).expect("a key");
        assert_eq!(key.public().0.as_slice(), bytes(RFC_PUBLIC));
        let text = format!("{}\n{}\n{}", PEM_LINES[0], BASE64_STANDARD.encode(&der), PEM_LINES[1]);
        assert_eq!(SigningKey::parse(text.as_bytes()).expect("a key").public(), key.public());
        assert_eq!(key.public().to_string().parse(), Ok(key.public()));
        assert!(!format!("{key:?}").contains("4ccd") && format!("{key:?}").contains("ed25519:"));
    }

    #[test]
    fn a_statement_is_signed_as_it_is_written() {
        let (name, version) = ("chat".parse().expect("a name"), Version::new(1, 2, 3));
        let (manifest, code) = (Digest::of(b"a"), Digest::of(b"b"));
        let statement = Statement { name: &name, version: &version, manifest, code };
        let text =
            format!("tessera component v1\nname chat\nversion 1.2.3\ncomponent.toml {manifest}\ncomponent.wasm {code}\n");
        assert_eq!(statement.text(), text);
        let (key, other) = (key(), key());
        let signature = key.sign("ops", &statement);
        let signature = Signature::parse(&signature.to_text()).expect("reads back");
        assert!(signature.is_of(&key.public(), &statement) && signature.key() == "ops");
        assert!(!signature.is_of(&other.public(), &statement));
        let (another, newer) = ("chat2".parse().expect("a name"), Version::new(1, 2, 4));
        for changed in [
            Statement { name: &another, ..statement },
            Statement { version: &newer, ..statement },
            Statement { manifest: code, ..statement },
            Statement { code: manifest, ..statement },
        ] {
            assert!(!signature.is_of(&key.public(), &changed), "{changed:?}");
        }
    }

    #[test]
    fn what_is_no_signature_or_key_is_refused() {
        for text in [
            "",
            "schema = 1",
            "schema = 1\nkey = 1\nsignature = \"\"",
            "schema = 1\nkey = \"a\"\nsignature = \"\"\nx = 1",
            "\0",
        ] {
            assert!(matches!(Signature::parse(text), Err(SignatureError::Malformed(_))), "{text}");
        }
        let other = Signature::parse("schema = 2\nkey = \"a\"\nsignature = \"\"");
        assert_eq!(other, Err(SignatureError::Schema(2)));
        for text in ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA", "ed25519:?"] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
        for file in [&b""[..], b"x", PEM_LINES.join("\n").as_bytes(), &[0x30; 48]] {
            assert_eq!(SigningKey::parse(file).map(|key| key.public()), Err(SignerKeyError::Private));
        }
        let (name, version, digest) = ("a".parse().expect("a name"), Version::new(1, 0, 0), Digest::of(b""));
        let statement = Statement { name: &name, version: &version, manifest: digest, code: digest };
        for signature in ["", "?", "AAAA"] {
            let signature = Signature { schema: 1, key: "a".into(), signature: signature.into() };
            assert!(!signature.is_of(&key().public(), &statement));
        }
    }

    #[test]
    fn a_key_is_named_by_its_file() {
        assert_eq!(key_name("keys/ops-2026.pem".as_ref()), Some("ops-2026"));
        assert_eq!(key_name("ops".as_ref()), Some("ops"));
        for file in [".pem", "a b.pem", "..", "/"] {
            assert_eq!(key_name(file.as_ref()), None, "{file}");
        }
    }
}
