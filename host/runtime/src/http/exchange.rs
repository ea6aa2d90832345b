//! Requests and responses across the sandbox boundary of `tessera:handler`.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{Request, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::PollSender;
use wasmtime::component::{
    Access, Destination, FutureConsumer, FutureReader, Source, StreamConsumer, StreamProducer, StreamReader, StreamResult,
};
use wasmtime::{Result, StoreContextMut};

use super::body::{GuestBody, RequestBody, RequestBodyError};
use crate::bindings::tessera::handler::types as wit;
use crate::instance::{Fault, Response};
use crate::sandbox::Ctx;

/// Pieces of a streamed body that wait for the client; then the guest waits.
const CHUNKS_WAITING_MAX: usize = 8;
/// Longest piece taken from a guest at once, in bytes.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// Headers that belong to the connection, which is the host's.
const CONNECTION_HEADERS: [HeaderName; 7] =
    [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, HeaderName::from_static("keep-alive")];

/// Makes the guest's request. A streamed body becomes a stream that the guest reads as the client sends.
pub(crate) fn to_guest(store: &mut Access<'_, Ctx>, request: Request<RequestBody>) -> Result<wit::Request> {
    let (head, body) = request.into_parts();
    let header =
        |(name, value): (&HeaderName, &HeaderValue)| wit::Header { name: name.as_str().into(), value: value.as_bytes().into() };
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let body = match body {
        RequestBody::Whole(bytes) => wit::Body::Whole(bytes.into()),
        RequestBody::Streamed(body) => wit::Body::Streamed(give(store, body.map_err(body_error).boxed_unsync())?),
    };
    Ok(wit::Request {
        method: head.method.as_str().into(),
        target: target.into(),
        headers: head.headers.iter().map(header).collect(),
        body,
    })
}

/// A body that a guest reads as it comes.
pub(crate) fn give(store: &mut Access<'_, Ctx>, body: UnsyncBoxBody<Bytes, wit::BodyError>) -> Result<wit::Chunks> {
    let (ended, end) = oneshot::channel();
    let bytes = StreamReader::new(&mut *store, Incoming { body, ended: Some(ended) })?;
    let end = async move { wasmtime::error::Ok(end.await.unwrap_or(Err(broken_off()))) };
    Ok(wit::Chunks { bytes, end: FutureReader::new(&mut *store, end)? })
}

/// A body that a guest writes, and a signal that fires when it has been read to its end or given up.
pub(crate) fn take(store: &mut Access<'_, Ctx>, chunks: wit::Chunks) -> Result<(GuestBody, Sent)> {
    let (bytes, received) = mpsc::channel(CHUNKS_WAITING_MAX);
    let (ended, end) = oneshot::channel();
    let (sent, done) = oneshot::channel();
    chunks.bytes.pipe(&mut *store, Outgoing { bytes: PollSender::new(bytes) })?;
    chunks.end.pipe(&mut *store, End { ended: Some(ended), _sent: sent })?;
    Ok((GuestBody::chunks(received, end), done))
}

fn broken_off() -> wit::BodyError {
    wit::BodyError { code: wit::BodyErrorCode::Incomplete, message: RequestBodyError::Incomplete.to_string() }
}

/// Fires when a streamed body has been read to its end or given up.
pub(crate) type Sent = oneshot::Receiver<()>;

/// Takes the guest's response; a fault if it is no valid HTTP.
pub(crate) fn from_guest(
    store: &mut Access<'_, Ctx>,
    response: wit::Response,
) -> Result<(std::result::Result<Response, Fault>, Option<Sent>)> {
    let wit::Response { status, headers, body } = response;
    let head = response_head(status, headers);
    let (body, sent) = match body {
        wit::Body::Whole(bytes) => (GuestBody::whole(bytes.into()), None),
        wit::Body::Streamed(chunks) => {
            let (body, sent) = take(store, chunks)?;
            (body, Some(sent))
        }
    };
    Ok((head.map(|head| head.map(|()| body)), sent))
}

fn response_head(status: u16, headers: Vec<wit::Header>) -> std::result::Result<http::Response<()>, Fault> {
    let mut response = http::Response::new(());
    let is_final = (200..=599).contains(&status);
    *response.status_mut() = StatusCode::from_u16(status).ok().filter(|_| is_final).ok_or(Fault::BadResponse)?;
    for wit::Header { name, value } in headers {
        let name = HeaderName::try_from(name).map_err(|_| Fault::BadResponse)?;
        let value = HeaderValue::try_from(value).map_err(|_| Fault::BadResponse)?;
        if !CONNECTION_HEADERS.contains(&name) {
            response.headers_mut().try_append(name, value).map_err(|_| Fault::BadResponse)?;
        }
    }
    Ok(response)
}

/// The host's end of a request body.
struct Incoming {
    body: UnsyncBoxBody<Bytes, wit::BodyError>,
    ended: Option<oneshot::Sender<std::result::Result<(), wit::BodyError>>>,
}

impl StreamProducer<Ctx> for Incoming {
    type Item = u8;
    type Buffer = Bytes;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _store: StoreContextMut<'a, Ctx>,
        mut destination: Destination<'a, u8, Bytes>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let end = loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => {
                        destination.set_buffer(bytes);
                        return Poll::Ready(Ok(StreamResult::Completed));
                    }
                    _ => {} // empty, or trailers, which no service here reads
                },
                Poll::Ready(Some(Err(error))) => break Err(error),
                Poll::Ready(None) => break Ok(()),
                Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
                Poll::Pending => return Poll::Pending,
            }
        };
        if let Some(ended) = self.ended.take() {
            drop(ended.send(end)); // a guest may not care how it ended
        }
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

fn body_error(error: RequestBodyError) -> wit::BodyError {
    let code = match error {
        RequestBodyError::TooLarge => wit::BodyErrorCode::TooLarge,
        RequestBodyError::Incomplete => wit::BodyErrorCode::Incomplete,
    };
    wit::BodyError { code, message: error.to_string() }
}

/// The host's end of a response body. When the client is gone the guest's stream is dropped.
struct Outgoing {
    bytes: PollSender<Bytes>,
}

impl StreamConsumer<Ctx> for Outgoing {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, Ctx>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        match self.bytes.poll_reserve(cx) {
            Poll::Ready(Ok(())) => {
                let mut source = source.as_direct(store);
                let length = source.remaining().len().min(CHUNK_BYTES_MAX);
                let bytes = Bytes::copy_from_slice(&source.remaining()[..length]);
                let is_sent = bytes.is_empty() || self.bytes.send_item(bytes).is_ok();
                source.mark_read(length);
                Poll::Ready(Ok(if is_sent { StreamResult::Completed } else { StreamResult::Dropped }))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Takes the end of a response body. Dropped unused, as when the guest drops its half, it leaves `ended` unsent.
struct End {
    ended: Option<oneshot::Sender<std::result::Result<(), String>>>,
    _sent: oneshot::Sender<()>,
}

impl FutureConsumer<Ctx> for End {
    type Item = std::result::Result<(), wit::BodyError>;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        store: StoreContextMut<'_, Ctx>,
        mut source: Source<'_, Self::Item>,
        _finish: bool,
    ) -> Poll<Result<()>> {
        let mut end = None;
        source.read(store, &mut end)?;
        if let (Some(end), Some(ended)) = (end, self.ended.take()) {
            drop(ended.send(end.map_err(|error| error.message))); // the client may be gone
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &[u8]) -> wit::Header {
        wit::Header { name: name.into(), value: value.into() }
    }

    #[test]
    fn a_guest_cannot_set_what_belongs_to_the_connection() {
        let headers = ["Transfer-Encoding", "content-length", "connection", "x-a", "x-a"].map(|name| header(name, b"1"));
        let response = response_head(200, headers.into()).expect("valid");
        assert_eq!(response.headers().keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-a"]);
        assert_eq!(response.headers().get_all("x-a").iter().count(), 2);
    }

    #[test]
    fn what_is_no_valid_head_is_a_bad_response() {
        for status in [0, 100, 101, 199, 600, 999] {
            assert_eq!(response_head(status, vec![]).err(), Some(Fault::BadResponse), "{status}");
        }
        for bad in [header("a b", b"1"), header("", b"1"), header("a", b"1\r\nset-cookie: x"), header("a", b"\0")] {
            assert_eq!(response_head(200, vec![bad]).err(), Some(Fault::BadResponse));
        }
    }
}
