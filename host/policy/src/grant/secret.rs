//! `[secret]`: credentials that a component may use and never sees.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::http::HostPattern;
use crate::authority::Authority;
use crate::denial::{Detail, Reason};
use crate::{Action, Denial, PolicyFile};

pub(super) const LINES: &str =
    "[secret.API_KEY]\nsource = { env = \"API_KEY\" }\nhosts = [\"api.example.com\"]\nheaders = [\"authorization\"]";

/// How every placeholder begins.
pub const PLACEHOLDER_PREFIX: &str = "tessera-secret-";

/// Section `[secret.NAME]` of a policy: a credential that the component may use and never sees. It gets a placeholder, and the
/// server puts the value in its place in the named headers of requests to the named hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretGrant {
    /// Where the server finds the value: `{ env = "NAME" }`, a variable of its environment, or
    /// `{ file = "/run/secrets/name" }`, a file without its last line break.
    pub source: SecretSource,
    /// Hosts that may get it, as in `[http] allow`.
    pub hosts: Vec<HostPattern>,
    /// Headers it may stand in.
    pub headers: Vec<String>,
    /// An environment variable of the component that holds the placeholder, for one that knows nothing of `tessera:secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// Send it over unencrypted `http` as well.
    #[serde(default)]
    pub plaintext: bool,
}

/// Where a secret's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretSource {
    /// A variable of the server's environment.
    Env(String),
    /// A file.
    File(PathBuf),
}

impl SecretSource {
    /// The value; none if there is none, or an empty one.
    pub fn read(&self) -> Option<String> {
        let value = match self {
            SecretSource::Env(name) => std::env::var(name).ok()?,
            SecretSource::File(file) => std::fs::read_to_string(file).ok()?,
        };
        Some(value.trim_end_matches(['\r', '\n']).into()).filter(|value: &String| !value.is_empty())
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::Env(name) => write!(f, "the environment variable {name}"),
            SecretSource::File(file) => write!(f, "the file {}", file.display()),
        }
    }
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Arc<str>);

impl SecretValue {
    /// Takes a value.
    pub fn new(value: &str) -> SecretValue {
        SecretValue(value.into())
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// The secrets of a component, with their values.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Secrets(BTreeMap<String, Secret>);

#[derive(Debug, PartialEq, Eq)]
struct Secret {
    grant: SecretGrant,
    headers: Vec<HeaderName>,
    placeholder: String,
    /// None where its source has none.
    value: Option<SecretValue>,
}

impl Secrets {
    pub(crate) fn new(
        file: &PolicyFile,
        component: &crate::ComponentName,
        facts: &dyn crate::Facts,
    ) -> Result<Secrets, String> {
        let secret = |(name, grant): (&String, &SecretGrant)| {
            let headers = grant.headers.iter().map(|header| header.parse().map_err(|_| header));
            let headers = headers.collect::<Result<Vec<HeaderName>, _>>();
            let headers = headers.map_err(|header| format!("`[secret.{name}] headers`: `{header}` is no header"))?;
            let value = facts.secret(&grant.source).map(|value| SecretValue::new(&value));
            let placeholder = format!("{PLACEHOLDER_PREFIX}{}", facts.token(component, name));
            Ok((name.clone(), Secret { grant: grant.clone(), headers, placeholder, value }))
        };
        Ok(Secrets(file.secret.iter().flatten().map(secret).collect::<Result<_, String>>()?))
    }

    /// Environment variables that hold placeholders.
    pub(crate) fn env(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.values().filter_map(|secret| Some((secret.grant.env.as_deref()?, secret.placeholder.as_str())))
    }

    /// Names of the secrets whose source has no value.
    pub(crate) fn unset(&self) -> impl Iterator<Item = (&str, &SecretSource)> {
        self.0.iter().filter(|(_, secret)| secret.value.is_none()).map(|(name, secret)| (name.as_str(), &secret.grant.source))
    }
}

impl<'a> Authority<'a> {
    /// The placeholder of a secret, which the component may put into a header.
    ///
    /// # Errors
    /// A [`Denial`].
    pub fn secret(&self, name: &str) -> Result<&'a str, Denial> {
        let secret = self.policy.section(&self.policy.grants().secret, "secret");
        let secret = secret.and_then(|_| self.policy.secrets().0.get(name).ok_or(Reason::NotListed));
        // Without one there is nothing to give, whatever the mode.
        let secret = secret.map_err(|reason| self.refuse(Action::Secret(name), reason))?;
        self.decide(Action::Secret(name), Ok(()))?;
        self.tell_allowed(Action::Secret(name));
        Ok(&secret.placeholder)
    }

    /// Puts the values of secrets in the place of their placeholders, in a request to a host.
    ///
    /// # Errors
    /// A [`Denial`] when a placeholder stands where its secret may not go, whatever the mode. Nothing is sent then.
    pub fn fill_secrets(&self, url: &Url, headers: &mut HeaderMap) -> Result<(), Denial> {
        let prefix = PLACEHOLDER_PREFIX.as_bytes();
        for (header, value) in headers.iter_mut() {
            if !value.as_bytes().windows(prefix.len()).any(|window| window == prefix) {
                continue;
            }
            let Ok(mut text) = value.to_str().map(String::from) else { continue };
            for (name, secret) in &self.policy.secrets().0 {
                if !text.contains(&secret.placeholder) {
                    continue;
                }
                let action = Action::Secret(name);
                let refused = |reason| self.refuse_with(action, Detail::Sent { url, header }, reason);
                let known = secret.usable(url, header).map_err(refused)?;
                self.decide(action, Ok(()))?;
                self.tell_allowed(action);
                text = text.replace(&secret.placeholder, &known.0);
                *value = HeaderValue::from_str(&text).map_err(|_| refused(Reason::Malformed))?;
                value.set_sensitive(true);
            }
        }
        Ok(())
    }
}

impl SecretGrant {
    pub(crate) fn is_for_host(&self, url: &Url) -> bool {
        self.hosts.iter().any(|pattern| pattern.matches(super::http::host(url)))
    }

    pub(crate) fn is_for_header(&self, header: &HeaderName) -> bool {
        self.headers.iter().any(|name| name.eq_ignore_ascii_case(header.as_str()))
    }
}

impl Secret {
    /// The value, where it may stand in a header of a request to a host.
    fn usable(&self, url: &Url, header: &HeaderName) -> Result<&SecretValue, Reason> {
        if !self.grant.is_for_host(url) || !self.headers.contains(header) {
            return Err(Reason::NotListed);
        }
        if url.scheme() != "https" && !self.grant.plaintext {
            return Err(Reason::Plaintext);
        }
        self.value.as_ref().ok_or(Reason::NoValue)
    }
}

#[cfg(test)]
mod tests;
