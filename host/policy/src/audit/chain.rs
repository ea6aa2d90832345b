//! How one line names the line before it.

use sha2::{Digest, Sha256};

pub(super) use crate::digest::hex;

/// SHA-256 of a line.
pub(super) type Hash = [u8; 32];

/// What the first line names.
pub(super) const BEFORE_ALL: Hash = [0; 32];

/// Tells these hashes from all others that are made of the same bytes.
const DOMAIN: &[u8] = b"tessera audit line 1\0";

/// The hash of a line, without its newline.
pub(super) fn hash(line: &[u8]) -> Hash {
    Sha256::new().chain_update(DOMAIN).chain_update(line).finalize().into()
}

/// The bytes that hexadecimal digits stand for.
pub(super) fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = hex.as_bytes().chunks(2).map(|pair| match *pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_for_their_bytes() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes(&hex(&all)), Some(all));
        for text in ["0", "0g", "0x", "é"] {
            assert_eq!(bytes(text), None);
        }
    }
}
