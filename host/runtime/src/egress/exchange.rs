//! One request under way: a task that ends with the answer's last byte, or with the wish for it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use policy::{Http, Permit, Resource};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use url::Url;

use super::body::{Body, Filling, Meter, Outgoing, ResponseBody, Upload};
use super::connect::{Errand, tell};
use super::pool::{Connection, Pool, Wire};
use super::redirect::Hop;
use super::{Answer, EgressError, Means, Rights, Terms, target};

/// A request under way.
pub(super) struct Exchange {
    pub(super) means: Arc<Means>,
    pub(super) rights: Arc<dyn Rights>,
    pub(super) terms: Terms,
    /// Its place among the requests under way.
    pub(super) slot: Arc<OwnedSemaphorePermit>,
}

/// The head of an answer, and what the rest comes by.
struct Received {
    url: Url,
    response: http::Response<Incoming>,
    lease: Lease,
}

impl Exchange {
    /// Sends a request and fills its answer's body, until that is done, or nobody wants it, or its time is over.
    pub(super) async fn run(self, hop: Hop, mut answer: oneshot::Sender<Result<Answer, EgressError>>) {
        let terms = self.terms.clone();
        let mut over = pin!(async {
            tokio::select! {
                () = tokio::time::sleep_until(terms.deadline) => EgressError::Deadline,
                () = terms.gone.cancelled() => EgressError::Cancelled,
            }
        });
        let received = tokio::select! {
            biased;
            error = &mut over => Err(error),
            () = answer.closed() => return,
            received = Box::pin(self.head(hop)) => received,
        };
        let (means, slot) = (self.means, self.slot);
        let Received { url, response, lease } = match received {
            Ok(received) => received,
            Err(error) => {
                drop(slot); // so that the guest can try again at once
                drop(answer.send(Err(error))); // it may be gone
                return;
            }
        };
        let (mut head, mut incoming) = response.into_parts();
        target::clean_answer(&mut head.headers);
        head.extensions.clear();
        let (filling, body) = ResponseBody::channel(incoming.size_hint());
        let say = || answer.send(Ok(Answer { url, response: http::Response::from_parts(head, body) })).is_ok();
        if incoming.is_end_stream() {
            filling.finish(Ok(()));
            return finish(lease, slot, over, say).await;
        }
        if !say() {
            return;
        }
        let end = tokio::select! {
            biased;
            error = &mut over => Err(error),
            end = fill(&mut incoming, &filling, means.body_bytes_max) => end,
            () = filling.frames.closed() => return,
        };
        drop(incoming);
        match end {
            Ok(()) => {
                let say = || {
                    filling.finish(Ok(()));
                    true
                };
                finish(lease, slot, over, say).await;
            }
            Err(error) => {
                let error = lease.upload.failure().unwrap_or(error);
                drop((lease, slot));
                filling.finish(Err(error));
            }
        }
    }

    /// Sends a request, and follows where its answers send it.
    async fn head(&self, mut hop: Hop) -> Result<Received, EgressError> {
        let mut redirects_left = self.terms.redirects_max.min(self.means.redirects_max);
        loop {
            let (permit, headers) = self.check(&hop)?;
            self.rights.recorded().await?;
            let (announced, body) = (hop.announced, hop.take_body());
            let (response, mut lease) = self.transmit(permit, headers, body, announced).await?;
            let next = match redirects_left {
                0 => None,
                _ => hop.redirected(response.status(), response.headers()),
            };
            let Some(next) = next else { return Ok(Received { url: hop.url, response, lease }) };
            (hop, redirects_left) = (next, redirects_left - 1);
            let is_read = response.body().is_end_stream();
            drop(response);
            if is_read && lease.upload.is_over() {
                lease.keep_soon().await;
            }
        }
    }

    /// Asks for the right to send, and for the secrets that the headers stand for.
    fn check(&self, hop: &Hop) -> Result<(Permit<Http>, HeaderMap), EgressError> {
        let authority = self.rights.authority();
        let permit = authority.http(&hop.method, &hop.url, hop.bytes()?)?;
        let mut headers = hop.headers.clone();
        authority.fill_secrets(&permit.action().url, &mut headers)?;
        // Values may be longer than their placeholders.
        let before = target::head_bytes(&hop.method, &hop.url, &hop.headers)?;
        let more = target::head_bytes(&hop.method, &hop.url, &headers)?.saturating_sub(before);
        if more > 0 {
            authority.books().charge(Resource::Egress, more);
        }
        Ok((permit, headers))
    }

    /// Sends what is permitted and waits for the head of its answer.
    async fn transmit(
        &self,
        permit: Permit<Http>,
        headers: HeaderMap,
        body: Body,
        announced: Option<u64>,
    ) -> Result<(http::Response<Incoming>, Lease), EgressError> {
        let Http { url, method } = permit.redeem();
        let meter = Meter { rights: self.rights.clone(), method: method.clone(), url: url.clone() };
        let (mut outgoing, upload) = Outgoing::new(body, announced, meter);
        let mut lease = Lease { pool: self.means.pool.clone(), connection: None, upload };
        let mut pooled = self.pooled(&method, &url);
        loop {
            let is_pooled = pooled.is_some();
            let connection = match pooled.take() {
                Some(connection) => connection,
                None => self.connect(&method, &url).await?,
            };
            let connection = lease.connection.insert(connection);
            let request = form(&connection.wire, &method, &url, headers.clone(), outgoing)?;
            let mut error = match connection.send(request).await {
                Ok(response) if (200..600).contains(&response.status().as_u16()) => return Ok((response, lease)),
                Ok(_) => return Err(EgressError::Protocol),
                Err(error) => error,
            };
            match error.take_message() {
                // The host had closed it meanwhile. A new one is tried once.
                Some(request) if is_pooled => {
                    self.means.pool.retire(connection);
                    outgoing = request.into_body();
                }
                _ => {
                    tell(&url, error.error());
                    return Err(lease.upload.failure().unwrap_or(explain(error.error())));
                }
            }
        }
    }

    /// A connection that waits to be used again, if what it goes to may still be reached.
    fn pooled(&self, method: &Method, url: &Url) -> Option<Connection> {
        let authority = self.rights.authority();
        let connection = self.means.pool.take(&url.origin())?;
        let is_allowed = authority.reach(method, url, connection.address).is_ok();
        if !is_allowed {
            self.means.pool.retire(&connection);
        }
        is_allowed.then_some(connection)
    }

    async fn connect(&self, method: &Method, url: &Url) -> Result<Connection, EgressError> {
        let wait_max = self.terms.connect_max.map_or(self.means.connect_max, |wanted| wanted.min(self.means.connect_max));
        let errand = Errand { rights: &*self.rights, method, url, slot: &self.slot };
        let connected = tokio::time::timeout(wait_max, self.means.connector.connect(errand)).await;
        let connection = connected.map_err(|_| EgressError::ConnectTimeout)??;
        if let Some(shared) = connection.shared() {
            self.means.pool.add(shared);
        }
        Ok(connection)
    }
}

/// A request as a connection takes it: `host` is the URL's, whatever the guest wrote.
fn form(
    wire: &Wire,
    method: &Method,
    url: &Url,
    mut headers: HeaderMap,
    body: Outgoing,
) -> Result<Request<Outgoing>, EgressError> {
    let malformed = EgressError::Invalid("the URL can't be sent");
    let (authority, path) = (target::authority(url), target::path(url));
    let (uri, version) = match wire {
        Wire::Http1(_) => {
            headers.insert(HOST, HeaderValue::from_str(authority).map_err(|_| malformed)?);
            (Uri::try_from(path), Version::HTTP_11)
        }
        Wire::Http2(_) => (Uri::try_from(format!("{}://{authority}{path}", url.scheme())), Version::HTTP_2),
    };
    let mut request = Request::new(body);
    *request.uri_mut() = uri.map_err(|_| malformed)?;
    *request.method_mut() = method.clone();
    *request.version_mut() = version;
    *request.headers_mut() = headers;
    Ok(request)
}

/// What a failure of a connection means to a guest.
fn explain(error: &hyper::Error) -> EgressError {
    match error {
        error if error.is_parse_too_large() => EgressError::HeadTooLong,
        error if error.is_parse() => EgressError::Protocol,
        _ => EgressError::BrokenOff,
    }
}

/// Passes a body on, piece by piece as it is read.
async fn fill(incoming: &mut Incoming, filling: &Filling, bytes_max: u64) -> Result<(), EgressError> {
    let mut bytes = 0u64;
    while !incoming.is_end_stream() {
        let Ok(room) = filling.frames.reserve().await else { return Err(EgressError::Cancelled) };
        let Some(frame) = incoming.frame().await else { break };
        let frame = frame.map_err(|error| explain(&error))?;
        bytes = bytes.saturating_add(frame.data_ref().map_or(0, |data| data.len() as u64));
        if bytes > bytes_max {
            return Err(EgressError::BodyTooLong);
        }
        room.send(frame);
    }
    Ok(())
}

/// After an answer's last byte: keeps the connection, frees the place, and then says that the answer has ended, if somebody
/// still wants to know. A request's body that is still under way goes on, in its place and up to its deadline.
async fn finish(
    mut lease: Lease,
    slot: Arc<OwnedSemaphorePermit>,
    over: Pin<&mut impl Future<Output = EgressError>>,
    say: impl FnOnce() -> bool,
) {
    let slot = Some(slot).filter(|_| !lease.upload.is_over());
    let is_kept = slot.is_none() && lease.keep_soon().await;
    if !say() || is_kept {
        return;
    }
    tokio::select! {
        _ = over => {}
        () = async {
            lease.upload.over().await;
            drop(slot);
            lease.keep().await;
        } => {}
    }
}

/// How long a connection may take to see that its exchange has ended, before the next goes by another.
const SETTLING_MAX: Duration = Duration::from_millis(5);

/// A connection while an exchange uses it. Dropped before it is kept, it ends the exchange.
struct Lease {
    pool: Arc<Pool>,
    connection: Option<Connection>,
    upload: Upload,
}

impl Lease {
    /// Gives the connection back as soon as it can be used.
    async fn keep(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        if connection.ready().await
            && let Some(connection) = self.connection.take()
        {
            self.pool.give_back(connection);
        }
    }

    /// As [`keep`](Self::keep), if that is soon; says whether it was.
    async fn keep_soon(&mut self) -> bool {
        tokio::time::timeout(SETTLING_MAX, self.keep()).await.is_ok()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What hangs in a shared connection's window ends with the connection, which takes no further exchange.
        if let Some(connection) = &self.connection
            && !self.upload.is_over()
        {
            self.pool.retire(connection);
        }
    }
}
