//! Which web pages may read answers.

use std::time::Duration;

use ::http::uri::Authority;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::mcp::SESSION_ID;
use crate::config::{AuthMode, CorsConfig, ServerConfig};

/// How long browsers remember what they were told.
const REMEMBER: Duration = Duration::from_secs(600);

/// What answers browsers that ask before they send; none where no page of another origin may read anything.
///
/// It answers before credentials are looked at: such a question carries none. Pages send no cookies.
pub(super) fn layer(config: &CorsConfig) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = config.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
    let origin = match &config.origins[..] {
        [] => return None,
        [any] if any == "*" => AllowOrigin::any(),
        _ => AllowOrigin::list(origins),
    };
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let exposed = [HeaderName::from_static("x-request-id"), SESSION_ID, header::RETRY_AFTER, header::WWW_AUTHENTICATE];
    let layer = CorsLayer::new().allow_origin(origin).allow_methods(methods).expose_headers(exposed).max_age(REMEMBER);
    // Not `*`, which leaves `Authorization` out.
    Some(layer.allow_headers(AllowHeaders::mirror_request()))
}

/// Whether the layer is for a request. It would take any `OPTIONS` for a browser's question, and components may have a use for
/// theirs.
pub(super) fn concerns<B>(request: &Request<B>) -> bool {
    let has = |name| request.headers().contains_key(name);
    *request.method() != Method::OPTIONS || has(header::ORIGIN) && has(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether what asks may act: everything but web pages that nobody knows. Where callers say who they are, pages of any origin may
/// be let in, as they have no key but one that they were given.
pub(super) fn may_act(config: &ServerConfig, uri: &Uri, headers: &HeaderMap) -> bool {
    let is_any = config.auth.mode == AuthMode::Required && config.cors.origins.iter().any(|origin| origin == "*");
    is_any || is_of_known_page(&config.cors, uri, headers)
}

/// Whether a request is of no web page, of one that this server's name stands for, or of one that the operator has named. That any
/// page may read answers names none: where nobody has to say who they are, a page would act for the person who looks at it.
fn is_of_known_page(cors: &CorsConfig, uri: &Uri, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.to_str().unwrap_or_default();
    let header = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(Authority::as_str).or(header).unwrap_or_default();
    let is_own = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
    is_own || cors.origins.iter().any(|named| named == origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_origin_needs_the_operators_word() {
        let page = |origin: &str, host: &str, origins: &[&str]| {
            let request = Request::builder().header("origin", origin).header("host", host).body(()).expect("a request");
            let cors = CorsConfig { origins: origins.iter().map(ToString::to_string).collect() };
            is_of_known_page(&cors, request.uri(), request.headers())
        };
        assert!(page("http://localhost:8080", "localhost:8080", &[]));
        assert!(page("https://app.example", "tessera.example", &["https://app.example"]));
        assert!(!page("https://app.example", "tessera.example", &["*"]), "nobody is named");
        for origin in ["http://localhost", "https://app.example", "null", "", "localhost:8080"] {
            assert!(!page(origin, "localhost:8080", &["https://other.example"]), "{origin}");
        }
    }
}
