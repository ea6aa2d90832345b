//! The way in: who asks is found out before anything else is said.

use std::net::IpAddr;
use std::sync::Arc;

use ::http::uri::Authority;
use ::http::{HeaderMap, Method, Request, Response, header};
use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Router};
use futures::future::BoxFuture;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use policy::Caller;

use super::request::{self, Visitor};
use super::server::Shared;
use super::{client, cors, error, host};
use crate::audit::Trace;
use crate::auth::{self, Refusal};
use crate::registry::is_admin_path;

/// What is served where a connection comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serves {
    /// All there is.
    Everything,
    /// What is not only for operators.
    Public,
    /// What is only for operators.
    Admin,
}

/// Takes the requests of one listening address.
pub(super) struct Entrance {
    shared: Arc<Shared>,
    serves: Serves,
    /// The host's own routes.
    host: TowerToHyperService<Router>,
}

/// Whose connection it is, where a layer is between.
#[derive(Debug, Clone, Copy)]
struct Peer(IpAddr);

/// An entrance, and before it what answers browsers' questions where pages of other origins may read answers.
pub(super) struct Threshold {
    entrance: Arc<Entrance>,
    cors: Option<TowerToHyperService<Router>>,
}

impl Threshold {
    pub(super) fn new(shared: &Arc<Shared>, serves: Serves) -> Threshold {
        let host = TowerToHyperService::new(host::router(shared.clone()));
        let entrance = Arc::new(Entrance { shared: shared.clone(), serves, host });
        let cors = cors::layer(&shared.config.cors).map(|layer| {
            let enter = async |State(entrance): State<Arc<Entrance>>, Extension(Peer(peer)), request| {
                entrance.answer(peer, request).await
            };
            let router = Router::new().fallback(enter).with_state(entrance.clone()).layer(layer);
            TowerToHyperService::new(router)
        });
        Threshold { entrance, cors }
    }

    /// Answers a request of this peer.
    pub(super) fn answer(&self, peer: IpAddr, mut request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let Some(router) = self.cors.as_ref().filter(|_| cors::concerns(&request)) else {
            let entrance = self.entrance.clone();
            return Box::pin(async move { entrance.answer(peer, request).await });
        };
        request.extensions_mut().insert(Peer(peer));
        let answer = router.call(request);
        Box::pin(async move {
            match answer.await {
                Ok(response) => response,
            }
        })
    }
}

impl Entrance {
    async fn answer(&self, peer: IpAddr, request: Request<Body>) -> Response<Body> {
        let client = client::address(peer, request.headers(), &self.shared.config.trusted_proxies);
        let id = request::id_of(&self.shared, &request);
        let trace = Trace::begin(&self.shared.sandbox.audit, id.clone(), client, &request);
        let response = self.let_in(client, request, &trace).await;
        let mut response = trace.end(response).await;
        request::mark(&mut response, &id);
        response
    }

    async fn let_in(&self, client: IpAddr, mut request: Request<Body>, trace: &Trace) -> Response<Body> {
        if self.shared.auth.is_none() && !is_to_this_machine(&request) {
            return refuse(request, error::other_host());
        }
        let caller = match self.caller(request.method(), request.uri().path(), request.headers()).await {
            Ok(caller) => caller,
            Err(refusal) => return self.turn_away(request, refusal),
        };
        trace.is_of(&caller);
        let is_admin_path = is_admin_path(request.uri().path());
        match self.serves {
            Serves::Public if is_admin_path => return refuse(request, error::nothing_here()),
            Serves::Admin if !is_admin_path => return refuse(request, error::nothing_here()),
            // A page that a person on this machine looks at could send it in their name.
            _ if is_admin_path && !cors::may_act(&self.shared.config, request.uri(), request.headers()) => {
                return refuse(request, error::other_origin());
            }
            _ if is_admin_path && !caller.is_admin() => {
                self.shared.metrics.refused("not_admin");
                return refuse(request, error::not_admin());
            }
            _ => {}
        }
        if self.shared.auth.is_some() {
            auth::strip(request.headers_mut());
        }
        let visitor = Visitor { caller, client };
        if self.shared.registry.load().is_host_path(request.uri().path()) {
            request.extensions_mut().insert(visitor);
            request.extensions_mut().insert(trace.id.clone());
            return match self.host.call(request).await {
                Ok(response) => response,
            };
        }
        request::serve(&self.shared, &visitor, request, trace).await
    }

    async fn caller(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let Some(auth) = &self.shared.auth else { return Ok(Caller::local()) };
        let is_public = auth.is_public(method, path) && !is_admin_path(path);
        auth.caller(headers, is_public).await
    }

    fn turn_away(&self, request: Request<Body>, refusal: Refusal) -> Response<Body> {
        self.shared.metrics.refused(match refusal {
            Refusal::Missing => "missing",
            Refusal::Invalid => "invalid",
            Refusal::Expired => "expired",
            Refusal::TooManyTenants => "too_many_tenants",
        });
        refuse(request, error::refused(refusal))
    }
}

/// Whether a request says that it is for this machine, by an address or as `localhost`. A web page whose name has been turned to an
/// address of this machine says its own name, and has no business here where nobody has to say who they are.
fn is_to_this_machine(request: &Request<Body>) -> bool {
    let header = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    let Some(authority) = request.uri().authority().map(Authority::as_str).or(header) else { return true };
    let host = authority.parse::<Authority>().map_or(String::new(), |authority| authority.host().to_ascii_lowercase());
    let is_address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    is_address || host == "localhost" || host.ends_with(".localhost")
}

fn refuse(request: Request<Body>, response: Response<Body>) -> Response<Body> {
    drop(request::lingering(request));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_another_hosts_name_is_not_to_this_machine() {
        let of = |host: &str| Request::builder().header("host", host).body(Body::empty()).expect("a request");
        for host in ["127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "localhost", "LocalHost:80", "x.localhost", "10.0.0.1"] {
            assert!(is_to_this_machine(&of(host)), "{host}");
        }
        for host in ["rebound.example", "rebound.example:8080", "localhost.example", "127.0.0.1.example", "", "a b"] {
            assert!(!is_to_this_machine(&of(host)), "{host}");
        }
        let absolute = Request::builder().uri("http://rebound.example/").header("host", "localhost").body(Body::empty());
        assert!(!is_to_this_machine(&absolute.expect("a request")));
    }
}
