//! A refusal: what the guest may know and what the operator needs to know.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use url::Url;

use crate::action::Action;
use crate::caller::{Bound, Caller};
use crate::meter::Meter;
use crate::quota::Exhausted;
use crate::rule::RuleId;
use crate::snapshot::Snapshot;

/// Why something is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `component.toml` does not say that it wants the capability.
    Undeclared,
    /// The policy has no section for the capability.
    NoSection,
    /// The policy's section does not name the target.
    NotListed,
    /// The folder may only be read.
    ReadOnly,
    /// The model on this server is another than the policy's digest says.
    OtherDigest,
    /// The server's device is none that the policy names.
    OtherDevice,
    /// The address is private, and the policy names no network that holds it.
    Private,
    /// The address is link-local or of a metadata service, which nobody may reach.
    Metadata,
    /// The request is malformed: no host, another scheme, credentials in the URL.
    Malformed,
    /// The secret would travel unencrypted.
    Plaintext,
    /// The secret's source has no value.
    NoValue,
    /// Its rows belong to one caller each, and this one did not say who it is.
    Anonymous,
    /// No policy can grant it.
    Unsupported,
    /// A rule forbids it.
    Forbidden(RuleId),
    /// The caller's key, token or tenant does not allow it.
    NotInScope(Bound),
    /// A quota of the component is used up.
    Quota(Exhausted),
    /// A quota of the caller's tenant is used up.
    TenantQuota(Exhausted),
}

/// A refusal, small enough to be made often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.code())]
pub struct Denial {
    /// The capability, by its WIT name.
    pub capability: &'static str,
    /// Why. For the operator only.
    pub reason: Reason,
}

impl Denial {
    pub(crate) fn new(capability: &'static str, reason: Reason) -> Denial {
        Denial { capability, reason }
    }

    /// What a guest may know: `quota` or `denied`.
    pub fn code(&self) -> &'static str {
        if self.retry_after().is_some() { "quota" } else { "denied" }
    }

    /// When to ask again, where that helps.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.reason {
            Reason::Quota(exhausted) | Reason::TenantQuota(exhausted) => Some(exhausted.retry_after),
            _ => None,
        }
    }
}

/// Who is told of every decision: for the log, the metrics and the audit record.
pub trait Witness {
    /// Something was denied, or would have been in the mode `enforce`.
    fn denied(&self, denied: &Denied<'_>);

    /// Something was granted and is about to be done.
    fn allowed(&self, _allowed: &Allowed<'_>) {}

    /// What counts the use of models for the one request that asks.
    fn meter(&self) -> Option<Arc<Meter>> {
        None
    }
}

/// A right that was granted.
#[derive(Debug)]
pub struct Allowed<'a> {
    /// The policy that grants it.
    pub policy: &'a Snapshot,
    /// What was asked for.
    pub action: Action<'a>,
    /// Who asked, and for whom.
    pub caller: &'a Caller,
}

/// What there is to say of a denial that its action does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail<'a> {
    /// Nothing.
    None,
    /// The address that the host of a request stands for.
    Address(IpAddr),
    /// Where a secret was to go.
    Sent {
        /// With a request to there.
        url: &'a Url,
        /// In this header.
        header: &'a HeaderName,
    },
}

/// A denial with all that is known about it.
#[derive(Debug)]
pub struct Denied<'a> {
    /// The policy that it happened under.
    pub policy: &'a Snapshot,
    /// What was asked for.
    pub action: Action<'a>,
    /// What else is known of it.
    pub detail: Detail<'a>,
    /// Why it is denied.
    pub reason: Reason,
    /// False where the mode is `observe` and it went on all the same.
    pub is_enforced: bool,
    /// Who asked, and for whom.
    pub caller: &'a Caller,
}
