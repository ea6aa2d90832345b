//! A stream of values as server-sent events: `data:` and the item's JSON for each, at the end an event `done`, and where it fails an
//! event `error` before the connection breaks off.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use super::stream::{Ended, Items, Piece};
use super::{Function, Success, answer, write};
use crate::http::body::ResponseBodyError;

/// The events of one answer.
pub(crate) struct Events {
    function: Arc<Function>,
    items: Items,
    state: State,
}

/// How far it is.
enum State {
    Items,
    End,
    /// The error has been told.
    Told(ResponseBodyError),
    /// The connection breaks off.
    Broken(ResponseBodyError),
    Ended,
}

impl Events {
    /// The stream that a function gave.
    pub(crate) fn new(function: Arc<Function>, items: Items) -> Events {
        Events { function, items, state: State::Items }
    }

    /// The next bytes; none at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ResponseBodyError>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Items => {
                    self.state = State::Items;
                    match ready!(self.items.pieces.poll_recv(cx)) {
                        Some(piece) => return Poll::Ready(Some(Ok(self.piece(&piece)))),
                        None => self.state = State::End,
                    }
                }
                State::End => match Pin::new(&mut self.items.end).poll(cx) {
                    Poll::Pending => {
                        self.state = State::End;
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(ended)) => return Poll::Ready(Some(Ok(self.end(&ended)))),
                    Poll::Ready(Err(_)) => {
                        self.state = State::Told(ResponseBodyError::BrokenOff);
                        return Poll::Ready(Some(Ok(event("error", &answer::broken()))));
                    }
                },
                State::Told(error) => {
                    // What breaks off takes with it what is not sent yet: the connection gets a turn to send it.
                    self.state = State::Broken(error);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                State::Broken(error) => return Poll::Ready(Some(Err(error))),
                State::Ended => return Poll::Ready(None),
            }
        }
    }

    fn piece(&self, piece: &Piece) -> Bytes {
        let mut text = Vec::new();
        match (piece, &self.function.outcome.success) {
            (Piece::Items(items), Success::Stream(streamed)) => {
                for item in items {
                    data(&mut text, &write::text(&streamed.ty, item));
                }
            }
            (Piece::List(bytes), _) => data(&mut text, format!("\"{}\"", BASE64_STANDARD.encode(bytes)).as_bytes()),
            (Piece::Bytes(bytes), _) => data(&mut text, format!("\"{}\"", BASE64_STANDARD.encode(bytes)).as_bytes()),
            _ => {} // only streams have items
        }
        text.into()
    }

    /// The last event.
    fn end(&mut self, ended: &Ended) -> Bytes {
        let Success::Stream(streamed) = &self.function.outcome.success else { return Bytes::new() };
        let sides = streamed.end.as_ref().map(|end| (end.ok.as_ref(), end.err.as_ref()));
        let (ok, err) = sides.unwrap_or_default();
        match ended {
            Ok(value) => {
                let value = ok.zip(value.as_ref()).map(|((ty, _), value)| write::text(ty, value));
                event("done", &value.unwrap_or_else(|| b"{}".to_vec()))
            }
            Err(value) => {
                let failure = answer::Failure::new(err.map(|(ty, _)| ty.as_ref()), value.as_ref());
                self.state = State::Told(ResponseBodyError::Failed(failure.message.clone()));
                event("error", &failure.json())
            }
        }
    }
}

fn data(text: &mut Vec<u8>, json: &[u8]) {
    text.extend_from_slice(b"data: ");
    text.extend_from_slice(json); // one line: JSON as it is written here has no line ends
    text.extend_from_slice(b"\n\n");
}

fn event(name: &str, json: &[u8]) -> Bytes {
    let mut text = format!("event: {name}\n").into_bytes();
    data(&mut text, json);
    text.into()
}
