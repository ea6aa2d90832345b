//! A page to upload documents and chat about them; it uses this server's own routes and nothing else.

use tessera_sdk::Response;

/// The page may load what is its own, and talk to this server only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn html() -> Response {
    served("text/html; charset=utf-8", include_str!("page/chat.html"))
}

pub(crate) async fn script() -> Response {
    served("text/javascript; charset=utf-8", include_str!("page/chat.js"))
}

pub(crate) async fn style() -> Response {
    served("text/css; charset=utf-8", include_str!("page/chat.css"))
}

fn served(content_type: &str, text: &str) -> Response {
    Response::new(200, content_type, text)
        .with_header("content-security-policy", POLICY)
        .with_header("x-content-type-options", "nosniff")
        .with_header("cache-control", "no-cache")
}
