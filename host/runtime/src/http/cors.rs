//! Which web pages may read answers.

use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Method, Request, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::mcp::SESSION_ID;
use crate::config::CorsConfig;

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
