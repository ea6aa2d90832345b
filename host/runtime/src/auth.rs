//! Who calls: a request's credential, and the caller that it stands for.
//!
//! A key is looked up by its hash in a table that is replaced as a whole when the file of keys changes; a token is verified once
//! and then known by its hash until it expires. Neither takes a lock that anybody waits for.

mod credential;
mod issuer;
mod keys;
mod tenants;
mod verified;

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ::http::{HeaderMap, Method};
use arc_swap::ArcSwap;
use policy::{Caller, KeyError, Keys, Route, Scope, Tenant, Tenants, digest_of_key, issuer_of};

use self::credential::Credential;
use self::issuer::Issuer;
use self::keys::KeyTable;
use self::tenants::Accounts;
use self::verified::VerifiedTokens;
use crate::audit::Audit;
use crate::config::ServerConfig;
use crate::telemetry::Metrics;

pub(crate) use self::credential::strip;

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has no credential.
    Missing,
    /// Its credential is none that is known here, is revoked, or is one of several that differ.
    Invalid,
    /// The time of its credential is over.
    Expired,
    /// There are too many tenants to keep another one's book.
    TooManyTenants,
}

/// All that lets callers in, where credentials are required.
pub(crate) struct Auth {
    public: Vec<Route>,
    keys: ArcSwap<KeyTable>,
    issuers: Vec<Arc<Issuer>>,
    verified: Arc<VerifiedTokens>,
    accounts: Accounts,
}

impl Auth {
    /// Reads the keys; none where nobody has to say who they are.
    ///
    /// # Errors
    /// When the file of keys is unreadable or malformed.
    pub(crate) fn new(config: &ServerConfig, tenants: &Tenants, metrics: &Arc<Metrics>) -> Result<Option<Auth>, KeyError> {
        if !config.needs_credentials() {
            return Ok(None);
        }
        let keys = Keys::read(&config.keys_file())?;
        if keys.iter().next().is_none() && config.auth.oidc.is_empty() {
            tracing::warn!("nobody has a key: `tessera key create --tenant NAME` makes one, and counts at once");
        }
        let verified = Arc::<VerifiedTokens>::default();
        let issuer = |config| Arc::new(Issuer::new(config, verified.clone()));
        Ok(Some(Auth {
            public: config.auth.public.clone(),
            keys: ArcSwap::from_pointee(KeyTable::new(&keys)),
            issuers: config.auth.oidc.iter().map(issuer).collect(),
            verified,
            accounts: Accounts::new(tenants.clone(), metrics.clone()),
        }))
    }

    /// The tenants' policies from now on.
    pub(crate) fn govern(&self, tenants: &Tenants) {
        self.accounts.govern(tenants);
    }

    /// Whether requests for a path need no credential, in this spelling of it.
    pub(crate) fn is_public(&self, method: &Method, path: &str) -> bool {
        self.public.iter().any(|route| takes(route, method, path))
    }

    /// The caller that a request's credential stands for; without one the public, where that is let in. A credential that is sent
    /// is checked on public routes as well.
    ///
    /// # Errors
    /// Why it is not let in.
    pub(crate) async fn caller(&self, headers: &HeaderMap, is_public: bool) -> Result<Caller, Refusal> {
        match credential::of(headers)? {
            None if is_public => self.public_caller(),
            None => Err(Refusal::Missing),
            Some(Credential::Key(text)) => self.with_key(text),
            Some(Credential::Token(text)) => self.with_token(text).await,
        }
    }

    fn public_caller(&self) -> Result<Caller, Refusal> {
        let tenant: Tenant = "public".parse().map_err(|_| Refusal::Missing)?;
        self.accounts.caller("public".into(), tenant, Arc::new(Scope::everything()))
    }

    fn with_key(&self, text: &str) -> Result<Caller, Refusal> {
        let keys = self.keys.load();
        let key = keys.find(&digest_of_key(text)).ok_or(Refusal::Invalid)?;
        if key.expires.is_some_and(|expires| expires <= now()) {
            return Err(Refusal::Expired);
        }
        self.accounts.caller(key.caller.clone(), key.tenant.clone(), key.scope.clone())
    }

    async fn with_token(&self, text: &str) -> Result<Caller, Refusal> {
        let digest = digest_of_key(text);
        let known = match self.verified.find(&digest, SystemTime::now()) {
            Some(known) => known,
            None => {
                let named = issuer_of(text).ok_or(Refusal::Invalid)?;
                let issuer = self.issuers.iter().find(|issuer| issuer.name() == named).ok_or(Refusal::Invalid)?;
                issuer.verify(text, digest).await?
            }
        };
        self.accounts.caller(known.caller.clone(), known.tenant.clone(), known.scope.clone())
    }
}

/// Whether a route is what a request asks for.
fn takes(route: &Route, method: &Method, path: &str) -> bool {
    let is_method = match route.method() {
        policy::Method::Any => true,
        policy::Method::One(one) => one == method.as_str() || one == "GET" && *method == Method::HEAD,
    };
    let is_below = || path.strip_prefix(route.path()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    is_method && if route.is_prefix() { is_below() } else { path == route.path() }
}

/// Takes the keys as the file says them now. One that is malformed changes nothing: the operator is told, and what held before
/// still holds. False where it can't be read, which may be otherwise soon.
pub(crate) fn reload_keys(auth: &Auth, file: &Path, audit: &Audit) -> bool {
    match Keys::read(file) {
        Ok(keys) => {
            tracing::info!(keys = keys.iter().count(), "the keys have changed");
            let keys = Arc::new(KeyTable::new(&keys));
            let before = auth.keys.swap(keys.clone());
            keys::tell(&before, &keys, audit);
        }
        Err(error) => {
            tracing::error!("the keys are not taken, the ones before still hold: {error}");
            return !matches!(error, KeyError::File { .. });
        }
    }
    true
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_route_opens_exactly_the_path_that_it_names() {
        let public = ["GET /health", "POST /c/echo/echo", "* /ui/*"].map(|route| route.parse::<Route>().expect("a route"));
        let is_public = |method: Method, path: &str| public.iter().any(|route| takes(route, &method, path));
        let get = |path: &str| is_public(Method::GET, path);
        assert!(get("/health") && is_public(Method::HEAD, "/health") && !is_public(Method::POST, "/health"));
        assert!(is_public(Method::POST, "/c/echo/echo") && !get("/c/echo/echo"));
        assert!(get("/ui") && get("/ui/") && get("/ui/a/b") && is_public(Method::PUT, "/ui/a"));
        for path in
            ["/health/", "/health/x", "//health", "/Health", "/%68ealth", "/uix", "/x/../health", "/c/echo", "/echo", ""]
        {
            assert!(!get(path), "{path}");
        }
    }
}
