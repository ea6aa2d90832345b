//! Bodies: whole or piece by piece, in and out.

use std::fmt;
use std::pin::Pin;

use wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult, StreamWriter};

use crate::bindings::tessera::handler::types;
use crate::bindings::{wit_future, wit_stream};
use crate::error::Error;

pub use types::{BodyError, BodyErrorCode};

/// Most bytes that one read of a streamed body gives.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// How a body ended.
type End = Result<(), BodyError>;

/// A body that comes: of the client's request, or of another host's answer. It can be sent on as it is.
#[derive(Debug, Default)]
pub struct Body(Incoming);

#[derive(Debug, Default)]
enum Incoming {
    #[default]
    Done,
    Whole(Vec<u8>),
    Streamed(StreamReader<u8>, FutureReader<End>),
}

impl Body {
    /// A body in one piece.
    pub(crate) fn whole(bytes: Vec<u8>) -> Self {
        Self(Incoming::Whole(bytes))
    }

    /// The next piece as it comes, at least one byte; none after the last.
    ///
    /// # Errors
    /// The body broke off, or is longer than the host allows. What came before is not the whole.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, BodyError> {
        match std::mem::take(&mut self.0) {
            Incoming::Done => Ok(None),
            Incoming::Whole(bytes) => Ok((!bytes.is_empty()).then_some(bytes)),
            Incoming::Streamed(mut bytes, end) => loop {
                let (result, chunk) = bytes.read(Vec::with_capacity(CHUNK_BYTES_MAX)).await;
                if !chunk.is_empty() {
                    self.0 = Incoming::Streamed(bytes, end);
                    return Ok(Some(chunk));
                }
                if result == StreamResult::Dropped {
                    drop(bytes);
                    return end.await.map(|()| None);
                }
            },
        }
    }

    /// All of a request's body, if it is not longer than `bytes_max`.
    ///
    /// # Errors
    /// 413 for a body that is longer, 400 for one that broke off.
    pub async fn gather(self, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let gathered = self.gather_up_to(bytes_max).await?;
        gathered.ok_or_else(|| too_large(format!("the request body is longer than {bytes_max} bytes")))
    }

    /// All of it; none if it is longer than `bytes_max`.
    pub(crate) async fn gather_up_to(mut self, bytes_max: usize) -> Result<Option<Vec<u8>>, BodyError> {
        let mut gathered = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if chunk.len() > bytes_max - gathered.len() {
                return Ok(None);
            }
            if gathered.is_empty() {
                gathered = chunk;
            } else {
                gathered.extend_from_slice(&chunk);
            }
        }
        Ok(Some(gathered))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::whole(bytes)
    }
}

impl From<&[u8]> for Body {
    fn from(bytes: &[u8]) -> Self {
        Self::whole(bytes.to_owned())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::whole(text.into_bytes())
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self::whole(text.into())
    }
}

impl From<types::Body> for Body {
    fn from(body: types::Body) -> Self {
        Self(match body {
            types::Body::Whole(bytes) => Incoming::Whole(bytes),
            types::Body::Streamed(chunks) => Incoming::Streamed(chunks.bytes, chunks.end),
        })
    }
}

/// 413 for a body that is too large, 400 for one that broke off.
impl From<BodyError> for Error {
    fn from(error: BodyError) -> Self {
        match error.code {
            BodyErrorCode::TooLarge => too_large("the request body is larger than this service takes".to_owned()),
            BodyErrorCode::Incomplete | BodyErrorCode::Failed => {
                Self::new(400, "incomplete_body", "the request body broke off before its end")
            }
        }
    }
}

fn too_large(message: String) -> Error {
    Error::new(413, "body_too_large", message)
}

type Produce = Box<dyn FnOnce(BodyWriter) -> Pin<Box<dyn Future<Output = Result<(), Closed>>>>>;

/// A body that goes out: made already, to be made once the headers are on their way, or sent on as it comes.
pub(crate) enum Outgoing {
    Whole(Vec<u8>),
    Streamed(Produce),
    Passed(Body),
}

impl Outgoing {
    pub(crate) fn streamed<F, Fut>(produce: F) -> Self
    where
        F: FnOnce(BodyWriter) -> Fut + 'static,
        Fut: Future<Output = Result<(), Closed>> + 'static,
    {
        Self::Streamed(Box::new(|writer| Box::pin(produce(writer))))
    }

    pub(crate) fn into_wit(self) -> types::Body {
        match self {
            Self::Whole(bytes) | Self::Passed(Body(Incoming::Whole(bytes))) => types::Body::Whole(bytes),
            Self::Passed(Body(Incoming::Done)) => types::Body::Whole(Vec::new()),
            Self::Passed(Body(Incoming::Streamed(bytes, end))) => types::Body::Streamed(types::Chunks { bytes, end }),
            Self::Streamed(produce) => {
                let (writer, chunks) = BodyWriter::new();
                wit_bindgen::spawn_local(produce(writer));
                types::Body::Streamed(chunks)
            }
        }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Streamed(_) => f.write_str("Streamed"),
            Self::Passed(body) => write!(f, "Passed({body:?})"),
        }
    }
}

/// Sends a body piece by piece, of the response to the client or of a request to another host.
///
/// [`BodyWriter::finish`] ends the body well. Dropping the writer without it breaks the body off: the host resets the
/// connection.
#[derive(Debug)]
pub struct BodyWriter {
    bytes: StreamWriter<u8>,
    end: FutureWriter<End>,
}

impl BodyWriter {
    fn new() -> (Self, types::Chunks) {
        // The second argument is what the reader finds when the writer is dropped unwritten.
        let (end_writer, end) = wit_future::new(|| Err(failed("the component dropped the body before its end")));
        let (bytes_writer, bytes) = wit_stream::new();
        (Self { bytes: bytes_writer, end: end_writer }, types::Chunks { bytes, end })
    }

    /// Sends some bytes; waits until the host has taken them.
    ///
    /// # Errors
    /// [`Closed`] when nobody reads any more: stop the work.
    pub async fn write(&mut self, bytes: impl Into<Vec<u8>>) -> Result<(), Closed> {
        let unsent = self.bytes.write_all(bytes.into()).await;
        if unsent.is_empty() { Ok(()) } else { Err(Closed) }
    }

    /// Ends the body well: what was written is all there is. Always `Ok`, to be the last line of a producer.
    ///
    /// # Errors
    /// None.
    pub fn finish(self) -> Result<(), Closed> {
        self.end_with(Ok(()));
        Ok(())
    }

    /// Breaks the body off and says why, in the host's log.
    pub fn fail(self, reason: &str) {
        self.end_with(Err(failed(reason)));
    }

    fn end_with(self, end: End) {
        drop(self.bytes);
        let write = self.end.write(end);
        wit_bindgen::spawn_local(async move {
            // An error here means that nobody waits for the end: nothing is left to tell.
            let _ = write.await;
        });
    }
}

fn failed(message: &str) -> BodyError {
    BodyError { code: BodyErrorCode::Failed, message: message.to_owned() }
}

/// Nobody reads the body any more: the client went away or the time of the request is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the body any more")
    }
}

impl std::error::Error for Closed {}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn a_whole_body_is_one_chunk() {
        let mut body = Body::whole(b"abc".to_vec());
        assert_eq!(block_on(body.chunk()).expect("whole"), Some(b"abc".to_vec()));
        assert_eq!(block_on(body.chunk()).expect("whole"), None);
    }

    #[test]
    fn an_empty_body_has_no_chunk() {
        assert_eq!(block_on(Body::whole(Vec::new()).chunk()).expect("whole"), None);
    }

    #[test]
    fn a_body_of_the_longest_length_is_gathered() {
        assert_eq!(block_on(Body::whole(vec![7; 4]).gather(4)), Ok(vec![7; 4]));
    }

    #[test]
    fn a_longer_body_is_refused_with_413() {
        let error = block_on(Body::whole(vec![7; 5]).gather(4)).expect_err("longer than the limit");
        assert_eq!((error.status(), error.code()), (413, "body_too_large"));
    }

    #[test]
    fn errors_of_bodies_have_their_status() {
        for (code, status) in [(BodyErrorCode::TooLarge, 413), (BodyErrorCode::Incomplete, 400), (BodyErrorCode::Failed, 400)] {
            let error = BodyError { code, message: "internal address 10.0.0.1".into() };
            let error = Error::from(error);
            assert_eq!(error.status(), status);
            assert!(!error.message().contains("10.0.0.1"), "the host's text is not for the client");
        }
    }
}
