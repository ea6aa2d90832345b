//! Wakes an instance: through its task while it waits, and without the executor while it runs.
//!
//! What runs many futures in one task often wakes that task from inside, to be run once more. Through the executor that means
//! another thread is woken to take it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Wake, Waker};

use futures::task::AtomicWaker;

/// It waits: a ring wakes its task.
const WAITS: u8 = 0;
/// It runs: a ring is noted.
const RUNS: u8 = 1;
/// It was rung for, and its task woken if it waited.
const RUNG: u8 = 2;

#[derive(Default)]
pub(super) struct Bell {
    task: AtomicWaker,
    state: AtomicU8,
}

impl Bell {
    /// Whose task is woken.
    pub(super) fn is_for(&self, task: &Waker) {
        self.task.register(task);
    }

    /// From now on it runs.
    pub(super) fn listen(&self) {
        self.state.swap(RUNS, Ordering::AcqRel); // what was done before a ring is seen by what runs now
    }

    /// Whether it was rung for since it runs.
    pub(super) fn rang(&self) -> bool {
        self.state.load(Ordering::Acquire) == RUNG
    }

    /// It will not run again, which its task has to know.
    pub(super) fn end(&self) {
        self.task.wake();
    }

    /// It no longer runs: wakes its task if it was rung for meanwhile.
    pub(super) fn leave(&self) {
        if self.state.compare_exchange(RUNS, WAITS, Ordering::AcqRel, Ordering::Acquire).is_err() {
            self.task.wake();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(RUNG, Ordering::AcqRel) == WAITS {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_ring_wakes_the_task_that_waits_and_is_noted_while_it_runs() {
        let (bell, count) = (Arc::<Bell>::default(), Arc::<Count>::default());
        let woken = || count.0.load(Ordering::Relaxed);
        let ring = Waker::from(bell.clone());
        bell.is_for(&Waker::from(count.clone()));
        ring.wake_by_ref();
        ring.wake_by_ref();
        assert_eq!(woken(), 1, "it is woken once, until it runs");
        bell.listen();
        assert!(!bell.rang());
        ring.wake_by_ref();
        assert!(bell.rang());
        assert_eq!(woken(), 1, "it runs already");
        bell.listen();
        bell.leave();
        assert_eq!(woken(), 1, "nobody rang since");
        bell.is_for(&Waker::from(count.clone()));
        bell.listen();
        ring.wake_by_ref();
        bell.leave();
        assert_eq!(woken(), 2, "what was rung while it ran is not lost");
    }
}
