//! The thread that does what nobody waits for: builds and saves indexes, sweeps deleted rows away, closes what is not used.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::tenants::IDLE;
use super::{Store, failed, lock};
use crate::{Name, Result};

/// How often to look for what is not used any more.
const ROUND: Duration = Duration::from_secs(5);

/// Whom there is something to do for.
#[derive(Default)]
pub(super) struct Wanted {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    tenants: BTreeSet<Name>,
    is_busy: bool,
    is_over: bool,
}

impl Wanted {
    /// There is something to do for a tenant.
    pub(super) fn add(&self, tenant: &Name) {
        lock(&self.state).tenants.insert(tenant.clone());
        self.changed.notify_all();
    }

    fn is_over(&self) -> bool {
        lock(&self.state).is_over
    }

    /// The next tenant; none when there was nothing for a while or it is over.
    fn next(&self, until: Instant) -> Option<Name> {
        let state = lock(&self.state);
        let wait = until.saturating_duration_since(Instant::now());
        let is_idle = |state: &mut State| state.tenants.is_empty() && !state.is_over;
        let (mut state, _) = self.changed.wait_timeout_while(state, wait, is_idle).unwrap_or_else(PoisonError::into_inner);
        let tenant = state.tenants.pop_first();
        state.is_busy = tenant.is_some();
        tenant
    }

    fn done(&self) {
        lock(&self.state).is_busy = false;
        self.changed.notify_all();
    }
}

/// The thread; dropped, it closes everything and ends.
pub(super) struct Keeper {
    wanted: Arc<Wanted>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(store: Arc<Store>, wanted: Arc<Wanted>) -> Result<Keeper> {
        let shared = Arc::clone(&wanted);
        let thread = std::thread::Builder::new().name("store-keeper".into()).spawn(move || keep(&store, &shared));
        Ok(Keeper { wanted, thread: Some(thread.map_err(failed)?) })
    }

    /// Waits until there is nothing to do.
    pub(super) fn settle(&self) {
        let is_at_work = |state: &mut State| (state.is_busy || !state.tenants.is_empty()) && !state.is_over;
        let state = self.wanted.changed.wait_while(lock(&self.wanted.state), is_at_work);
        drop(state.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        lock(&self.wanted.state).is_over = true;
        self.wanted.changed.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that tends the store panicked");
        }
    }
}

fn keep(store: &Store, wanted: &Wanted) {
    let mut round = Instant::now() + ROUND;
    while !wanted.is_over() {
        if let Some(tenant) = wanted.next(round) {
            tend(store, wanted, &tenant);
            wanted.done();
        }
        if Instant::now() >= round {
            for name in store.tenants.names() {
                if let Some(lease) = store.tenants.opened(&name) {
                    lease.rest();
                }
            }
            if let Some(time) = Instant::now().checked_sub(IDLE) {
                store.tenants.close_unused_since(time);
            }
            round = Instant::now() + ROUND;
        }
    }
    store.tenants.close_all();
}

fn tend(store: &Store, wanted: &Wanted, tenant: &Name) {
    let Some(lease) = store.tenants.opened(tenant) else { return };
    if let Err(error) = lease.work(|tenant| tenant.tend(&|| wanted.is_over() || lease.is_closing())) {
        tracing::error!(tenant = %tenant, %error, "tending the store failed: it goes on with what it has");
    }
}
