//! Guards: components that look at what goes into another component and comes out of it.
//!
//! A policy names them in `[guard]`. Then every request of the component is read whole, checked and written again before the
//! component gets it, and every answer before its client does, on whatever route and by whatever protocol they come. A streamed
//! answer is checked as it comes, its last part held back. Nothing that a caller sends changes any of this.

mod document;
mod edit;
mod event;
mod json;
pub(crate) mod manifest;
mod piece;
mod place;
mod refusal;
mod stream;
mod window;

use std::borrow::Cow;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_RANGE, RANGE, TRANSFER_ENCODING,
};
use ::http::{HeaderMap, HeaderValue, Method, Request, Response};
use axum::body::Body;
use bytes::Bytes;
use document::{Document, Kind};
use edit::Edits;
use http_body::Body as _;
use http_body_util::BodyExt;
use piece::Pieces;
use policy::audit::{Decision, Kind as RecordKind, Record};
use policy::{ComponentName, Guard, Resource, Unchecked};
pub(crate) use refusal::{Direction, Refusal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bindings::guard::exports::tessera::guard::guard as wit;
use crate::call::Call;
use crate::capability::call::Chain;
use crate::component::Component;
use crate::governance::Rights;
use crate::http::body::{GuestBody, RequestBody, ResponseBodyError};
use crate::instance;
use crate::registry::Registry;

/// Longest answer that is checked as a whole, in bytes; a longer one can't be inspected.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Bodies up to this length are read where they are, in bytes; it takes a fraction of a millisecond.
const SHORT_BYTES: usize = 64 << 10;

/// What a guard is asked.
pub(crate) struct Question {
    /// The text, or a part of it.
    pub(crate) text: String,
    /// Where it stands.
    pub(crate) at: wit::Context,
}

/// What a guard answers; an error where it can't judge.
pub(crate) type Judgement = Result<wit::Verdict, ()>;

/// A guard as a policy names it: none where it isn't loaded.
type Named = (ComponentName, Option<Arc<Component>>);

/// The guards of one request.
pub(crate) struct Watch {
    component: Arc<Component>,
    /// What the policy was when the request came.
    rights: Arc<Rights>,
    call: Arc<Call>,
    input: Vec<Named>,
    output: Vec<Named>,
}

impl Watch {
    /// Those that the component's policy names for a request, with the path as the component sees it; none if nobody is to look.
    pub(crate) fn new(
        registry: &Registry,
        component: &Arc<Component>,
        rights: &Arc<Rights>,
        call: &Arc<Call>,
        (method, path): (&Method, &str),
    ) -> Option<Arc<Watch>> {
        let guard = rights.policy.guard();
        if guard.is_empty() || guard.excepts(method.as_str(), path) {
            return None;
        }
        let find = |name: &ComponentName| (name.clone(), registry.guard(name));
        Some(Arc::new(Watch {
            component: component.clone(),
            rights: rights.clone(),
            call: call.clone(),
            input: guard.input.iter().map(find).collect(),
            output: guard.output.iter().map(find).collect(),
        }))
    }

    /// The request that the component gets.
    ///
    /// # Errors
    /// When it is to get none.
    pub(crate) async fn input(&self, request: Request<RequestBody>) -> Result<Request<RequestBody>, Refusal> {
        let (mut head, body) = request.into_parts();
        if !self.output.is_empty() {
            // Parts of an answer, and compressed ones, can't be read.
            for header in [ACCEPT_ENCODING, RANGE, IF_RANGE] {
                head.headers.remove(header);
            }
        }
        if self.input.is_empty() {
            return Ok(Request::from_parts(head, body));
        }
        let bytes = match body {
            RequestBody::Whole(bytes) => bytes,
            RequestBody::Streamed(body) => body.collect().await.map_err(Refusal::Request)?.to_bytes(),
        };
        let kind = Kind::of(&head.headers);
        let opened = open(kind, &bytes, Direction::Input).await;
        if opened.is_none() && !bytes.is_empty() {
            self.uninspectable(Direction::Input)?;
        }
        let (document, pieces) = opened.unzip();
        let mut pieces: Pieces = pieces.unwrap_or_default();
        let path = head.uri.path();
        let is_fixed = self.component.manifest.routes.iter().any(|route| !route.is_prefix() && route.path() == path);
        document::target_texts(path, head.uri.query(), is_fixed, &mut pieces);
        pieces.check(self, Direction::Input).await?;
        let bytes = match document {
            Some(document) => close(kind, document, pieces, bytes.len()).await,
            None => bytes,
        };
        if head.headers.remove(TRANSFER_ENCODING).is_some() || head.headers.contains_key(CONTENT_LENGTH) {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        Ok(Request::from_parts(head, RequestBody::Whole(bytes)))
    }

    /// The answer that the client gets. Dropping its body stops the work behind it.
    ///
    /// # Errors
    /// When it is to get none, and nothing is sent yet.
    pub(crate) async fn output(self: Arc<Self>, response: Response<GuestBody>) -> Result<Response<Body>, Refusal> {
        let is_empty = response.body().is_end_stream() || response.body().size_hint().exact() == Some(0);
        if self.output.is_empty() || is_empty {
            return Ok(response.map(Body::new));
        }
        let (mut head, body) = response.into_parts();
        let kind = Kind::of(&head.headers);
        without_length(&mut head.headers);
        let body = match kind {
            Kind::Events | Kind::Lines => Body::from_stream(stream::events(self, body, kind == Kind::Events)),
            Kind::Text if !body.is_in_hand() => Body::from_stream(stream::text(self, body)),
            Kind::Json | Kind::Form | Kind::Text => self.whole(kind, body).await?,
            Kind::Unknown if body.is_in_hand() => self.whole(kind, body).await?,
            Kind::Unknown | Kind::Encoded => {
                self.uninspectable(Direction::Output)?;
                Body::new(body)
            }
        };
        Ok(Response::from_parts(head, body))
    }

    /// An answer that is checked as a whole.
    async fn whole(&self, kind: Kind, body: GuestBody) -> Result<Body, Refusal> {
        let bytes = http_body_util::Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let bytes = bytes.map_err(|error| match error.downcast::<ResponseBodyError>() {
            Ok(error) => Refusal::Answer(*error),
            Err(_) => Refusal::Uninspectable(Direction::Output),
        })?;
        let bytes = bytes.to_bytes();
        let Some((document, mut pieces)) = open(kind, &bytes, Direction::Output).await else {
            if !bytes.is_empty() {
                self.uninspectable(Direction::Output)?;
            }
            return Ok(Body::from(bytes));
        };
        pieces.check(self, Direction::Output).await?;
        Ok(Body::from(close(kind, document, pieces, bytes.len()).await))
    }

    /// Has all guards of one direction judge a text, each seeing what the one before it left.
    ///
    /// # Errors
    /// When one blocks it, or can't judge and the policy lets nothing pass then.
    async fn judge(&self, direction: Direction, text: &str, offset: u64, is_final: bool) -> Result<Edits, Refusal> {
        let mut edits = Edits::default();
        if text.is_empty() {
            return Ok(edits);
        }
        let mut left = Cow::Borrowed(text);
        for (place, (name, guard)) in self.guards(direction).iter().enumerate() {
            let at =
                wit::Context { direction: direction.into(), component: self.component.name().to_string(), offset, is_final };
            let answer = match guard {
                Some(guard) => self.ask(guard, Question { text: left.clone().into_owned(), at }).await,
                None => Err(()),
            };
            let spans = match answer {
                Ok(wit::Verdict::Allow) => Ok(Edits::default()),
                Ok(wit::Verdict::Redact(spans)) => Edits::new(&left, spans, place).map_err(drop),
                Ok(wit::Verdict::Block(reason)) => {
                    let reason =
                        guard.as_ref().and_then(|guard| guard.manifest.guard.as_ref()).map(|guard| guard.shown(&reason));
                    return Err(self.blocked(direction, name, reason.unwrap_or(manifest::OTHER)));
                }
                Err(()) => Err(()),
            };
            match spans {
                Ok(spans) => {
                    self.tell(direction, name.as_str(), if spans.is_empty() { "allow" } else { "redact" }, "");
                    if !spans.is_empty() {
                        edits = edits.then(spans);
                        left = Cow::Owned(edits.apply(text));
                    }
                }
                Err(()) => {
                    self.tell(direction, name.as_str(), "failed", "");
                    if self.guard().on_failure == Unchecked::Block {
                        return Err(Refusal::Unavailable(direction));
                    }
                }
            }
        }
        Ok(edits)
    }

    /// Asks one guard, under its own limits and quota, and no longer than the request has time.
    async fn ask(&self, guard: &Arc<Component>, question: Question) -> Judgement {
        guard.governance.ledger.take(Resource::Requests, 1).map_err(drop)?;
        let rights = guard.governance.rights();
        let limits = rights.policy.limits();
        let time = Duration::from_millis(self.guard().timeout_ms.min(limits.wall_ms_max));
        let deadline = self.call.deadline.min(Instant::now() + time);
        let call = Arc::new(Call {
            id: self.call.id.clone(),
            caller: self.call.caller.unbounded(),
            client: self.call.client,
            deadline,
            governance: guard.governance.clone(),
            gone: CancellationToken::new(),
            cpu_max: Duration::from_millis(limits.cpu_ms_max),
            cpu_ns: AtomicU64::new(0),
            verdict: OnceLock::new(),
            afterwards: OnceLock::new(),
            chain: Chain::default(),
            trail: Arc::default(),
        });
        let judged = Box::pin(instance::check(guard, question, call.clone())).await;
        self.call.trail.waits_for(call.trail.ticket());
        judged.map_err(drop)?
    }

    fn guards(&self, direction: Direction) -> &[Named] {
        match direction {
            Direction::Input => &self.input,
            Direction::Output => &self.output,
        }
    }

    fn guard(&self) -> &Guard {
        self.rights.policy.guard()
    }

    /// What becomes of a body that can't be read.
    fn uninspectable(&self, direction: Direction) -> Result<(), Refusal> {
        self.tell(direction, "-", "uninspectable", "");
        match self.guard().uninspectable {
            Unchecked::Block => Err(Refusal::Uninspectable(direction)),
            Unchecked::Pass => Ok(()),
        }
    }

    /// What a guard would redact can't be replaced: it is blocked.
    fn blocks(&self, direction: Direction, guard: usize) -> Refusal {
        let name = self.guards(direction).get(guard).map_or(self.component.name(), |(name, _)| name);
        self.blocked(direction, name, manifest::OTHER)
    }

    fn blocked(&self, direction: Direction, guard: &ComponentName, reason: &str) -> Refusal {
        self.tell(direction, guard.as_str(), "block", reason);
        Refusal::Blocked { direction, guard: guard.clone(), reason: reason.into() }
    }

    fn record(&self, direction: &str, guard: &str, verdict: &str, reason: &str) {
        let (governance, call) = (&self.component.governance, &self.call);
        let passes = match verdict {
            "redact" => true,
            "failed" => self.guard().on_failure == Unchecked::Pass,
            "uninspectable" => self.guard().uninspectable == Unchecked::Pass,
            _ => false,
        };
        let record = Record {
            request: Some(call.id.as_str().into()),
            tenant: Some(call.caller.tenant().as_str().into()),
            caller: Some(call.caller.id().into()),
            client: call.client.map(|client| client.to_string().into()),
            policy: Some(self.rights.policy.hash().clone()),
            action: Some(format!("guard {direction}").into()),
            target: Some(guard.into()),
            decision: Some(if passes { Decision::Allow } else { Decision::Deny }),
            reason: Some(format!("{verdict} {reason}").trim_end().into()),
            ..governance.record(RecordKind::Guard)
        };
        call.trail.judged(governance.audit(), record);
    }

    /// The one place where verdicts are told; never with any of the text.
    fn tell(&self, direction: Direction, guard: &str, verdict: &'static str, reason: &str) {
        let (component, direction) = (self.component.name(), direction.name());
        self.component.sandbox.metrics.guarded(component.as_str(), guard, direction, verdict);
        if verdict != "allow" {
            self.record(direction, guard, verdict, reason);
        }
        if matches!(verdict, "allow" | "redact") || !self.component.governance.may_tell() {
            return;
        }
        let request = &self.call.id;
        match verdict {
            "block" => tracing::info!(%request, %component, guard, direction, reason, "a guard blocked a text"),
            "failed" => tracing::warn!(%request, %component, guard, direction, "a guard could not judge a text"),
            _ => tracing::info!(%request, %component, direction, "a body can't be inspected by guards"),
        }
    }
}

/// Reads a body and takes its texts out; none if there is nothing in it that could be checked.
async fn open(kind: Kind, bytes: &Bytes, direction: Direction) -> Option<(Document, Pieces)> {
    let bytes = bytes.clone();
    apart(bytes.len(), move || {
        let mut document = Document::read(kind, &bytes)?;
        if let (Direction::Output, Document::Json(values)) = (direction, &mut document) {
            values.iter_mut().for_each(json::without_logprobs);
        }
        let mut pieces = Pieces::default();
        document.texts(kind, &mut pieces)?;
        Some((document, pieces))
    })
    .await
    .flatten()
}

/// Writes a body with what guards left of its texts.
async fn close(kind: Kind, mut document: Document, pieces: Pieces, length: usize) -> Bytes {
    let write = move || {
        document.replace(pieces.all.into_iter().map(|piece| piece.text));
        document.write(kind).into()
    };
    apart(length, write).await.unwrap_or_default()
}

/// Does work on a body: of a long one on a thread where it keeps nobody waiting. None if the server ends.
async fn apart<T: Send + 'static>(length: usize, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if length <= SHORT_BYTES {
        return Some(work());
    }
    tokio::task::spawn_blocking(work).await.ok()
}

impl From<Direction> for wit::Direction {
    fn from(direction: Direction) -> wit::Direction {
        match direction {
            Direction::Input => wit::Direction::Input,
            Direction::Output => wit::Direction::Output,
        }
    }
}

/// Takes away what an answer's headers say of its bytes: they may be others.
fn without_length(headers: &mut HeaderMap) {
    let digests = ["content-md5", "digest", "content-digest", "repr-digest"].map(HeaderName::from_static);
    for header in [ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, TRANSFER_ENCODING].into_iter().chain(digests) {
        headers.remove(header);
    }
}
