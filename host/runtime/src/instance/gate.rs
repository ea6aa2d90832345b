//! The way into a component: so many requests inside at one time, so many waiting before it, the first to come the first to go in.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use policy::Limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Fault;

/// Counts who is inside and who waits. The limits are those of the policy that is now, and may change.
#[derive(Debug)]
pub(crate) struct Gate {
    places: Arc<Semaphore>,
    size: Mutex<Size>,
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Size {
    /// Places that there are.
    max: usize,
    /// Places that are no more, and whose requests are inside still.
    excess: usize,
}

/// One request inside, until it is dropped.
#[derive(Debug)]
pub(crate) struct Inside {
    gate: Arc<Gate>,
    place: Option<OwnedSemaphorePermit>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut size = self.gate.size();
        if let (1.., Some(place)) = (size.excess, self.place.take()) {
            size.excess -= 1;
            place.forget();
        }
    }
}

/// One request that waits, until it is dropped.
struct Waiting<'a>(&'a Gate);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Default for Gate {
    fn default() -> Self {
        Gate { places: Arc::new(Semaphore::new(0)), size: Mutex::default(), waiting: AtomicUsize::new(0) }
    }
}

impl Gate {
    /// Goes in, or waits for a place until the deadline.
    ///
    /// # Errors
    /// [`Fault::Busy`] when as many wait as may, or the deadline passed while it waited.
    pub(crate) async fn enter(self: &Arc<Self>, limits: &Limits, deadline: Instant) -> Result<Inside, Fault> {
        if let Ok(inside) = self.enter_now(limits) {
            return Ok(inside);
        }
        let waiting = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(self);
        if waiting >= limits.queue_max {
            return Err(Fault::Busy);
        }
        let place = tokio::time::timeout_at(deadline, self.places.clone().acquire_owned()).await;
        place.ok().and_then(Result::ok).map(|place| self.inside(place)).ok_or(Fault::Busy)
    }

    /// Goes in if there is a place.
    ///
    /// # Errors
    /// [`Fault::Busy`] when there is none.
    pub(crate) fn enter_now(self: &Arc<Self>, limits: &Limits) -> Result<Inside, Fault> {
        self.resize(limits.concurrency_max.min(Semaphore::MAX_PERMITS));
        self.places.clone().try_acquire_owned().map(|place| self.inside(place)).map_err(|_| Fault::Busy)
    }

    fn inside(self: &Arc<Self>, place: OwnedSemaphorePermit) -> Inside {
        Inside { gate: self.clone(), place: Some(place) }
    }

    fn resize(&self, max: usize) {
        let mut size = self.size();
        if max > size.max {
            let more = max - size.max;
            let kept = more.min(size.excess);
            size.excess -= kept;
            self.places.add_permits(more - kept);
        } else if max < size.max {
            let fewer = size.max - max;
            size.excess += fewer - self.places.forget_permits(fewer);
        }
        size.max = max;
    }

    fn size(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        let size = self.size();
        size.max + size.excess - self.places.available_permits()
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
        assert_eq!((gate.count(), gate.waiting.load(Ordering::Acquire)), (0, 0));
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
        assert_eq!(gate.count(), 0);
    }

    #[tokio::test]
    async fn places_follow_the_policy_while_requests_are_inside() {
        let gate = Arc::<Gate>::default();
        let enter = async |max| gate.enter(&limits(max, 0), soon()).await;
        let all = [enter(3).await, enter(3).await, enter(3).await];
        assert_eq!(enter(1).await.err(), Some(Fault::Busy));
        let [first, second, third] = all.map(|inside| inside.expect("room"));
        drop((first, second));
        assert_eq!(enter(1).await.err(), Some(Fault::Busy), "the third has the one place that is left");
        let fourth = enter(2).await.expect("a place more");
        drop((third, fourth));
        assert_eq!((gate.count(), gate.places.available_permits()), (0, 2));
    }
}
