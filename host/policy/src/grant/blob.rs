//! `[blob]`: containers of files that a component may use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stores::{Row, StorePattern, StoreVerb, Stored};
use crate::authority::Authority;
use crate::permit::Permit;
use crate::{Denial, StoreName};

pub(super) const LINES: &str =
    "[blob]\nallow = [{ container = \"documents\", verbs = [\"get\", \"list\", \"put\", \"delete\"] }]";

/// Section `[blob]` of a policy: containers of files that the component may use, by `tessera:blob`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlobGrant {
    /// Containers, and what may be done in them. Of several entries that name a container the first decides.
    pub allow: Vec<BlobRow>,
}

/// Some containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlobRow {
    /// Their names: `"documents"`, `"documents-*"` for all that begin so, or `"*"` for any. All components that are granted a name
    /// share what is there; tenants never do.
    pub container: StorePattern,
    /// What may be done in them.
    pub verbs: Vec<BlobVerb>,
    /// Bytes that each of them may hold for a tenant.
    #[serde(default = "BlobRow::usual_bytes_max")]
    pub bytes_max: u64,
}

/// What may be done in a container of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BlobVerb {
    /// Reading files, and what is known of them, whose names are known.
    Get,
    /// Reading names, and what is known of each file, in their order.
    List,
    /// Writing files.
    Put,
    /// Deleting files.
    Delete,
}

impl BlobRow {
    fn usual_bytes_max() -> u64 {
        BlobRow::BYTES_MAX
    }
}

impl From<BlobVerb> for StoreVerb {
    fn from(verb: BlobVerb) -> StoreVerb {
        StoreVerb::Blob(verb)
    }
}

impl Row for BlobRow {
    type Verb = BlobVerb;

    const BYTES_MAX: u64 = 1 << 30;

    fn names(&self) -> &StorePattern {
        &self.container
    }

    fn verbs(&self) -> &[BlobVerb] {
        &self.verbs
    }

    fn bytes_max(&self) -> u64 {
        self.bytes_max
    }
}

impl Authority<'_> {
    /// Whether the component may do something in a container of files, in a request of this caller.
    ///
    /// # Errors
    /// A [`Denial`].
    pub fn blob(&self, verb: BlobVerb, container: &StoreName) -> Result<Permit<Stored<BlobVerb>>, Denial> {
        let section = self.policy.section(&self.policy.grants().blob, "blob");
        self.stored(section.map(|grant| &grant.allow[..]), verb, container)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::World;
    use crate::{BlobVerb, Denial, Reason};

    #[test]
    fn a_container_is_granted_by_its_verbs() {
        let world = World::new("[blob]\nallow = [{ container = \"a\", verbs = [\"get\", \"put\"], bytes_max = 7 }]");
        let may = |verb, name: &str| world.authority().blob(verb, &name.parse().expect("a name"));
        let permit = may(BlobVerb::Put, "a").expect("granted").redeem();
        assert_eq!((permit.verb, permit.place.bytes_max, permit.place.owner), (BlobVerb::Put, 7, None));
        assert!(may(BlobVerb::Get, "a").is_ok() && world.told().is_empty());
        for (verb, name) in [(BlobVerb::Delete, "a"), (BlobVerb::List, "a"), (BlobVerb::Get, "b")] {
            let denial = may(verb, name).err();
            assert_eq!(denial, Some(Denial::new("blob", Reason::NotListed)), "{verb:?} {name}");
            assert!(world.told_once().is_enforced);
        }
    }
}
