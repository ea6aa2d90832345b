//! How clients come in: sections `[tls]` and `[cors]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{ConfigError, ServerConfig};

/// `[tls]`: encrypted connections. When a file changes it is read again; connections that are open go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate and those it was signed by, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// `[cors]`: web pages of other origins that may read answers. Pages send no cookies and log in by nothing but keys and tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorsConfig {
    /// Origins as browsers write them, `https://app.example.com`, or `"*"` alone for all. None turns it off.
    pub origins: Vec<String>,
}

impl ServerConfig {
    pub(super) fn check_edge(&self) -> Result<(), ConfigError> {
        let is_any = self.cors.origins.iter().any(|origin| origin == "*");
        if is_any && self.cors.origins.len() > 1 {
            return Err(ConfigError::Value("cors.origins", "has `*`, which stands alone".into()));
        }
        let refused = self.cors.origins.iter().find(|origin| !is_any && !is_origin(origin));
        match refused {
            Some(origin) => {
                let reason = format!("has `{origin}`: write `https://app.example.com`, without a path or a `/` at its end");
                Err(ConfigError::Value("cors.origins", reason))
            }
            None => Ok(()),
        }
    }
}

/// Whether a text is an origin as browsers write it.
fn is_origin(text: &str) -> bool {
    let origin = text.parse::<Url>().ok().map(|url| url.origin());
    origin.is_some_and(|origin| origin.is_tuple() && origin.ascii_serialization() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_that_no_browser_would_write_is_refused() {
        let check = |origins: &[&str]| {
            let origins = origins.iter().map(|&origin| origin.into()).collect();
            ServerConfig { cors: CorsConfig { origins }, ..ServerConfig::default() }.check()
        };
        for origins in [&[][..], &["*"], &["https://a.example", "http://localhost:3000"]] {
            assert!(check(origins).is_ok(), "{origins:?}");
        }
        let bad =
            ["https://a.example/", "https://a.example:443", "a.example", "https://A.example", "null", "https://*.a.example/"];
        for origin in bad {
            assert!(matches!(check(&[origin]), Err(ConfigError::Value("cors.origins", _))), "{origin}");
        }
        assert!(check(&["*", "https://a.example"]).is_err());
    }
}
