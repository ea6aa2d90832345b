//! Tokens of OpenID Connect: JSON Web Tokens ([RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)) that an issuer has signed.
//!
//! What is checked is what [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725) asks for: the algorithm is one of a list that has only
//! asymmetric ones, and the one of the key; issuer, audience and times are the expected ones.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::label::Labels;
use super::scope::Scope;
use crate::name::Tenant;

/// Longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// How far clocks may be apart, in seconds.
const LEEWAY_SECONDS: f64 = 60.0;

/// Most keys of an issuer.
const KEYS_MAX: usize = 100;

/// Longest subject, in bytes: what OpenID Connect allows.
const SUBJECT_BYTES_MAX: usize = 255;

/// Length of an RSA modulus in base64url, from 2048 bits to 8192: shorter ones are broken, longer ones take long to check.
const MODULUS_CHARACTERS: std::ops::RangeInclusive<usize> = 341..=1368;

/// What a token of an issuer has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRules {
    /// Who has to have made it: the claim `iss`.
    pub issuer: String,
    /// Whom it has to be for: one of the claim `aud`.
    pub audience: String,
    /// Whose requests come with it.
    pub tenant: TenantSource,
    /// The claim that limits it; without one it allows all that its tenant may do, and is no operator's.
    pub scope_claim: Option<String>,
    /// The claim that has the caller's labels; without one there are none.
    pub labels_claim: Option<String>,
}

/// Where the tenant of a token is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantSource {
    /// The same for all.
    Fixed(Tenant),
    /// The claim of this name.
    Claim(String),
}

/// The keys of an issuer, as it publishes them ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)).
#[derive(Debug, Clone, Default)]
pub struct KeySet(Vec<Jwk>);

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Who came with it, by an id that is unique among all callers: `oidc:ISSUER#SUBJECT`.
    pub caller: String,
    /// For whom.
    pub tenant: Tenant,
    /// What it allows.
    pub scope: Scope,
    /// When it lets nobody in any more.
    pub expires: SystemTime,
}

/// Why a token is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token of this issuer, or not signed by it, or not for this server.
    #[error("{0}")]
    Refused(&'static str),
    /// It names a key that the issuer has not, as far as is known: it may have a new one.
    #[error("it is signed with a key that its issuer does not publish")]
    UnknownKey,
    /// Its time is over.
    #[error("it is expired")]
    Expired,
}

/// What a token says of itself before anything is checked.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// Who has made a token, as it says itself; none if it is no token. Nothing is checked: it tells whose keys to check it with.
pub fn issuer_of(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    claims.get("iss")?.as_str().map(String::from)
}

impl KeySet {
    /// Reads a JSON Web Key Set. Keys of a kind that is not known here are left out.
    ///
    /// # Errors
    /// When it is none, or there are too many keys.
    pub fn parse(json: &[u8]) -> Result<KeySet, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json).map_err(|error| format!("it is no JSON Web Key Set: {error}"))?;
        if set.keys.len() > KEYS_MAX {
            return Err(format!("it holds {} keys, {KEYS_MAX} at most", set.keys.len()));
        }
        Ok(KeySet(set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect()))
    }

    /// The key that a token is signed with. Without a `kid` it has to be the only one.
    fn find(&self, kid: Option<&str>) -> Option<&Jwk> {
        match (kid, &self.0[..]) {
            (Some(kid), keys) => keys.iter().find(|key| key.common.key_id.as_deref() == Some(kid)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

impl TokenRules {
    /// Checks a token at this time: signature, issuer, audience, times.
    ///
    /// # Errors
    /// When anything of that is not as it should be.
    pub fn verify(&self, token: &str, keys: &KeySet, now: SystemTime) -> Result<VerifiedToken, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Refused("it is too long"));
        }
        let header = header(token).ok_or(TokenError::Refused("it is no JSON Web Token"))?;
        if header.crit.is_some() {
            return Err(TokenError::Refused("its header has an extension that must be understood"));
        }
        let algorithm = algorithm(&header.alg).ok_or(TokenError::Refused("it is signed in a way that is not allowed"))?;
        let key = keys.find(header.kid.as_deref()).ok_or(TokenError::UnknownKey)?;
        if !fits(key, algorithm) {
            return Err(TokenError::Refused("its key is not for its algorithm"));
        }
        let key = DecodingKey::from_jwk(key).map_err(|_| TokenError::Refused("its key can't be used"))?;
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &self.validation(algorithm));
        let claims = claims.map_err(|_| TokenError::Refused("its signature, issuer or audience is wrong"))?.claims;
        let expires = lifetime(&claims, now)?;
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        if !(1..=SUBJECT_BYTES_MAX).contains(&subject.len()) {
            return Err(TokenError::Refused("its `sub` is empty or too long"));
        }
        let (tenant, scope) = (self.tenant_of(&claims)?, self.scope_of(&claims)?);
        let scope = Scope { labels: self.labels_of(&claims)?, ..scope };
        Ok(VerifiedToken { caller: caller_id(&self.issuer, subject), tenant, scope, expires })
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        (validation.validate_exp, validation.validate_nbf) = (false, false); // by `lifetime`, which is told the time
        validation
    }

    fn tenant_of(&self, claims: &Map<String, Value>) -> Result<Tenant, TokenError> {
        match &self.tenant {
            TenantSource::Fixed(tenant) => Ok(tenant.clone()),
            TenantSource::Claim(name) => {
                let tenant = claims.get(name).and_then(Value::as_str).and_then(|tenant| tenant.parse().ok());
                tenant.ok_or(TokenError::Refused("it names no tenant, or by a name that no tenant can have"))
            }
        }
    }

    fn scope_of(&self, claims: &Map<String, Value>) -> Result<Scope, TokenError> {
        let Some(claim) = self.scope_claim.as_ref().and_then(|name| claims.get(name)) else { return Ok(Scope::everything()) };
        let malformed = TokenError::Refused("its scope is none");
        let entries = entries(claim).ok_or(malformed.clone())?;
        Scope::of_claim(entries).map_err(|_| malformed)
    }

    fn labels_of(&self, claims: &Map<String, Value>) -> Result<Labels, TokenError> {
        let claim = self.labels_claim.as_ref().and_then(|name| claims.get(name));
        let Some(claim) = claim.filter(|claim| !claim.is_null()) else { return Ok(Labels::default()) };
        entries(claim).map(Labels::of_claim).ok_or(TokenError::Refused("its labels are no list and no text"))
    }
}

/// A claim that is a list of texts, or a text with spaces.
fn entries(claim: &Value) -> Option<Vec<&str>> {
    match claim {
        Value::String(text) => Some(text.split(' ').collect()),
        Value::Array(entries) => entries.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn header(token: &str) -> Option<Header> {
    let (header, _) = token.split_once('.')?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()
}

/// The algorithms that are allowed. None of them can be computed with what an issuer publishes.
fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        _ => return None,
    })
}

/// Whether a key is for signatures of this algorithm: of its kind, and of this one if it names one.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let is_named = key.common.key_algorithm.is_none_or(|named| named == algorithm.into());
    let is_for_signatures = key.common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    let is_of_kind = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(key), Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512)
        | (AlgorithmParameters::RSA(key), Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512) => {
            MODULUS_CHARACTERS.contains(&key.n.len())
        }
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES384) => key.curve == EllipticCurve::P384,
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => key.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    is_named && is_for_signatures && is_of_kind
}

/// When the token's time is over; with a minute for clocks that are apart.
fn lifetime(claims: &Map<String, Value>, now: SystemTime) -> Result<SystemTime, TokenError> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let expires = claims.get("exp").and_then(Value::as_f64).ok_or(TokenError::Refused("its `exp` is no time"))?;
    if let Some(begins) = claims.get("nbf") {
        let begins = begins.as_f64().ok_or(TokenError::Refused("its `nbf` is no time"))?;
        if begins > now + LEEWAY_SECONDS {
            return Err(TokenError::Refused("its time has not begun"));
        }
    }
    let until = expires + LEEWAY_SECONDS;
    if until <= now {
        return Err(TokenError::Expired);
    }
    let until = Duration::try_from_secs_f64(until).ok().and_then(|until| UNIX_EPOCH.checked_add(until));
    until.ok_or(TokenError::Refused("its `exp` is beyond all calendars"))
}

/// The id of a caller: its issuer without the scheme, and its subject. What could be taken for something else, or forge a line of a
/// log, is written as in URLs.
fn caller_id(issuer: &str, subject: &str) -> String {
    let issuer = issuer.split_once("://").map_or(issuer, |(_, issuer)| issuer).trim_end_matches('/');
    format!("oidc:{}#{}", plain(issuer, b"-._~:/[]"), plain(subject, b"-._~@|:+"))
}

fn plain(text: &str, allowed: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut plain = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || allowed.contains(&byte) {
            true => plain.push(char::from(byte)),
            false => write!(plain, "%{byte:02X}").expect("a string takes all that is written"),
        }
    }
    plain
}

#[cfg(test)]
mod tests;
