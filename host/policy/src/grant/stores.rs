//! What the sections of capabilities that keep data have in common: rows that name places and what may be done in them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::denial::Reason;
use crate::permit::Permit;
use crate::{Action, BlobVerb, Denial, KvVerb, NameError, PolicyFile, StoreName, Tenant, VectorVerb};

/// Something to do in a place where data is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreVerb {
    /// With files.
    Blob(BlobVerb),
    /// With small values.
    Kv(KvVerb),
    /// With documents.
    Vector(VectorVerb),
}

impl StoreVerb {
    /// All of them.
    pub const ALL: [StoreVerb; 12] = [
        StoreVerb::Blob(BlobVerb::Delete),
        StoreVerb::Blob(BlobVerb::Get),
        StoreVerb::Blob(BlobVerb::List),
        StoreVerb::Blob(BlobVerb::Put),
        StoreVerb::Kv(KvVerb::Delete),
        StoreVerb::Kv(KvVerb::Get),
        StoreVerb::Kv(KvVerb::List),
        StoreVerb::Kv(KvVerb::Set),
        StoreVerb::Vector(VectorVerb::Delete),
        StoreVerb::Vector(VectorVerb::Find),
        StoreVerb::Vector(VectorVerb::List),
        StoreVerb::Vector(VectorVerb::Upsert),
    ];

    /// Its action, as rules and `tessera policy explain` write it.
    pub fn name(self) -> &'static str {
        match self {
            StoreVerb::Blob(BlobVerb::Delete) => "blob-delete",
            StoreVerb::Blob(BlobVerb::Get) => "blob-get",
            StoreVerb::Blob(BlobVerb::List) => "blob-list",
            StoreVerb::Blob(BlobVerb::Put) => "blob-put",
            StoreVerb::Kv(KvVerb::Delete) => "kv-delete",
            StoreVerb::Kv(KvVerb::Get) => "kv-get",
            StoreVerb::Kv(KvVerb::List) => "kv-list",
            StoreVerb::Kv(KvVerb::Set) => "kv-set",
            StoreVerb::Vector(VectorVerb::Delete) => "vector-delete",
            StoreVerb::Vector(VectorVerb::Find) => "vector-find",
            StoreVerb::Vector(VectorVerb::List) => "vector-list",
            StoreVerb::Vector(VectorVerb::Upsert) => "vector-upsert",
        }
    }

    /// The capability, as a policy's section is called.
    pub fn capability(self) -> &'static str {
        match self {
            StoreVerb::Blob(_) => "blob",
            StoreVerb::Kv(_) => "kv",
            StoreVerb::Vector(_) => "vector",
        }
    }

    /// As a row's `verbs` have it.
    pub(crate) fn written(self) -> &'static str {
        self.name().rsplit_once('-').map_or(self.name(), |(_, verb)| verb)
    }

    /// What a place is called where it is done, and by which key a row names it.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            StoreVerb::Blob(_) => "container",
            StoreVerb::Kv(_) => "store",
            StoreVerb::Vector(_) => "collection",
        }
    }

    /// What is missing where no place is named.
    pub(crate) fn which(self) -> &'static str {
        match self {
            StoreVerb::Blob(_) => "which container",
            StoreVerb::Kv(_) => "which store",
            StoreVerb::Vector(_) => "which collection",
        }
    }

    /// What comes before the place in a sentence.
    pub(crate) fn phrase(self) -> &'static str {
        match self {
            StoreVerb::Blob(BlobVerb::Delete) => "delete files of the container",
            StoreVerb::Blob(BlobVerb::Get) => "get files of the container",
            StoreVerb::Blob(BlobVerb::List) => "list the container",
            StoreVerb::Blob(BlobVerb::Put) => "put files into the container",
            StoreVerb::Kv(KvVerb::Delete) => "delete values of the store",
            StoreVerb::Kv(KvVerb::Get) => "get values of the store",
            StoreVerb::Kv(KvVerb::List) => "list the store",
            StoreVerb::Kv(KvVerb::Set) => "set values of the store",
            StoreVerb::Vector(VectorVerb::Delete) => "delete from the collection",
            StoreVerb::Vector(VectorVerb::Find) => "find in the collection",
            StoreVerb::Vector(VectorVerb::List) => "list the collection",
            StoreVerb::Vector(VectorVerb::Upsert) => "write documents to the collection",
        }
    }
}

/// Names of places: one, all that begin with a text (`"notes-*"`), or any (`"*"`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePattern(String);

/// Why names of places were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; a `*` at its end stands for anything, and nowhere else")]
pub struct StorePatternError(#[from] NameError);

impl StorePattern {
    /// Whether a name is among them.
    pub fn covers(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => self.0 == name,
        }
    }
}

impl FromStr for StorePattern {
    type Err = StorePatternError;

    fn from_str(text: &str) -> Result<StorePattern, StorePatternError> {
        let name = text.strip_suffix('*').unwrap_or(text);
        if text != "*" {
            name.parse::<StoreName>()?;
        }
        Ok(StorePattern(text.into()))
    }
}

impl TryFrom<String> for StorePattern {
    type Error = StorePatternError;

    fn try_from(text: String) -> Result<StorePattern, StorePatternError> {
        text.parse()
    }
}

impl From<StorePattern> for String {
    fn from(pattern: StorePattern) -> String {
        pattern.0
    }
}

impl fmt::Display for StorePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for StorePattern {
    fn schema_name() -> Cow<'static, str> {
        "StorePattern".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}

/// Whose data it is, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The tenant whose data it is.
    pub tenant: Tenant,
    /// The name that was granted.
    pub name: StoreName,
    /// The one caller who sees these rows; none is the whole tenant.
    pub owner: Option<Arc<str>>,
    /// Bytes that the place may hold, all owners together.
    pub bytes_max: u64,
}

/// Doing one thing in one place, by the verbs of its capability.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored<Verb> {
    /// What was granted.
    pub verb: Verb,
    /// Where.
    pub place: Place,
}

/// One row of a section.
pub(crate) trait Row {
    /// What can be done in its places.
    type Verb: Copy + PartialEq + Into<StoreVerb>;

    /// Bytes of a place where no row says it.
    const BYTES_MAX: u64;

    fn names(&self) -> &StorePattern;

    fn verbs(&self) -> &[Self::Verb];

    fn bytes_max(&self) -> u64;

    /// Whether each caller has rows of their own.
    fn is_per_caller(&self) -> bool {
        false
    }
}

/// The first row that names a place, which decides, and its number.
pub(crate) fn first<'r, R: Row>(rows: &'r [R], name: &str) -> Option<(usize, &'r R)> {
    rows.iter().enumerate().find(|(_, row)| row.names().covers(name))
}

impl PolicyFile {
    /// The number of the row that decides on a place, and whether it lists the verb.
    pub(crate) fn store_row(&self, verb: StoreVerb, name: &str) -> Option<(usize, bool)> {
        fn look<R: Row>(rows: Option<&[R]>, verb: R::Verb, name: &str) -> Option<(usize, bool)> {
            first(rows?, name).map(|(index, row)| (index, row.verbs().contains(&verb)))
        }
        match verb {
            StoreVerb::Blob(verb) => look(self.blob.as_ref().map(|grant| &grant.allow[..]), verb, name),
            StoreVerb::Kv(verb) => look(self.kv.as_ref().map(|grant| &grant.allow[..]), verb, name),
            StoreVerb::Vector(verb) => look(self.vector.as_ref().map(|grant| &grant.allow[..]), verb, name),
        }
    }
}

impl PolicyFile {
    /// The same for an action; none for one of another kind.
    pub(crate) fn store_row_of(&self, action: &Action<'_>) -> Option<(usize, bool)> {
        let Action::Store { verb, name } = action else { return None };
        self.store_row(*verb, name)
    }
}

impl Authority<'_> {
    /// Whether something may be done in a place, by the rows of its capability. Where each caller has rows of their own, callers
    /// who don't say who they are have none, whatever the mode.
    pub(crate) fn stored<R: Row>(
        &self,
        rows: Result<&[R], Reason>,
        verb: R::Verb,
        name: &StoreName,
    ) -> Result<Permit<Stored<R::Verb>>, Denial> {
        let action = Action::Store { verb: verb.into(), name: name.as_str() };
        let row = rows.and_then(|rows| first(rows, name.as_str()).map(|(_, row)| row).ok_or(Reason::NotListed));
        self.decide(action, row.and_then(|row| row.verbs().contains(&verb).then_some(()).ok_or(Reason::NotListed)))?;
        let row = row.ok();
        let is_per_caller = row.is_some_and(Row::is_per_caller);
        let is_somebody = !is_per_caller || self.caller.is_somebody();
        self.decide_always(action, is_somebody.then_some(()).ok_or(Reason::Anonymous))?;
        self.tell_allowed(action);
        let place = Place {
            tenant: self.caller.tenant().clone(),
            name: name.clone(),
            owner: is_per_caller.then(|| self.caller.id().into()),
            bytes_max: row.map_or(R::BYTES_MAX, Row::bytes_max),
        };
        Ok(Permit::new(Stored { verb, place }, self.books().reserve_nothing()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_a_beginning_or_everything() {
        let covers = |pattern: &str, name| pattern.parse::<StorePattern>().expect("a pattern").covers(name);
        assert!(covers("notes", "notes") && !covers("notes", "notes2") && !covers("notes", "Notes"));
        assert!(covers("notes-*", "notes-") && covers("notes-*", "notes-a") && !covers("notes-*", "notes"));
        assert!(covers("*", "x"));
        for text in ["", "**", "*a", "a*b", "a**", ".*", "a/b", "a b*", &"a".repeat(65)] {
            let error = text.parse::<StorePattern>().expect_err(text).to_string();
            assert!(error.contains("no store, collection or container name"), "{error}");
        }
    }

    #[test]
    fn an_action_is_a_capability_and_a_verb() {
        assert!(StoreVerb::ALL.map(StoreVerb::name).is_sorted());
        for verb in StoreVerb::ALL {
            assert_eq!(verb.name(), format!("{}-{}", verb.capability(), verb.written()));
            assert!(verb.phrase().ends_with(verb.noun()), "{verb:?}");
        }
    }
}
