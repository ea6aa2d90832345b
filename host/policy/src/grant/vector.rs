//! `[vector]`: collections of documents that a component may use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stores::{Row, StorePattern, StoreVerb, Stored};
use crate::authority::Authority;
use crate::permit::Permit;
use crate::snapshot::Mode;
use crate::{Action, Denial, StoreName};

pub(super) const LINES: &str = "[vector]\nallow = [{ collection = \"documents\", verbs = [\"find\", \"list\"] }]";

/// Section `[vector]` of a policy: collections of documents that the component may use, by `tessera:vector`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VectorGrant {
    /// Collections, and what may be done in them. Of several entries that name a collection the first decides.
    pub allow: Vec<VectorRow>,
}

/// Some collections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VectorRow {
    /// Their names: `"documents"`, `"documents-*"` for all that begin so, or `"*"` for any. All components that are granted a name
    /// share what is there; tenants never do.
    pub collection: StorePattern,
    /// What may be done in them.
    pub verbs: Vec<VectorVerb>,
    /// Bytes that each of them may hold for a tenant.
    #[serde(default = "VectorRow::usual_bytes_max")]
    pub bytes_max: u64,
}

/// What may be done in a collection of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VectorVerb {
    /// Searching.
    Find,
    /// Reading documents and their pieces in their order, and counts.
    List,
    /// Writing documents.
    Upsert,
    /// Deleting documents, or all of them at once.
    Delete,
}

impl VectorRow {
    fn usual_bytes_max() -> u64 {
        VectorRow::BYTES_MAX
    }
}

impl From<VectorVerb> for StoreVerb {
    fn from(verb: VectorVerb) -> StoreVerb {
        StoreVerb::Vector(verb)
    }
}

impl Row for VectorRow {
    type Verb = VectorVerb;

    const BYTES_MAX: u64 = 1 << 30;

    fn names(&self) -> &StorePattern {
        &self.collection
    }

    fn verbs(&self) -> &[VectorVerb] {
        &self.verbs
    }

    fn bytes_max(&self) -> u64 {
        self.bytes_max
    }
}

impl Authority<'_> {
    /// Whether the component may do something in a collection of documents, in a request of this caller.
    ///
    /// # Errors
    /// A [`Denial`].
    pub fn vector(&self, verb: VectorVerb, collection: &StoreName) -> Result<Permit<Stored<VectorVerb>>, Denial> {
        let section = self.policy.section(&self.policy.grants().vector, "vector");
        self.stored(section.map(|grant| &grant.allow[..]), verb, collection)
    }

    /// Whether the component may ask which collections there are, of those that [`shows_collection`](Self::shows_collection)
    /// lets it see.
    ///
    /// # Errors
    /// A [`Denial`] where it has no right to collections at all.
    pub fn collections(&self) -> Result<(), Denial> {
        let action = Action::Store { verb: VectorVerb::List.into(), name: "*" };
        self.decide(action, self.policy.section(&self.policy.grants().vector, "vector").map(drop))?;
        self.tell_allowed(action);
        Ok(())
    }

    /// Whether the component may see that there is a collection: if it may list it. Nobody is told where it may not.
    pub fn shows_collection(&self, name: &StoreName) -> bool {
        let verb = VectorVerb::List.into();
        let is_listed = self.policy.grants().store_row(verb, name.as_str()).is_some_and(|(_, has_verb)| has_verb);
        let action = Action::Store { verb, name: name.as_str() };
        self.policy.mode() == Mode::Observe || is_listed && self.policy.rules().forbids(&action, self).is_none()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeFacts, World};
    use crate::{Denial, Reason, VectorVerb};

    fn shown(world: &World) -> Result<Vec<&'static str>, Denial> {
        world.authority().collections()?;
        let shows = |name: &&str| world.authority().shows_collection(&name.parse().expect("a name"));
        Ok(["a", "ab", "b"].into_iter().filter(shows).collect())
    }

    #[test]
    fn only_collections_that_may_be_listed_are_shown() {
        let rows = "[{ collection = \"a\", verbs = [\"find\"] }, { collection = \"a*\", verbs = [\"list\"] }]";
        let world = World::new(&format!("[vector]\nallow = {rows}"));
        assert_eq!(shown(&world), Ok(vec!["ab"]));
        assert_eq!(world.told(), []);
        let observed = World::new(&format!("mode = \"observe\"\n[vector]\nallow = {rows}"));
        assert_eq!(shown(&observed), Ok(vec!["a", "ab", "b"]));
    }

    #[test]
    fn without_the_section_there_are_no_collections() {
        assert_eq!(shown(&World::new("")), Err(Denial::new("vector", Reason::NoSection)));
        let world = World::of("schema = 1\n[vector]", &[], &FakeFacts::default()).expect("a good policy");
        assert_eq!(shown(&world), Err(Denial::new("vector", Reason::Undeclared)));
        let empty = World::new("[vector]");
        assert_eq!(shown(&empty), Ok(Vec::new()));
        let denied = empty.authority().vector(VectorVerb::Find, &"a".parse().expect("a name"));
        assert_eq!(denied.err(), Some(Denial::new("vector", Reason::NotListed)));
    }
}
