//! Time that guests run: read from the thread's CPU clock before and after an instance runs, so that waiting costs nothing.
//!
//! An instance may serve several requests, and one poll may run several of them. Whose time it was is asked at every epoch: what
//! runs when the epoch ends is charged for the time since the last look.
//!
//! An instance may be polled inside of another that calls it; that time is its own and not the other's.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use policy::Ledger;
use rustix::time::{ClockId, clock_gettime};

/// What of an instance's time was not charged to a request yet.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// When it was last looked at, as [`own_ns`] told.
    since: AtomicU64,
    /// What it left of the times that it ran before, in nanoseconds.
    left: AtomicU64,
    /// How long it ran when it last did, in nanoseconds.
    run: AtomicU64,
}

impl Clock {
    /// Time since the last look.
    pub(crate) fn lap(&self) -> Duration {
        let now = own_ns();
        let here = now.saturating_sub(self.since.swap(now, Ordering::Relaxed));
        Duration::from_nanos(here.saturating_add(self.left.swap(0, Ordering::Relaxed)))
    }

    /// How long it ran when it last did.
    pub(crate) fn last_run(&self) -> Duration {
        Duration::from_nanos(self.run.load(Ordering::Relaxed))
    }

    fn begin(&self, now: u64) {
        self.since.store(now, Ordering::Relaxed);
    }

    fn end(&self, now: u64) {
        self.left.fetch_add(now.saturating_sub(self.since.load(Ordering::Relaxed)), Ordering::Relaxed);
    }
}

/// CPU time of this thread in nanoseconds.
pub(crate) fn thread_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// What runs on a thread.
#[derive(Clone, Copy)]
struct Running {
    /// How many instances, each inside of the one before.
    count: usize,
    /// How long others ran inside of the innermost, in nanoseconds.
    inside_ns: u64,
}

thread_local! {
    static RUNNING: Cell<Running> = const { Cell::new(Running { count: 0, inside_ns: 0 }) };
}

/// How many instances run on this thread, each inside of the one before.
pub(crate) fn running() -> usize {
    RUNNING.get().count
}

/// CPU time of this thread without what others used inside of what runs.
fn own_ns() -> u64 {
    thread_ns().saturating_sub(RUNNING.get().inside_ns)
}

/// Puts another instance inside of the one that runs, until it is dropped.
struct Inside {
    outer: Running,
}

impl Inside {
    fn begin() -> Inside {
        let outer = RUNNING.get();
        RUNNING.set(Running { count: outer.count + 1, inside_ns: 0 });
        Inside { outer }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        RUNNING.set(self.outer);
    }
}

/// Takes the time of one instance.
pub(crate) struct Stopwatch {
    clock: Arc<Clock>,
    /// Where its time is counted.
    ledgers: Vec<Arc<Ledger>>,
}

impl Stopwatch {
    pub(crate) fn new(clock: Arc<Clock>, ledgers: Vec<Arc<Ledger>>) -> Stopwatch {
        Stopwatch { clock, ledgers }
    }

    /// What it runs on.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Runs the instance. The system is asked for the time twice, at about 0.4 µs each.
    pub(crate) fn time<T>(&self, run: impl FnOnce() -> T) -> T {
        let start = thread_ns();
        let inside = Inside::begin();
        self.clock.begin(start);
        let done = run();
        let end = thread_ns();
        let own = end.saturating_sub(RUNNING.get().inside_ns);
        drop(inside);
        let outer = RUNNING.get();
        RUNNING.set(Running { inside_ns: outer.inside_ns.saturating_add(end.saturating_sub(start)), ..outer });
        self.clock.end(own);
        let run = own.saturating_sub(start);
        self.clock.run.store(run, Ordering::Relaxed);
        self.ledgers.iter().for_each(|ledger| ledger.ran(Duration::from_nanos(run)));
        done
    }
}

/// A future whose polls are timed.
pub(crate) struct Timed<F> {
    future: F,
    stopwatch: Stopwatch,
}

impl<F> Timed<F> {
    pub(crate) fn new(future: F, stopwatch: Stopwatch) -> Timed<F> {
        Timed { future, stopwatch }
    }
}

impl<F: Future + Unpin> Future for Timed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Timed { future, stopwatch } = &mut *self;
        stopwatch.time(|| pin!(future).poll(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(time: Duration) {
        let start = thread_ns();
        while Duration::from_nanos(thread_ns() - start) < time {}
    }

    #[tokio::test]
    async fn what_runs_inside_of_another_is_charged_to_itself() {
        let [(outer, outer_book), (inner, inner_book)] = [(); 2].map(|()| (Arc::<Clock>::default(), Arc::<Ledger>::default()));
        let inside = async {
            assert_eq!(running(), 2);
            work(Duration::from_millis(20));
        };
        let clock = outer.clone();
        let around = async {
            work(Duration::from_millis(2));
            Timed::new(Box::pin(inside), Stopwatch::new(inner, vec![inner_book.clone()])).await;
            clock.lap()
        };
        let lap = Timed::new(Box::pin(around), Stopwatch::new(outer, vec![outer_book.clone()])).await;
        let cpu = |book: &Ledger| Duration::from_nanos(book.usage().cpu_ns);
        let (short, long) = (Duration::from_millis(2)..Duration::from_millis(15), Duration::from_millis(20));
        assert!(short.contains(&lap) && short.contains(&cpu(&outer_book)), "{lap:?} {:?}", cpu(&outer_book));
        assert!(cpu(&inner_book) >= long, "{:?}", cpu(&inner_book));
        assert_eq!(running(), 0);
    }

    #[tokio::test]
    async fn waiting_costs_nothing_and_running_does() {
        let (clock, ledger) = (Arc::<Clock>::default(), Arc::<Ledger>::default());
        let work = Box::pin(async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let start = thread_ns();
            while thread_ns() - start < 2_000_000 {}
            clock.lap()
        });
        let lap = Timed::new(work, Stopwatch::new(clock.clone(), vec![ledger.clone()])).await;
        assert!(lap >= Duration::from_millis(2), "{lap:?}");
        let cpu = Duration::from_nanos(ledger.usage().cpu_ns);
        assert!((Duration::from_millis(2)..Duration::from_millis(40)).contains(&cpu), "{cpu:?}");
    }
}
