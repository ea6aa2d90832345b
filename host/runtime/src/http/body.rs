//! Bodies on their way through the host.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::WasiBody;

use crate::instance::Hold;
use crate::typed::events::Events;

/// Why a request's body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestBodyError {
    /// It is longer than the component's limit.
    #[error("the request body is longer than this component may be sent")]
    TooLarge,
    /// The client went away, or what it sent is not HTTP.
    #[error("the request body broke off")]
    Incomplete,
}

/// A request's body as a component gets it.
pub(crate) enum RequestBody {
    /// Short ones, in hand.
    Whole(Bytes),
    /// Longer ones, as they come.
    Streamed(UnsyncBoxBody<Bytes, RequestBodyError>),
}

/// What is read of a body that nobody wants any more, in bytes, and for how long.
const LINGER_BYTES_MAX: u64 = 64 << 20;
const LINGER_MAX: Duration = Duration::from_secs(10);

/// A request's body that is read to its end even when it is dropped before, within limits: a client that still sends would
/// otherwise have its connection reset and never read why it was refused.
pub(super) struct Lingering<B: Body<Data = Bytes> + Send + Unpin + 'static>(Option<B>);

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Lingering<B> {
    pub(super) fn new(body: B) -> Self {
        Lingering(Some(body))
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Body for Lingering<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Drop for Lingering<B> {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(LINGER_MAX, read_away(body)));
        }
    }
}

async fn read_away(mut body: impl Body<Data = Bytes> + Unpin) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        if bytes > LINGER_BYTES_MAX {
            return;
        }
    }
}

/// Why a response's body broke off. The connection is reset, so that no client takes it for complete.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResponseBodyError {
    /// The component said that it failed.
    #[error("the component failed in its body: {0}")]
    Failed(String),
    /// The component trapped, or dropped its body before the end.
    #[error("the component broke off its body")]
    BrokenOff,
    /// It took longer than the policy allows.
    #[error("the component's body took too long")]
    Deadline,
    /// It is longer than the policy allows.
    #[error("the component's body is longer than it may be")]
    TooLong,
}

/// A response's body as it comes from a component. Dropping it before its end stops the work behind it.
pub(crate) struct GuestBody {
    source: Source,
    watch: Option<Watch>,
    /// Bytes that may still come.
    bytes_left: u64,
}

enum Source {
    Whole(Full<Bytes>),
    Chunks { bytes: mpsc::Receiver<Bytes>, end: oneshot::Receiver<Result<(), String>> },
    Wasi { body: WasiBody, _sent: oneshot::Sender<()> },
    Events(Box<Events>),
    Ended,
}

/// What is kept while a body is under way.
struct Watch {
    hold: Hold,
    deadline: Pin<Box<Sleep>>,
}

impl GuestBody {
    /// A body in hand.
    pub(crate) fn whole(bytes: Bytes) -> GuestBody {
        GuestBody { source: Source::Whole(Full::new(bytes)), watch: None, bytes_left: u64::MAX }
    }

    /// A body that a guest writes; it is complete only when `end` says so.
    pub(crate) fn chunks(bytes: mpsc::Receiver<Bytes>, end: oneshot::Receiver<Result<(), String>>) -> GuestBody {
        GuestBody { source: Source::Chunks { bytes, end }, watch: None, bytes_left: u64::MAX }
    }

    /// A `wasi:http` body, and a signal that fires when it has been read or dropped.
    pub(crate) fn boxed(body: WasiBody) -> (GuestBody, oneshot::Receiver<()>) {
        let (sent, done) = oneshot::channel();
        (GuestBody { source: Source::Wasi { body, _sent: sent }, watch: None, bytes_left: u64::MAX }, done)
    }

    /// The events of a typed stream.
    pub(crate) fn events(events: Events) -> GuestBody {
        GuestBody { source: Source::Events(Box::new(events)), watch: None, bytes_left: u64::MAX }
    }

    /// Ties the body to its instance and its deadline. A body in hand needs neither any more.
    pub(crate) fn watch(&mut self, mut hold: Hold, deadline: Instant) {
        match self.source {
            Source::Whole(_) | Source::Ended => hold.done(),
            _ => self.watch = Some(Watch { hold, deadline: Box::pin(tokio::time::sleep_until(deadline)) }),
        }
    }

    /// Whether all of it is there.
    pub(crate) fn is_in_hand(&self) -> bool {
        matches!(self.source, Source::Whole(_) | Source::Ended)
    }

    /// The same, but it breaks off after so many bytes.
    pub(crate) fn limited(self, bytes_max: u64) -> GuestBody {
        GuestBody { bytes_left: bytes_max, ..self }
    }

    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, ResponseBodyError> {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(ResponseBodyError::TooLong)?;
        Ok(frame)
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        match &mut self.source {
            Source::Whole(full) => Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
            Source::Chunks { bytes, end } => match ready!(bytes.poll_recv(cx)) {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => match ready!(Pin::new(end).poll(cx)) {
                    Ok(Ok(())) => Poll::Ready(None),
                    Ok(Err(message)) => Poll::Ready(Some(Err(ResponseBodyError::Failed(message)))),
                    Err(_) => Poll::Ready(Some(Err(ResponseBodyError::BrokenOff))),
                },
            },
            Source::Wasi { body, .. } => {
                Pin::new(body).poll_frame(cx).map_err(|error| ResponseBodyError::Failed(error.to_string()))
            }
            Source::Events(events) => Poll::Ready(ready!(events.poll_next(cx)).map(|bytes| bytes.map(Frame::data))),
            Source::Ended => Poll::Ready(None),
        }
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let is_late = self.watch.as_mut().is_some_and(|watch| watch.deadline.as_mut().poll(cx).is_ready());
        let frame = match (is_late, &mut self.watch) {
            (true, Some(watch)) => {
                watch.hold.stop();
                Poll::Ready(Some(Err(ResponseBodyError::Deadline)))
            }
            _ => self.poll_source(cx),
        };
        let frame = frame.map(|frame| frame.map(|frame| frame.and_then(|frame| self.count(frame))));
        if let Poll::Ready(None | Some(Err(_))) = &frame {
            self.source = Source::Ended;
            if let (Poll::Ready(None), Some(watch)) = (&frame, &mut self.watch) {
                watch.hold.done();
            }
            self.watch = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(full) => full.is_end_stream(),
            Source::Ended => true,
            Source::Chunks { .. } | Source::Wasi { .. } | Source::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(full) => full.size_hint(),
            Source::Wasi { body, .. } => body.size_hint(),
            Source::Ended => SizeHint::with_exact(0),
            Source::Chunks { .. } | Source::Events(_) => SizeHint::default(),
        }
    }
}

/// Takes a request's body under a component's limit: whole if it is short, else as a stream.
///
/// # Errors
/// When it is too long or breaks off before it is in hand.
pub(crate) async fn receive<B>(body: B, whole_max: u64, bytes_max: u64) -> Result<RequestBody, RequestBodyError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let hint = body.size_hint();
    if hint.exact() == Some(0) {
        return Ok(RequestBody::Whole(Bytes::new()));
    }
    if hint.lower() > bytes_max {
        return Err(RequestBodyError::TooLarge);
    }
    let limit = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let body = http_body_util::Limited::new(body, limit).map_err(explain);
    match hint.upper() {
        Some(length) if length <= whole_max => Ok(RequestBody::Whole(body.collect().await?.to_bytes())),
        _ => Ok(RequestBody::Streamed(body.boxed_unsync())),
    }
}

fn explain(error: Box<dyn std::error::Error + Send + Sync>) -> RequestBodyError {
    let is_too_large = error.downcast_ref::<http_body_util::LengthLimitError>().is_some();
    if is_too_large { RequestBodyError::TooLarge } else { RequestBodyError::Incomplete }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn end(body: GuestBody) -> Result<Bytes, ResponseBodyError> {
        body.collect().await.map(http_body_util::Collected::to_bytes)
    }

    #[tokio::test]
    async fn a_streamed_body_is_complete_only_when_its_end_says_so() {
        for (said, expected) in [
            (Some(Ok(())), Ok(Bytes::from_static(b"ab"))),
            (Some(Err("x".into())), Err(ResponseBodyError::Failed("x".into()))),
            (None, Err(ResponseBodyError::BrokenOff)),
        ] {
            let ((bytes, received), (end_said, ended)) = (mpsc::channel(4), oneshot::channel());
            bytes.try_send(Bytes::from_static(b"a")).expect("room");
            bytes.try_send(Bytes::from_static(b"b")).expect("room");
            drop(bytes);
            match said {
                Some(said) => end_said.send(said).expect("somebody listens"),
                None => drop(end_said),
            }
            assert_eq!(end(GuestBody::chunks(received, ended)).await, expected);
        }
    }

    #[tokio::test]
    async fn a_long_body_is_refused_by_its_announced_length_and_by_its_bytes() {
        let full = |length: usize| Full::new(Bytes::from(vec![0; length]));
        assert!(matches!(receive(full(3), 10, 2).await, Err(RequestBodyError::TooLarge)));
        assert!(matches!(receive(full(2), 10, 2).await, Ok(RequestBody::Whole(bytes)) if bytes.len() == 2));
        let Ok(RequestBody::Streamed(body)) = receive(full(20), 10, 30).await else { panic!("20 bytes are streamed") };
        assert_eq!(body.collect().await.expect("complete").to_bytes().len(), 20);
    }
}
