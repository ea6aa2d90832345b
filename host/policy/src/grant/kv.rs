//! `[kv]`: stores of small values that a component may use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stores::{Row, StorePattern, StoreVerb, Stored};
use crate::authority::Authority;
use crate::permit::Permit;
use crate::{Denial, StoreName};

pub(super) const LINES: &str = "[kv]\nallow = [{ store = \"notes\", verbs = [\"get\", \"list\", \"set\", \"delete\"] }]";

/// Section `[kv]` of a policy: stores of small values that the component may use, by `tessera:kv`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KvGrant {
    /// Stores, and what may be done in them. Of several entries that name a store the first decides.
    pub allow: Vec<KvRow>,
}

/// Some stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KvRow {
    /// Their names: `"notes"`, `"notes-*"` for all that begin so, or `"*"` for any. All components that are granted a name share
    /// what is there; tenants never do.
    pub store: StorePattern,
    /// What may be done in them.
    pub verbs: Vec<KvVerb>,
    /// Whose the rows are: the tenant's, or of the one caller who wrote them, whom nobody else of the tenant sees. Who doesn't say
    /// who they are, on a public route, has none of the latter.
    #[serde(default)]
    pub per: Per,
    /// Bytes that each of them may hold for a tenant, all of its callers together.
    #[serde(default = "KvRow::usual_bytes_max")]
    pub bytes_max: u64,
}

/// Whose rows are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// The tenant's.
    #[default]
    Tenant,
    /// The caller's who wrote them.
    Caller,
}

/// What may be done in a store of small values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KvVerb {
    /// Reading values whose keys are known.
    Get,
    /// Reading keys and values in their order.
    List,
    /// Writing values.
    Set,
    /// Deleting values.
    Delete,
}

impl KvRow {
    fn usual_bytes_max() -> u64 {
        KvRow::BYTES_MAX
    }
}

impl From<KvVerb> for StoreVerb {
    fn from(verb: KvVerb) -> StoreVerb {
        StoreVerb::Kv(verb)
    }
}

impl Row for KvRow {
    type Verb = KvVerb;

    const BYTES_MAX: u64 = 64 << 20;

    fn names(&self) -> &StorePattern {
        &self.store
    }

    fn verbs(&self) -> &[KvVerb] {
        &self.verbs
    }

    fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    fn is_per_caller(&self) -> bool {
        self.per == Per::Caller
    }
}

impl Authority<'_> {
    /// Whether the component may do something in a store of small values, in a request of this caller.
    ///
    /// # Errors
    /// A [`Denial`].
    pub fn kv(&self, verb: KvVerb, store: &StoreName) -> Result<Permit<Stored<KvVerb>>, Denial> {
        let section = self.policy.section(&self.policy.grants().kv, "kv");
        self.stored(section.map(|grant| &grant.allow[..]), verb, store)
    }
}

#[cfg(test)]
mod tests;
