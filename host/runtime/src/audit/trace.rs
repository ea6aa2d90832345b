//! The record of a request, from its head to the end of its answer.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::http::{Request, Response, StatusCode};
use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use policy::Caller;
use policy::audit::{Decision, Kind, Record, Usage, shorten};

use super::{Audit, Class};
use crate::call::{Call, RequestId};
use crate::governance::Governance;
use crate::http::body::RequestBody;
use crate::http::error;

/// Longest path in a record, in characters.
const PATH_CHARS_MAX: usize = 160;

/// What is asked again and again by what watches the server: recorded only where it is refused.
const WATCHED: [&str; 3] = ["/health", "/ready", "/metrics"];

/// What stands for the path of a request that a guard has refused.
const WITHHELD: &str = "(withheld: a guard refused the request)";

/// What is known of a request on its way through the server.
pub(crate) struct Trace {
    /// The request's id.
    pub(crate) id: RequestId,
    audit: Arc<Audit>,
    start: Instant,
    /// The beginning of its record, where there is to be one.
    record: Option<Record>,
    is_watched: bool,
    caller: OnceLock<Caller>,
    /// The component that was asked.
    asked: OnceLock<Arc<Governance>>,
    call: OnceLock<Arc<Call>>,
    arguments: OnceLock<Arc<str>>,
    /// Whether what was asked may not be written down.
    is_withheld: AtomicBool,
}

impl Trace {
    /// Begins with a request's head.
    pub(crate) fn begin(audit: &Arc<Audit>, id: RequestId, client: IpAddr, request: &Request<Body>) -> Trace {
        let record = audit.takes(Class::Access).then(|| Record {
            request: Some(id.as_str().into()),
            client: Some(client.to_string().into()),
            action: Some(shorten(request.method().as_str())),
            // Without the query, which may hold what people wrote.
            target: Some(request.uri().path().chars().take(PATH_CHARS_MAX).collect::<String>().into()),
            ..Record::new(Kind::Request)
        });
        Trace {
            id,
            audit: audit.clone(),
            start: Instant::now(),
            record,
            is_watched: WATCHED.contains(&request.uri().path()),
            caller: OnceLock::new(),
            asked: OnceLock::new(),
            call: OnceLock::new(),
            arguments: OnceLock::new(),
            is_withheld: AtomicBool::new(false),
        }
    }

    /// It is known who asks.
    pub(crate) fn is_of(&self, caller: &Caller) {
        self.caller.get_or_init(|| caller.clone());
    }

    /// It is known which component is asked.
    pub(crate) fn asks_for(&self, component: &Arc<Governance>) {
        self.asked.get_or_init(|| component.clone());
    }

    /// The request has become a call.
    pub(crate) fn serves(&self, call: &Arc<Call>) {
        self.call.get_or_init(|| call.clone());
    }

    /// The request's body is here.
    pub(crate) fn asks(&self, body: &RequestBody) {
        let (Some(record), RequestBody::Whole(body)) = (&self.record, body) else { return };
        let text = |text: &Option<Arc<str>>| text.clone().unwrap_or_default();
        let (method, target) = (text(&record.action), text(&record.target));
        if let Some(digest) = self.audit.digest(&[method.as_bytes(), target.as_bytes(), body]) {
            self.arguments.get_or_init(|| digest);
        }
    }

    /// A guard has refused what was asked: the path, too, may hold what people wrote.
    pub(crate) fn withhold(&self) {
        self.is_withheld.store(true, Ordering::Relaxed);
    }

    /// Writes the request down, now that the head of its answer is ready, and waits for what has to be written before it leaves.
    /// Where that fails the answer is 503.
    pub(crate) async fn end(mut self, response: Response<Body>) -> Response<Body> {
        let is_told = !(self.is_watched && response.status().is_success());
        let record = self.record.take().filter(|_| is_told).map(|record| self.complete(record, Some(response.status())));
        let template = record.as_ref().map(|record| Record { kind: Kind::End, ..record.clone() });
        let told = record.map_or(Ok(0), |record| self.audit.tell(Class::Access, record));
        let before = self.call.get().map_or(0, |call| call.trail.ticket());
        let written = match told {
            Ok(ticket) => self.audit.written(ticket.max(before)).await,
            Err(unavailable) => Err(unavailable),
        };
        let end = template.map(|record| End { record, trace: self });
        match (written, end) {
            (Err(_), end) => {
                if let Some(end) = end {
                    end.tell("the answer was withheld: what it has to be recorded with could not be", Some(503));
                }
                unavailable()
            }
            (Ok(()), Some(end)) if is_streamed(response.body()) => {
                response.map(|body| Body::new(Ended { body, end: Some(end) }))
            }
            (Ok(()), _) => response,
        }
    }

    fn complete(&self, record: Record, status: Option<StatusCode>) -> Record {
        let is_error = status.is_some_and(|status| status.is_client_error() || status.is_server_error());
        let is_refused = self.call.get().is_none() && is_error;
        let asked = self.asked.get();
        let of_component = asked.map(|governance| governance.record(Kind::Request));
        let (component, digest) = of_component.map_or((None, None), |known| (known.component, known.digest));
        let caller = self.caller.get();
        let target = if self.is_withheld.load(Ordering::Relaxed) { Some(WITHHELD.into()) } else { record.target.clone() };
        Record {
            target,
            tenant: caller.map(|caller| caller.tenant().as_str().into()),
            caller: caller.map(|caller| caller.id().into()),
            component,
            digest,
            policy: asked.map(|governance| governance.rights().policy.hash().clone()),
            decision: Some(if is_refused { Decision::Deny } else { Decision::Allow }),
            status: status.map(|status| status.as_u16()),
            args: self.arguments.get().cloned(),
            usage: Some(self.usage()),
            ..record
        }
    }

    fn usage(&self) -> Usage {
        let used = self.call.get().map(|call| Usage { cpu_ns: call.cpu_ns.load(Ordering::Relaxed), ..call.trail.usage() });
        Usage { took_us: microseconds(self.start.elapsed()), ..used.unwrap_or_default() }
    }
}

impl Drop for Trace {
    /// A request whose client left before it was answered has been, all the same.
    fn drop(&mut self) {
        if let Some(record) = self.record.take().filter(|_| !self.is_watched) {
            let reason = Some("the client left before an answer".into());
            drop(self.audit.tell(Class::Access, Record { reason, ..self.complete(record, None) })); // nobody waits for it
        }
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What is answered while the log can't be written and has to be.
pub(crate) fn unavailable() -> Response<Body> {
    let message = "This server can't record what it does at the moment, so it does nothing: try again later.";
    error::response(StatusCode::SERVICE_UNAVAILABLE, "audit_unavailable", message)
}

/// Whether an answer's body comes after its head.
fn is_streamed(body: &Body) -> bool {
    !body.is_end_stream() && body.size_hint().exact().is_none()
}

/// The last record of a request.
struct End {
    /// What the first one said.
    record: Record,
    trace: Trace,
}

impl End {
    fn tell(self, reason: &str, status: Option<u16>) {
        let End { record, trace } = self;
        let usage = Some(trace.usage());
        let record = Record { usage, status: status.or(record.status), reason: Some(reason.into()), ..record };
        drop(trace.audit.tell(Class::Access, record)); // nobody waits for it
    }
}

/// A streamed body whose end is recorded.
struct Ended {
    body: Body,
    end: Option<End>,
}

impl Ended {
    fn tell(&mut self, reason: &str) {
        if let Some(end) = self.end.take() {
            end.tell(reason, None);
        }
    }
}

impl http_body::Body for Ended {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            None => self.tell("complete"),
            Some(Err(_)) => self.tell("broken off"),
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let reason = if self.body.is_end_stream() { "complete" } else { "nobody read it to its end" };
        self.tell(reason);
    }
}
