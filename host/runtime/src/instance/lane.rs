//! Two lanes for instances: one for those that soon wait again, and one of low priority for those that compute.
//!
//! An instance that runs through a whole epoch at once is moved to the second, for good. So however many compute, a request that
//! needs a fraction of a millisecond finds a thread, and the system gives that thread a core.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::cpu::Clock;

/// How much nicer than the server's other threads those of the second lane are.
const NICENESS: i32 = 10;

/// The threads of the second lane.
pub(crate) struct SlowLane {
    runtime: Option<Runtime>,
    /// The longest poll of an instance that stays in the first lane.
    poll_max: Duration,
}

impl SlowLane {
    /// As many threads as there are cores.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(crate) fn new(poll_max: Duration) -> std::io::Result<SlowLane> {
        let mut builder = Builder::new_multi_thread();
        builder.enable_all().thread_name("slow-lane").on_thread_start(|| {
            // On Linux this is the thread's own. Where it is not allowed, the lane is only a lane.
            if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
                tracing::debug!(%error, "the slow lane has the priority of other threads");
            }
        });
        Ok(SlowLane { runtime: Some(builder.build()?), poll_max })
    }

    /// Runs a life in the first lane, and goes on in the second where it computes.
    pub(super) fn run(&self, life: impl Future<Output = ()> + Send + 'static, clock: Arc<Clock>) {
        let Some(slow) = self.runtime.as_ref().map(|runtime| runtime.handle().clone()) else { return };
        let quick = Quick { life: Some(Box::pin(life)), clock, poll_max: self.poll_max };
        tokio::spawn(go_on(quick, slow));
    }
}

impl Drop for SlowLane {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background(); // waiting is not allowed where this may be dropped
        }
    }
}

type Life = Pin<Box<dyn Future<Output = ()> + Send>>;

async fn go_on(quick: Quick, slow: Handle) {
    if let Some(life) = quick.await {
        slow.spawn(life);
    }
}

/// Ends with its life, or gives it back when one of its polls took too long.
struct Quick {
    life: Option<Life>,
    clock: Arc<Clock>,
    poll_max: Duration,
}

impl Future for Quick {
    type Output = Option<Life>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Life>> {
        let Some(life) = &mut self.life else { return Poll::Ready(None) };
        match life.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending if self.clock.last_poll() > self.poll_max => Poll::Ready(self.life.take()),
            Poll::Pending => Poll::Pending,
        }
    }
}
