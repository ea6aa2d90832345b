//! Instances: the sandboxes that requests run in, each a task that owns a store.
//!
//! By default a request gets a fresh instance, which dies with it. A manifest may ask for reuse; then a request goes to an
//! instance of the same tenant that has room, or to a new one: reuse never makes anybody wait. A trap ends the instance and
//! every request in it. Nobody waits on a guest without a deadline: whoever waits stops the instance when the time is over.

mod background;
mod gate;
mod guest;
mod invoke;
mod lane;
mod life;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

pub(crate) use background::Background;
use futures::future::{AbortHandle, AbortRegistration, Abortable, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use gate::{Gate, Inside};
use invoke::Invocation;
pub(crate) use invoke::{Invoked, invoke};
pub(crate) use lane::SlowLane;
use life::Life;
use policy::Tenant;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmtime::component::Accessor;

use crate::call::Call;
use crate::component::exports::Guest;
use crate::component::{Component, Reuse};
use crate::cpu::{self, Clock, Stopwatch, Timed};
use crate::governance::Rights;
use crate::guard::{Judgement, Question};
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
    /// Its code ran longer than the policy allows.
    #[error("the component used more CPU time than it may for a request")]
    CpuTime,
    /// It trapped, or could not be instantiated.
    #[error("the component failed")]
    Trapped,
    /// It answered with something that is not HTTP.
    #[error("the component's answer is no valid HTTP response")]
    BadResponse,
}

/// What a guest gets after its deadline to say so itself, before its instance is stopped: host calls end at the deadline, and a
/// guest that answers then keeps its instance for the others in it.
pub(crate) const GRACE: Duration = Duration::from_millis(100);

/// How often an instance is looked at from outside: whether a request overran its deadline or nothing happens any more.
const WATCH: Duration = Duration::from_millis(500);

/// How long an instance may have nothing to do, whatever its manifest says.
const IDLE_MAX: Duration = Duration::from_secs(600);

pub(crate) type Response = ::http::Response<GuestBody>;

/// One call on its way into an instance.
struct Work {
    job: Job,
    call: Arc<Call>,
    /// Counts it, until the guest is done with it or dead.
    _inside: Inside,
}

/// What a guest is called for.
enum Job {
    /// To answer a request.
    Serve(::http::Request<RequestBody>, Reply<Response>),
    /// To judge a text.
    Check(Question, Reply<Judgement>),
    /// To run one of its functions.
    Invoke(Invocation, Reply<Invoked>),
}

impl Job {
    fn taken_by(&mut self, slot: &Arc<Slot>) {
        match self {
            Job::Serve(_, reply) => reply.slot = Some(slot.clone()),
            Job::Check(_, reply) => reply.slot = Some(slot.clone()),
            Job::Invoke(_, reply) => reply.slot = Some(slot.clone()),
        }
    }

    fn refuse(self, fault: Fault) {
        match self {
            Job::Serve(_, reply) => reply.send(Err(fault)),
            Job::Check(_, reply) => reply.send(Err(fault)),
            Job::Invoke(_, reply) => reply.send(Err(fault)),
        }
    }
}

/// One request inside an instance.
struct Incoming {
    request: ::http::Request<RequestBody>,
    call: Arc<Call>,
    reply: Reply<Response>,
}

/// Where an answer goes. An instance that fails takes no other request by the time the client hears of it.
struct Reply<T> {
    sender: Option<oneshot::Sender<Result<T, Fault>>>,
    /// The instance that took the request.
    slot: Option<Arc<Slot>>,
}

impl<T> Reply<T> {
    /// Answers; the client may be gone, and then nobody misses it.
    fn send(mut self, answer: Result<T, Fault>) {
        if let (Some(slot), Err(Fault::Trapped)) = (&self.slot, &answer) {
            slot.close();
        }
        if let Some(sender) = self.sender.take() {
            drop(sender.send(answer));
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.as_ref().filter(|_| self.sender.is_some()) {
            slot.close(); // no answer: the guest trapped
        }
    }
}

/// The instances of one component.
pub(crate) struct Instances {
    reuse: Reuse,
    gate: Arc<Gate>,
    /// Instances that may have room. Held for a few instructions only.
    open: Mutex<Vec<Arc<Slot>>>,
}

/// The outside of one instance.
struct Slot {
    tenant: Tenant,
    /// What the policy was when it started. It gave the instance its limits, folders and variables, so it takes no request under
    /// another.
    rights: Arc<Rights>,
    work: mpsc::UnboundedSender<Work>,
    /// What runs it; none where it has a thread of its own.
    life: OnceLock<Weak<Life>>,
    load: Mutex<Load>,
    abort: AbortHandle,
}

struct Load {
    /// Deadlines of the requests inside.
    deadlines: VecDeque<Instant>,
    served: u32,
    is_closed: bool,
    idle_since: Instant,
}

impl Instances {
    pub(crate) fn new(reuse: Reuse) -> Instances {
        Instances { reuse, gate: Arc::default(), open: Mutex::default() }
    }

    /// An open instance of this tenant and policy with room for one more, already counted; else a new one from `start`.
    ///
    /// Both under one lock: requests that arrive at once share the instance that the first of them starts.
    fn find_or(
        &self,
        tenant: &Tenant,
        rights: &Arc<Rights>,
        deadline: Instant,
        start: impl FnOnce() -> Arc<Slot>,
    ) -> Arc<Slot> {
        if self.reuse.requests_max <= 1 {
            return start();
        }
        let mut open = lock(&self.open);
        open.retain(|slot| slot.is_open(&self.reuse) && slot.is_under(rights));
        let found = open.iter().filter(|slot| slot.tenant == *tenant).find(|slot| slot.take(&self.reuse, deadline)).cloned();
        found.unwrap_or_else(|| {
            let slot = start();
            open.push(slot.clone());
            slot
        })
    }
}

/// Requests that an instance serves at one time: one where guests go on after their answers, so that what goes on is known to be
/// of that one.
fn concurrency_max(reuse: &Reuse, rights: &Rights) -> usize {
    if rights.policy.limits().background_ms_max > 0 { 1 } else { reuse.concurrency_max.max(1) as usize }
}

impl Instances {
    /// Takes no more requests into instances that there are; they end when what is inside has.
    pub(crate) fn retire(&self) {
        lock(&self.open).drain(..).for_each(|slot| slot.close());
    }

    /// Takes no more requests into instances under other rights; they end when what is inside has.
    pub(crate) fn keep_only(&self, rights: &Arc<Rights>) {
        lock(&self.open).retain(|slot| slot.is_under(rights));
    }
}

impl Slot {
    /// Whether it started under these rights; if not, it is closed.
    fn is_under(&self, rights: &Arc<Rights>) -> bool {
        let is_under = Arc::ptr_eq(&self.rights, rights);
        if !is_under {
            self.close();
        }
        is_under
    }

    /// Gives it work; where another instance calls, runs it on the spot if that is possible. Gives the work back if it is dead.
    ///
    /// A connection goes on by itself meanwhile: what is answered has to leave it before what fails after that.
    fn bring(&self, work: Work) -> Option<Work> {
        let send = || self.work.send(work).err().map(|mpsc::error::SendError(work)| work);
        let life = self.life.get().filter(|_| cpu::running() > 0);
        match life.and_then(Weak::upgrade) {
            Some(life) => life.visit(send),
            None => send(),
        }
    }

    fn is_open(&self, reuse: &Reuse) -> bool {
        let load = lock(&self.load);
        !load.is_closed && load.served < reuse.requests_max
    }

    fn take(&self, reuse: &Reuse, deadline: Instant) -> bool {
        let mut load = lock(&self.load);
        let has_room = load.deadlines.len() < concurrency_max(reuse, &self.rights);
        let takes = has_room && !load.is_closed && load.served < reuse.requests_max;
        if takes {
            load.deadlines.push_back(deadline);
            load.served += 1;
        }
        takes
    }

    /// Another deadline for a request inside.
    fn put_off(&self, deadline: Instant, later: Instant) {
        let mut load = lock(&self.load);
        if let Some(one) = load.deadlines.iter_mut().find(|other| **other == deadline) {
            *one = later;
        }
    }

    /// Counts a request out; says whether the instance has served all it may.
    fn finish(&self, reuse: &Reuse, deadline: Instant) -> bool {
        let mut load = lock(&self.load);
        if let Some(place) = load.deadlines.iter().position(|other| *other == deadline) {
            load.deadlines.remove(place);
        }
        load.idle_since = Instant::now();
        load.is_closed |= load.served >= reuse.requests_max;
        load.is_closed && load.deadlines.is_empty()
    }

    fn close(&self) {
        lock(&self.load).is_closed = true;
    }

    /// Waits until the instance must go, and closes it: a request overran its deadline, or it was idle for its time.
    ///
    /// This is polled outside the store: a guest that holds its store, or a client that reads nothing, can't put it off.
    async fn overrun(&self, idle: Duration) -> Option<Fault> {
        loop {
            tokio::time::sleep(WATCH).await;
            let mut load = lock(&self.load);
            let now = Instant::now();
            let (is_late, is_idle) = match load.deadlines.iter().min() {
                Some(deadline) => (now > *deadline + GRACE, false),
                None => (false, load.is_closed || now > load.idle_since + idle),
            };
            if is_late || is_idle {
                load.is_closed = true;
                return is_late.then_some(Fault::Deadline);
            }
        }
    }
}

/// Stops the work behind a request that is not finished: its host calls, and its instance if that works for no other.
pub(crate) struct Hold {
    slot: Arc<Slot>,
    gone: CancellationToken,
    is_exclusive: bool,
    is_done: bool,
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
            self.slot.close();
            self.slot.abort.abort();
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
    let deadline = call.deadline;
    let (mut response, hold) = hand_in(component, call, |reply| Job::Serve(request, reply)).await?;
    // A stream, too, may say at its end that the time was over.
    response.body_mut().watch(hold, deadline + GRACE);
    Ok(response)
}

/// Has a guard judge a text. Dropping the future stops the work.
///
/// # Errors
/// As [`Fault`] says.
pub(crate) async fn check(component: &Arc<Component>, question: Question, call: Arc<Call>) -> Result<Judgement, Fault> {
    let (answer, mut hold) = hand_in(component, call, |reply| Job::Check(question, reply)).await?;
    hold.done();
    Ok(answer)
}

/// Starts an instance and throws it away: what fails here would fail at every request. Where there is no room for one it is not tried.
///
/// # Errors
/// When it can't be started, or takes longer than a request may.
pub(crate) async fn try_out(component: &Arc<Component>) -> wasmtime::Result<()> {
    let (rights, clock) = (component.governance.rights(), Arc::<Clock>::default());
    let call = Call::of_component(&component.governance, &rights);
    let (deadline, ledgers) = (call.deadline, vec![component.governance.ledger.clone()]);
    let mut store = component.sandbox.store(&component.governance, &rights, Arc::new(call), &clock);
    let start = async { component.exports.instantiate(&mut store).await.map(drop) };
    let started = tokio::time::timeout_at(deadline, Timed::new(Box::pin(start), Stopwatch::new(clock, ledgers))).await;
    match started {
        Ok(Err(error)) if error.is::<wasmtime::PoolConcurrencyLimitError>() => Ok(()),
        Ok(started) => started,
        Err(_) => Err(wasmtime::format_err!("it takes longer than `wall_ms_max` gives a request")),
    }
}

/// Finds an instance for a call and waits for what it answers; the hold is on the work that may go on after that.
async fn hand_in<T>(
    component: &Arc<Component>,
    call: Arc<Call>,
    job: impl FnOnce(Reply<T>) -> Job,
) -> Result<(T, Hold), Fault> {
    let (gate, before) = (&component.instances.gate, component.governance.rights());
    let _inside = match call.chain.is_empty() {
        true => gate.enter(before.policy.limits(), call.deadline).await?,
        false => gate.enter_now(before.policy.limits())?, // who holds a place waits for no other
    };
    let rights = component.governance.rights(); // what it is after the wait
    let (sender, answer) = oneshot::channel();
    let job = job(Reply { sender: Some(sender), slot: None });
    let (deadline, gone) = (call.deadline, call.gone.clone());
    let is_exclusive = concurrency_max(&component.instances.reuse, &rights) == 1;
    let asked = call.clone();
    let slot = place(component, &rights, Work { job, call, _inside });
    let mut hold = Hold { slot, gone, is_exclusive, is_done: false };
    match tokio::time::timeout_at(deadline + GRACE, answer).await {
        Ok(Ok(answer)) => answer.map(|answer| (answer, hold)),
        Ok(Err(_)) => Err(match asked.verdict.get() {
            Some(verdict) => *verdict,
            None if Instant::now() > deadline => Fault::Deadline,
            None => Fault::Trapped,
        }),
        Err(_) => {
            hold.stop();
            Err(Fault::Deadline)
        }
    }
}

/// Gives a request to an instance that has room, or to a new one.
fn place(component: &Arc<Component>, rights: &Arc<Rights>, work: Work) -> Arc<Slot> {
    let (call, deadline) = (work.call.clone(), work.call.deadline);
    let start = || start(component, rights.clone(), call.clone());
    let slot = component.instances.find_or(call.caller.tenant(), rights, deadline, start);
    let Some(work) = slot.bring(work) else { return slot };
    // It died just now.
    let slot = start();
    drop(slot.bring(work)); // a new instance that is dead already drops its work, which its owner sees as a fault
    slot
}

/// Starts an instance with room taken for one request.
fn start(component: &Arc<Component>, rights: Arc<Rights>, starter: Arc<Call>) -> Arc<Slot> {
    let (work, incoming) = mpsc::unbounded_channel();
    let load = Load { deadlines: [starter.deadline].into(), served: 1, is_closed: false, idle_since: Instant::now() };
    let (abort, registration) = AbortHandle::new_pair();
    let tenant = starter.caller.tenant().clone();
    let slot = Arc::new(Slot { tenant, rights, work, life: OnceLock::new(), load: Mutex::new(load), abort });
    let clock = Arc::<Clock>::default();
    // All that it serves is of one tenant.
    let ledgers = [&component.governance.ledger].into_iter().chain(starter.caller.ledger()).cloned().collect();
    let stopwatch = Stopwatch::new(clock.clone(), ledgers);
    let life = live(component.clone(), slot.clone(), incoming, starter.clone(), clock);
    if component.is_blocking {
        if !start_blocking(component, Timed::new(Box::pin(life), stopwatch), registration) {
            slot.close();
            starter.verdict.get_or_init(|| Fault::Busy); // the first one counts
        }
    } else {
        let life = Abortable::new(life, registration).map(|_| ()); // aborted is an end, too
        slot.life.get_or_init(|| component.sandbox.slow.run(life, stopwatch));
    }
    slot
}

/// Runs an instance on a thread of its own, where its host calls may block; false where all such threads are in use.
fn start_blocking(
    component: &Arc<Component>,
    life: impl Future<Output = ()> + Send + 'static,
    registration: AbortRegistration,
) -> bool {
    let runtime = tokio::runtime::Handle::current();
    let started = component.sandbox.blocking.clone().try_acquire_owned().is_ok_and(|place| {
        let run = move || {
            let _place = place;
            lane::be_nice(); // a thread of its own, because none gets its priority back
            runtime.block_on(Abortable::new(life, registration)).ok(); // aborted is an end, too
        };
        std::thread::Builder::new().name("blocking-instance".into()).spawn(run).is_ok()
    });
    if !started && component.governance.may_tell() {
        tracing::warn!(component = %component.name(), "every instance that `blocking_instances_max` allows is in use");
    }
    started
}

/// The life of an instance.
async fn live(
    component: Arc<Component>,
    slot: Arc<Slot>,
    mut incoming: mpsc::UnboundedReceiver<Work>,
    starter: Arc<Call>,
    clock: Arc<Clock>,
) {
    let reuse = component.instances.reuse;
    let mut store = component.sandbox.store(&component.governance, &slot.rights, starter, &clock);
    let stderr = store.data().stderr.clone();
    let life = async {
        let guest = component.exports.instantiate(&mut store).await?;
        let serve = async |accessor: &Accessor<Ctx>| serve(accessor, &guest, &reuse, &slot, &mut incoming).await;
        store.run_concurrent(serve).await?
    };
    let ended = tokio::select! {
        ended = life => ended,
        late = slot.overrun(Duration::from_millis(reuse.idle_ms_max).min(IDLE_MAX)) => late.map_or(Ok(()), |fault| Err(fault.into())),
    };
    slot.close();
    let Err(error) = ended else { return };
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        if component.governance.may_tell() {
            tracing::warn!(component = %component.name(), "every instance that `instances_max` allows is in use");
        }
        while let Ok(work) = incoming.try_recv() {
            work.job.refuse(Fault::Busy);
        }
        return;
    }
    component.sandbox.metrics.trapped(component.name().as_str());
    if component.governance.may_tell() {
        // A guard may say there what it was asked about, which is in no log.
        let stderr = if component.exports.is_guard() { String::new() } else { stderr.text() };
        let stderr = crate::capability::log::escape(&stderr, 4096);
        tracing::error!(component = %component.name(), error = format!("{error:#}"), stderr, "an instance failed");
        component.governance.journal.tell(format!("an instance failed: {error:#} {stderr}"));
    }
}

async fn serve(
    accessor: &Accessor<Ctx>,
    guest: &Guest,
    reuse: &Reuse,
    slot: &Arc<Slot>,
    incoming: &mut mpsc::UnboundedReceiver<Work>,
) -> wasmtime::Result<()> {
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some((deadline, served)) = running.next() => {
                let () = served?;
                if slot.finish(reuse, deadline) {
                    return Ok(());
                }
            }
            Some(mut work) = incoming.recv() => running.push(async {
                let call = work.call.clone();
                work.job.taken_by(slot);
                let served = guest::run(accessor, guest, slot, work).await;
                (call.until(), served)
            }),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code under these locks can panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
