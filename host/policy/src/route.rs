//! HTTP routes as people write them: `POST /v1/embeddings`, `GET /ui/*`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The method of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Every method: written `*`.
    Any,
    /// One method, in upper case.
    One(String),
}

/// A method and a path; a path that ends in `/*` stands for everything below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Route {
    method: Method,
    path: String,
    is_prefix: bool,
}

/// Why a route was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{route}` is no route: write a method or `*`, a space and a path, like `POST /v1/embeddings` or `* /ui/*`: {why}")]
pub struct RouteError {
    route: String,
    why: &'static str,
}

impl Route {
    /// The default route of a component: every method, everything below `/c/NAME`.
    pub fn of_component(name: &crate::ComponentName) -> Route {
        Route { method: Method::Any, path: format!("/c/{name}"), is_prefix: true }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path; of a prefix route the part before `/*`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether everything below the path is meant too.
    pub fn is_prefix(&self) -> bool {
        self.is_prefix
    }

    /// Whether every request that `other` matches is one that this route matches.
    pub fn covers(&self, other: &Route) -> bool {
        let method = self.method == Method::Any || self.method == other.method;
        let below = || other.path.strip_prefix(&self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        method && if self.is_prefix { below() } else { !other.is_prefix && self.path == other.path }
    }

    /// Whether it takes a request; one that takes GET takes HEAD, too.
    pub fn matches(&self, method: &str, path: &str) -> bool {
        let takes_method = match &self.method {
            Method::Any => true,
            Method::One(one) => one == method || one == "GET" && method == "HEAD",
        };
        let rest = path.strip_prefix(&self.path);
        takes_method && rest.is_some_and(|rest| rest.is_empty() || self.is_prefix && rest.starts_with('/'))
    }
}

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(route: &str) -> Result<Route, RouteError> {
        let refuse = |why| RouteError { route: route.chars().take(200).collect(), why };
        let (method, path) = route.split_once(' ').ok_or_else(|| refuse("there is no space"))?;
        let method = match method {
            "*" => Method::Any,
            _ if !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase()) => Method::One(method.into()),
            _ => return Err(refuse("the method is not in upper case")),
        };
        let (path, is_prefix) = path.strip_suffix("/*").map_or((path, false), |path| (path, true));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
        if !(path.starts_with('/') || path.is_empty() && is_prefix) {
            return Err(refuse("the path does not begin with `/`"));
        }
        if !path.bytes().all(plain) || path.split('/').any(|part| part == "." || part == "..") || path.contains("//") {
            return Err(refuse("the path holds more than letters, digits, `-._~` and single `/`"));
        }
        Ok(Route { method, path: path.into(), is_prefix })
    }
}

impl TryFrom<String> for Route {
    type Error = RouteError;

    fn try_from(route: String) -> Result<Route, RouteError> {
        route.parse()
    }
}

impl From<Route> for String {
    fn from(route: Route) -> String {
        route.to_string()
    }
}

impl schemars::JsonSchema for Route {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Route".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match &self.method {
            Method::Any => "*",
            Method::One(method) => method,
        };
        write!(f, "{method} {}{}", self.path, if self.is_prefix { "/*" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(text: &str) -> Route {
        text.parse().expect("a good route")
    }

    #[test]
    fn a_route_is_read_back_as_it_was_written() {
        for text in ["POST /v1/embeddings", "* /ui/*", "GET /", "* /*"] {
            assert_eq!(route(text).to_string(), text);
        }
    }

    #[test]
    fn bad_routes_are_refused() {
        for text in ["", "/x", "post /x", "POST x", "POST /a//b", "POST /a/../b", "POST /{x}", "POST /a*", "GET /a b", " /x"] {
            assert!(text.parse::<Route>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_covers_what_is_below_it_only() {
        assert!(route("* /v1/*").covers(&route("POST /v1/embeddings")));
        assert!(route("* /v1/*").covers(&route("POST /v1")));
        assert!(!route("* /v1/*").covers(&route("POST /v10")));
        assert!(!route("POST /v1/*").covers(&route("GET /v1/x")));
        assert!(!route("POST /v1").covers(&route("POST /v1/*")));
        assert!(!route("POST /v1").covers(&route("* /v1")));
    }
}
