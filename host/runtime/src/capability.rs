//! What a guest may call, one file for each WIT package; `nn` is standard `wasi:nn`. A host function reads its [`Call`](crate::Call), asks the policy,
//! and acts on the permit that it gets.

mod config;
mod embed;
pub(crate) mod generate;
pub(crate) mod log;
pub(crate) mod nn;
mod rerank;
mod tokenize;

use std::sync::Arc;
use std::time::Instant;

use engine::{JobError, Message, Usage};
use policy::ModelsGrant;
use wasmtime::StoreContextMut;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::tessera::inference::types;
use crate::bindings::{self, tessera};
use crate::call::{self, Call};
use crate::sandbox::Ctx;

/// Capabilities that a policy can grant, by WIT name.
pub const NAMES: [&str; 7] = ["config", "embed", "generate", "log", "nn", "rerank", "tokenize"];

/// Links every capability.
pub(crate) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    tessera::config::config::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::embed::embed::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::generate::generate::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::generate::generate_poll::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::generate::types::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::log::log::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::rerank::rerank::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    nn::link(linker)?;
    tessera::tokenize::tokenize::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    tessera::inference::types::add_to_linker::<Ctx, HasSelf<Ctx>>(linker, |ctx| ctx)
}

impl bindings::tessera::inference::types::Host for Ctx {}

/// What a host function that has a model run needs.
struct Context {
    call: Arc<Call>,
    inference: Arc<dyn crate::Inference>,
    log: Arc<log::Budget>,
}

fn context(store: StoreContextMut<'_, Ctx>) -> Result<Context, types::Error> {
    let ctx = store.data();
    let (inference, log) = (ctx.sandbox.inference.clone(), ctx.log.clone());
    let outside = || error(types::ErrorCode::InvalidInput, "a model can be used only while a request is served".into());
    Ok(Context { call: call::current(store).ok_or_else(outside)?, inference, log })
}

/// Waits for the engine until the request's deadline, or until the request is over before it; then the work is dropped.
async fn within<T, E: Into<types::Error>>(call: &Call, work: impl Future<Output = Result<T, E>>) -> Result<T, types::Error> {
    let over = |reason: &str| Err(error(types::ErrorCode::Deadline, reason.into()));
    tokio::select! {
        result = work => result.map_err(Into::into),
        () = tokio::time::sleep_until(call.deadline) => over("the time for this request is over"),
        () = call.gone.cancelled() => over("the request is over: it was answered, or its client is gone"),
    }
}

fn error(code: types::ErrorCode, message: String) -> types::Error {
    types::Error { code, message }
}

/// What the guest learns of a denial: the same as of a model that isn't there. The operator learns more, within the bytes that
/// the component may log: a guest that asks again and again doesn't fill the log.
fn denied(context: &Context, denial: &policy::Denial, asked: Option<&str>) -> types::Error {
    let call = &context.call;
    let text = denial.to_string();
    let grant = call.policy.log().cloned().unwrap_or_default();
    if context.log.take(text.len(), &grant, Instant::now()) {
        tracing::warn!(request = %call.id, caller = ?call.caller, component = %call.policy.component(), "denied: {text}");
    }
    unknown_model(asked.unwrap_or("(default)"))
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
            JobError::Overloaded | JobError::Stopped => error(types::ErrorCode::Overloaded, message),
            // The cause is in the log, where the engine wrote it.
            JobError::Failed(_) => error(types::ErrorCode::Internal, "the model failed on this input".into()),
        }
    }
}

/// Registry names of the models that a section grants and that are loaded, in the section's order.
fn granted_models(ctx: &Ctx, grant: Option<&ModelsGrant>) -> Vec<String> {
    let loaded = ctx.sandbox.inference.models();
    let is_loaded = |name: &&policy::ModelName| loaded.iter().any(|card| card.name == name.as_str());
    let granted = grant.into_iter().flat_map(|grant| &grant.models);
    granted.filter(is_loaded).map(|name| name.as_str().into()).collect()
}

fn messages(conversation: Vec<types::Message>) -> Vec<Message> {
    conversation.into_iter().map(|types::Message { role, content }| Message { role, content }).collect()
}

fn usage(usage: Vec<Usage>) -> Vec<types::Usage> {
    usage.into_iter().map(|Usage { tokens, truncated }| types::Usage { tokens, truncated }).collect()
}
