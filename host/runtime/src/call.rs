//! One request's rights, bound to the guest task that serves it.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use policy::{Authority, Caller};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmtime::component::GuestTaskId;
use wasmtime::{AsContextMut, StoreContextMut};

use crate::audit::Trail;
use crate::capability::call::Chain;
use crate::governance::{Asker, Governance, Rights};
use crate::instance::{Fault, GRACE};
use crate::sandbox::Ctx;

/// The id of a request, as in `x-request-id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    /// Takes a client's id if it is short and plain, so that it can't forge log lines.
    pub(crate) fn from_client(id: &[u8]) -> Option<RequestId> {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
        let text = std::str::from_utf8(id).ok().filter(|_| (1..=64).contains(&id.len()) && id.iter().all(is_plain));
        text.map(|text| RequestId(text.into()))
    }

    /// A new id: the server's start time and a count, unique on this machine.
    pub(crate) fn new(start: u64, count: u64) -> RequestId {
        RequestId(format!("{start:x}-{count:x}").into())
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What every host function reads before it does anything. Rights belong to the call, not to the instance: an instance may
/// serve several requests, and a policy may change between them.
pub(crate) struct Call {
    /// The request's id.
    pub(crate) id: RequestId,
    /// Who asked, and for whom.
    pub(crate) caller: Caller,
    /// Where they asked from: the client of the nearest proxy that is not trusted. Only for people to read.
    pub(crate) client: Option<IpAddr>,
    /// When the request must be over.
    pub(crate) deadline: Instant,
    /// What may be done, and the book of it.
    pub(crate) governance: Arc<Governance>,
    /// Fires when the request is over: its client is gone, or the guest is done with it. What runs on has no reader.
    pub(crate) gone: CancellationToken,
    /// Time that the guest may run for it.
    pub(crate) cpu_max: Duration,
    /// Time that the guest has run for it, in nanoseconds, as far as one could tell.
    pub(crate) cpu_ns: AtomicU64,
    /// Why it has to end, where that is known before its instance does.
    pub(crate) verdict: OnceLock<Fault>,
    /// When what its guest goes on with after the answer must be over, once there is an answer.
    pub(crate) afterwards: OnceLock<Instant>,
    /// Components that wait for it.
    pub(crate) chain: Chain,
    /// What the request has used, and told the audit log.
    pub(crate) trail: Arc<Trail>,
}

impl Call {
    /// The component's own, outside any request, with the limits of one.
    pub(crate) fn of_component(governance: &Arc<Governance>, rights: &Rights) -> Call {
        let limits = rights.policy.limits();
        Call {
            id: RequestId("-".into()),
            caller: Caller::local(),
            client: None,
            deadline: Instant::now() + Duration::from_millis(limits.wall_ms_max),
            governance: governance.clone(),
            gone: CancellationToken::new(),
            cpu_max: Duration::from_millis(limits.cpu_ms_max),
            cpu_ns: AtomicU64::new(0),
            verdict: OnceLock::new(),
            afterwards: OnceLock::new(),
            chain: Chain::default(),
            trail: Arc::default(),
        }
    }

    /// A call of another component in the same request: for the same caller, under that component's limits, and over soon enough
    /// before this one that it can say so.
    pub(crate) fn nested(&self, governance: &Arc<Governance>, rights: &Rights, chain: Chain) -> Call {
        let limits = rights.policy.limits();
        let now = Instant::now();
        let before = self.until().checked_sub(GRACE * 2).unwrap_or(now);
        Call {
            id: self.id.clone(),
            caller: self.caller.clone(),
            client: self.client,
            deadline: before.min(now + Duration::from_millis(limits.wall_ms_max)),
            governance: governance.clone(),
            gone: self.gone.child_token(),
            cpu_max: Duration::from_millis(limits.cpu_ms_max),
            cpu_ns: AtomicU64::new(0),
            verdict: OnceLock::new(),
            afterwards: OnceLock::new(),
            chain,
            trail: self.trail.clone(),
        }
    }

    /// Asks for a right in the name of this request.
    pub(crate) fn ask<T>(&self, ask: impl FnOnce(Authority<'_>) -> T) -> T {
        let asker = Asker { request: self.id.as_str(), caller: &self.caller, client: self.client, trail: Some(&*self.trail) };
        self.governance.ask(&asker, ask)
    }

    /// When host calls for it end: at its deadline, or later where its guest goes on after the answer.
    pub(crate) fn until(&self) -> Instant {
        self.afterwards.get().copied().unwrap_or(self.deadline)
    }

    /// Waits until then.
    pub(crate) async fn timed_out(&self) {
        reached(|| self.until()).await;
    }

    /// Gives the guest so much time from now on, after its answer; says when that is over.
    pub(crate) fn go_on(&self, time: Duration) -> Instant {
        *self.afterwards.get_or_init(|| Instant::now() + time)
    }

    /// Counts time that the guest ran for it; false when that was more than it may.
    pub(crate) fn ran(&self, cpu: Duration) -> bool {
        let cpu = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        let total = self.cpu_ns.fetch_add(cpu, Ordering::Relaxed).saturating_add(cpu);
        let is_over = Duration::from_nanos(total) > self.cpu_max;
        if is_over {
            self.verdict.get_or_init(|| Fault::CpuTime); // the first one counts
        }
        !is_over
    }
}

/// Waits until a moment that may be put off meanwhile.
async fn reached(moment: impl Fn() -> Instant) {
    loop {
        let until = moment();
        tokio::time::sleep_until(until).await;
        if moment() == until {
            return;
        }
    }
}

/// The calls that an instance serves, by guest task. An entry stays until its task's number is used again, so that what a
/// guest does after its answer still counts as that request, which is over: no model runs for it any more. Task numbers are
/// reused, which bounds the table.
#[derive(Default)]
pub(crate) struct Calls(HashMap<GuestTaskId, Arc<Call>>);

impl Calls {
    pub(crate) fn bind(&mut self, task: GuestTaskId, call: Arc<Call>) {
        self.0.insert(task, call);
    }

    /// The call of an instance that serves one only; none if there are others, so that nobody gets another's rights.
    pub(crate) fn only(&self) -> Option<Arc<Call>> {
        let mut calls = self.0.values();
        let call = calls.next()?;
        calls.next().is_none().then(|| call.clone())
    }
}

/// The call in which a host function runs; none outside any request, as while an instance starts.
pub(crate) fn current(mut store: StoreContextMut<'_, Ctx>) -> Option<Arc<Call>> {
    let root = store.as_context_mut().async_call_stack().ok()?.last()?;
    store.data().calls.0.get(&root).cloned()
}

/// Asks for a right in the name of the request that runs, or of the component where none does, as while an instance starts.
pub(crate) fn ask<T>(mut store: StoreContextMut<'_, Ctx>, ask: impl FnOnce(Authority<'_>) -> T) -> T {
    match current(store.as_context_mut()) {
        Some(call) => call.ask(ask),
        None => store.data().governance.ask(&Asker::nobody(), ask),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_moment_that_is_put_off_while_one_waits_for_it_is_waited_for_again() {
        let (now, looks) = (Instant::now(), Cell::new(0));
        let later = now + Duration::from_millis(20);
        reached(|| {
            looks.set(looks.get() + 1);
            if looks.get() == 1 { now } else { later }
        })
        .await;
        assert!(Instant::now() >= later);
        assert_eq!(looks.get(), 4, "it was another after the first wait, and the same after the second");
    }

    #[test]
    fn a_clients_id_is_taken_only_if_it_is_plain() {
        assert_eq!(RequestId::from_client(b"abc-1").as_ref().map(RequestId::as_str), Some("abc-1"));
        for id in [&b""[..], b"a b", b"a\nb", b"\xff", &[b'a'; 65]] {
            assert_eq!(RequestId::from_client(id), None);
        }
    }
}
