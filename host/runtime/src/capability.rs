//! What a guest may call, one file for each WIT package. A host function reads its [`Call`](crate::Call), asks the policy,
//! and acts on the permit that it gets.

mod config;
mod embed;
pub(crate) mod log;
mod rerank;

use std::sync::Arc;

use engine::{JobError, Usage};
use wasmtime::StoreContextMut;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::tessera::inference::types;
use crate::bindings::{self, tessera};
use crate::call::{self, Call};
use crate::sandbox::Ctx;

/// Capabilities that a policy can grant, by WIT name.
pub const NAMES: [&str; 4] = ["config", "embed", "log", "rerank"];

/// Links every capability.
pub(crate) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    tessera::config::config::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::embed::embed::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::log::log::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::rerank::rerank::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::inference::types::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)
}

impl bindings::tessera::inference::types::Host for Ctx {}

/// The call of a host function that has a model run, and the engine to run it.
fn context(store: StoreContextMut<'_, Ctx>) -> Result<(Arc<Call>, Arc<dyn crate::Inference>), types::Error> {
    let inference = store.data().sandbox.inference.clone();
    let outside = || error(types::ErrorCode::InvalidInput, "a model can be used only while a request is served".into());
    Ok((call::current(store).ok_or_else(outside)?, inference))
}

/// Waits for the engine until the request's deadline, or until its client is gone; then the work is dropped.
async fn within<T>(call: &Call, work: impl Future<Output = Result<T, JobError>>) -> Result<T, types::Error> {
    let over = |reason: &str| Err(error(types::ErrorCode::Deadline, reason.into()));
    tokio::select! {
        result = work => result.map_err(from_job),
        () = tokio::time::sleep_until(call.deadline) => over("the time for this request is over"),
        () = call.gone.cancelled() => over("the client is gone"),
    }
}

fn error(code: types::ErrorCode, message: String) -> types::Error {
    types::Error { code, message }
}

/// What the guest learns of a denial: the same as of a model that isn't there.
fn denied(call: &Call, denial: &policy::Denial, asked: Option<&str>) -> types::Error {
    tracing::warn!(request = %call.id, caller = ?call.caller, component = %call.policy.component(), %denial, "denied");
    unknown_model(asked.unwrap_or("(default)"))
}

fn unknown_model(asked: &str) -> types::Error {
    let asked: String = asked.chars().take(128).collect();
    error(types::ErrorCode::UnknownModel, format!("The model `{asked}` does not exist."))
}

fn from_job(cause: JobError) -> types::Error {
    let message = cause.to_string();
    match cause {
        JobError::UnknownModel(name) => unknown_model(&name),
        JobError::Unsupported(_) | JobError::NoTokenizer => error(types::ErrorCode::Unsupported, message),
        JobError::InvalidInput(_) => error(types::ErrorCode::InvalidInput, message),
        JobError::TooLong { .. } => error(types::ErrorCode::TooLong, message),
        JobError::Overloaded | JobError::Stopped => error(types::ErrorCode::Overloaded, message),
        // The cause is in the log, where the engine wrote it.
        JobError::Failed(_) => error(types::ErrorCode::Internal, "the model failed on this input".into()),
    }
}

fn usage(usage: Vec<Usage>) -> Vec<types::Usage> {
    usage.into_iter().map(|Usage { tokens, truncated }| types::Usage { tokens, truncated }).collect()
}
