//! Two lanes for instances: one for those that soon wait again, and one of low priority for those that compute.
//!
//! An instance that runs through a whole epoch at once is moved to the second, and back once it has not done so for a while. So
//! however many compute, a request that needs a fraction of a millisecond finds a thread, and the system gives that thread a core.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::runtime::{Builder, Handle, Runtime};

use super::life::{Left, Life};
use crate::cpu::Stopwatch;

/// How much nicer than the server's other threads those of the second lane are.
const NICENESS: i32 = 10;
/// How long an instance may not have computed to be let back.
const REFORMED: Duration = Duration::from_secs(1);

/// The threads of the second lane.
pub(crate) struct SlowLane {
    /// The runtime that it was made on.
    quick: Handle,
    runtime: Option<Runtime>,
    /// The longest poll of an instance that does not compute.
    poll_max: Duration,
}

impl SlowLane {
    /// As many threads as there are cores, beside the runtime that this is called on.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(crate) fn new(poll_max: Duration) -> std::io::Result<SlowLane> {
        let mut builder = Builder::new_multi_thread();
        // A task here may run for an epoch: what was woken from outside is looked for after each.
        builder.enable_all().event_interval(1).thread_name("slow-lane").on_thread_start(be_nice);
        Ok(SlowLane { quick: Handle::current(), runtime: Some(builder.build()?), poll_max })
    }

    /// Runs a life in the first lane, and in the second while it computes. It lasts as long as its task.
    pub(super) fn run(&self, life: impl Future<Output = ()> + Send + 'static, stopwatch: Stopwatch) -> Weak<Life> {
        let Some(slow) = self.runtime.as_ref().map(|runtime| runtime.handle().clone()) else { return Weak::new() };
        let life = Arc::new(Life::new(life.boxed(), stopwatch, self.poll_max));
        let weak = Arc::downgrade(&life);
        Traveller { life, lanes: [self.quick.clone(), slow] }.go(Lane::Quick);
        weak
    }
}

impl Drop for SlowLane {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background(); // waiting is not allowed where this may be dropped
        }
    }
}

thread_local! {
    static IS_NICE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread has the priority of the second lane.
pub(super) fn is_nice() -> bool {
    IS_NICE.get()
}

/// Gives this thread the priority of the second lane.
pub(super) fn be_nice() {
    IS_NICE.set(true);
    // On Linux the priority is the thread's own. Where it is not allowed, the lane is only a lane.
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "the slow lane has the priority of other threads");
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    Quick,
    Slow,
}

/// A life that changes lanes.
struct Traveller {
    life: Arc<Life>,
    lanes: [Handle; 2],
}

impl Traveller {
    fn go(self, lane: Lane) {
        let handle = self.lanes[lane as usize].clone();
        // Whoever brings one work that computes is not to compute for it.
        self.life.keep_private(lane == Lane::Slow);
        let stretch = Stretch { traveller: Some(self), lane, computed: Instant::now() };
        handle.spawn(async move {
            if let Some(traveller) = stretch.await {
                traveller.go(if lane == Lane::Quick { Lane::Slow } else { Lane::Quick });
            }
        });
    }
}

/// A life as long as it stays in a lane. Ends with the life, or gives it back to be moved.
struct Stretch {
    traveller: Option<Traveller>,
    lane: Lane,
    /// When it last computed.
    computed: Instant,
}

impl Future for Stretch {
    type Output = Option<Traveller>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Traveller>> {
        let Some(traveller) = &self.traveller else { return Poll::Ready(None) };
        // Tasks, timers and sockets that host functions make are never the slow lane's: it looks at them between epochs only.
        let quick = traveller.lanes[Lane::Quick as usize].clone();
        let _entered = quick.enter();
        let left = traveller.life.run(cx.waker());
        let moves = match (left, self.lane) {
            (Left::Ended, _) => return Poll::Ready(None),
            (Left::Running, _) => false,
            (Left::Computing, Lane::Quick) => true,
            (Left::Computing, Lane::Slow) => {
                self.computed = Instant::now();
                false
            }
            (Left::Waiting, Lane::Quick) => false,
            (Left::Waiting, Lane::Slow) => self.computed.elapsed() > REFORMED,
        };
        if moves { Poll::Ready(self.traveller.take()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::current;

    use policy::Ledger;
    use tokio::sync::mpsc;

    use super::*;
    use crate::cpu::{Clock, thread_ns};

    /// A life that works for so long each time it is told to, and tells where.
    async fn work(mut times: mpsc::UnboundedReceiver<Duration>, places: mpsc::UnboundedSender<bool>) {
        while let Some(time) = times.recv().await {
            let start = thread_ns();
            while Duration::from_nanos(thread_ns() - start) < time {}
            let is_slow = current().name().is_some_and(|name| name.contains("slow-lane"));
            places.send(is_slow).expect("somebody listens");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_life_that_computes_changes_lanes_and_comes_back_when_it_has_not_for_a_while() {
        let lane = SlowLane::new(Duration::from_millis(10)).expect("threads");
        let ((say, times), (places, mut seen)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let stopwatch = Stopwatch::new(Arc::<Clock>::default(), vec![Arc::<Ledger>::default()]);
        let _life = lane.run(work(times, places), stopwatch);
        let mut is_slow = async |time: u64| {
            say.send(Duration::from_millis(time)).expect("it lives");
            seen.recv().await.expect("it lives")
        };
        assert!(!is_slow(0).await);
        assert!(!is_slow(50).await, "it is moved after it has computed");
        assert!(is_slow(0).await);
        tokio::time::sleep(REFORMED + Duration::from_millis(100)).await;
        assert!(is_slow(0).await, "it is moved back after it has been seen to wait");
        assert!(!is_slow(0).await);
    }
}
