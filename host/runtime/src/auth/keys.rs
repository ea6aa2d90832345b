//! Keys by their hash.

use std::collections::HashMap;
use std::sync::Arc;

use policy::audit::{Kind, Record};
use policy::{Keys, Scope, Tenant};

use crate::audit::Audit;

/// The keys that are not revoked, as the file was at one moment.
///
/// They are found by SHA-256. How long that takes may tell something of the hashes that are there, which nobody can choose keys
/// for.
#[derive(Default)]
pub(super) struct KeyTable(HashMap<[u8; 32], KnownKey>);

/// What a key stands for.
#[derive(PartialEq, Eq)]
pub(super) struct KnownKey {
    /// The id of the caller: `key:ID`.
    pub(super) caller: Arc<str>,
    pub(super) tenant: Tenant,
    pub(super) scope: Arc<Scope>,
    /// In seconds since 1970.
    pub(super) expires: Option<u64>,
}

impl KeyTable {
    pub(super) fn new(keys: &Keys) -> KeyTable {
        let good = keys.iter().filter(|key| key.revoked.is_none());
        let known = good.map(|key| {
            let caller = format!("key:{}", key.id).into();
            let (tenant, scope) = (key.tenant.clone(), Arc::new(key.scope.clone()));
            (key.digest, KnownKey { caller, tenant, scope, expires: key.expires })
        });
        KeyTable(known.collect())
    }

    pub(super) fn find(&self, digest: &[u8; 32]) -> Option<&KnownKey> {
        self.0.get(digest)
    }
}

/// Records which keys count from now on, and which don't any more.
pub(super) fn tell(before: &KeyTable, now: &KeyTable, audit: &Audit) {
    let told = |action: &str, key: &KnownKey| {
        let (action, tenant) = (Some(action.into()), Some(key.tenant.as_str().into()));
        audit.note(Record { action, tenant, target: Some(key.caller.clone()), ..Record::new(Kind::Key) });
    };
    let is_changed = |(digest, key): &(&[u8; 32], &KnownKey)| before.0.get(*digest).is_some_and(|known| known != *key);
    now.0.iter().filter(is_changed).for_each(|(_, key)| told("changed", key));
    now.0.iter().filter(|(digest, _)| !before.0.contains_key(*digest)).for_each(|(_, key)| told("added", key));
    before.0.iter().filter(|(digest, _)| !now.0.contains_key(*digest)).for_each(|(_, key)| told("ended", key));
}
