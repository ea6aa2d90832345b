//! A component's rights and what it has used: its policy as it is now, and the book. Shared by all its instances and calls.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use policy::audit::{Kind, Record};
use policy::{Action, Allowed, Authority, Caller, ComponentName, Denied, Ledger, Meter, Mode, Reason, Snapshot, Witness};

use crate::audit::{Asked, Audit, Trail};
use crate::call::Call;
use crate::capability::env;
use crate::egress::{self, Egress, EgressError};
use crate::journal::Journal;
use crate::sandbox::Sandbox;
use crate::telemetry::Metrics;

/// Records of what one component does outside of requests, in a minute.
const RECORDS_PER_MIN_MAX: u64 = 256;

/// What may be done under the policy that is now, and with what connections.
pub(crate) struct Rights {
    /// What the policy says.
    pub(crate) policy: Snapshot,
    /// Connections to other hosts.
    pub(crate) egress: Egress,
    /// Environment variables of instances.
    pub(crate) variables: Vec<(String, String)>,
}

/// One component's policy and book.
pub(crate) struct Governance {
    component: ComponentName,
    rights: ArcSwap<Rights>,
    /// What it has used.
    pub(crate) ledger: Arc<Ledger>,
    metrics: Arc<Metrics>,
    audit: Arc<Audit>,
    /// Its last lines.
    pub(crate) journal: Arc<Journal>,
    /// Its name, as records have it.
    name: Arc<str>,
    /// SHA-256 of its code, in hexadecimal digits.
    digest: Arc<str>,
    /// The minute, and how many records outside any request there were in it.
    recorded: AtomicU64,
    /// Lines about it that were not written to the log since the last that was.
    unseen: AtomicU64,
}

impl Governance {
    pub(crate) fn new(policy: Snapshot, digest: Arc<str>, sandbox: &Sandbox) -> Governance {
        let Sandbox { metrics, audit, journals, .. } = sandbox;
        let governance = Governance {
            component: policy.component().clone(),
            ledger: metrics.ledgers().of(policy.component().as_str()),
            metrics: metrics.clone(),
            audit: audit.clone(),
            journal: journals.of(policy.component().as_str()),
            name: policy.component().as_str().into(),
            digest,
            recorded: AtomicU64::new(0),
            unseen: AtomicU64::new(0),
            rights: ArcSwap::from_pointee(Rights::new(policy)),
        };
        governance.apply();
        governance
    }

    /// Whose it is.
    pub(crate) fn component(&self) -> &ComponentName {
        &self.component
    }

    /// The policy that is now. What was begun under it may be finished under it.
    pub(crate) fn rights(&self) -> Arc<Rights> {
        self.rights.load_full()
    }

    /// Another policy from now on.
    pub(crate) fn replace(&self, policy: Snapshot) {
        self.rights.store(Arc::new(Rights::new(policy)));
        self.apply();
    }

    fn apply(&self) {
        let rights = self.rights.load();
        let log = rights.policy.grants().log.clone().unwrap_or_default();
        self.ledger.set(rights.policy.quota(), log.bytes_per_min_max, rights.policy.mode() == Mode::Enforce);
    }

    /// Whether one more line about this component may be written to the host's log. What it does can't fill the log.
    pub(crate) fn may_tell(&self) -> bool {
        if !self.ledger.takes_a_line() {
            self.unseen.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let unseen = self.unseen.swap(0, Ordering::Relaxed);
        if unseen > 0 {
            tracing::warn!(component = %self.component, "{unseen} lines about it before this one are not shown; the metrics count all");
        }
        true
    }

    /// The audit log.
    pub(crate) fn audit(&self) -> &Audit {
        &self.audit
    }

    /// The beginning of a record about it.
    pub(crate) fn record(&self, kind: Kind) -> Record {
        Record { component: Some(self.name.clone()), digest: Some(self.digest.clone()), ..Record::new(kind) }
    }

    /// Whether there may be one more record of what it does outside of requests, as while an instance starts.
    pub(crate) fn may_record(&self) -> bool {
        let minute = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 60);
        let count = |recorded: u64| match recorded >> 32 == minute {
            true if recorded & u64::from(u32::MAX) >= RECORDS_PER_MIN_MAX => None,
            true => Some(recorded + 1),
            false => Some(minute << 32 | 1),
        };
        self.recorded.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_ok()
    }

    /// Asks for a right, outside or inside of a request; every denial is told.
    pub(crate) fn ask<T>(&self, asker: &Asker<'_>, ask: impl FnOnce(Authority<'_>) -> T) -> T {
        let rights = self.rights.load();
        let Asker { request, client, trail, .. } = *asker;
        let record = Teller { asked: Asked { governance: self, request, client, trail } };
        ask(Authority { policy: &rights.policy, ledger: &self.ledger, caller: asker.caller, now: None, witness: &record })
    }
}

impl Rights {
    fn new(policy: Snapshot) -> Rights {
        let egress = Egress::new(&policy.http().cloned().unwrap_or_default());
        let variables = env::variables(&policy);
        Rights { policy, egress, variables }
    }
}

/// The right to do something that takes a while, as the policy was when it began.
pub(crate) struct Standing {
    call: Arc<Call>,
    rights: Arc<Rights>,
}

impl Standing {
    pub(crate) fn new(call: Arc<Call>, rights: Arc<Rights>) -> Standing {
        Standing { call, rights }
    }
}

impl egress::Rights for Standing {
    fn authority(&self) -> Authority<'_> {
        let Call { governance, caller, .. } = &*self.call;
        let (policy, ledger) = (&self.rights.policy, &governance.ledger);
        Authority { policy, ledger, caller, now: None, witness: self }
    }

    fn recorded(&self) -> BoxFuture<'_, Result<(), EgressError>> {
        let written = self.call.governance.audit.written(self.call.trail.ticket());
        Box::pin(async { written.await.map_err(|_| EgressError::NotRecorded) })
    }
}

impl Standing {
    fn teller(&self) -> Teller<'_> {
        let Call { governance, id, client, trail, .. } = &*self.call;
        Teller { asked: Asked { governance, request: id.as_str(), client: *client, trail: Some(&**trail) } }
    }
}

impl Witness for Standing {
    fn denied(&self, denied: &Denied<'_>) {
        self.teller().denied(denied);
    }

    fn allowed(&self, allowed: &Allowed<'_>) {
        self.teller().allowed(allowed);
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        self.teller().meter()
    }
}

/// In whose name a right is asked for.
pub(crate) struct Asker<'a> {
    /// The request's id; `-` outside any.
    pub(crate) request: &'a str,
    /// Who asks, and for whom.
    pub(crate) caller: &'a Caller,
    /// Where they ask from.
    pub(crate) client: Option<IpAddr>,
    /// What the request has told the audit log until now; none outside any.
    pub(crate) trail: Option<&'a Trail>,
}

impl Asker<'static> {
    /// The component itself, outside any request.
    pub(crate) fn nobody() -> Asker<'static> {
        static LOCAL: std::sync::LazyLock<Caller> = std::sync::LazyLock::new(Caller::local);
        Asker { request: "-", caller: &LOCAL, client: None, trail: None }
    }
}

/// Writes decisions down: in the audit log as it is set up; denials are counted always, and in the server's log up to so many in a
/// minute. A guest that asks again and again doesn't fill it, and no line of its own makes one of these go missing.
struct Teller<'a> {
    asked: Asked<'a>,
}

impl Witness for Teller<'_> {
    fn allowed(&self, allowed: &Allowed<'_>) {
        self.asked.allowed(allowed);
        if let Action::Store { verb, .. } = allowed.action {
            self.asked.governance.metrics.stored(allowed.policy.component().as_str(), verb.name());
        }
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        self.asked.trail.map(|trail| trail.meter.clone())
    }

    fn denied(&self, denied: &Denied<'_>) {
        self.asked.denied(denied, reason(denied.reason));
        let Asked { governance, request, client, .. } = self.asked;
        let component = denied.policy.component();
        governance.metrics.denied(component.as_str(), denied.action.capability(), reason(denied.reason), denied.is_enforced);
        if !governance.may_tell() {
            return;
        }
        let (caller, tenant) = (denied.caller, denied.caller.tenant().as_str());
        let client = client.map(tracing::field::display);
        tracing::warn!(%request, %caller, tenant, client, %component, "{}", denied.explain());
    }
}

/// A reason as a metric's label.
fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Undeclared => "undeclared",
        Reason::NoSection => "no_section",
        Reason::NotListed => "not_listed",
        Reason::ReadOnly => "read_only",
        Reason::OtherDigest => "other_digest",
        Reason::OtherDevice => "other_device",
        Reason::Private => "private_address",
        Reason::Metadata => "metadata_address",
        Reason::Malformed => "malformed",
        Reason::Plaintext => "plaintext",
        Reason::NoValue => "no_value",
        Reason::Anonymous => "anonymous",
        Reason::Unsupported => "unsupported",
        Reason::Forbidden(_) => "rule",
        Reason::NotInScope(_) => "not_in_scope",
        Reason::Quota(_) => "quota",
        Reason::TenantQuota(_) => "tenant_quota",
    }
}
