//! A request for a function, from its body to its answer.

use std::sync::Arc;

use ::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use wasmtime::component::Val;

use super::events::Events;
use super::read::Mismatch;
use super::types::{Kind, Type};
use super::{Function, Success, read, write};
use crate::call::Call;
use crate::component::Component;
use crate::http::body::{GuestBody, RequestBody, RequestBodyError};
use crate::http::error;
use crate::instance::{self, Fault, GRACE, Response};

/// Bodies up to this length are read where they are, in bytes; it takes a fraction of a millisecond.
const SHORT_BYTES: usize = 64 << 10;

/// Answers a request that comes by `/c/NAME`: an exact path of a function is its, and all else is the handler's, if there is one.
///
/// # Errors
/// As [`Fault`] says.
pub(crate) async fn answer(
    component: &Arc<Component>,
    request: Request<RequestBody>,
    call: Arc<Call>,
) -> Result<Response, Fault> {
    let functions = component.exports.functions();
    let path = request.uri().path();
    let path = path.strip_prefix('/').unwrap_or(path);
    match functions.find(path) {
        Some(_) if request.method() != Method::POST => Ok(not_post()),
        Some(function) => {
            let function = function.clone();
            call_with(component, &function, request, call).await
        }
        None if component.exports.has_handler() => instance::dispatch(component, request, call).await,
        None => {
            let message = format!("There is no such function; /c/{}/openapi.json lists what there is.", component.name());
            Ok(whole(StatusCode::NOT_FOUND, error::json(StatusCode::NOT_FOUND, "unknown_function", &message)))
        }
    }
}

async fn call_with(
    component: &Arc<Component>,
    function: &Arc<Function>,
    request: Request<RequestBody>,
    call: Arc<Call>,
) -> Result<Response, Fault> {
    let (head, body) = request.into_parts();
    let bytes = match body {
        RequestBody::Whole(bytes) => bytes,
        RequestBody::Streamed(body) => match tokio::time::timeout_at(call.deadline, body.collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(broken)) => return Ok(cut(broken)),
            Err(_) => return Err(Fault::Deadline),
        },
    };
    if !bytes.is_empty() && !is_json(&head.headers) {
        let message =
            "Arguments are one JSON object: send them with `content-type: application/json`, in UTF-8 and not compressed.";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Ok(whole(status, error::json(status, "not_json", message)));
    }
    let arguments = match arguments(function, bytes).await {
        Ok(arguments) => arguments,
        Err(mismatch) => return Ok(whole(StatusCode::BAD_REQUEST, refused(&mismatch))),
    };
    let (deadline, bytes_max) = (call.deadline, component.governance.rights().policy.limits().response_body_bytes_max);
    let (invoked, hold) = instance::invoke(component, function, arguments, call).await?;
    if let Some(items) = invoked.items {
        let mut response = Response::new(GuestBody::events(Events::new(function.clone(), items)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response.body_mut().watch(hold, deadline + GRACE);
        return Ok(response);
    }
    Ok(match (&invoked.value, &function.outcome.success) {
        (Ok(Some(value)), Success::Value(ty)) => short(write::text(ty, value), bytes_max),
        (Ok(_), _) => whole(StatusCode::OK, b"null".to_vec()),
        (Err(value), _) => {
            let ty = function.outcome.failure.as_ref().and_then(|ty| ty.as_deref());
            let failure = Failure::new(ty, value.as_ref());
            whole(failure.status, failure.json())
        }
    })
}

/// Reads the arguments: long ones on a thread where they keep nobody waiting.
async fn arguments(function: &Arc<Function>, bytes: Bytes) -> Result<Vec<Val>, Mismatch> {
    if bytes.len() <= SHORT_BYTES {
        return read::arguments(&function.parameters, &bytes);
    }
    let function = function.clone();
    let read = tokio::task::spawn_blocking(move || read::arguments(&function.parameters, &bytes)).await;
    read.unwrap_or_else(|_| Err(Mismatch { path: "$".into(), problem: "the server is shutting down".into() }))
}

fn is_json(headers: &HeaderMap) -> bool {
    let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    let Some(said) = headers.get(header::CONTENT_TYPE) else { return false };
    let said = said.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = said.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let is_utf8 = parts.filter_map(|part| part.strip_prefix("charset=")).all(|charset| charset.trim_matches('"') == "utf-8");
    let is_named = name == "application/json" || name.ends_with("+json");
    is_named && is_utf8 && headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain)
}

fn whole(status: StatusCode, json: Vec<u8>) -> Response {
    let mut response = Response::new(GuestBody::whole(json.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer that is not longer than it may be.
fn short(json: Vec<u8>, bytes_max: u64) -> Response {
    if json.len() as u64 <= bytes_max {
        return whole(StatusCode::OK, json);
    }
    let message = format!("The answer has {} bytes, and this component may answer {bytes_max}.", json.len());
    whole(StatusCode::BAD_GATEWAY, error::json(StatusCode::BAD_GATEWAY, "answer_too_long", &message))
}

fn not_post() -> Response {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut response = whole(status, error::json(status, "method_not_allowed", "A function takes POST."));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

fn cut(broken: RequestBodyError) -> Response {
    let (status, code) = match broken {
        RequestBodyError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
        RequestBodyError::Incomplete => (StatusCode::BAD_REQUEST, "body_incomplete"),
    };
    whole(status, error::json(status, code, &broken.to_string()))
}

/// The answer to arguments that do not fit.
fn refused(mismatch: &Mismatch) -> Vec<u8> {
    let error = json!({
        "message": mismatch.to_string(), "type": "invalid_request_error", "param": mismatch.path, "code": "invalid_argument",
    });
    json!({"error": error}).to_string().into_bytes()
}

/// What is told where the component failed in its stream.
pub(super) fn broken() -> Vec<u8> {
    error::json(StatusCode::INTERNAL_SERVER_ERROR, "component_failed", "The component failed.")
}

/// An error that a function returned.
pub(crate) struct Failure {
    /// The status that it is answered with.
    pub(crate) status: StatusCode,
    /// What it says, for people.
    pub(crate) message: String,
    value: Value,
}

impl Failure {
    /// The error of this type and value, as far as it has any.
    pub(crate) fn new(ty: Option<&Type>, value: Option<&Val>) -> Failure {
        let word = value.and_then(word).unwrap_or_default();
        let message = match value {
            Some(Val::String(text)) => text.clone(),
            Some(Val::Record(fields)) => text(fields).unwrap_or_else(|| named(word)),
            Some(Val::Variant(_, Some(inner))) => match inner.as_ref() {
                Val::String(text) => text.clone(),
                Val::Record(fields) => text(fields).unwrap_or_else(|| named(word)),
                _ => named(word),
            },
            _ => named(word),
        };
        let value = ty.zip(value).map_or(Value::Null, |(ty, value)| write::json(ty, value));
        Failure { status: status(word), message, value }
    }

    /// The body of the answer, with the error's value in it.
    pub(crate) fn json(&self) -> Vec<u8> {
        let kind = error::kind(self.status);
        let error =
            json!({"message": self.message, "type": kind, "param": null, "code": "function_failed", "value": self.value});
        json!({"error": error}).to_string().into_bytes()
    }
}

/// The word that tells what went wrong: the case of an enum or a variant, or of a record's field `code` or `kind`.
fn word(value: &Val) -> Option<&str> {
    match value {
        Val::Enum(case) | Val::Variant(case, _) => Some(case),
        Val::Record(fields) => {
            let (_, code) = fields.iter().find(|(name, _)| name == "code" || name == "kind")?;
            match code {
                Val::Enum(case) | Val::Variant(case, _) | Val::String(case) => Some(case),
                _ => None,
            }
        }
        _ => None,
    }
}

fn text(fields: &[(String, Val)]) -> Option<String> {
    fields.iter().find_map(|(name, value)| match value {
        Val::String(text) if name == "message" => Some(text.clone()),
        _ => None,
    })
}

fn named(word: &str) -> String {
    if word.is_empty() { "The function failed.".into() } else { format!("The function failed: {}.", word.replace('-', "_")) }
}

/// The status of an error that a function names in the usual words.
fn status(word: &str) -> StatusCode {
    match word.replace('_', "-").as_str() {
        "invalid" | "invalid-argument" | "invalid-input" | "invalid-request" | "bad-request" | "too-long" => {
            StatusCode::BAD_REQUEST
        }
        "denied" | "access-denied" | "permission-denied" | "not-permitted" | "forbidden" => StatusCode::FORBIDDEN,
        "not-found" | "no-such-key" | "unknown-model" => StatusCode::NOT_FOUND,
        "quota" | "quota-exceeded" | "rate-limited" | "too-many-requests" => StatusCode::TOO_MANY_REQUESTS,
        "unavailable" | "busy" | "overloaded" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// Whether a type may be an error with one of the usual words, which the description of a function says.
pub(super) fn has_words(ty: &Type) -> bool {
    match &ty.kind {
        Kind::Enum(_) | Kind::Variant(_) => true,
        Kind::Record(fields) => ["code", "kind"].iter().any(|name| fields.find(name).is_some()),
        _ => false,
    }
}
