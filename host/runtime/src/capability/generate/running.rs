//! A generation between the engine and its guest: read by whoever the guest reads with, and ended when its request is over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use engine::{GenerateEvent, JobError};
use futures::task::AtomicWaker;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{cancelled, convert, within};
use crate::bindings::tessera::generate::types::{Event, Outcome};
use crate::bindings::tessera::inference::types::Error;
use crate::call::Call;

/// The guest's side of a generation. Dropping it stops the device's work.
pub(super) struct Running {
    shared: Arc<Shared>,
    _dropped: DropGuard,
}

/// Where events come from.
enum Source {
    /// The engine has not begun.
    Starting,
    Going(engine::Generation),
    /// Nothing more comes.
    Over,
}

/// How it ended; told before its events end.
pub(super) type Ended = oneshot::Receiver<Result<Outcome, Error>>;

struct Shared {
    state: Mutex<State>,
    reader: AtomicWaker,
}

struct State {
    source: Source,
    ended: Option<oneshot::Sender<Result<Outcome, Error>>>,
}

impl Running {
    /// Reads what is generated for a call.
    pub(super) fn of(call: Arc<Call>, generation: engine::Generation) -> (Running, Ended) {
        let (running, ended, dropped) = Running::new(Source::Going(generation));
        running.watch(call, async move {
            dropped.cancelled().await;
            Ok(())
        });
        (running, ended)
    }

    /// Reads what will be generated for a call.
    pub(super) fn starting(
        call: Arc<Call>,
        generation: impl Future<Output = Result<engine::Generation, Error>> + Send + 'static,
    ) -> (Running, Ended) {
        let (running, ended, dropped) = Running::new(Source::Starting);
        let shared = running.shared.clone();
        let begin = async move {
            let generation = generation.await?;
            shared.lock().begin(generation);
            shared.reader.wake();
            std::future::pending().await
        };
        running.watch(call, async move { dropped.run_until_cancelled_owned(begin).await.unwrap_or(Ok(())) });
        (running, ended)
    }

    fn new(source: Source) -> (Running, Ended, CancellationToken) {
        let (ended, outcome) = oneshot::channel();
        let state = Mutex::new(State { source, ended: Some(ended) });
        let dropped = CancellationToken::new();
        let shared = Arc::new(Shared { state, reader: AtomicWaker::new() });
        (Running { shared, _dropped: dropped.clone().drop_guard() }, outcome, dropped)
    }

    /// A task of its own drops the generation, and with it the device's work, when the request is over; so a guest that never looks
    /// at it, or leaves it behind, holds nothing.
    fn watch(&self, call: Arc<Call>, until_dropped: impl Future<Output = Result<(), Error>> + Send + 'static) {
        let shared = self.shared.clone();
        tokio::spawn(async move {
            if let Err(over) = within(&call, until_dropped).await {
                shared.lock().end(Err(over));
                shared.reader.wake();
            }
        });
    }

    /// Puts so many of the next events at the end of `events`, as have come by now, and one at least; says whether that was all.
    pub(super) fn poll_events(&self, cx: &mut Context<'_>, events: &mut Vec<Event>, count: usize) -> Poll<bool> {
        self.shared.reader.register(cx.waker());
        self.shared.lock().poll_events(cx, events, count)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.lock().end(Err(cancelled()));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin(&mut self, generation: engine::Generation) {
        if self.ended.is_some() {
            self.source = Source::Going(generation);
        }
    }

    /// The first end counts.
    fn end(&mut self, outcome: Result<Outcome, Error>) {
        self.source = Source::Over;
        if let Some(ended) = self.ended.take() {
            drop(ended.send(outcome)); // the guest may be gone
        }
    }

    fn poll_events(&mut self, cx: &mut Context<'_>, events: &mut Vec<Event>, count: usize) -> Poll<bool> {
        while events.len() < count {
            let next = match &mut self.source {
                Source::Over => return Poll::Ready(true),
                Source::Starting => return Poll::Pending,
                Source::Going(generation) => generation.poll_next(cx),
            };
            match next {
                Poll::Ready(Some(Ok(GenerateEvent::Piece(piece)))) => events.push(convert::event(piece)),
                Poll::Ready(Some(Ok(GenerateEvent::Done(outcome)))) => self.end(Ok(convert::outcome(outcome))),
                Poll::Ready(Some(Err(error))) => self.end(Err(error.into())),
                Poll::Ready(None) => self.end(Err(JobError::Stopped.into())),
                Poll::Pending if events.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(matches!(self.source, Source::Over))
    }
}
