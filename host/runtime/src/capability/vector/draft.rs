//! A document that a guest writes, as a resource.
//!
//! It is the guest's only while the request is under way that began it, and only as long as the policy lets it write there. What
//! fails half-way is given up whole.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use policy::{StoreName, VectorVerb};
use store::vector as back;
use wasmtime::AsContextMut;
use wasmtime::component::{Access, Accessor, HasSelf, Resource};

use super::super::stores::{denied, error, within};
use super::convert;
use crate::bindings::tessera::store::types::{Error, ErrorCode};
use crate::bindings::tessera::vector::vector::{Chunk, HostDraft, HostDraftWithStore, Stored};
use crate::call::{Call, current};
use crate::sandbox::Ctx;

/// The resource behind a guest's handle.
#[allow(unreachable_pub, reason = "the generated bindings export it again")]
pub struct Draft {
    call: Arc<Call>,
    collection: StoreName,
    state: Arc<Mutex<State>>,
}

/// What there is of a draft.
enum State {
    /// It waits for more.
    Open(Box<dyn back::Draft>),
    /// It is being written to.
    Busy,
    /// It is committed, or was given up.
    Over,
}

impl Draft {
    /// What is written is given up when the request is over, whatever the guest does with its handle.
    pub(super) fn new(draft: Box<dyn back::Draft>, call: Arc<Call>, collection: StoreName) -> Draft {
        let state = Arc::new(Mutex::new(State::Open(draft)));
        let (gone, watched) = (call.gone.clone(), Arc::downgrade(&state));
        tokio::spawn(async move {
            gone.cancelled().await;
            if let Some(state) = watched.upgrade() {
                let given_up = std::mem::replace(&mut *lock(&state), State::Over);
                drop(given_up); // not under the lock
            }
        });
        Draft { call, collection, state }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A draft that is being written to. Dropped before it is put back, it is over.
struct Writing {
    call: Arc<Call>,
    state: Arc<Mutex<State>>,
}

impl Writing {
    fn begin(call: Arc<Call>, state: Arc<Mutex<State>>) -> Result<(Writing, Box<dyn back::Draft>), Error> {
        let before = std::mem::replace(&mut *lock(&state), State::Busy);
        let writing = || Writing { call, state: state.clone() };
        match before {
            State::Open(draft) => Ok((writing(), draft)),
            State::Busy => Err(error(ErrorCode::Conflict, "the draft is being written to: wait until that is done")),
            State::Over => {
                drop(writing());
                Err(over())
            }
        }
    }

    fn put_back(self, draft: Box<dyn back::Draft>) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Busy) {
            *state = State::Open(draft);
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Busy) {
            *state = State::Over;
        }
    }
}

fn over() -> Error {
    error(ErrorCode::InvalidInput, "the draft is committed or was given up: begin another")
}

/// Takes a draft to write to it, where that may be done still.
fn take(host: &Accessor<Ctx, HasSelf<Ctx>>, draft: &Resource<Draft>) -> Result<(Writing, Box<dyn back::Draft>), Error> {
    let (call, state, collection) = host.with(|mut store| {
        let call = current(store.as_context_mut());
        let draft = store.get().table.get(draft).map_err(|_| over())?;
        // An instance may serve several requests: none of them writes what another began.
        let call = call.filter(|call| Arc::ptr_eq(call, &draft.call));
        let call = call.ok_or_else(|| error(ErrorCode::Denied, "the draft belongs to another request"))?;
        Ok((call, draft.state.clone(), draft.collection.clone()))
    })?;
    call.ask(|authority| authority.vector(VectorVerb::Upsert, &collection)).map_err(denied)?;
    Writing::begin(call, state)
}

impl HostDraft for Ctx {}

impl HostDraftWithStore<Ctx> for HasSelf<Ctx> {
    async fn append(host: &Accessor<Ctx, Self>, draft: Resource<Draft>, chunks: Vec<Chunk>) -> Result<(), Error> {
        let (writing, mut draft) = take(host, &draft)?;
        let chunks = chunks.into_iter().map(convert::chunk).collect();
        within(&writing.call, draft.append(chunks)).await?;
        writing.put_back(draft);
        Ok(())
    }

    async fn commit(host: &Accessor<Ctx, Self>, draft: Resource<Draft>) -> Result<Stored, Error> {
        let (writing, draft) = take(host, &draft)?;
        within(&writing.call, draft.commit()).await.map(convert::stored)
    }

    fn drop(mut host: Access<'_, Ctx, Self>, draft: Resource<Draft>) -> wasmtime::Result<()> {
        host.get().table.delete(draft)?;
        Ok(())
    }
}
