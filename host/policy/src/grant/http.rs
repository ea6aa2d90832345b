//! `[http]`: requests to other hosts, by `tessera:http` and `wasi:http` alike.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Method;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::authority::Authority;
use crate::denial::{Detail, Reason};
use crate::permit::{Http, Permit};
use crate::quota::Resource;
use crate::{Action, Denial, address};

pub(super) const LINES: &str = "[http]\nallow = [{ host = \"api.example.com\", methods = [\"GET\"], paths = [\"/v1/\"] }]";

/// Section `[http]` of a policy: requests that the component may send to other hosts, by `tessera:http` and `wasi:http` alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpGrant {
    /// Requests that may be sent: what matches one entry whole may go.
    pub allow: Vec<HttpRule>,
    /// Networks of private addresses that may be reached where `allow` lets a request go: `["10.1.0.0/16", "127.0.0.1/32"]`.
    /// Public addresses need no entry; link-local addresses and metadata services of clouds are never reached.
    #[schemars(with = "Vec<String>")]
    pub private_networks: Vec<IpNet>,
    /// Redirects that `tessera:http` follows for one request; each is checked as a request of its own.
    pub redirects_max: u32,
    /// Requests under way at one time.
    pub concurrency_max: usize,
    /// Length of the head of an answer, in bytes.
    pub response_header_bytes_max: usize,
    /// Length of the body of an answer, in bytes; there it breaks off.
    pub response_body_bytes_max: u64,
    /// Time for a connection to be made, in milliseconds.
    pub connect_ms_max: u64,
}

impl Default for HttpGrant {
    fn default() -> Self {
        HttpGrant {
            allow: Vec::new(),
            private_networks: Vec::new(),
            redirects_max: 5,
            concurrency_max: 16,
            response_header_bytes_max: 64 << 10,
            response_body_bytes_max: 64 << 20,
            connect_ms_max: 5_000,
        }
    }
}

/// Requests that may be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpRule {
    /// Where to: `"api.example.com"`, `"*.example.com"` for every name below, `"*"` for any, or an address.
    pub host: HostPattern,
    /// How it travels.
    #[serde(default = "https")]
    pub schemes: Vec<Scheme>,
    /// Ports; those of the schemes if empty.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Methods, in upper case; `"*"` is any.
    #[serde(default = "reading")]
    pub methods: Vec<String>,
    /// Paths, each with everything below it, as URLs write them. What hides `..` or `/` in percent signs is below `"/"` only.
    #[serde(default = "everything")]
    pub paths: Vec<String>,
}

fn https() -> Vec<Scheme> {
    vec![Scheme::Https]
}

fn reading() -> Vec<String> {
    vec!["GET".into(), "HEAD".into()]
}

fn everything() -> Vec<String> {
    vec!["/".into()]
}

/// How a request travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Encrypted.
    Https,
    /// For all on the way to read.
    Http,
}

/// A host's name or address, every name below a domain (`*.example.com`), or any host (`*`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostPattern {
    /// Any.
    Any,
    /// Names below this one, written with the dot before it.
    Below(String),
    /// This one, in lower case; an IPv6 address in brackets.
    Exactly(String),
}

/// Why a pattern for hosts was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no host: write a name as `api.example.com`, `*.example.com`, `*`, or an address, without scheme, port or path"
)]
pub struct HostPatternError(String);

impl HostPattern {
    /// Whether a host is meant; it must be in the form that [`Url`] gives.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Any => true,
            HostPattern::Below(domain) => host.len() > domain.len() && host.ends_with(domain.as_str()),
            HostPattern::Exactly(name) => name == host,
        }
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<HostPattern, HostPatternError> {
        let refused = || HostPatternError(text.chars().take(200).collect());
        let (name, is_below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        if text == "*" {
            return Ok(HostPattern::Any);
        }
        let bracketed = match name.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => name.trim_end_matches('.').into(),
        };
        match Host::parse(&bracketed).map_err(|_| refused())? {
            Host::Domain(name) if is_below && !name.contains('*') => Ok(HostPattern::Below(format!(".{name}"))),
            _ if is_below || name.contains('*') => Err(refused()),
            host => Ok(HostPattern::Exactly(host.to_string())),
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = HostPatternError;

    fn try_from(text: String) -> Result<HostPattern, HostPatternError> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> String {
        pattern.to_string()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Any => f.write_str("*"),
            HostPattern::Below(domain) => write!(f, "*{domain}"),
            HostPattern::Exactly(name) => f.write_str(name),
        }
    }
}

impl JsonSchema for HostPattern {
    fn schema_name() -> Cow<'static, str> {
        "HostPattern".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}

impl HttpGrant {
    /// The place in the list of the first entry that lets a request go.
    pub(crate) fn entry(&self, method: &Method, url: &Url) -> Option<usize> {
        self.allow.iter().position(|rule| rule.allows(method, url))
    }

    /// Checks what types can't say.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.allow.iter().try_for_each(HttpRule::check).map_err(|reason| format!("`[http] allow`: {reason}"))
    }
}

impl HttpRule {
    fn check(&self) -> Result<(), String> {
        let is_token = |method: &str| Method::from_bytes(method.as_bytes()).is_ok() && !method.contains(char::is_lowercase);
        for path in &self.paths {
            let url = Url::parse("http://host").and_then(|url| url.join(path)).map_err(|_| format!("`{path}` is no path"))?;
            let is_plain = url.host_str() == Some("host") && url.query().is_none() && url.fragment().is_none();
            if !path.starts_with('/') {
                return Err(format!("the path `{path}` must begin with `/`"));
            }
            if path.ends_with('*') {
                return Err(format!("the path `{path}` means everything below it without its `*`: leave that out"));
            }
            if !is_plain || url.path() != path {
                return Err(format!("the path `{path}` would never match: URLs have it as `{}`", url.path()));
            }
        }
        match self.methods.iter().find(|method| *method != "*" && !is_token(method)) {
            Some(method) => Err(format!("`{method}` is no method: write it in upper case, or `*` for any")),
            None => Ok(()),
        }
    }

    fn allows(&self, method: &Method, url: &Url) -> bool {
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return false,
        };
        let port = url.port_or_known_default().unwrap_or_default();
        let is_port = match self.ports.is_empty() {
            true => url.port().is_none(), // a URL keeps only a port that is not its scheme's
            false => self.ports.contains(&port),
        };
        let is_method = self.methods.iter().any(|allowed| allowed == "*" || allowed == method.as_str());
        is_port
            && is_method
            && self.schemes.contains(&scheme)
            && self.host.matches(host(url))
            && self.paths.iter().any(|path| is_below(url.path(), path))
    }
}

/// Whether a path is another or lies below it, part by part. One that hides `..` or `/` in percent signs is below none but `/`.
fn is_below(path: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    let hides = || ["%2e", "%2f", "%5c"].iter().any(|hidden| path.to_ascii_lowercase().contains(hidden));
    let rest = path.strip_prefix(prefix);
    prefix.is_empty() || rest.is_some_and(|rest| (rest.is_empty() || rest.starts_with('/')) && !hides())
}

/// The host of a URL without the dot that may end a name.
pub(crate) fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_end_matches('.')
}

impl Authority<'_> {
    /// Whether the component may send a request. The address that the host's name stands for is yet to be checked, by
    /// [`reach`](Self::reach). So many bytes of egress are used.
    ///
    /// # Errors
    /// A [`Denial`]: no right, or no quota left.
    pub fn http(&self, method: &Method, url: &Url, bytes: u64) -> Result<Permit<Http>, Denial> {
        let never = self.never(url);
        self.decide_always(Action::Http { method, url }, never)?;
        let allowed = self
            .policy
            .section(&self.policy.grants().http, "http")
            .and_then(|grant| grant.entry(method, url).map(|_| ()).ok_or(Reason::NotListed));
        self.decide(Action::Http { method, url }, allowed)?;
        let taken = self.books().take(Resource::Egress, bytes);
        taken.map_err(|overdrawn| self.over_quota(Action::Http { method, url }, overdrawn))?;
        let reservation = self.books().reserve_nothing();
        self.tell_allowed(Action::Http { method, url });
        Ok(Permit::new(Http { url: url.clone(), method: method.clone() }, reservation))
    }

    /// Whether the component may talk to an address that the host of its request stands for. The address that was checked is
    /// the one to connect to.
    ///
    /// # Errors
    /// A [`Denial`].
    pub fn reach(&self, method: &Method, url: &Url, address: IpAddr) -> Result<(), Denial> {
        let networks = self.policy.grants().http.as_ref().map_or(&[][..], |grant| &grant.private_networks);
        let refused = |reason| self.refuse_with(Action::Http { method, url }, Detail::Address(address), reason);
        address::check(address, networks).map_err(refused)
    }

    /// What no policy can allow, and what needs no look at a name's addresses.
    fn never(&self, url: &Url) -> Result<(), Reason> {
        if !url.username().is_empty() || url.password().is_some() || !matches!(url.scheme(), "http" | "https") {
            return Err(Reason::Malformed);
        }
        let networks = self.policy.grants().http.as_ref().map_or(&[][..], |grant| &grant.private_networks);
        match url.host() {
            None => Err(Reason::Malformed),
            Some(Host::Domain(_)) if address::is_metadata_host(host(url)) => Err(Reason::Metadata),
            Some(Host::Domain(_)) => Ok(()),
            Some(Host::Ipv4(v4)) => address::check(v4.into(), networks),
            Some(Host::Ipv6(v6)) => address::check(v6.into(), networks),
        }
    }
}

impl crate::Snapshot {
    /// How the component may send requests; none if it may send none.
    pub fn http(&self) -> Option<&HttpGrant> {
        self.grants().http.as_ref()
    }
}

#[cfg(test)]
mod tests;
