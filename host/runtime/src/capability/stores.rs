//! What the capabilities that keep data share: how they end, and what a guest is told where they fail.

use std::sync::Arc;

use ::store::{Name, Place, StoreError};
use policy::{Denial, Permit, StoreName, Stored};
use wasmtime::StoreContextMut;

use crate::bindings::tessera::store::types::{self, Error, ErrorCode};
use crate::call::{Call, current};
use crate::inference::Inference;
use crate::sandbox::Ctx;
use crate::stores::Stores;

/// When to try again where the store has too much to do, in milliseconds.
const RETRY_MS: u32 = 1000;

impl types::Host for Ctx {}

/// What a host function that keeps data needs.
pub(super) struct Context {
    pub(super) call: Arc<Call>,
    pub(super) stores: Arc<Stores>,
    pub(super) inference: Arc<dyn Inference>,
}

/// The request that asks.
///
/// # Errors
/// Outside of any.
pub(super) fn context(store: StoreContextMut<'_, Ctx>) -> Result<Context, Error> {
    let (stores, inference) = (store.data().sandbox.stores.load_full(), store.data().sandbox.inference.clone());
    let outside = || error(ErrorCode::Denied, "data can be used only while a request is served");
    let call = current(store).ok_or_else(outside)?;
    let stores = stores.ok_or_else(|| error(ErrorCode::Overloaded, "the server has ended, and keeps nothing more"))?;
    Ok(Context { call, stores, inference })
}

impl Context {
    /// Waits for the store until the request's deadline, or until the request is over before it; then the work is dropped.
    ///
    /// # Errors
    /// Those of the store, as a guest may know them.
    pub(super) async fn within<T>(&self, work: impl Future<Output = store::Result<T>>) -> Result<T, Error> {
        within(&self.call, work).await
    }
}

/// As [`Context::within`].
pub(super) async fn within<T>(call: &Call, work: impl Future<Output = store::Result<T>>) -> Result<T, Error> {
    let over = |reason: &str| Err(error(ErrorCode::Deadline, reason));
    tokio::select! {
        biased;
        () = call.gone.cancelled() => over("the request is over: it was answered, or its client is gone"),
        done = work => done.map_err(|cause| explain(call, cause)),
        () = call.timed_out() => over("the time for this request is over"),
    }
}

/// A name as the guest wrote it.
///
/// # Errors
/// When nothing can have it.
pub(super) fn named(name: &str) -> Result<StoreName, Error> {
    name.parse().map_err(|cause: policy::NameError| error(ErrorCode::InvalidInput, &cause.to_string()))
}

/// Uses a permit up and gives the place that it is for.
pub(super) fn place<Verb>(permit: Permit<Stored<Verb>>) -> Result<Place, Error> {
    let policy::Place { tenant, name, owner, bytes_max } = permit.redeem().place;
    Ok(Place { tenant: parsed(tenant.as_str())?, name: parsed(name.as_str())?, owner, bytes_max })
}

/// A name as the store has it.
pub(super) fn parsed(name: &str) -> Result<Name, Error> {
    name.parse().map_err(|cause: store::NameError| error(ErrorCode::InvalidInput, &cause.to_string()))
}

pub(super) fn denied(denial: Denial) -> Error {
    match denial.retry_after() {
        None => error(ErrorCode::Denied, "this service may not do that there"),
        Some(after) => {
            let retry_after_ms = Some(u32::try_from(after.as_millis()).unwrap_or(u32::MAX));
            let message = "this service has used up what it may use in a minute: try again later".into();
            Error { code: ErrorCode::Quota, message, retry_after_ms }
        }
    }
}

/// What a guest is told; what is only for the operator goes to the log.
pub(super) fn explain(call: &Call, cause: StoreError) -> Error {
    let message = cause.to_string();
    let code = match cause {
        StoreError::NotFound { .. } => ErrorCode::NotFound,
        StoreError::Invalid(_) => ErrorCode::InvalidInput,
        StoreError::Conflict => ErrorCode::Conflict,
        StoreError::Full { .. } => ErrorCode::Quota,
        StoreError::Unsupported(_) => ErrorCode::Unsupported,
        StoreError::Overloaded => {
            return Error { code: ErrorCode::Overloaded, message, retry_after_ms: Some(RETRY_MS) };
        }
        StoreError::Failed(_) => {
            if call.governance.may_tell() {
                let (request, component) = (&call.id, call.governance.component());
                tracing::error!(%request, %component, "{message}");
            }
            return error(ErrorCode::Internal, "the store failed: what was asked for is not done");
        }
    };
    error(code, &message)
}

pub(super) fn error(code: ErrorCode, message: &str) -> Error {
    Error { code, message: message.into(), retry_after_ms: None }
}

/// So many rows of a page, where the guest asks for more than there ever are.
pub(super) fn rows(asked: u32, max: usize) -> usize {
    usize::try_from(asked).unwrap_or(usize::MAX).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_policy_takes_for_a_name_the_store_takes_as_well() {
        for name in ["a", "A.b_c-9", "9", &"a".repeat(64), "", "-a", ".a", "a/b", "a b", "ä", &"a".repeat(65)] {
            assert_eq!(name.parse::<StoreName>().is_ok(), name.parse::<Name>().is_ok(), "{name}");
        }
        for tenant in ["local", "a-9", &"a".repeat(64)] {
            assert!(tenant.parse::<policy::Tenant>().is_ok() && tenant.parse::<Name>().is_ok());
        }
    }
}
