//! Requests to other hosts: the back end of `tessera:http` and `wasi:http`.
//!
//! A request goes `target` (what the guest wrote, read and cleaned) → `exchange` (a task that owns it until its answer's last
//! byte, and has each hop of `redirect` checked by the policy) → `pool` or `connect` (an address that was checked, and nothing
//! else). No proxy of the environment is used, nothing is decompressed, no cookie is kept.

mod body;
mod connect;
mod exchange;
mod pool;
mod redirect;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use policy::{Authority, Denial, HttpGrant};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use url::Url;

pub(crate) use body::{Body, ResponseBody};
use connect::{Connector, Tls};
pub(crate) use connect::{Resolve, SystemResolver};
use exchange::Exchange;
use pool::Pool;
use redirect::Hop;

/// How long a request waits for the place of one that was dropped a moment ago.
const LEAVING_MAX: Duration = Duration::from_millis(20);

/// Whose requests they are. An authority is asked for again for each check and held for no longer than that.
pub(crate) trait Rights: Send + Sync + 'static {
    /// What may be done now.
    fn authority(&self) -> Authority<'_>;

    /// Waits until what was decided is recorded, where nothing may be sent before.
    fn recorded(&self) -> BoxFuture<'_, Result<(), EgressError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What a guest wants of one request, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// Redirects to follow, up to the policy's limit. With 0 they are answers.
    pub(crate) redirects_max: u32,
    /// Time for a connection to be made, where that is less than the policy's limit.
    pub(crate) connect_max: Option<Duration>,
    /// When everything must be over, the body of the answer as well.
    pub(crate) deadline: Instant,
    /// Ends everything when it fires.
    pub(crate) gone: CancellationToken,
}

/// What another host answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Where it came from, after redirects.
    pub(crate) url: Url,
    /// Head and body. Dropping the body ends the exchange.
    pub(crate) response: http::Response<ResponseBody>,
}

/// Why a request got no answer, or only part of one. The text is fit for a guest: it names no address and no reason of a
/// denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EgressError {
    /// No right to it, or no quota left.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// Too many are under way.
    #[error("too many requests are under way: wait until one has ended")]
    TooMany,
    /// No connection was made in time.
    #[error("the connection took too long")]
    ConnectTimeout,
    /// It was not over in time.
    #[error("the time for the request is over")]
    Deadline,
    /// The host's name stands for no address.
    #[error("the host's name is not known")]
    Dns,
    /// No address of the host takes connections.
    #[error("the host does not take the connection")]
    Connect,
    /// The host's certificate is not trusted, or its encryption is none.
    #[error("no encrypted connection with a trusted certificate could be made")]
    Tls,
    /// There is nothing to trust.
    #[error(
        "this server trusts no certificates, so https can't be used: its operator has to install some or set SSL_CERT_FILE"
    )]
    NoRoots,
    /// What the host says is no HTTP.
    #[error("what the host answered is no HTTP")]
    Protocol,
    /// The host closed the connection too early.
    #[error("the host broke off")]
    BrokenOff,
    /// The head of the answer is longer than the policy allows.
    #[error("the answer's head is longer than this component may receive")]
    HeadTooLong,
    /// The body of the answer is longer than the policy allows.
    #[error("the answer's body is longer than this component may receive")]
    BodyTooLong,
    /// The guest's request is malformed.
    #[error("{0}")]
    Invalid(&'static str),
    /// The guest broke its request's body off.
    #[error("the request's body broke off")]
    RequestBody,
    /// The server has to record it and can't.
    #[error("the server can't record requests at the moment, so it sends none")]
    NotRecorded,
    /// The request that it was sent for is over.
    #[error("the request is over")]
    Cancelled,
}

/// Sends the requests of one component under one policy. A new policy gets a new one, and the connections of the old one end
/// with the exchanges that use them.
#[derive(Debug)]
pub(crate) struct Egress {
    means: Arc<Means>,
    slots: Arc<Semaphore>,
}

/// What the exchanges of a component share.
#[derive(Debug)]
struct Means {
    connector: Connector,
    pool: Arc<Pool>,
    redirects_max: u32,
    connect_max: Duration,
    body_bytes_max: u64,
}

/// Reads an absolute URL as people write it, names in any alphabet included, for [`Egress::send`].
///
/// # Errors
/// When it is none of `http` or `https`, or holds a user or a password.
pub(crate) fn uri(text: &str) -> Result<http::Uri, EgressError> {
    target::parse(text)?.as_str().parse().map_err(|_| EgressError::Invalid("the URL can't be sent"))
}

impl Egress {
    /// Sends under the limits of a grant, to where the system's resolver says, trusting the system's certificates.
    pub(crate) fn new(grant: &HttpGrant) -> Egress {
        Egress::with(grant, Arc::new(SystemResolver), Tls::of_system())
    }

    fn with(grant: &HttpGrant, resolver: Arc<dyn Resolve>, tls: Tls) -> Egress {
        let concurrency_max = grant.concurrency_max.min(Semaphore::MAX_PERMITS);
        let connector = Connector::new(resolver, tls, grant.response_header_bytes_max);
        let means = Means {
            connector,
            pool: Arc::new(Pool::new(concurrency_max)),
            redirects_max: grant.redirects_max,
            connect_max: Duration::from_millis(grant.connect_ms_max),
            body_bytes_max: grant.response_body_bytes_max,
        };
        Egress { means: Arc::new(means), slots: Arc::new(Semaphore::new(concurrency_max)) }
    }

    /// Checks a request, sends it, and follows redirects as the terms say. Gives the answer once its head is there. Dropping
    /// the future, or the body of the answer, ends the exchange.
    ///
    /// # Errors
    /// As [`EgressError`] says; nothing of a denied request has left the machine.
    pub(crate) async fn send(
        &self,
        rights: Arc<dyn Rights>,
        request: http::Request<Body>,
        terms: Terms,
    ) -> Result<Answer, EgressError> {
        let hop = Hop::first(request)?;
        let slot = tokio::time::timeout(LEAVING_MAX, self.slots.clone().acquire_owned()).await;
        let slot = slot.ok().and_then(Result::ok).ok_or(EgressError::TooMany)?;
        let (answer, answered) = oneshot::channel();
        let exchange = Exchange { means: self.means.clone(), rights, terms, slot: Arc::new(slot) };
        // A task of its own: deadline and cancellation count even where the guest lets its future or its body lie.
        tokio::spawn(exchange.run(hop, answer).in_current_span());
        answered.await.unwrap_or(Err(EgressError::Cancelled))
    }
}
