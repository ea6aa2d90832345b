//! Answers that are checked while they are sent.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use http_body_util::BodyExt;

use super::Watch;
use super::event::Events;
use super::refusal::{Direction, Refusal};
use super::window::Window;
use crate::http::body::{GuestBody, ResponseBodyError};

/// Bytes of a text that go on together or not at all.
const PIECE_BYTES: usize = 64;

/// Why a checked answer broke off. The connection is reset, so that no client takes it for complete.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The component's own body did.
    #[error(transparent)]
    Body(#[from] ResponseBodyError),
    /// A guard does not let the rest pass, or could not judge it.
    #[error("the rest of the answer was refused")]
    Refused,
}

/// An answer on its way through the guards. Dropping it stops the work behind it.
struct Flow {
    watch: Arc<Watch>,
    /// What comes; none once nothing more is wanted of it.
    body: Option<GuestBody>,
    filter: Filter,
    /// What may go on.
    out: VecDeque<Bytes>,
    /// Why there is no good end after that.
    broken: Option<Broken>,
}

enum Filter {
    Events(Events),
    Text(Text),
}

/// Server-sent events, or lines of JSON.
pub(super) fn events(watch: Arc<Watch>, body: GuestBody, is_sse: bool) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
    flow(watch, body, Filter::Events(Events::new(is_sse)))
}

/// Any other text.
pub(super) fn text(watch: Arc<Watch>, body: GuestBody) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
    flow(watch, body, Filter::Text(Text::default()))
}

fn flow(watch: Arc<Watch>, body: GuestBody, filter: Filter) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
    let flow = Flow { watch, body: Some(body), filter, out: VecDeque::new(), broken: None };
    futures::stream::unfold(Box::new(flow), async |mut flow| Some((flow.next().await?, flow)))
}

impl Flow {
    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        loop {
            if let Some(bytes) = self.out.pop_front() {
                return Some(Ok(bytes));
            }
            let Some(body) = &mut self.body else { return self.broken.take().map(Err) };
            let passed = match body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.filter.push(&self.watch, &bytes, &mut self.out).await,
                    Err(_) => Ok(()), // trailers, which no guard has seen
                },
                Some(Err(error)) => {
                    // What is held back stays where it is: nobody has seen all of it.
                    self.body = None;
                    self.broken = Some(error.into());
                    Ok(())
                }
                None => {
                    self.body = None;
                    self.filter.finish(&self.watch, &mut self.out).await
                }
            };
            if let Err(refusal) = passed {
                self.refuse(&refusal);
            }
        }
    }

    /// Sends no more, and stops the work behind it.
    fn refuse(&mut self, refusal: &Refusal) {
        self.body = None;
        match &self.filter {
            Filter::Events(events) if events.is_sse() => self.out.push_back(refusal.event().into()),
            _ => self.broken = Some(Broken::Refused),
        }
    }
}

impl Filter {
    async fn push(&mut self, watch: &Watch, bytes: &[u8], out: &mut VecDeque<Bytes>) -> Result<(), Refusal> {
        match self {
            Filter::Events(events) => events.push(watch, bytes, out).await,
            Filter::Text(text) => text.push(watch, bytes, out).await,
        }
    }

    async fn finish(&mut self, watch: &Watch, out: &mut VecDeque<Bytes>) -> Result<(), Refusal> {
        match self {
            Filter::Events(events) => events.finish(watch, out).await,
            Filter::Text(text) => text.finish(watch, out).await,
        }
    }
}

/// A text that is sent piece by piece.
#[derive(Default)]
struct Text {
    /// The beginning of a character.
    cut: Vec<u8>,
    window: Window<()>,
}

impl Text {
    async fn push(&mut self, watch: &Watch, bytes: &[u8], out: &mut VecDeque<Bytes>) -> Result<(), Refusal> {
        self.cut.extend_from_slice(bytes);
        let complete = match std::str::from_utf8(&self.cut) {
            Ok(_) => self.cut.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return Err(Refusal::Uninspectable(Direction::Output)),
        };
        let rest = self.cut.split_off(complete);
        let complete = std::mem::replace(&mut self.cut, rest);
        let text = std::str::from_utf8(&complete).map_err(|_| Refusal::Uninspectable(Direction::Output))?;
        pieces(text).for_each(|piece| self.window.push((), piece));
        send(self.window.settle(watch).await?, out);
        Ok(())
    }

    async fn finish(&mut self, watch: &Watch, out: &mut VecDeque<Bytes>) -> Result<(), Refusal> {
        if !self.cut.is_empty() {
            return Err(Refusal::Uninspectable(Direction::Output));
        }
        send(self.window.finish(watch).await?, out);
        Ok(())
    }
}

/// A text in pieces of whole characters.
fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE_BYTES));
        text = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

fn send(pieces: Vec<((), String)>, out: &mut VecDeque<Bytes>) {
    let text: String = pieces.into_iter().map(|((), text)| text).collect();
    if !text.is_empty() {
        out.push_back(text.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        let text = format!("{}é{}", "a".repeat(PIECE_BYTES - 1), "b".repeat(PIECE_BYTES));
        let pieces: Vec<&str> = pieces(&text).collect();
        assert_eq!(pieces.concat(), text);
        assert_eq!(pieces.iter().map(|piece| piece.len()).collect::<Vec<_>>(), [63, 64, 2]);
    }
}
