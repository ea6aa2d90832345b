//! A generation between the engine and its guest: read by whoever the guest reads with, and ended when its request is over.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use engine::{GenerateEvent, JobError};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::task::AtomicWaker;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use super::{cancelled, convert, within};
use crate::bindings::tessera::generate::types::{Event, Outcome};
use crate::bindings::tessera::inference::types::Error;
use crate::call::Call;
use crate::capability::{out_of_time, request_over};

/// The guest's side of a generation. Dropping it stops the device's work.
pub(super) struct Running {
    call: Arc<Call>,
    shared: Arc<Shared>,
    /// Ends it with its request, by [`Shared::wake`]: a guest that never looks at it, or leaves it behind, holds nothing.
    _gone: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The end of the request's time, once somebody has to wait.
    late: Option<BoxFuture<'static, ()>>,
    /// Stops what starts it.
    _starting: Option<DropGuard>,
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
        Running::new(call, Source::Going(generation), None)
    }

    /// Reads what will be generated for a call.
    pub(super) fn starting(
        call: Arc<Call>,
        generation: impl Future<Output = Result<engine::Generation, Error>> + Send + 'static,
    ) -> (Running, Ended) {
        let dropped = CancellationToken::new();
        let (running, ended) = Running::new(call.clone(), Source::Starting, Some(dropped.clone().drop_guard()));
        let shared = running.shared.clone();
        tokio::spawn(dropped.run_until_cancelled_owned(async move {
            match within(&call, generation).await {
                Ok(generation) => shared.lock().begin(generation),
                Err(error) => shared.lock().end(Err(error)),
            }
            shared.reader.wake();
        }));
        (running, ended)
    }

    fn new(call: Arc<Call>, source: Source, starting: Option<DropGuard>) -> (Running, Ended) {
        let (ended, outcome) = oneshot::channel();
        let state = Mutex::new(State { source, ended: Some(ended) });
        let shared = Arc::new(Shared { state, reader: AtomicWaker::new() });
        let mut gone = Box::pin(call.gone.clone().cancelled_owned());
        let waker = Waker::from(shared.clone());
        if gone.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            waker.wake();
        }
        (Running { call, shared, _gone: gone, late: None, _starting: starting }, outcome)
    }

    /// Puts so many of the next events at the end of `events`, as have come by now, and one at least; says whether that was all.
    pub(super) fn poll_events(&mut self, cx: &mut Context<'_>, events: &mut Vec<Event>, count: usize) -> Poll<bool> {
        self.shared.reader.register(cx.waker());
        let polled = self.shared.lock().poll_events(cx, events, count);
        if polled.is_ready() {
            return polled;
        }
        let call = &self.call;
        let late = self.late.get_or_insert_with(|| {
            let call = call.clone();
            async move { call.timed_out().await }.boxed()
        });
        if late.poll_unpin(cx).is_pending() {
            return Poll::Pending;
        }
        self.shared.lock().end(Err(out_of_time()));
        Poll::Ready(true)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.lock().end(Err(cancelled()));
    }
}

/// The request is over.
impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.lock().end(Err(request_over()));
        self.reader.wake();
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
