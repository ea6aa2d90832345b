//! The way into a component: so many requests inside at one time, so many waiting before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use policy::Limits;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Fault;

/// Counts who is inside and who waits. The limits are those of the policy that is now, and may change.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    inside: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
}

/// One request inside, until it is dropped.
#[derive(Debug)]
pub(crate) struct Inside(Arc<Gate>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

/// One request that waits, until it is dropped.
struct Waiting<'a>(&'a Gate);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Gate {
    /// Goes in, or waits for a place until the deadline.
    ///
    /// # Errors
    /// [`Fault::Busy`] when as many wait as may, or the deadline passed while it waited.
    pub(crate) async fn enter(self: &Arc<Self>, limits: &Limits, deadline: Instant) -> Result<Inside, Fault> {
        if let Some(inside) = self.try_enter(limits.concurrency_max) {
            return Ok(inside);
        }
        let waiting = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(self);
        if waiting >= limits.queue_max {
            return Err(Fault::Busy);
        }
        let wait = async {
            loop {
                // Listens before it looks, so that no place that becomes free is missed.
                let freed = self.freed.notified();
                if let Some(inside) = self.try_enter(limits.concurrency_max) {
                    return inside;
                }
                freed.await;
            }
        };
        tokio::time::timeout_at(deadline, wait).await.map_err(|_| Fault::Busy)
    }

    fn try_enter(self: &Arc<Self>, max: usize) -> Option<Inside> {
        let one_more = |inside: usize| (inside < max).then(|| inside + 1);
        self.inside.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok().map(|_| Inside(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limits(concurrency_max: usize, queue_max: usize) -> Limits {
        Limits { concurrency_max, queue_max, ..Limits::default() }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[tokio::test]
    async fn beyond_its_places_a_request_waits_and_beyond_the_queue_it_is_refused() {
        let (gate, limits) = (Arc::<Gate>::default(), limits(1, 1));
        let first = gate.enter(&limits, soon()).await.expect("room");
        let (waiter, queue) = (gate.clone(), limits.clone());
        let second = tokio::spawn(async move { waiter.enter(&queue, soon()).await.map(drop) });
        while gate.waiting.load(Ordering::Acquire) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(gate.enter(&limits, soon()).await.err(), Some(Fault::Busy));
        drop(first);
        assert_eq!(second.await.expect("runs"), Ok(()));
        assert_eq!((gate.inside.load(Ordering::Acquire), gate.waiting.load(Ordering::Acquire)), (0, 0));
    }

    #[tokio::test]
    async fn a_request_that_waits_past_its_deadline_is_refused() {
        let (gate, limits) = (Arc::<Gate>::default(), limits(1, 1));
        let _first = gate.enter(&limits, soon()).await.expect("room");
        assert_eq!(gate.enter(&limits, Instant::now()).await.err(), Some(Fault::Busy));
        assert_eq!(gate.waiting.load(Ordering::Acquire), 0);
    }

    #[tokio::test]
    async fn no_place_is_lost_when_many_come_and_go() {
        let (gate, limits) = (Arc::<Gate>::default(), limits(3, 1000));
        let visit = |gate: Arc<Gate>, limits: Limits| async move {
            let inside = gate.enter(&limits, soon()).await.expect("a place in time");
            tokio::task::yield_now().await;
            drop(inside);
        };
        let visits: Vec<_> = (0..500).map(|_| tokio::spawn(visit(gate.clone(), limits.clone()))).collect();
        for visit in visits {
            visit.await.expect("runs");
        }
        assert_eq!(gate.inside.load(Ordering::Acquire), 0);
    }
}
