//! What is recorded, and what waits for it.

use serde::{Deserialize, Serialize};

/// `[audit]`: what is recorded in the audit log, by class, and how the log is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Requests: a record when the head of its answer is ready, and one at the end of a streamed answer.
    pub access: Recording,
    /// Everything that a policy denies, or would deny in the mode `observe`.
    pub deny: Recording,
    /// Rights that are used: models, stores, requests to other hosts, secrets, files that are changed.
    #[serde(rename = "use")]
    pub uses: Recording,
    /// The server itself: starts and stops, components, policies, erasures.
    pub admin: Recording,
    /// Length at which a file of the log is full, in bytes.
    pub bytes_max: u64,
    /// How often what nobody waits for is synced and signed, in milliseconds.
    pub sync_ms: u64,
    /// Records that wait to be written at most, as while the disk fails; one has about 500 bytes. More are lost, and counted.
    pub waiting_max: usize,
}

/// Whether a class is recorded, and what happens where it can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recording {
    /// It is not.
    Off,
    /// It is, soon after it happened. Where it can't be, things go on, and what is lost is counted.
    Open,
    /// It is, before the head of the answer or the request to another host leaves the server. Where it can't be, requests are answered 503.
    Closed,
}

impl Default for AuditConfig {
    fn default() -> Self {
        AuditConfig {
            access: Recording::Open,
            deny: Recording::Open,
            uses: Recording::Open,
            admin: Recording::Closed,
            bytes_max: 64 << 20,
            sync_ms: 1000,
            waiting_max: 64 << 10,
        }
    }
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Access,
    Deny,
    Use,
    Admin,
}

impl AuditConfig {
    pub(crate) fn of(&self, class: Class) -> Recording {
        match class {
            Class::Access => self.access,
            Class::Deny => self.deny,
            Class::Use => self.uses,
            Class::Admin => self.admin,
        }
    }

    /// Whether nothing at all is recorded.
    pub(crate) fn is_off(&self) -> bool {
        [self.access, self.deny, self.uses, self.admin].iter().all(|recording| *recording == Recording::Off)
    }

    /// Whether requests are refused where the log can't be written.
    pub(crate) fn requests_need_it(&self) -> bool {
        [self.access, self.deny, self.uses].contains(&Recording::Closed)
    }
}
