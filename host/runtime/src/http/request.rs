//! A request's way into a component.

use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use axum::body::Body;
use http_body::Body as _;
use policy::{Books, Bound, Caller, Resource};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::body::{self, Lingering, RequestBody, RequestBodyError};
use super::server::Shared;
use super::{cors, describe, error};
use crate::audit::{self, Trace};
use crate::call::{Call, RequestId};
use crate::capability::call::Chain;
use crate::component::Component;
use crate::governance::Rights;
use crate::guard::Watch;
use crate::instance;
use crate::registry::Found;
use crate::typed;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who has sent a request, and from where.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) caller: Caller,
    pub(super) client: IpAddr,
}

/// The request with a body that is read to its end even if nobody wants it. HTTP/2 has its own way to say that.
pub(super) fn lingering(request: Request<Body>) -> Request<Body> {
    match request.version() <= Version::HTTP_11 && !request.body().is_end_stream() {
        true => request.map(|body| Body::new(Lingering::new(body))),
        false => request,
    }
}

/// Answers a request that is not for one of the host's own routes.
pub(super) async fn serve(shared: &Shared, visitor: &Visitor, request: Request<Body>, trace: &Trace) -> Response<Body> {
    if !shared.sandbox.audit.is_available() {
        return audit::unavailable();
    }
    let request = lingering(request);
    let found = shared.registry.load().find(request.method(), request.uri().path());
    match found {
        Found::Component { component, .. } if component.is_stopped() => error::nothing_here(),
        Found::Component { component, path_start }
            if path_start > 0
                && !component.exports.functions().is_empty()
                && !cors::may_act(&shared.config, request.uri(), request.headers()) =>
        {
            error::other_origin()
        }
        Found::Component { component, path_start } => {
            trace.asks_for(&component.governance);
            let errand = Errand { shared, component: &component, visitor, path_start, trace };
            match visitor.caller.may_ask(component.name()) {
                Ok(()) if errand.is_asked_for_description(&request) => describe::component(shared, &component),
                Ok(()) => errand.forward(request).await,
                Err(bound) => errand.refuse(bound),
            }
        }
        Found::OtherMethods(allow) => not_allowed(&allow),
        Found::Nothing => {
            let path: String = request.uri().path().chars().take(200).collect();
            error::response(
                StatusCode::NOT_FOUND,
                "unknown_route",
                &format!("Nothing is served at {path}. GET /v1/list_service lists what is."),
            )
        }
    }
}

/// The client's id for a request, or a new one.
pub(super) fn id_of(shared: &Shared, request: &Request<Body>) -> RequestId {
    let id = request.headers().get(REQUEST_ID).and_then(|id| RequestId::from_client(id.as_bytes()));
    id.unwrap_or_else(|| shared.next_request_id())
}

/// Puts the request's id on its answer.
pub(super) fn mark(response: &mut Response<Body>, id: &RequestId) {
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
}

/// A request for a component.
#[derive(Clone, Copy)]
struct Errand<'a> {
    shared: &'a Shared,
    component: &'a Arc<Component>,
    visitor: &'a Visitor,
    /// Length of `/c/NAME` on a default route, else 0.
    path_start: usize,
    trace: &'a Trace,
}

impl Errand<'_> {
    /// Before anything of the component is touched.
    fn refuse(self, bound: Bound) -> Response<Body> {
        let Errand { shared, component, visitor, trace, .. } = self;
        shared.metrics.denied(component.name().as_str(), "component", "not_in_scope", true);
        if component.governance.may_tell() {
            let explained = visitor.caller.explain_refusal(component.name(), bound);
            tracing::warn!(request = %trace.id, client = %visitor.client, "{explained}");
        }
        error::component_not_allowed(component.name())
    }

    /// Whether it is the host that answers, without the component.
    fn is_asked_for_description(self, request: &Request<Body>) -> bool {
        let path = request.uri().path().get(self.path_start..).unwrap_or_default();
        self.path_start > 0 && describe::is_asked(self.component, request.method(), path)
    }

    async fn forward(self, request: Request<Body>) -> Response<Body> {
        let Errand { shared, component, visitor, .. } = self;
        let start = Instant::now();
        let books = Books { component: &component.governance.ledger, tenant: visitor.caller.ledger() };
        let response = match books.take(Resource::Requests, 1) {
            Ok(()) => admitted(self, request).await,
            Err(overdrawn) => error::over_quota(overdrawn),
        };
        shared.metrics.request(component.name().as_str(), response.status(), start.elapsed());
        response
    }
}

/// A request that its component and its tenant have quota for.
async fn admitted(errand: Errand<'_>, request: Request<Body>) -> Response<Body> {
    let Errand { shared, component, visitor, path_start, trace } = errand;
    let id = &trace.id;
    let rights = component.governance.rights();
    let limits = rights.policy.limits();
    let call = Arc::new(Call {
        id: id.clone(),
        caller: visitor.caller.clone(),
        client: Some(visitor.client),
        deadline: Instant::now() + Duration::from_millis(limits.wall_ms_max),
        governance: component.governance.clone(),
        gone: CancellationToken::new(),
        cpu_max: Duration::from_millis(limits.cpu_ms_max),
        cpu_ns: AtomicU64::new(0),
        verdict: OnceLock::new(),
        afterwards: OnceLock::new(),
        chain: Chain::default(),
        trail: Arc::default(),
    });
    trace.serves(&call);
    let (mut head, body) = request.into_parts();
    if header_bytes(&head.headers) > limits.header_bytes_max {
        let message = format!("The request's headers are longer than {} bytes: send fewer.", limits.header_bytes_max);
        return error::response(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", &message);
    }
    if let (Some(authority), false) = (head.uri.authority(), head.headers.contains_key(header::HOST)) {
        // HTTP/2 says the host in its target, which a component sees only as a path.
        let host = HeaderValue::from_str(authority.as_str());
        head.headers.extend(host.ok().map(|host| (header::HOST, host)));
    }
    head.uri = below(&head.uri, path_start);
    let receiving = body::receive(body, shared.config.body_whole_bytes_max, limits.request_body_bytes_max);
    match tokio::time::timeout_at(call.deadline, receiving).await {
        Ok(Ok(body)) => match reach(errand, Request::from_parts(head, body), &rights, call).await {
            Ok(response) if header_bytes(response.headers()) > limits.header_bytes_max => {
                if component.governance.may_tell() {
                    tracing::warn!(request = %id, component = %component.name(), "its answer's headers are too long");
                }
                error::fault(instance::Fault::BadResponse)
            }
            Ok(response) => response,
            Err(fault) => {
                if component.governance.may_tell() {
                    tracing::warn!(request = %id, component = %component.name(), %fault, "no answer from the component");
                }
                error::fault(fault)
            }
        },
        Ok(Err(RequestBodyError::TooLarge)) => error::body_too_large(limits.request_body_bytes_max),
        Ok(Err(error @ RequestBodyError::Incomplete)) => {
            error::response(StatusCode::BAD_REQUEST, "body_incomplete", &error.to_string())
        }
        Err(_) => error::response(StatusCode::REQUEST_TIMEOUT, "body_timeout", "the request body took too long to arrive"),
    }
}

/// Has the component answer, with the guards that its policy names on both sides of it: there is no other way to a component.
async fn reach(
    errand: Errand<'_>,
    request: Request<RequestBody>,
    rights: &Arc<Rights>,
    call: Arc<Call>,
) -> Result<Response<Body>, instance::Fault> {
    let Errand { shared, component, trace, .. } = errand;
    trace.asks(request.body());
    let limits = rights.policy.limits();
    let asked = (request.method(), request.uri().path());
    let Some(watch) = Watch::new(&shared.registry.load(), component, rights, &call, asked) else {
        let response = answer(errand, request, call).await?;
        return Ok(response.map(|body| Body::new(body.limited(limits.response_body_bytes_max))));
    };
    let checked = match tokio::time::timeout_at(call.deadline, Box::pin(watch.input(request))).await {
        Ok(Ok(request)) => request,
        Ok(Err(refusal)) => {
            trace.withhold();
            return Ok(refusal.response(limits.request_body_bytes_max));
        }
        Err(_) => return Err(instance::Fault::Deadline),
    };
    let response = answer(errand, checked, call).await?;
    let response = response.map(|body| body.limited(limits.response_body_bytes_max));
    Ok(Box::pin(watch.output(response)).await.unwrap_or_else(|refusal| refusal.response(limits.request_body_bytes_max)))
}

/// The component's own answer: on its default route by one of its functions, where the path is one's.
async fn answer(
    errand: Errand<'_>,
    request: Request<RequestBody>,
    call: Arc<Call>,
) -> Result<instance::Response, instance::Fault> {
    match errand.path_start {
        0 => instance::dispatch(errand.component, request, call).await,
        _ => Box::pin(typed::answer::answer(errand.component, request, call)).await,
    }
}

/// Length of header lines as they stand on the wire: each with a colon, a space and its line's end.
fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// The target as the component sees it: what follows `/c/NAME` on its default route.
fn below(uri: &Uri, path_start: usize) -> Uri {
    if path_start == 0 {
        return uri.clone();
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let rest = target.get(path_start..).unwrap_or("/");
    let rest = if rest.starts_with('/') { rest.into() } else { format!("/{rest}") };
    rest.parse().unwrap_or_else(|_| uri.clone())
}

fn not_allowed(allow: &str) -> Response<Body> {
    let message = format!("This route does not take that method; it takes {allow}.");
    let mut response = error::response(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message);
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_sees_what_follows_its_name() {
        for (uri, start, seen) in [
            ("/c/echo/a/b?x=1", 7, "/a/b?x=1"),
            ("/c/echo", 7, "/"),
            ("/c/echo?x=1", 7, "/?x=1"),
            ("/v1/embeddings", 0, "/v1/embeddings"),
        ] {
            assert_eq!(below(&uri.parse().expect("a uri"), start), *seen, "{uri}");
        }
    }
}
