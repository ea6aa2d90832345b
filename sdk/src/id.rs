//! Ids that grow with time.
//!
//! 24 characters of Crockford's base 32 in lower case: 11 of the time in microseconds, so that later ids are greater, and 13 of
//! random bits, so that nobody guesses one.

use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many characters an id has.
pub const LENGTH: usize = 24;

const TIME_LENGTH: usize = 11;

/// Digits in the order of their bytes; without `i`, `l`, `o` and `u`.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A new id.
///
/// ```
/// use tessera_sdk::id;
///
/// assert!(id::is_id(&id::new()));
/// ```
pub fn new() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    from_parts(u64::try_from(since.as_micros()).unwrap_or(u64::MAX), random())
}

/// Whether a text could be an id.
pub fn is_id(text: &str) -> bool {
    text.len() == LENGTH && text.bytes().all(|byte| DIGITS.contains(&byte))
}

fn from_parts(time_us: u64, random: u128) -> String {
    let mut id = String::with_capacity(LENGTH);
    push(&mut id, u128::from(time_us), TIME_LENGTH);
    push(&mut id, random, LENGTH - TIME_LENGTH);
    id
}

/// The lowest bits of a number, five to a digit, the highest first.
fn push(id: &mut String, bits: u128, digits: usize) {
    for place in (0..digits).rev() {
        let digit = (bits >> (5 * place)) & 31;
        id.push(char::from(DIGITS[digit as usize]));
    }
}

/// What the system's randomness gives through the standard library: SipHash under keys of 128 random bits, others at each call.
fn random() -> u128 {
    let keys = RandomState::new();
    u128::from(keys.hash_one(0_u8)) << 64 | u128::from(keys.hash_one(1_u8))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_in_the_order_of_their_times() {
        let times = [0, 1, 31, 32, 1_700_000_000_000_000, (1 << 55) - 1];
        let ids: Vec<String> = times.iter().map(|&time| from_parts(time, u128::MAX - u128::from(time))).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        assert_eq!(ids[0], "00000000000zzzzzzzzzzzzz");
    }

    #[test]
    fn no_two_ids_are_the_same() {
        let ids: BTreeSet<String> = (0..1000).map(|_| new()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| is_id(id)));
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in [
            "",
            "0",
            "0000000000zzzzzzzzzzzzz",
            "0000000000zzzzzzzzzzzzzzz",
            "0000000000zzzzzzzzzzzzz/",
            "O000000000zzzzzzzzzzzzzz",
        ] {
            assert!(!is_id(text), "{text}");
        }
    }
}
