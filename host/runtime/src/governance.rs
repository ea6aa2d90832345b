//! A component's rights and what it has used: its policy as it is now, and the book. Shared by all its instances and calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use policy::{Authority, Caller, ComponentName, Denied, Ledger, Mode, Reason, Snapshot, Witness};

use crate::call::Call;
use crate::capability::env;
use crate::egress::{self, Egress};
use crate::telemetry::Metrics;

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
    /// Lines about it that were not written to the log since the last that was.
    unseen: AtomicU64,
}

impl Governance {
    pub(crate) fn new(policy: Snapshot, metrics: &Arc<Metrics>) -> Governance {
        let governance = Governance {
            component: policy.component().clone(),
            ledger: metrics.ledgers().of(policy.component().as_str()),
            rights: ArcSwap::from_pointee(Rights::new(policy)),
            metrics: metrics.clone(),
            unseen: AtomicU64::new(0),
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

    /// Asks for a right, outside or inside of a request; every denial is told.
    pub(crate) fn ask<T>(&self, asker: &Asker<'_>, ask: impl FnOnce(Authority<'_>) -> T) -> T {
        let rights = self.rights.load();
        let record = Record { governance: self, request: asker.request };
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
}

impl Witness for Standing {
    fn denied(&self, denied: &Denied<'_>) {
        Record { governance: &self.call.governance, request: self.call.id.as_str() }.denied(denied);
    }
}

/// In whose name a right is asked for.
pub(crate) struct Asker<'a> {
    /// The request's id; `-` outside any.
    pub(crate) request: &'a str,
    /// Who asks, and for whom.
    pub(crate) caller: &'a Caller,
}

impl Asker<'static> {
    /// The component itself, outside any request.
    pub(crate) fn nobody() -> Asker<'static> {
        static LOCAL: std::sync::LazyLock<Caller> = std::sync::LazyLock::new(Caller::local);
        Asker { request: "-", caller: &LOCAL }
    }
}

/// Writes denials down: counted always, in the log up to so many in a minute. A guest that asks again and again doesn't fill the log,
/// and no line of its own makes one of these go missing.
struct Record<'a> {
    governance: &'a Governance,
    request: &'a str,
}

impl Witness for Record<'_> {
    fn denied(&self, denied: &Denied<'_>) {
        let Record { governance, request } = *self;
        let component = denied.policy.component();
        governance.metrics.denied(component.as_str(), denied.action.capability(), reason(denied.reason), denied.is_enforced);
        if !governance.may_tell() {
            return;
        }
        let (caller, tenant) = (denied.caller, denied.caller.tenant().as_str());
        tracing::warn!(%request, %caller, tenant, %component, "{}", denied.explain());
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
        Reason::Unsupported => "unsupported",
        Reason::Forbidden(_) => "rule",
        Reason::Quota(_) => "quota",
    }
}
