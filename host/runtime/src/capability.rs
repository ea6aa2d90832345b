//! What a guest may call, one file for each WIT package; `nn`, `fs` and `env` are of WASI alone, and `call`
//! is of the packages that components make up between them. A host function reads its
//! [`Call`](crate::Call), asks the policy, and acts on the permit that it gets.

mod blob;
pub(crate) mod call;
mod classify;
mod config;
mod embed;
pub(crate) mod env;
pub(crate) mod fs;
pub(crate) mod generate;
pub(crate) mod http;
mod kv;
pub(crate) mod log;
pub(crate) mod nn;
mod rerank;
mod secret;
mod socket;
mod stores;
mod tokenize;
pub(crate) mod vector;

use std::sync::Arc;

use engine::{JobError, Message, Usage};
use policy::Denial;
use wasmtime::StoreContextMut;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::tessera::inference::types;
use crate::bindings::{self, tessera};
use crate::call::{Call, current};
use crate::sandbox::Ctx;

/// Versions of WASI that the crates of wasmtime link, by which their functions are found to be put behind the policy.
const WASI_P2: &str = "0.2.12";
const WASI_P3: &str = "0.3.0";

/// Links every capability.
pub(crate) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    tessera::blob::blob::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::classify::classify::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::config::config::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::embed::embed::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::generate::generate::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::generate::generate_poll::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::generate::types::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::http::client::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::handler::types::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::kv::kv::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::log::log::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::rerank::rerank::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::secret::secret::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::store::types::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::vector::vector::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    fs::link(linker)?;
    http::link(linker)?;
    nn::link(linker)?;
    socket::link(linker)?;
    tessera::tokenize::tokenize::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::inference::types::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)
}

impl bindings::tessera::inference::types::Host for Ctx {}

/// What a host function that has a model run needs.
struct Context {
    call: Arc<Call>,
    inference: Arc<dyn crate::Inference>,
}

fn context(store: StoreContextMut<'_, Ctx>) -> Result<Context, types::Error> {
    let ctx = store.data();
    let inference = ctx.sandbox.inference.clone();
    let outside = || error(types::ErrorCode::InvalidInput, "a model can be used only while a request is served".into());
    Ok(Context { call: current(store).ok_or_else(outside)?, inference })
}

/// Bytes that the numbers of an answer may take: as many as a host call may copy the other way.
fn answer_bytes_max(call: &Call) -> usize {
    call.governance.rights().policy.limits().hostcall_bytes_max
}

/// Waits for the engine until the request's deadline, or until the request is over before it; then the work is dropped.
async fn within<T, E: Into<types::Error>>(call: &Call, work: impl Future<Output = Result<T, E>>) -> Result<T, types::Error> {
    tokio::select! {
        biased;
        () = call.gone.cancelled() => Err(request_over()),
        result = work => result.map_err(Into::into),
        () = call.timed_out() => Err(out_of_time()), // what is done at once needs no timer
    }
}

fn request_over() -> types::Error {
    error(types::ErrorCode::Deadline, "the request is over: it was answered, or its client is gone".into())
}

fn out_of_time() -> types::Error {
    error(types::ErrorCode::Deadline, "the time for this request is over".into())
}

fn error(code: types::ErrorCode, message: String) -> types::Error {
    types::Error { code, message, retry_after_ms: None }
}

/// What the guest learns of a denial: the same as of a model that isn't there, or that its quota is used up.
fn denied(denial: &Denial, asked: Option<&str>) -> types::Error {
    match denial.retry_after() {
        None => unknown_model(asked.unwrap_or("(default)")),
        Some(retry_after) => {
            types::Error { retry_after_ms: Some(u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX)), ..over_quota() }
        }
    }
}

fn over_quota() -> types::Error {
    error(types::ErrorCode::Quota, "this service has used up what it may use in a minute: try again later".into())
}

fn unknown_model(asked: &str) -> types::Error {
    let asked: String = asked.chars().take(128).collect();
    error(types::ErrorCode::UnknownModel, format!("The model `{asked}` does not exist."))
}

impl From<JobError> for types::Error {
    fn from(cause: JobError) -> types::Error {
        let message = cause.to_string();
        match cause {
            JobError::UnknownModel(name) => unknown_model(&name),
            JobError::Unsupported(_) | JobError::NoTokenizer => error(types::ErrorCode::Unsupported, message),
            JobError::InvalidInput(_) => error(types::ErrorCode::InvalidInput, message),
            JobError::TooLong { .. } | JobError::ContextOverflow { .. } => error(types::ErrorCode::TooLong, message),
            JobError::Quota => over_quota(),
            JobError::Overloaded | JobError::Stopped => error(types::ErrorCode::Overloaded, message),
            // The cause is in the log, where the engine wrote it.
            JobError::Failed(_) => error(types::ErrorCode::Internal, "the model failed on this input".into()),
        }
    }
}

/// Registry names of the models that a capability may use now, for this caller, and that are loaded, in the policy's order.
fn granted_models(store: StoreContextMut<'_, Ctx>, capability: &str) -> Vec<String> {
    let inference = store.data().sandbox.inference.clone();
    let Some(call) = current(store) else { return Vec::new() };
    let is_loaded = |name: &&policy::ModelName| inference.model(name.as_str()).is_some();
    let is_for_caller = |name: &&policy::ModelName| call.caller.may_use(name).is_ok();
    let rights = call.governance.rights();
    rights.policy.usable_models(capability).filter(is_loaded).filter(is_for_caller).map(|name| name.as_str().into()).collect()
}

fn messages(conversation: Vec<types::Message>) -> Vec<Message> {
    conversation.into_iter().map(|types::Message { role, content }| Message { role, content }).collect()
}

fn usage(usage: Vec<Usage>) -> Vec<types::Usage> {
    usage.into_iter().map(|Usage { tokens, truncated }| types::Usage { tokens, truncated }).collect()
}
