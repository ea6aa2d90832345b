//! The calls that are under way, so that their clients can cancel them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::HeaderMap;
use policy::Tenant;
use rmcp::model::RequestId;
use tokio_util::sync::CancellationToken;

use super::SESSION_ID;
use crate::http::request::Visitor;

/// Longest id of a session or a call, in bytes.
const ID_BYTES_MAX: usize = 128;

/// Calls of clients that have said which session they are of.
#[derive(Default)]
pub(super) struct Calls(Mutex<HashMap<Key, CancellationToken>>);

/// One call among all. Who calls is part of it: nobody cancels another's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    tenant: Tenant,
    caller: String,
    session: String,
    request: RequestId,
}

impl Key {
    /// The call with an id of this visitor's session; none where no session is named, or by an id that this server never gave.
    pub(super) fn new(visitor: &Visitor, headers: &HeaderMap, request: RequestId) -> Option<Key> {
        let session = headers.get(SESSION_ID)?.to_str().ok()?;
        let is_short = match &request {
            RequestId::Number(_) => true,
            RequestId::String(id) => id.len() <= ID_BYTES_MAX,
        };
        let caller = &visitor.caller;
        (is_short && session.len() <= ID_BYTES_MAX).then(|| Key {
            tenant: caller.tenant().clone(),
            caller: caller.id().into(),
            session: session.into(),
            request,
        })
    }
}

impl Calls {
    /// Notes a call until what this gives is dropped; none if there is one with this id already.
    pub(super) fn begin(self: &Arc<Self>, key: Key) -> Option<UnderWay> {
        let cancelled = CancellationToken::new();
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(place) => place.insert(cancelled.clone()),
        };
        Some(UnderWay { calls: self.clone(), key, cancelled })
    }

    /// Cancels a call, if it is under way.
    pub(super) fn cancel(&self, key: &Key) {
        if let Some(cancelled) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            cancelled.cancel();
        }
    }
}

/// A call that is under way.
pub(super) struct UnderWay {
    calls: Arc<Calls>,
    key: Key,
    /// Done when its client has cancelled it.
    pub(super) cancelled: CancellationToken,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.calls.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use policy::Caller;

    use super::*;

    fn key(tenant: &str, session: &str, request: i64) -> Option<Key> {
        let caller = Caller::new("someone", tenant.parse().expect("a name"));
        let visitor = Visitor { caller, client: [127, 0, 0, 1].into() };
        let headers = HeaderMap::from_iter([(SESSION_ID, session.parse().expect("a header"))]);
        Key::new(&visitor, &headers, RequestId::Number(request))
    }

    #[test]
    fn only_the_same_caller_session_and_id_cancel_a_call() {
        let calls = Arc::new(Calls::default());
        let begun = calls.begin(key("acme", "s", 1).expect("a key")).expect("the first");
        for other in [key("globex", "s", 1), key("acme", "t", 1), key("acme", "s", 2)] {
            calls.cancel(&other.expect("a key"));
            assert!(!begun.cancelled.is_cancelled());
        }
        calls.cancel(&key("acme", "s", 1).expect("a key"));
        assert!(begun.cancelled.is_cancelled());
    }

    #[test]
    fn an_id_is_free_again_when_its_call_is_over() {
        let calls = Arc::new(Calls::default());
        let key = key("acme", "s", 1).expect("a key");
        let begun = calls.begin(key.clone()).expect("the first");
        assert!(calls.begin(key.clone()).is_none());
        drop(begun);
        assert!(calls.begin(key).is_some());
    }

    #[test]
    fn ids_that_no_client_needs_so_long_are_not_kept() {
        assert!(key("acme", &"s".repeat(129), 1).is_none());
    }
}
