//! Descriptions of what is served: OpenAPI, and a page that shows it.

use std::sync::{Arc, LazyLock};

use ::http::{HeaderValue, Method, Response, header};
use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::request::Visitor;
use super::server::Shared;
use crate::component::Component;
use crate::typed::openapi::Document;

const SCRIPT: &str = include_str!("docs.js");
const PAGE: &str = include_str!("docs.html");

/// What of a component's own paths the host answers, where the component has typed functions.
const DESCRIPTION: &str = "/openapi.json";

/// The host's own routes, for operators where it says so.
const OWN: [(&str, &str, &str, bool); 12] = [
    ("get", "/health", "Answers while the server runs.", false),
    ("get", "/ready", "Answers while the server takes requests.", false),
    ("get", "/v1/models", "The models that you may use.", false),
    ("get", "/v1/models/{name}", "One of them.", false),
    ("get", "/v1/health_check", "OPEA's health check.", false),
    ("get", "/v1/list_service", "The components that you may ask.", false),
    ("get", "/v1/statistics", "What the last requests to the components that you may ask took, in seconds.", false),
    ("get", "/openapi.json", "This description.", false),
    ("get", "/docs", "This description as a page.", false),
    ("get", "/metrics", "Metrics in the OpenMetrics format.", true),
    ("get", "/admin/models", "Where each model came from.", true),
    ("get", "/admin/usage", "What components and tenants have used.", true),
];

/// Describes all that the caller may ask.
pub(super) async fn server(State(shared): State<Arc<Shared>>, Extension(visitor): Extension<Visitor>) -> Json<Value> {
    let mut document = Document::of_server(shared.auth.is_some());
    for component in shared.registry.load().components() {
        if visitor.caller.may_ask(component.name()).is_ok() && component.exports.serves_http() && !component.is_stopped() {
            document.add(component);
        }
    }
    for (method, path, summary, is_for_operators) in OWN {
        if !is_for_operators || visitor.caller.is_admin() {
            document.add_own(method, path, summary);
        }
    }
    Json(document.finish())
}

/// Whether a request asks for a component's description, which the host gives.
pub(super) fn is_asked(component: &Component, method: &Method, path: &str) -> bool {
    path == DESCRIPTION && matches!(*method, Method::GET | Method::HEAD) && !component.exports.functions().is_empty()
}

/// Describes one component.
pub(super) fn component(shared: &Shared, component: &Component) -> Response<Body> {
    let document = Document::of_component(component, shared.auth.is_some()).finish();
    let mut response = Response::new(Body::from(document.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The page. It has no rights of its own: it asks with the key that its reader gives it.
pub(super) async fn page() -> Response<Body> {
    static TEXT: LazyLock<String> = LazyLock::new(|| PAGE.replace("@SCRIPT@", SCRIPT));
    static RULES: LazyLock<String> = LazyLock::new(|| {
        let script = BASE64_STANDARD.encode(Sha256::digest(SCRIPT));
        format!(
            "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'sha256-{script}'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    });
    let mut response = Response::new(Body::from(TEXT.as_str()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(rules) = HeaderValue::from_str(&RULES) {
        headers.insert(header::CONTENT_SECURITY_POLICY, rules);
    }
    response
}
