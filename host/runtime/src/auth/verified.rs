//! Tokens that were verified, by their hash.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use policy::{Scope, Tenant, VerifiedToken};

/// Most tokens that are remembered.
const TOKENS_MAX: usize = 10_000;

/// What a verified token stands for.
#[derive(Debug)]
pub(super) struct KnownToken {
    pub(super) caller: Arc<str>,
    pub(super) tenant: Tenant,
    pub(super) scope: Arc<Scope>,
    expires: SystemTime,
}

/// Verified tokens until they expire, so that a signature is checked once and not for each request.
#[derive(Default)]
pub(super) struct VerifiedTokens(Mutex<HashMap<[u8; 32], Arc<KnownToken>>>);

impl VerifiedTokens {
    /// A token that was verified and has time left.
    pub(super) fn find(&self, digest: &[u8; 32], now: SystemTime) -> Option<Arc<KnownToken>> {
        self.lock().get(digest).filter(|token| token.expires > now).cloned()
    }

    /// Remembers a token.
    pub(super) fn add(&self, digest: [u8; 32], token: VerifiedToken, now: SystemTime) -> Arc<KnownToken> {
        let VerifiedToken { caller, tenant, scope, expires } = token;
        let known = Arc::new(KnownToken { caller: caller.into(), tenant, scope: Arc::new(scope), expires });
        let mut tokens = self.lock();
        if tokens.len() >= TOKENS_MAX {
            tokens.retain(|_, token| token.expires > now);
        }
        if tokens.len() >= TOKENS_MAX {
            tokens.clear(); // they are verified again
        }
        tokens.insert(digest, known.clone());
        known
    }

    /// Forgets all: an issuer may have taken a key back.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Arc<KnownToken>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn token(expires: u64) -> VerifiedToken {
        let tenant = "acme".parse().expect("a name");
        VerifiedToken { caller: "oidc:a#b".into(), tenant, scope: Scope::everything(), expires: at(expires) }
    }

    #[test]
    fn a_token_is_known_until_it_expires() {
        let tokens = VerifiedTokens::default();
        tokens.add([1; 32], token(10), at(0));
        assert!(tokens.find(&[1; 32], at(9)).is_some_and(|token| &*token.caller == "oidc:a#b"));
        assert!(tokens.find(&[1; 32], at(10)).is_none() && tokens.find(&[2; 32], at(0)).is_none());
        tokens.forget();
        assert!(tokens.find(&[1; 32], at(0)).is_none());
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let tokens = VerifiedTokens::default();
        let digest = |number: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_le_bytes());
            digest
        };
        for number in 0..TOKENS_MAX {
            tokens.add(digest(number), token(if number == 7 { 100 } else { 10 }), at(0));
        }
        tokens.add(digest(TOKENS_MAX), token(100), at(50));
        assert_eq!(tokens.lock().len(), 2, "those that are over are dropped first");
        for number in 0..2 * TOKENS_MAX {
            tokens.add(digest(number), token(100), at(50));
            assert!(tokens.lock().len() <= TOKENS_MAX);
        }
    }
}
