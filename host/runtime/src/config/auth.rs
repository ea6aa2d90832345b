//! Who may call: section `[auth]`.

use policy::{Route, Tenant};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::{ConfigError, ServerConfig};

/// `[auth]`: whether callers have to say who they are, and how they can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Whether every request needs a credential.
    pub mode: AuthMode,
    /// Routes that need none, as clients ask for them: `GET /health`. A component's own route `/c/NAME/*` and one that its policy
    /// grants are two.
    pub public: Vec<Route>,
    /// Issuers whose tokens are credentials, besides keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub oidc: Vec<OidcConfig>,
}

impl Default for AuthConfig {
    fn default() -> Self {
        let route = |text: &str| text.parse().expect("a route in this source is one");
        AuthConfig { mode: AuthMode::Off, public: vec![route("GET /health"), route("GET /ready")], oidc: Vec::new() }
    }
}

/// Whether callers have to say who they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Nobody is asked, so only this machine is listened to.
    #[default]
    Off,
    /// Every request needs a key or a token.
    Required,
}

/// `[[auth.oidc]]`: an issuer of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// Its URL, as its tokens say it in `iss`: https, or http on this machine. Its keys are found by
    /// `ISSUER/.well-known/openid-configuration`.
    pub issuer: String,
    /// Whom tokens have to be for, in `aud`.
    pub audience: String,
    /// The claim that names the tenant.
    #[serde(default = "tenant_claim")]
    pub tenant_claim: String,
    /// The tenant of all its tokens, instead of a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// The claim that limits a token: text with spaces or a list, of `component:NAME`, `model:NAME` and `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_claim: Option<String>,
    /// The claim that has the labels of its callers: text with spaces or a list. Without it they have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_claim: Option<String>,
    /// How old its keys may be before they are fetched again, in milliseconds. A key that is not known is fetched at once.
    #[serde(default = "jwks_ms_max")]
    pub jwks_ms_max: u64,
}

fn tenant_claim() -> String {
    "tenant".into()
}

fn jwks_ms_max() -> u64 {
    3_600_000
}

impl ServerConfig {
    /// Whether every request needs a credential.
    pub fn needs_credentials(&self) -> bool {
        self.auth.mode == AuthMode::Required
    }

    pub(super) fn check_auth(&self) -> Result<(), ConfigError> {
        if !self.needs_credentials() {
            if !self.listen.ip().is_loopback() {
                return Err(ConfigError::ListensBeyondLoopback("listen", self.listen));
            }
            if let Some(address) = self.admin_listen.filter(|address| !address.ip().is_loopback()) {
                return Err(ConfigError::ListensBeyondLoopback("admin_listen", address));
            }
        }
        if let Some(route) = self.auth.public.iter().find(|route| crate::registry::is_admin_path(route.path())) {
            let reason = format!("opens `{route}` to everybody, which only operators may read: set `admin_listen` instead");
            return Err(ConfigError::Value("auth.public", reason));
        }
        self.auth.oidc.iter().try_for_each(OidcConfig::check)
    }
}

impl OidcConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let refused = |key, reason: &str| Err(ConfigError::Value(key, reason.into()));
        match self.issuer.parse() {
            Ok(url) if is_private_enough(&url) && url.query().is_none() && url.fragment().is_none() => {}
            _ => return refused("auth.oidc.issuer", "must be a https URL, or a http URL of this machine, without `?` and `#`"),
        }
        if self.audience.is_empty() {
            return refused(
                "auth.oidc.audience",
                "must name this server as its tokens do: without that, those for others count",
            );
        }
        if self.jwks_ms_max == 0 {
            return Err(ConfigError::Zero("auth.oidc.jwks_ms_max"));
        }
        Ok(())
    }
}

/// Whether nobody on the way can change what is read from there.
pub(crate) fn is_private_enough(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.username().is_empty() && url.password().is_none() && (url.scheme() == "https" || url.scheme() == "http" && is_here)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        let config = ServerConfig::parse(text).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn only_who_asks_for_credentials_may_listen_beyond_this_machine() {
        for address in ["0.0.0.0:80", "192.168.1.1:80", "[::]:80"] {
            for key in ["listen", "admin_listen"] {
                let line = format!("{key} = \"{address}\"\n");
                let error = check(&line).expect_err("open to all");
                assert!(error.contains(key) && error.contains("auth.mode = \"required\""), "{error}");
                assert_eq!(check(&format!("{line}[auth]\nmode = \"required\"\n")), Ok(()));
            }
        }
        assert_eq!(check("listen = \"[::1]:0\"\nadmin_listen = \"127.0.0.1:0\"\n"), Ok(()));
    }

    #[test]
    fn what_only_operators_may_read_is_never_public() {
        for route in ["GET /metrics", "* /admin/*", "GET /admin/usage"] {
            let error = check(&format!("[auth]\npublic = [\"{route}\"]\n")).expect_err(route);
            assert!(error.contains("admin_listen"), "{error}");
        }
        assert_eq!(check("[auth]\npublic = [\"GET /*\", \"POST /v1/embeddings\"]\n"), Ok(()));
    }

    #[test]
    fn an_issuer_has_to_be_one_that_can_be_trusted() {
        let with = |lines: &str| check(&format!("[[auth.oidc]]\n{lines}\n"));
        for issuer in ["https://id.example/realm", "http://127.0.0.1:1", "http://[::1]:1/x", "http://localhost"] {
            assert_eq!(with(&format!("issuer = \"{issuer}\"\naudience = \"a\"")), Ok(()));
        }
        for issuer in ["http://id.example", "id.example", "", "https://a/?x", "https://a/#x", "https://u:p@a/", "file:///x"] {
            let error = with(&format!("issuer = \"{issuer}\"\naudience = \"a\"")).expect_err(issuer);
            assert!(error.contains("auth.oidc.issuer"), "{error}");
        }
        for lines in ["audience = \"\"", "audience = \"a\"\njwks_ms_max = 0", "audience = \"a\"\ntenant = \"A B\"", "", "x = 1"]
        {
            assert!(with(&format!("issuer = \"https://a\"\n{lines}")).is_err(), "{lines}");
        }
    }
}
