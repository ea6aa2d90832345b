//! The components' functions as tools of the Model Context Protocol, at `/mcp`; `docs/mcp.md` tells clients about it.
//!
//! A call of a tool becomes a request for its function and goes the way of all requests, so that rights, quotas, limits, guards and
//! the audit log hold for it. No session is kept: its id only tells one client's calls from another's of the same caller, so that
//! they can be cancelled.

mod answer;
mod call;
mod calls;
mod events;
mod handler;
mod tools;

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use axum::Extension;
use axum::body::Body;
use axum::routing::{MethodRouter, post};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use rmcp::model::{ErrorCode, RequestId};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use self::calls::{Calls, Key};
use self::handler::Handler;
use super::request::{self, Visitor};
use super::server::Shared;
use super::{cors, error};

/// Length of a message, in bytes.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Time for a message to arrive.
const MESSAGE_MAX: Duration = Duration::from_secs(30);
/// Length of what the library says of a message that it does not take, in bytes.
const REASON_BYTES_MAX: usize = 4096;

/// Which of its calls a caller's client means.
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// The endpoint.
struct Mcp {
    shared: Arc<Shared>,
    service: StreamableHttpService<Handler, NeverSessionManager>,
    calls: Arc<Calls>,
}

/// The route of the endpoint.
pub(super) fn route(shared: &Arc<Shared>) -> MethodRouter<Arc<Shared>> {
    let mcp = Arc::new(Mcp::new(shared));
    let answer = move |Extension(visitor): Extension<Visitor>, request: Request<Body>| {
        let mcp = mcp.clone();
        async move { mcp.answer(&visitor, request).await }
    };
    post(answer).fallback(|| async {
        let message = "Messages come by POST; this server keeps no streams and no sessions that GET or DELETE could be for.";
        error::response(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    })
}

impl Mcp {
    fn new(shared: &Arc<Shared>) -> Mcp {
        let calls = Arc::new(Calls::default());
        let handler = Handler::new(shared.clone(), calls.clone());
        // Whose name a request may say is looked at before anybody is let in.
        let config = StreamableHttpServerConfig::default()
            .disable_allowed_hosts()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_max_request_body_bytes(MESSAGE_BYTES_MAX);
        let service = StreamableHttpService::new(move || Ok(handler.clone()), Arc::default(), config);
        Mcp { shared: shared.clone(), service, calls }
    }

    async fn answer(&self, visitor: &Visitor, request: Request<Body>) -> Response<Body> {
        let (mut head, body) = request::lingering(request).into_parts();
        if !cors::may_act(&self.shared.config, &head.uri, &head.headers) {
            return error::other_origin();
        }
        let body = match received(body).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let message = match Message::read(&body) {
            Ok(message) => message,
            Err(unread) => return unread.response(),
        };
        if let Some(key) = message.cancels().and_then(|id| Key::new(visitor, &head.headers, id)) {
            self.calls.cancel(&key);
        }
        if let Some(arguments) = message.params.as_ref().and_then(|params| params.arguments) {
            head.extensions.insert(Arguments(body.slice_ref(arguments.get().as_bytes())));
        }
        let response = self.service.handle(Request::from_parts(head, Full::new(body.clone()))).await;
        let mut response = explained(response.map(Body::new), message.id.clone()).await;
        if message.opens() && response.status().is_success() {
            response.headers_mut().extend(new_session().map(|id| (SESSION_ID, id)));
        }
        response
    }
}

/// The whole body of a request.
async fn received(body: Body) -> Result<Bytes, Response<Body>> {
    match tokio::time::timeout(MESSAGE_MAX, Limited::new(body, MESSAGE_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(error::body_too_large(MESSAGE_BYTES_MAX as u64)),
        Ok(Err(_)) => Err(error::response(StatusCode::BAD_REQUEST, "body_incomplete", "The request body broke off.")),
        Err(_) => {
            let message = "The request body took too long to arrive.";
            Err(error::response(StatusCode::REQUEST_TIMEOUT, "body_timeout", message))
        }
    }
}

/// What is looked at of a message before the library has it.
#[derive(Debug, Deserialize)]
struct Message<'a> {
    jsonrpc: String,
    #[serde(default)]
    id: Value,
    method: Option<String>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
    result: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Params<'a> {
    #[serde(rename = "requestId")]
    request_id: Option<Value>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

/// The arguments of a call as the client wrote them: numbers read and written again are not always the same.
#[derive(Clone)]
struct Arguments(Bytes);

/// A body that is not one message.
#[derive(Debug, PartialEq)]
enum Unread {
    /// It is not JSON.
    NotJson,
    /// It is JSON, with this id where it has one, and another thing or several messages.
    NotAMessage(Value),
}

impl<'a> Message<'a> {
    /// Reads one message; several at once are taken by no version that is spoken here.
    fn read(body: &'a [u8]) -> Result<Message<'a>, Unread> {
        let is_object = body.trim_ascii_start().starts_with(b"{");
        match serde_json::from_slice::<Message>(body).map_err(|error| error.classify()) {
            Ok(message) if is_object && message.is_whole() => Ok(message),
            Ok(message) if is_object => Err(Unread::NotAMessage(message.id)),
            Ok(_) | Err(Category::Data) => Err(Unread::NotAMessage(Value::Null)),
            Err(_) => Err(Unread::NotJson),
        }
    }

    fn is_whole(&self) -> bool {
        let is_something = self.method.is_some() || self.result.is_some() || self.error.is_some();
        let is_good_id = self.id.is_null() || self.id.is_string() || self.id.is_i64();
        self.jsonrpc == "2.0" && is_something && is_good_id
    }

    /// The call that it cancels.
    fn cancels(&self) -> Option<RequestId> {
        let id = self.params.as_ref()?.request_id.clone()?;
        self.is("notifications/cancelled").then(|| serde_json::from_value(id).ok()).flatten()
    }

    /// Whether a client makes itself known by it.
    fn opens(&self) -> bool {
        self.is("initialize")
    }

    fn is(&self, method: &str) -> bool {
        self.method.as_deref() == Some(method)
    }
}

impl Unread {
    fn response(self) -> Response<Body> {
        match self {
            Unread::NotJson => refusal(ErrorCode::PARSE_ERROR, Value::Null, "The body is not JSON."),
            Unread::NotAMessage(id) => refusal(ErrorCode::INVALID_REQUEST, id, "The body is not one message of JSON-RPC 2.0."),
        }
    }
}

/// A message that is not taken at all.
fn refusal(code: ErrorCode, id: Value, message: &str) -> Response<Body> {
    let error = json!({"jsonrpc": "2.0", "id": id, "error": {"code": code.0, "message": message}});
    let mut response = Response::new(Body::from(error.to_string()));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer with a plain text for an error says the same in JSON-RPC.
async fn explained(response: Response<Body>, id: Value) -> Response<Body> {
    let status = response.status();
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if !status.is_client_error() && !status.is_server_error() || is_json {
        return response;
    }
    let reason = Limited::new(response.into_body(), REASON_BYTES_MAX).collect().await;
    let reason = reason.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
    let mut response = refusal(ErrorCode::INVALID_REQUEST, id, &reason.unwrap_or_default());
    *response.status_mut() = status;
    response
}

/// An id that nobody guesses.
fn new_session() -> Option<HeaderValue> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).ok()?;
    HeaderValue::try_from(format!("{:032x}", u128::from_ne_bytes(random))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_whole_message_is_read() {
        let read = |body: &str| Message::read(body.as_bytes()).map(drop);
        assert!(read(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).is_ok());
        assert!(read(r#" {"jsonrpc":"2.0","method":"notifications/x","params":{"a":[1]}}"#).is_ok());
        for body in ["", "{", "{\"jsonrpc\":\"2.0\"", "ping"] {
            assert_eq!(read(body), Err(Unread::NotJson), "{body}");
        }
        for body in
            ["[]", "3", r#"["2.0", 1, "ping", null, null, null]"#, r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, "{}"]
        {
            assert_eq!(read(body), Err(Unread::NotAMessage(Value::Null)), "{body}");
        }
        for body in [r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, r#"{"jsonrpc":"2.0","id":1}"#] {
            assert_eq!(read(body), Err(Unread::NotAMessage(1.into())), "{body}");
        }
    }
}
