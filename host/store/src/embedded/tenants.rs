//! Which tenants' data are open.

use std::collections::HashMap;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::keeper::Wanted;
use super::tenant::{Settings, Tenant};
use super::{failed, lock};
use crate::{Name, Result, StoreError};

/// Tenants whose data are open at one time, unless more are in use.
const OPEN_MAX: usize = 64;

/// How long after its last use a tenant's data are closed.
pub(super) const IDLE: Duration = Duration::from_secs(300);

/// How long to wait until nobody uses what is to be closed.
const CLOSING: Duration = Duration::from_secs(30);

/// How long to wait until nobody uses a database that failed, to open it anew.
const BROKEN: Duration = Duration::from_secs(5);

/// What the folders begin with whose deletion was begun. No tenant is called so.
const ERASED: &str = ".erased-";

pub(super) struct Tenants {
    folder: PathBuf,
    settings: Settings,
    wanted: Arc<Wanted>,
    slots: Mutex<HashMap<Name, Arc<Slot>>>,
    /// How many were opened so far.
    opened: AtomicU64,
}

#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    changed: Condvar,
    drafts: Arc<AtomicUsize>,
}

#[derive(Default)]
struct State {
    tenant: Option<Arc<Tenant>>,
    users: usize,
    is_closing: bool,
    used: Option<Instant>,
}

/// A tenant in use, which is not closed meanwhile.
pub(super) struct Lease {
    slot: Arc<Slot>,
    /// There until this is dropped.
    tenant: Option<Arc<Tenant>>,
    purpose: Purpose,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Somebody asked for it.
    Use,
    /// Nobody waits for it: it does not count as a use.
    Tending,
}

/// A draft, for whose sake a tenant's data stay open. It does not keep them from being erased.
pub(super) struct Drafting(Arc<AtomicUsize>);

impl Drop for Drafting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Deref for Lease {
    type Target = Tenant;

    fn deref(&self) -> &Tenant {
        self.tenant.as_ref().expect("it is there until this is dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.tenant = None;
        let mut state = lock(&self.slot.state);
        state.users -= 1;
        if self.purpose == Purpose::Use {
            state.used = Some(Instant::now());
        }
        self.slot.changed.notify_all();
    }
}

impl Lease {
    /// Does something with the data, and looks after a failure whether they have to be opened anew.
    pub(super) fn work<T>(&self, work: impl FnOnce(&Tenant) -> Result<T>) -> Result<T> {
        let result = work(self);
        if let Err(StoreError::Failed(_)) = &result {
            self.truth.examine();
        }
        result
    }

    /// Whether somebody waits to close it.
    pub(super) fn is_closing(&self) -> bool {
        self.truth.is_broken() || lock(&self.slot.state).is_closing
    }

    pub(super) fn drafting(&self) -> Drafting {
        self.slot.drafts.fetch_add(1, Ordering::AcqRel);
        Drafting(Arc::clone(&self.slot.drafts))
    }
}

impl Tenants {
    /// Takes a folder, and finishes the deletions that were begun in it.
    pub(super) fn open(folder: PathBuf, settings: Settings, wanted: Arc<Wanted>) -> Result<Tenants> {
        fs::create_dir_all(&folder).map_err(|error| failed(format!("{}: {error}", folder.display())))?;
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_string_lossy().starts_with(ERASED) {
                fs::remove_dir_all(entry.path()).map_err(failed)?;
            }
        }
        Ok(Tenants { folder, settings, wanted, slots: Mutex::default(), opened: AtomicU64::new(1) })
    }

    /// A tenant's data, which are made if there are none.
    pub(super) fn lease(&self, name: &Name) -> Result<Lease> {
        let slot = Arc::clone(lock(&self.slots).entry(name.clone()).or_default());
        let (lease, was_opened) = self.use_slot(slot, name)?;
        if was_opened {
            self.close_surplus();
        }
        Ok(lease)
    }

    /// A tenant's data, if there are any.
    pub(super) fn existing(&self, name: &Name) -> Result<Option<Lease>> {
        let is_there = lock(&self.slots).contains_key(name) || self.folder.join(name.as_str()).exists();
        if is_there { self.lease(name).map(Some) } else { Ok(None) }
    }

    /// A tenant's data to tend them, if they are open. They stay unused by that.
    pub(super) fn opened(&self, name: &Name) -> Option<Lease> {
        let slot = Arc::clone(lock(&self.slots).get(name)?);
        let mut state = lock(&slot.state);
        if state.is_closing || state.is_broken() {
            return None;
        }
        let tenant = Some(Arc::clone(state.tenant.as_ref()?));
        state.users += 1;
        drop(state);
        Some(Lease { slot, tenant, purpose: Purpose::Tending })
    }

    /// The names of the tenants that are open.
    pub(super) fn names(&self) -> Vec<Name> {
        lock(&self.slots).keys().cloned().collect()
    }

    /// Closes what has not been used since a time.
    pub(super) fn close_unused_since(&self, time: Instant) {
        for (name, slot) in self.all() {
            let is_idle = lock(&slot.state).used.is_none_or(|used| used <= time);
            if is_idle {
                slot.close_unused();
            }
            let mut slots = lock(&self.slots);
            let is_empty = lock(&slot.state).tenant.is_none();
            // This one and the table's: nobody is about to open it.
            if is_empty && Arc::strong_count(&slot) == 2 {
                slots.remove(&name);
            }
        }
    }

    /// Closes all that nobody uses.
    pub(super) fn close_all(&self) {
        self.all().into_iter().for_each(|(_, slot)| slot.close_unused());
    }

    /// Deletes all that is kept of a tenant, and says how many rows there were.
    pub(super) fn erase(&self, name: &Name) -> Result<u64> {
        let folder = self.folder.join(name.as_str());
        let slot = Arc::clone(lock(&self.slots).entry(name.clone()).or_default());
        let tenant = slot.begin_to_close()?;
        let erased = self.erase_closed(name, &folder, tenant);
        slot.end_closing();
        erased
    }

    fn erase_closed(&self, name: &Name, folder: &Path, tenant: Option<Arc<Tenant>>) -> Result<u64> {
        self.remove_graves(name)?;
        if !folder.exists() {
            return Ok(0);
        }
        let tenant = match tenant.filter(|tenant| !tenant.truth.is_broken()) {
            Some(tenant) => tenant,
            None => Arc::new(self.open_tenant(name)?),
        };
        let rows = tenant.truth.rows()?;
        let grave = self.folder.join(format!("{ERASED}{}-{}", name, self.opened.fetch_add(1, Ordering::Relaxed)));
        fs::rename(folder, &grave).map_err(failed)?;
        sync_folder(&self.folder)?;
        // Its database is open, and so locked against other processes, until now.
        drop(tenant);
        fs::remove_dir_all(&grave).map_err(failed)?;
        Ok(rows)
    }

    /// Finishes the tenant's deletions that were begun and failed.
    fn remove_graves(&self, name: &Name) -> Result<()> {
        let start = format!("{ERASED}{name}-");
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let grave = entry.file_name().to_string_lossy().into_owned();
            // Another tenant's name may go on behind this one's.
            if grave.strip_prefix(&start).is_some_and(|number| number.parse::<u64>().is_ok()) {
                fs::remove_dir_all(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn use_slot(&self, slot: Arc<Slot>, name: &Name) -> Result<(Lease, bool)> {
        let mut state = slot.wait_until_usable()?;
        if state.is_broken() {
            tracing::warn!(tenant = %name, "the database failed and is opened anew");
            state.tenant = None;
        }
        let was_opened = state.tenant.is_none();
        if was_opened {
            state.tenant = Some(Arc::new(self.open_tenant(name)?));
        }
        let tenant = state.tenant.clone();
        state.users += 1;
        drop(state);
        Ok((Lease { slot, tenant, purpose: Purpose::Use }, was_opened))
    }

    fn open_tenant(&self, name: &Name) -> Result<Tenant> {
        let instance = self.opened.fetch_add(1, Ordering::Relaxed);
        Tenant::open(&self.folder, name, instance, self.settings.clone(), Arc::clone(&self.wanted))
    }

    fn close_surplus(&self) {
        let slots = self.all().into_iter().map(|(_, slot)| slot);
        let mut slots: Vec<_> = slots.filter(|slot| lock(&slot.state).tenant.is_some()).collect();
        let surplus = slots.len().saturating_sub(OPEN_MAX);
        slots.retain(|slot| lock(&slot.state).users == 0);
        slots.sort_by_cached_key(|slot| lock(&slot.state).used);
        slots.iter().take(surplus).for_each(|slot| slot.close_unused());
    }

    fn all(&self) -> Vec<(Name, Arc<Slot>)> {
        lock(&self.slots).iter().map(|(name, slot)| (name.clone(), Arc::clone(slot))).collect()
    }
}

impl State {
    fn is_broken(&self) -> bool {
        self.tenant.as_ref().is_some_and(|tenant| tenant.truth.is_broken())
    }
}

impl Slot {
    /// Waits until nobody closes it, and nobody uses a database any more that failed.
    fn wait_until_usable(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = lock(&self.state);
        loop {
            state = self.wait_while(state, |state| state.is_closing);
            let is_in_the_way = |state: &mut State| !state.is_closing && state.users > 0 && state.is_broken();
            let waited = self.changed.wait_timeout_while(state, BROKEN, is_in_the_way);
            let (now, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return Err(StoreError::Overloaded);
            }
            if !now.is_closing {
                return Ok(now);
            }
            state = now;
        }
    }

    /// Closes it, unless it is in use.
    fn close_unused(&self) {
        let mut state = lock(&self.state);
        if state.users > 0 || state.is_closing || self.drafts.load(Ordering::Acquire) > 0 {
            return;
        }
        let Some(tenant) = state.tenant.take() else { return };
        state.is_closing = true;
        drop(state);
        tenant.save();
        drop(tenant);
        self.end_closing();
    }

    /// Waits until nobody uses it and takes it; others wait until [`Slot::end_closing`].
    fn begin_to_close(&self) -> Result<Option<Arc<Tenant>>> {
        let mut state = self.wait_while(lock(&self.state), |state| state.is_closing);
        state.is_closing = true;
        let waited = self.changed.wait_timeout_while(state, CLOSING, |state| state.users > 0);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            drop(state);
            self.end_closing();
            return Err(StoreError::Overloaded);
        }
        Ok(state.tenant.take())
    }

    fn end_closing(&self) {
        lock(&self.state).is_closing = false;
        self.changed.notify_all();
    }

    fn wait_while<'a>(&self, state: MutexGuard<'a, State>, is_so: impl FnMut(&mut State) -> bool) -> MutexGuard<'a, State> {
        self.changed.wait_while(state, is_so).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sees to it that names in a folder are on disk.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}
