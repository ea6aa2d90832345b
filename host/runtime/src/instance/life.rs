//! An instance's life: one future, run by its own task, or by who brings it work, where that is quicker.
//!
//! Most work is done at once. Whoever runs the instance on the spot has the answer when the call returns, and no task and no thread
//! had to be woken for it. What has to wait, and what computes for long, is its task's.

mod bell;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bell::Bell;
use futures::future::BoxFuture;

use super::lane;
use crate::cpu::{self, Stopwatch};

/// How often an instance that was woken while it ran is run again at once, before others are.
const AGAIN_MAX: usize = 4;
/// Instances that may run inside of one another, each on the stack of the one that brings it work.
const INSIDE_MAX: usize = 8;

/// The life of one instance.
pub(super) struct Life {
    state: Mutex<State>,
    bell: Arc<Bell>,
    /// What rings it.
    waker: Waker,
    stopwatch: Stopwatch,
    /// How long an instance runs at once that does not compute.
    poll_max: Duration,
    /// Whether only its task runs it.
    is_private: AtomicBool,
}

struct State {
    /// None after its end.
    future: Option<BoxFuture<'static, ()>>,
    has_begun: bool,
}

/// How it was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It is over.
    Ended,
    /// It waits for something, or wants to be run again later.
    Waiting,
    /// The same, and it has computed long.
    Computing,
    /// Somebody else runs it.
    Running,
}

impl Life {
    pub(super) fn new(future: BoxFuture<'static, ()>, stopwatch: Stopwatch, poll_max: Duration) -> Life {
        let bell = Arc::<Bell>::default();
        let waker = Waker::from(bell.clone());
        let state = Mutex::new(State { future: Some(future), has_begun: false });
        Life { state, bell, waker, stopwatch, poll_max, is_private: AtomicBool::new(false) }
    }

    /// Has only its task run it, or others as well.
    pub(super) fn keep_private(&self, is_private: bool) {
        self.is_private.store(is_private, Ordering::Relaxed);
    }

    /// Runs it for its task, which is woken when there is more to do.
    pub(super) fn run(&self, task: &Waker) -> Left {
        self.bell.is_for(task);
        self.lock().map_or(Left::Running, |state| self.run_locked(state))
    }

    /// Brings it something, and runs it if nobody else does. A thread of low priority holds up nobody who does not compute.
    pub(super) fn visit<R>(&self, bring: impl FnOnce() -> R) -> R {
        let inside = cpu::running();
        let may_run = inside < INSIDE_MAX && !lane::is_nice() && !self.is_private.load(Ordering::Relaxed);
        // A store can't begin to run inside of another.
        let is_able = |state: &MutexGuard<'_, State>| state.future.is_some() && (state.has_begun || inside == 0);
        let Some(state) = may_run.then(|| self.lock()).flatten().filter(is_able) else { return bring() };
        self.bell.listen();
        let brought = bring();
        self.run_locked(state);
        brought
    }

    fn lock(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn run_locked(&self, mut state: MutexGuard<'_, State>) -> Left {
        state.has_begun = true;
        if self.stopwatch.time(|| self.poll(&mut state)).is_ready() {
            let over = state.future.take();
            drop(state);
            self.bell.end();
            drop(over);
            return Left::Ended;
        }
        drop(state); // first: whoever is woken finds it free
        self.bell.leave();
        if self.stopwatch.clock().last_run() > self.poll_max { Left::Computing } else { Left::Waiting }
    }

    /// Polls it, and at once again where it was woken meanwhile.
    fn poll(&self, state: &mut State) -> Poll<()> {
        for _ in 0..AGAIN_MAX {
            self.bell.listen();
            if state.poll(&self.waker).is_ready() {
                return Poll::Ready(());
            }
            if !self.bell.rang() {
                break;
            }
        }
        Poll::Pending
    }
}

impl State {
    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        let Some(future) = &mut self.future else { return Poll::Ready(()) };
        // A panic in it is not the visitor's.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(waker))));
        polled.unwrap_or(Poll::Ready(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use futures::FutureExt;
    use policy::Ledger;
    use tokio::sync::mpsc;

    use super::*;
    use crate::cpu::Clock;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A life that does as it is told.
    fn life(future: impl Future<Output = ()> + Send + 'static) -> Arc<Life> {
        let stopwatch = Stopwatch::new(Arc::<Clock>::default(), vec![Arc::<Ledger>::default()]);
        Arc::new(Life::new(future.boxed(), stopwatch, Duration::from_secs(1)))
    }

    /// One that counts what it is brought.
    fn counting() -> (Arc<Life>, mpsc::UnboundedSender<u32>, Arc<AtomicUsize>) {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let sum = Arc::<AtomicUsize>::default();
        let counted = sum.clone();
        let future = async move {
            while let Some(number) = receiver.recv().await {
                counted.fetch_add(number as usize, Ordering::Relaxed);
            }
        };
        (life(future), sender, sum)
    }

    #[test]
    fn who_brings_work_has_it_done_and_wakes_no_task() {
        let (life, sender, sum) = counting();
        let woken = Arc::<Woken>::default();
        assert_eq!(life.run(&Waker::from(woken.clone())), Left::Waiting);
        life.visit(|| sender.send(2)).expect("it lives");
        assert_eq!((sum.load(Ordering::Relaxed), woken.0.load(Ordering::Relaxed)), (2, 0));
        life.keep_private(true);
        life.visit(|| sender.send(3)).expect("it lives");
        assert_eq!((sum.load(Ordering::Relaxed), woken.0.load(Ordering::Relaxed)), (2, 1), "its task does it");
        assert_eq!(life.run(&Waker::from(woken)), Left::Waiting);
        assert_eq!(sum.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn an_end_that_a_visitor_saw_is_told_to_the_task() {
        let (life, sender, _) = counting();
        let woken = Arc::<Woken>::default();
        assert_eq!(life.run(&Waker::from(woken.clone())), Left::Waiting);
        life.visit(|| drop(sender));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(life.run(&Waker::from(woken)), Left::Ended);
    }

    #[test]
    fn a_panic_ends_it_and_nobody_else() {
        let (sender, receiver) = futures::channel::oneshot::channel::<()>();
        let life = life(async move {
            receiver.await.ok();
            panic!("as a host function may");
        });
        assert_eq!(life.run(Waker::noop()), Left::Waiting);
        life.visit(|| sender.send(())).expect("it lives");
        assert_eq!(life.run(Waker::noop()), Left::Ended);
    }

    #[test]
    fn one_that_runs_is_not_run_inside_of_itself_but_again() {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Arc<Life>>();
        let (runs, seen) = (Arc::<AtomicUsize>::default(), mpsc::unbounded_channel());
        let (counted, own) = (runs.clone(), sender.clone());
        let life = life(async move {
            while let Some(life) = receiver.recv().await {
                if counted.fetch_add(1, Ordering::Relaxed) < 3 {
                    let again = life.clone();
                    life.visit(|| own.send(again)).expect("it lives");
                    seen.0.send(counted.load(Ordering::Relaxed)).expect("the test listens");
                }
            }
        });
        let mut seen = seen.1;
        assert_eq!(life.run(Waker::noop()), Left::Waiting);
        life.visit(|| sender.send(life.clone())).expect("it lives");
        assert_eq!(runs.load(Ordering::Relaxed), 4);
        assert_eq!([seen.try_recv(), seen.try_recv(), seen.try_recv()], [Ok(1), Ok(2), Ok(3)], "one after another");
    }

    #[test]
    fn one_that_has_not_begun_is_not_begun_inside_of_another() {
        let (inner, sender, sum) = counting();
        let visited = inner.clone();
        let outer = life(async move { visited.visit(|| sender.send(1)).expect("it is there") });
        assert_eq!(outer.run(Waker::noop()), Left::Ended);
        assert_eq!(sum.load(Ordering::Relaxed), 0);
        assert_eq!(inner.run(Waker::noop()), Left::Ended, "nobody brings it more");
        assert_eq!(sum.load(Ordering::Relaxed), 1);
    }
}
