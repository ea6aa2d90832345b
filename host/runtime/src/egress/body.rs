//! Bodies on their way out and back.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Method;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use policy::Resource;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use url::Url;

use super::{EgressError, Rights};

/// The body of a guest's request.
pub(crate) enum Body {
    /// In hand: it can be sent again after a redirect.
    Whole(Bytes),
    /// As the guest writes it. An error says that the guest broke it off. Trailers are not sent.
    Streamed(UnsyncBoxBody<Bytes, EgressError>),
}

impl Body {
    /// A body that comes in pieces; whatever its error is, the guest broke it off.
    pub(crate) fn streamed(body: impl http_body::Body<Data = Bytes> + Send + 'static) -> Body {
        Body::Streamed(body.map_err(|_| EgressError::RequestBody).boxed_unsync())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Body::Whole(_)) { "Whole(…)" } else { "Streamed(…)" })
    }
}

/// A request's body as it is sent: counted, paid for, and broken off when its exchange is over.
pub(super) struct Outgoing {
    body: Body,
    /// Bytes yet to come, where the guest announced how many there are.
    announced: Option<u64>,
    meter: Option<Meter>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    failure: Arc<OnceLock<EgressError>>,
    _sent: DropGuard,
}

/// Who pays for a streamed body, and for what.
pub(super) struct Meter {
    pub(super) rights: Arc<dyn Rights>,
    pub(super) method: Method,
    pub(super) url: Url,
}

/// The sending of a request's body, seen from its exchange. Dropped, it breaks the body off.
pub(super) struct Upload {
    /// Fires when nothing holds the body any more.
    sent: CancellationToken,
    failure: Arc<OnceLock<EgressError>>,
    _stop: DropGuard,
}

impl Outgoing {
    /// A body to send. Whole ones are paid for already.
    pub(super) fn new(body: Body, announced: Option<u64>, meter: Meter) -> (Outgoing, Upload) {
        let (stop, sent, failure) = (CancellationToken::new(), CancellationToken::new(), Arc::default());
        let is_streamed = matches!(body, Body::Streamed(_));
        let outgoing = Outgoing {
            body,
            announced: announced.filter(|_| is_streamed),
            meter: is_streamed.then_some(meter),
            stopped: Box::pin(stop.clone().cancelled_owned()),
            failure: Arc::clone(&failure),
            _sent: sent.clone().drop_guard(),
        };
        (outgoing, Upload { sent, failure, _stop: stop.drop_guard() })
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, EgressError>>> {
        let body = match &mut self.body {
            Body::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Body::Whole(bytes) => return Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Body::Streamed(body) => body,
        };
        loop {
            let Some(frame) = ready!(Pin::new(&mut *body).poll_frame(cx)) else {
                let is_short = self.announced.is_some_and(|left| left > 0);
                return Poll::Ready(is_short.then_some(Err(EgressError::RequestBody)));
            };
            let Ok(bytes) = frame?.into_data() else { continue };
            let length = bytes.len() as u64;
            if let Some(left) = &mut self.announced {
                *left = left.checked_sub(length).ok_or(EgressError::Invalid("the body is longer than content-length says"))?;
            }
            if let Some(meter) = &self.meter {
                meter.take(length)?;
            }
            return Poll::Ready(Some(Ok(bytes)));
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        if self.stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(EgressError::Cancelled)));
        }
        let bytes = ready!(self.poll_body(cx));
        if let Some(Err(error)) = &bytes {
            self.failure.get_or_init(|| *error);
        }
        Poll::Ready(bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Body::Whole(bytes) => bytes.is_empty(),
            Body::Streamed(body) => body.is_end_stream() && self.announced.is_none_or(|left| left == 0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.body, self.announced) {
            (Body::Whole(bytes), _) => SizeHint::with_exact(bytes.len() as u64),
            (Body::Streamed(_), Some(left)) => SizeHint::with_exact(left),
            (Body::Streamed(body), None) => body.size_hint(),
        }
    }
}

impl Meter {
    fn take(&self, bytes: u64) -> Result<(), EgressError> {
        let authority = self.rights.authority();
        match authority.books().take(Resource::Egress, bytes) {
            Ok(()) => Ok(()),
            // Asked in full, so that the denial is told to whom it may concern.
            Err(_) => Ok(authority.http(&self.method, &self.url, bytes).map(drop)?),
        }
    }
}

impl Upload {
    /// Why the body was not sent, where that was on this side.
    pub(super) fn failure(&self) -> Option<EgressError> {
        self.failure.get().copied()
    }

    /// Whether the body is sent or given up.
    pub(super) fn is_over(&self) -> bool {
        self.sent.is_cancelled()
    }

    /// Waits until the body is sent or given up.
    pub(super) async fn over(&self) {
        self.sent.cancelled().await;
    }
}

/// The end of a response's body that an exchange fills.
pub(super) struct Filling {
    pub(super) frames: mpsc::Sender<Frame<Bytes>>,
    end: oneshot::Sender<Result<(), EgressError>>,
}

impl Filling {
    /// Says how it ended. Without that it counts as cancelled.
    pub(super) fn finish(self, end: Result<(), EgressError>) {
        self.end.send(end).ok(); // nobody may read it any more
    }
}

/// The body of an answer. Dropping it ends the exchange.
pub(crate) struct ResponseBody {
    frames: mpsc::Receiver<Frame<Bytes>>,
    end: Option<oneshot::Receiver<Result<(), EgressError>>>,
    left: SizeHint,
}

impl ResponseBody {
    /// A body of so many bytes, as far as that is known, and its other end. One piece waits at most.
    pub(super) fn channel(left: SizeHint) -> (Filling, ResponseBody) {
        let ((frames, received), (end, ended)) = (mpsc::channel(1), oneshot::channel());
        (Filling { frames, end }, ResponseBody { frames: received, end: Some(ended), left })
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        if let Some(frame) = ready!(self.frames.poll_recv(cx)) {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            let mut left = SizeHint::new();
            left.set_lower(self.left.lower().saturating_sub(length));
            if let Some(upper) = self.left.upper() {
                left.set_upper(upper.saturating_sub(length));
            }
            self.left = left;
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(end) = &mut self.end else { return Poll::Ready(None) };
        let end = ready!(Pin::new(end).poll(cx)).unwrap_or(Err(EgressError::Cancelled));
        (self.end, self.left) = (None, SizeHint::with_exact(0));
        Poll::Ready(end.err().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody(…)")
    }
}
