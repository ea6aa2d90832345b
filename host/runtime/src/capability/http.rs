//! `tessera:http`, and `wasi:http` to other hosts: two ways for a guest, one back end and one policy.

mod wasi;

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Request};
use http_body_util::BodyExt;
use wasmtime::AsContextMut;
use wasmtime::component::{Access, Accessor, HasSelf};

use crate::bindings::tessera::handler::types as handler;
use crate::bindings::tessera::http::client::{self, Error, ErrorCode, Host, HostWithStore, Response};
use crate::call::{self, Call};
use crate::egress::{self, Answer, Body, EgressError, Terms};
use crate::governance::{Rights, Standing};
use crate::http::exchange;
use crate::sandbox::Ctx;

pub(crate) use wasi::Outbound;
pub(super) use wasi::link;

impl handler::Host for Ctx {}
impl Host for Ctx {}

impl HostWithStore<Ctx> for HasSelf<Ctx> {
    async fn send(host: &Accessor<Ctx, Self>, request: client::Request) -> Result<Response, Error> {
        let call = host.with(|mut store| call::current(store.as_context_mut()));
        let call = call.ok_or_else(|| error(ErrorCode::Denied, "a request can be sent only while one is served"))?;
        let timeout = request.timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let terms =
            Terms { redirects_max: request.redirects_max, connect_max: None, deadline: call.until(), gone: call.gone.clone() };
        let request = host.with(|mut store| outgoing(&mut store, request))?;
        let rights = call.governance.rights();
        let head = tokio::time::timeout(timeout.unwrap_or(Duration::MAX), send(call, rights, request, terms));
        let answer = head.await.unwrap_or(Err(EgressError::Deadline)).map_err(explain)?;
        host.with(|mut store| incoming(&mut store, answer))
    }
}

/// What both ways come to.
async fn send(call: Arc<Call>, rights: Arc<Rights>, request: Request<Body>, terms: Terms) -> Result<Answer, EgressError> {
    let standing = Arc::new(Standing::new(call, rights.clone()));
    rights.egress.send(standing, request, terms).await
}

/// A request as the guest wrote it. What is no HTTP is refused here.
fn outgoing(store: &mut Access<'_, Ctx>, request: client::Request) -> Result<Request<Body>, Error> {
    let invalid = |what: &str| error(ErrorCode::Invalid, what);
    let client::Request { method, url, headers, body, .. } = request;
    let body = match body {
        handler::Body::Whole(bytes) => Body::Whole(bytes.into()),
        handler::Body::Streamed(chunks) => {
            let (body, _sent) = exchange::take(store, chunks).map_err(|_| invalid("the body's streams are not usable"))?;
            Body::streamed(body)
        }
    };
    let uri = egress::uri(&url).map_err(explain)?;
    let mut request = Request::new(body);
    *request.method_mut() = method.parse().map_err(|_| invalid("the method is malformed"))?;
    *request.uri_mut() = uri;
    for handler::Header { name, value } in headers {
        let name = HeaderName::try_from(name).map_err(|_| invalid("the name of a header is malformed"))?;
        let value = HeaderValue::try_from(value).map_err(|_| invalid("the value of a header is malformed"))?;
        request.headers_mut().try_append(name, value).map_err(|_| invalid("there are too many headers"))?;
    }
    Ok(request)
}

/// The answer, with its body as a stream.
fn incoming(store: &mut Access<'_, Ctx>, Answer { url, response }: Answer) -> Result<Response, Error> {
    let (head, body) = response.into_parts();
    let body = body.map_err(|cause| handler::BodyError {
        code: match cause {
            EgressError::BodyTooLong => handler::BodyErrorCode::TooLarge,
            _ => handler::BodyErrorCode::Incomplete,
        },
        message: cause.to_string(),
    });
    let chunks = exchange::give(store, body.boxed_unsync());
    let chunks = chunks.map_err(|_| error(ErrorCode::Quota, "this instance holds as many handles as it may: drop some"))?;
    let header = |(name, value): (&HeaderName, &HeaderValue)| handler::Header {
        name: name.as_str().into(),
        value: value.as_bytes().into(),
    };
    Ok(Response {
        status: head.status.as_u16(),
        headers: head.headers.iter().map(header).collect(),
        body: handler::Body::Streamed(chunks),
        url: url.into(),
    })
}

fn explain(cause: EgressError) -> Error {
    let code = match cause {
        EgressError::Denied(denial) if denial.retry_after().is_some() => ErrorCode::Quota,
        EgressError::Denied(_) => ErrorCode::Denied,
        EgressError::TooMany => ErrorCode::Quota,
        EgressError::ConnectTimeout | EgressError::Deadline | EgressError::Cancelled => ErrorCode::Timeout,
        EgressError::Dns
        | EgressError::Connect
        | EgressError::Tls
        | EgressError::NoRoots
        | EgressError::BrokenOff
        | EgressError::NotRecorded => ErrorCode::Unreachable,
        EgressError::Protocol => ErrorCode::Protocol,
        EgressError::HeadTooLong | EgressError::BodyTooLong => ErrorCode::TooLong,
        EgressError::Invalid(_) | EgressError::RequestBody => ErrorCode::Invalid,
    };
    let retry_after = match cause {
        EgressError::Denied(denial) => denial.retry_after(),
        _ => None,
    };
    let retry_after_ms = retry_after.map(|after| u32::try_from(after.as_millis()).unwrap_or(u32::MAX));
    Error { code, message: cause.to_string(), retry_after_ms }
}

fn error(code: ErrorCode, message: &str) -> Error {
    Error { code, message: message.into(), retry_after_ms: None }
}
