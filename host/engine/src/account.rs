//! Whose work a job is. The engine tells what was used and asks for memory; what is allowed is decided elsewhere.

use std::fmt;
use std::sync::Arc;

use crate::engine::JobError;

/// Whose work a job is: told what it used, asked before it takes device memory. Implemented by whoever keeps the books.
///
/// The engine's threads call it, and the device waits for the answer: every method returns at once and does not panic.
pub trait Account: Send + Sync + 'static {
    /// Sets device memory aside, in bytes; false refuses the job with [`JobError::Quota`].
    fn hold(&self, bytes: usize) -> bool;

    /// Gives memory back that was held, in bytes.
    fn release(&self, bytes: usize);

    /// Counts what a step used. False: the owner has used up what it may; a generation ends with [`JobError::Quota`], any
    /// other job goes on to its answer.
    fn charge(&self, charge: Charge) -> bool;
}

impl fmt::Debug for dyn Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Account")
    }
}

/// What one step used for one job. The charges of a job that was answered add up to what its answer tells of tokens, those
/// of all jobs to the time that the device worked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charge {
    /// Tokens of inputs or of a prompt that the model read, special tokens included.
    pub input_tokens: u64,
    /// Tokens generated, the one that ends a generation included.
    pub output_tokens: u64,
    /// The job's share of the step's time, by its share of the tokens in it, in nanoseconds.
    pub device_ns: u64,
}

/// Memory that an account has set aside. Dropping it gives the memory back.
pub(crate) struct Held {
    account: Arc<dyn Account>,
    bytes: usize,
}

impl Held {
    /// Has an account set memory aside, in bytes.
    ///
    /// # Errors
    /// When the account refuses.
    pub(crate) fn new(account: Arc<dyn Account>, bytes: usize) -> Result<Held, JobError> {
        if account.hold(bytes) { Ok(Held { account, bytes }) } else { Err(JobError::Quota) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.release(self.bytes);
    }
}

/// Splits a step's time by tokens. The parts add up to the whole.
pub(crate) fn shares(device_ns: u64, tokens: &[usize]) -> Vec<u64> {
    let total = tokens.iter().sum::<usize>().max(1) as u128;
    let (mut tokens_before, mut given_ns) = (0, 0);
    let share = |tokens: &usize| {
        tokens_before += *tokens as u128;
        let until_ns = (u128::from(device_ns) * tokens_before / total) as u64;
        until_ns - std::mem::replace(&mut given_ns, until_ns)
    };
    tokens.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_of_time_follow_the_tokens_and_add_up(
            device_ns in any::<u64>(),
            tokens in prop::collection::vec(1usize..10_000, 1..20),
        ) {
            let shares = shares(device_ns, &tokens);
            let total: usize = tokens.iter().sum();
            prop_assert_eq!(shares.iter().map(|share| u128::from(*share)).sum::<u128>(), u128::from(device_ns));
            for (share, tokens) in shares.iter().zip(&tokens) {
                let exact = u128::from(device_ns) * *tokens as u128 / total as u128;
                prop_assert!(u128::from(*share).abs_diff(exact) <= 1, "{share} of {device_ns}, not {exact}");
            }
        }
    }
}
