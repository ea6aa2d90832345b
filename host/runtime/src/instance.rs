//! Instances: the sandboxes that requests run in, each a task that owns a store.
//!
//! By default a request gets a fresh instance, which dies with it. A manifest may ask for reuse; then a request goes to an
//! instance of the same tenant that has room, or to a new one: reuse never makes anybody wait. A trap ends the instance and
//! every request in it. Nobody waits on a guest without a deadline: whoever waits stops the instance when the time is over.

mod guest;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use policy::Tenant;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmtime::component::Accessor;

use crate::call::Call;
use crate::component::{Component, Reuse};
use crate::http::body::{GuestBody, RequestBody};
use crate::sandbox::Ctx;

/// Why a request got no answer from its component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// As many requests as the policy allows are inside already.
    #[error("the component is busy: try again later")]
    Busy,
    /// It took longer than the policy allows.
    #[error("the component took too long")]
    Deadline,
    /// It trapped, or could not be instantiated.
    #[error("the component failed")]
    Trapped,
    /// It answered with something that is not HTTP.
    #[error("the component's answer is no valid HTTP response")]
    BadResponse,
}

/// What a guest gets after its deadline to say so itself, before its instance is stopped: host calls end at the deadline, and a
/// guest that answers then keeps its instance for the others in it.
const GRACE: Duration = Duration::from_millis(100);

pub(crate) type Response = ::http::Response<GuestBody>;

/// One request on its way into an instance.
struct Work {
    request: ::http::Request<RequestBody>,
    call: Arc<Call>,
    reply: oneshot::Sender<Result<Response, Fault>>,
}

/// The instances of one component.
pub(crate) struct Instances {
    reuse: Reuse,
    concurrency_max: usize,
    inside: Arc<AtomicUsize>,
    /// Instances that may have room. Held for a few instructions only.
    open: Mutex<Vec<Arc<Slot>>>,
}

/// The outside of one instance.
struct Slot {
    tenant: Tenant,
    work: mpsc::UnboundedSender<Work>,
    load: Mutex<Load>,
    abort: OnceLock<AbortHandle>,
}

#[derive(Default)]
struct Load {
    running: u32,
    served: u32,
    is_closed: bool,
}

impl Instances {
    pub(crate) fn new(reuse: Reuse, concurrency_max: usize) -> Instances {
        Instances { reuse, concurrency_max, inside: Arc::default(), open: Mutex::default() }
    }

    fn enter(&self) -> Result<Inside, Fault> {
        let entered = Inside(self.inside.clone());
        let before = entered.0.fetch_add(1, Ordering::Relaxed);
        if before < self.concurrency_max { Ok(entered) } else { Err(Fault::Busy) }
    }

    /// An open instance of this tenant with room for one more, already counted.
    fn find(&self, tenant: &Tenant) -> Option<Arc<Slot>> {
        let mut open = lock(&self.open);
        open.retain(|slot| slot.is_open(&self.reuse));
        open.iter().find(|slot| slot.tenant == *tenant && slot.take(&self.reuse)).cloned()
    }
}

impl Slot {
    fn is_open(&self, reuse: &Reuse) -> bool {
        let load = lock(&self.load);
        !load.is_closed && load.served < reuse.requests_max
    }

    fn take(&self, reuse: &Reuse) -> bool {
        let mut load = lock(&self.load);
        let has_room = !load.is_closed && load.served < reuse.requests_max && load.running < reuse.concurrency_max.max(1);
        if has_room {
            load.running += 1;
            load.served += 1;
        }
        has_room
    }

    /// Counts a request out; says whether the instance has served all it may.
    fn finish(&self, reuse: &Reuse) -> bool {
        let mut load = lock(&self.load);
        load.running -= 1;
        load.is_closed |= load.served >= reuse.requests_max;
        load.is_closed && load.running == 0
    }

    /// Closes the instance if no request is on its way to it.
    fn close_if_idle(&self) -> bool {
        let mut load = lock(&self.load);
        let is_idle = load.running == 0;
        load.is_closed |= is_idle;
        is_idle
    }
}

/// Counts one request inside a component, until it is dropped.
struct Inside(Arc<AtomicUsize>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Stops the work behind a request that is not finished: its host calls, and its instance if that works for no other.
pub(crate) struct Hold {
    slot: Arc<Slot>,
    gone: CancellationToken,
    is_exclusive: bool,
    is_done: bool,
    _inside: Inside,
}

impl Hold {
    /// The request is finished: the instance may live.
    pub(crate) fn done(&mut self) {
        self.is_done = true;
    }

    /// Stops the instance, shared or not: it overran a deadline.
    pub(crate) fn stop(&mut self) {
        self.is_exclusive = true;
        self.is_done = false;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        self.gone.cancel();
        if self.is_exclusive {
            lock(&self.slot.load).is_closed = true;
            if let Some(abort) = self.slot.abort.get() {
                abort.abort();
            }
        }
    }
}

/// Has a component answer a request. Dropping the future, or the body of its response, stops the work.
///
/// # Errors
/// As [`Fault`] says.
pub(crate) async fn dispatch(
    component: &Arc<Component>,
    request: ::http::Request<RequestBody>,
    call: Arc<Call>,
) -> Result<Response, Fault> {
    let inside = component.instances.enter()?;
    let (reply, answer) = oneshot::channel();
    let (deadline, gone) = (call.deadline, call.gone.clone());
    let slot = component.instances.find(&call.tenant).unwrap_or_else(|| start(component, &call.tenant));
    // A closed instance drops its work, and with it the reply.
    drop(slot.work.send(Work { request, call, reply }));
    let is_exclusive = component.instances.reuse.concurrency_max <= 1;
    let mut hold = Hold { slot, gone, is_exclusive, is_done: false, _inside: inside };
    match tokio::time::timeout_at(deadline + GRACE, answer).await {
        Ok(Ok(Ok(mut response))) => {
            response.body_mut().watch(hold, deadline);
            Ok(response)
        }
        Ok(Ok(Err(fault))) => Err(fault),
        Ok(Err(_)) => Err(Fault::Trapped),
        Err(_) => {
            hold.stop();
            Err(Fault::Deadline)
        }
    }
}

/// Starts an instance with room taken for one request.
fn start(component: &Arc<Component>, tenant: &Tenant) -> Arc<Slot> {
    let (work, incoming) = mpsc::unbounded_channel();
    let load = Mutex::new(Load { running: 1, served: 1, is_closed: false });
    let slot = Arc::new(Slot { tenant: tenant.clone(), work, load, abort: OnceLock::new() });
    let task = tokio::spawn(live(component.clone(), slot.clone(), incoming));
    slot.abort.get_or_init(|| task.abort_handle());
    if component.manifest.instance.requests_max > 1 {
        lock(&component.instances.open).push(slot.clone());
    }
    slot
}

/// The life of an instance.
async fn live(component: Arc<Component>, slot: Arc<Slot>, mut incoming: mpsc::UnboundedReceiver<Work>) {
    let mut store = component.sandbox.store(component.policy.limits(), &component.log);
    let stderr = store.data().stderr.clone();
    let result = async {
        let guest = guest::instantiate(&component.pre, &mut store).await?;
        let serve =
            async |accessor: &Accessor<Ctx>| serve(accessor, &guest, &component.instances.reuse, &slot, &mut incoming).await;
        store.run_concurrent(serve).await?
    };
    if let Err(error) = result.await {
        let stderr = crate::capability::log::escape(&String::from_utf8_lossy(&stderr.contents()), 4096);
        tracing::error!(component = %component.name(), error = format!("{error:#}"), stderr, "an instance failed");
        component.sandbox.metrics.trapped(component.name().as_str());
    }
    lock(&slot.load).is_closed = true;
}

async fn serve(
    accessor: &Accessor<Ctx>,
    guest: &guest::Guest,
    reuse: &Reuse,
    slot: &Slot,
    incoming: &mut mpsc::UnboundedReceiver<Work>,
) -> wasmtime::Result<()> {
    let mut running = FuturesUnordered::new();
    let idle = Duration::from_millis(reuse.idle_ms_max);
    // One clock for the instance's whole life, as a new one for each pause would cost more than the rest of this loop; so an
    // idle instance lives up to twice its time.
    let mut clock = std::pin::pin!(tokio::time::sleep(idle));
    let mut was_used = false;
    loop {
        tokio::select! {
            biased;
            Some(served) = running.next() => {
                served?;
                if slot.finish(reuse) {
                    return Ok(());
                }
            }
            Some(work) = incoming.recv() => {
                was_used = true;
                running.push(guest.serve(accessor, work));
            }
            () = &mut clock => {
                if !std::mem::take(&mut was_used) && slot.close_if_idle() {
                    return Ok(());
                }
                clock.as_mut().reset(Instant::now() + idle);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code under these locks can panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
