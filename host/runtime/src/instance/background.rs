//! Work after the answer: what a guest goes on with once its client has what it asked for.
//!
//! It is the same request still: it keeps its place, its limits and its rights, until its task is done or the time is over that
//! the policy gives it for that.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wasmtime::component::Accessor;

use super::Slot;
use crate::call::Call;
use crate::sandbox::Ctx;

/// The requests whose guests go on after their answers.
#[derive(Clone, Default)]
pub(crate) struct Background(Arc<watch::Sender<usize>>);

/// One of them, until it is dropped.
pub(super) struct Going(Arc<watch::Sender<usize>>);

impl Background {
    fn begin(&self) -> Going {
        self.0.send_modify(|going| *going += 1);
        Going(self.0.clone())
    }

    /// Waits until there are none.
    pub(crate) async fn ended(&self) {
        let mut going = self.0.subscribe();
        drop(going.wait_for(|going| *going == 0).await); // the sender is here
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.0.send_modify(|going| *going -= 1);
    }
}

/// Counts a request whose guest may go on after its answer. It is from before the answer, so that a server that ends just then
/// waits for it.
pub(super) fn begin(accessor: &Accessor<Ctx>, slot: &Slot) -> Option<Going> {
    let may_go_on = !time(slot).is_zero();
    may_go_on.then(|| accessor.with(|mut store| store.data_mut().sandbox.background.begin()))
}

/// Lets a guest go on after its answer, as long as its policy says and until it has nothing more to do. What is not done then
/// goes with its instance.
pub(super) async fn go_on(accessor: &Accessor<Ctx>, slot: &Slot, call: &Call, going: Option<Going>) {
    let Some(_going) = going.filter(|_| !call.gone.is_cancelled()) else { return };
    let until = call.go_on(time(slot));
    slot.put_off(call.deadline, until);
    tokio::select! {
        // Such an instance serves one request at a time, so that these are all of this one.
        () = poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)) => {}
        () = call.gone.cancelled() => slot.close(),
        () = tokio::time::sleep_until(until) => slot.close(),
    }
}

/// Time that a guest has after its answer.
fn time(slot: &Slot) -> Duration {
    Duration::from_millis(slot.rights.policy.limits().background_ms_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_has_ended_when_nobody_goes_on() {
        let background = Background::default();
        background.ended().await;
        let (one, two) = (background.begin(), background.begin());
        drop(one);
        let ended = background.ended();
        tokio::pin!(ended);
        assert!(futures::poll!(&mut ended).is_pending());
        drop(two);
        ended.await;
    }
}
