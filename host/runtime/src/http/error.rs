//! Errors as clients see them: OpenAI's shape, whatever the route.

use ::http::{HeaderValue, Response, StatusCode, header};
use axum::body::Body;
use policy::{ComponentName, Overdrawn};
use serde::Serialize;

use crate::auth::Refusal;
use crate::instance::Fault;

/// `{"error": {…}}`.
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: Detail<'a>,
}

#[derive(Serialize)]
struct Detail<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'a str>,
    code: &'static str,
}

/// An answer that says what went wrong; `code` is stable and for programs.
pub(crate) fn response(status: StatusCode, code: &'static str, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(json(status, code, message)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The same as JSON alone, for where a status can't be given any more.
pub(crate) fn json(status: StatusCode, code: &'static str, message: &str) -> Vec<u8> {
    let body = ErrorBody { error: Detail { message, kind: kind(status), param: None, code } };
    serde_json::to_vec(&body).expect("strings make good JSON")
}

/// The kind of error that a status stands for.
pub(crate) fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        501 => "not_supported_error",
        503 => "unavailable_error",
        _ => "server_error",
    }
}

/// A request whose body is longer than its component takes.
pub(crate) fn body_too_large(bytes_max: u64) -> Response<Body> {
    let message = format!("The request body is longer than {bytes_max} bytes: send less at once.");
    response(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", &message)
}

/// Nobody is let in like that. What is wrong with a credential is told as far as it helps who has a good one.
pub(crate) fn refused(refusal: Refusal) -> Response<Body> {
    let (challenge, message) = match refusal {
        Refusal::Missing => ("Bearer", "Send an API key: `Authorization: Bearer KEY`."),
        Refusal::Invalid => ("Bearer error=\"invalid_token\"", "The API key is not valid."),
        Refusal::Expired => ("Bearer error=\"invalid_token\", error_description=\"expired\"", "The API key has expired."),
        Refusal::TooManyTenants => {
            return response(StatusCode::SERVICE_UNAVAILABLE, "too_many_tenants", "There are too many tenants on this server.");
        }
    };
    let mut response = response(StatusCode::UNAUTHORIZED, "invalid_api_key", message);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

/// What is an operator's is asked for by somebody else.
pub(crate) fn not_admin() -> Response<Body> {
    response(StatusCode::FORBIDDEN, "admin_only", "This is for operators: it takes a key made by `tessera key create --admin`.")
}

/// A component that the caller may not ask.
pub(crate) fn component_not_allowed(component: &ComponentName) -> Response<Body> {
    let message = format!("This API key may not use `{component}`.");
    response(StatusCode::FORBIDDEN, "component_not_allowed", &message)
}

/// A component, or a tenant, that has used up its requests of this minute.
pub(crate) fn over_quota(overdrawn: Overdrawn) -> Response<Body> {
    let message = match overdrawn {
        Overdrawn::Component(_) => "This service has answered as many requests as it may in a minute: try again later.",
        Overdrawn::Tenant(_) => "You have sent as many requests as your quota allows in a minute: try again later.",
    };
    let retry_after = overdrawn.exhausted().retry_after;
    let mut response = response(StatusCode::TOO_MANY_REQUESTS, "quota_exceeded", message);
    let seconds = retry_after.as_millis().div_ceil(1000).max(1).to_string();
    if let Ok(seconds) = HeaderValue::try_from(seconds) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// A request for another host's name, where nobody has to say who they are.
pub(crate) fn other_host() -> Response<Body> {
    let message = "Without [auth] this server answers to localhost and to addresses only: call it so, have your proxy send such a \
                   Host header, or set [auth] mode = \"required\" in tessera.toml.";
    response(StatusCode::MISDIRECTED_REQUEST, "other_host", message)
}

/// A web page that the operator has not named.
pub(crate) fn other_origin() -> Response<Body> {
    let message = "Pages of this origin may not use this server: name it in `origins` of [cors] in tessera.toml.";
    response(StatusCode::FORBIDDEN, "other_origin", message)
}

/// A path that is nobody's.
pub(crate) fn nothing_here() -> Response<Body> {
    response(StatusCode::NOT_FOUND, "unknown_route", "Nothing is served at this path here.")
}

/// The one table of what goes wrong in components.
pub(crate) fn fault(fault: Fault) -> Response<Body> {
    let (status, code) = match fault {
        Fault::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        Fault::Deadline => (StatusCode::GATEWAY_TIMEOUT, "deadline"),
        Fault::CpuTime => (StatusCode::GATEWAY_TIMEOUT, "cpu_time"),
        Fault::Trapped => (StatusCode::INTERNAL_SERVER_ERROR, "component_failed"),
        Fault::BadResponse => (StatusCode::BAD_GATEWAY, "bad_response"),
    };
    let mut response = response(status, code, &fault.to_string());
    if fault == Fault::Busy {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
