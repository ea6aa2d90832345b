//! An issuer of tokens: its keys, fetched when they are needed and kept while it is away.

mod fetch;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use policy::{KeySet, TenantSource, TokenError, TokenRules};
use tokio::time::Instant;

use super::Refusal;
use super::verified::{KnownToken, VerifiedTokens};
use crate::config::OidcConfig;

/// Shortest time between two fetches that tokens with unknown keys, or an issuer that is away, can bring about.
const AGAIN_MIN: Duration = Duration::from_secs(10);

/// An issuer of tokens.
pub(super) struct Issuer {
    rules: TokenRules,
    age_max: Duration,
    keys: ArcSwapOption<PublishedKeys>,
    fetching: Mutex<Fetching>,
    verified: Arc<VerifiedTokens>,
}

/// Keys as they were fetched.
struct PublishedKeys {
    set: KeySet,
    /// As it came.
    json: Vec<u8>,
    at: Instant,
}

#[derive(Default)]
struct Fetching {
    /// The fetch that is under way: all who need one wait for the same.
    under_way: Option<Shared<BoxFuture<'static, ()>>>,
    /// When the last one began that is not to be repeated at once.
    restrained_since: Option<Instant>,
}

/// Why keys are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// There are none yet, or they are old.
    Age,
    /// A token names one that is not among them.
    UnknownKey,
}

impl Issuer {
    pub(super) fn new(config: &OidcConfig, verified: Arc<VerifiedTokens>) -> Issuer {
        let tenant = match &config.tenant {
            Some(tenant) => TenantSource::Fixed(tenant.clone()),
            None => TenantSource::Claim(config.tenant_claim.clone()),
        };
        let rules = TokenRules {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            tenant,
            scope_claim: config.scope_claim.clone(),
            labels_claim: config.labels_claim.clone(),
        };
        let age_max = Duration::from_millis(config.jwks_ms_max);
        Issuer { rules, age_max, keys: ArcSwapOption::empty(), fetching: Mutex::default(), verified }
    }

    /// The issuer as its tokens name it.
    pub(super) fn name(&self) -> &str {
        &self.rules.issuer
    }

    /// Verifies a token and remembers it. A key that is not known is looked for at the issuer once.
    ///
    /// # Errors
    /// When the token is not good, or the issuer's keys are not to be had.
    pub(super) async fn verify(self: &Arc<Self>, token: &str, digest: [u8; 32]) -> Result<Arc<KnownToken>, Refusal> {
        // Who has some keys does not wait for newer ones.
        let renewal = if self.is_old() { self.fetch(Cause::Age) } else { None };
        let mut checked = self.check(token);
        if checked == Err(TokenError::UnknownKey) {
            if let Some(fetch) = renewal.or_else(|| self.fetch(Cause::UnknownKey)) {
                fetch.await;
            }
            checked = self.check(token); // without a fetch of its own too: another may just have ended
        }
        match checked {
            Ok(token) => Ok(self.verified.add(digest, token, SystemTime::now())),
            Err(TokenError::Expired) => Err(Refusal::Expired),
            Err(error) => {
                tracing::debug!(issuer = self.rules.issuer, %error, "a token is refused");
                Err(Refusal::Invalid)
            }
        }
    }

    fn is_old(&self) -> bool {
        self.keys.load().as_ref().is_none_or(|keys| keys.at.elapsed() > self.age_max)
    }

    fn check(&self, token: &str) -> Result<policy::VerifiedToken, TokenError> {
        let keys = self.keys.load();
        let keys = keys.as_ref().ok_or(TokenError::UnknownKey)?;
        self.rules.verify(token, &keys.set, SystemTime::now())
    }

    /// The fetch that is under way, or a new one; none where the last one was just now.
    fn fetch(self: &Arc<Self>, cause: Cause) -> Option<Shared<BoxFuture<'static, ()>>> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(under_way) = fetching.under_way.as_ref().filter(|fetch| fetch.peek().is_none()) {
            return Some(under_way.clone());
        }
        if cause == Cause::Age && !self.is_old() {
            return None; // one has just ended
        }
        if fetching.restrained_since.is_some_and(|since| since.elapsed() < AGAIN_MIN) {
            return None;
        }
        if cause == Cause::UnknownKey {
            fetching.restrained_since = Some(Instant::now());
        }
        let issuer = self.clone();
        // A task of its own: it goes on when those who wait for it are gone.
        let fetch = tokio::spawn(async move { issuer.renew().await }).map(drop).boxed().shared();
        fetching.under_way = Some(fetch.clone());
        Some(fetch)
    }

    /// Fetches the keys. Where that fails, those before still hold.
    async fn renew(&self) {
        let issuer = self.rules.issuer.clone();
        let fetched = tokio::task::spawn_blocking(move || fetch::keys(&issuer)).await;
        let fetched = fetched.unwrap_or_else(|error| Err(error.to_string()));
        let parsed = fetched.and_then(|json| KeySet::parse(&json).map(|set| (set, json)));
        match parsed {
            Ok((set, json)) => {
                let published = PublishedKeys { set, json, at: Instant::now() };
                let before = self.keys.swap(Some(Arc::new(published)));
                let is_same = |now: &PublishedKeys| before.as_ref().is_some_and(|before| before.json == now.json);
                if !self.keys.load().as_ref().is_some_and(|now| is_same(now)) {
                    self.verified.forget();
                    tracing::info!(issuer = self.rules.issuer, "has other keys than before");
                }
            }
            Err(error) => {
                let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
                fetching.restrained_since = Some(Instant::now());
                tracing::error!(issuer = self.rules.issuer, "its keys could not be fetched, those before still hold: {error}");
            }
        }
    }
}
