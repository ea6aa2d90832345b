//! The threads that work: so many at one time, a bounded number that waits, and the rest is refused.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::failed;
use crate::{Result, StoreError};

/// How many may wait for each that works.
const WAITING: usize = 16;

/// Runs what blocks on threads that may.
pub(super) struct Workers {
    /// Those that work and those that wait.
    admitted: Arc<Semaphore>,
    working: Arc<Semaphore>,
}

impl Workers {
    pub(super) fn new(threads: usize) -> Workers {
        let admitted = Arc::new(Semaphore::new(threads.saturating_mul(WAITING + 1).min(Semaphore::MAX_PERMITS)));
        Workers { admitted, working: Arc::new(Semaphore::new(threads.min(Semaphore::MAX_PERMITS))) }
    }

    /// Runs it when it is its turn, or refuses it if too many wait. Dropped while it waits, it is not run; dropped later, it goes
    /// on to its end.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| StoreError::Overloaded)?;
        let turn = Arc::clone(&self.working).acquire_owned().await.map_err(failed)?;
        spawn(work, (admitted, turn)).await
    }

    /// Runs a part of something that was admitted before, however many wait.
    pub(super) async fn run_on<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let turn = Arc::clone(&self.working).acquire_owned().await.map_err(failed)?;
        spawn(work, turn).await
    }
}

async fn spawn<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static, turn: impl Send + 'static) -> Result<T> {
    let worker = move || {
        let result = work();
        drop(turn);
        result
    };
    tokio::task::spawn_blocking(worker).await.map_err(failed)?
}
