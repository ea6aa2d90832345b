//! `tessera:generate`: text by a language model, as a stream, or as a resource to poll. Both read the same [`Running`].

mod convert;
mod poll;
mod running;

use std::pin::Pin;
use std::task::{Poll, ready};

use engine::{GenerateJob, JobError};
use policy::{Generate, Permit};
use running::Running;
use wasmtime::component::{
    Access, Accessor, Destination, FutureReader, HasSelf, StreamProducer, StreamReader, StreamResult, VecBuffer,
};
use wasmtime::{AsContextMut, StoreContextMut};

use super::{Context, context, denied, error, granted_models, within};
use crate::bindings::tessera::generate::generate::{Generation, Host, HostWithStore};
use crate::bindings::tessera::generate::types::{self, Event, Options, Prompt};
use crate::bindings::tessera::inference::types::{Error, ErrorCode};
use crate::sandbox::Ctx;

#[allow(unreachable_pub, reason = "the generated bindings export it again")]
pub use poll::Polled;

/// Events that a guest is given at once.
const EVENTS_MAX: usize = 16;

impl types::Host for Ctx {}
impl Host for Ctx {}

impl HostWithStore<Ctx> for HasSelf<Ctx> {
    async fn generate(host: &Accessor<Ctx, Self>, prompt: Prompt, options: Options) -> Result<Generation, Error> {
        let context = host.with(|mut store| context(store.as_context_mut()))?;
        let (permit, job) = permitted(&context, prompt, options)?;
        let started = async { context.inference.generate(permit, job).await.map_err(explain) };
        let generation = within(&context.call, started).await?;
        let model = generation.model.clone();
        let (events, outcome) = Running::of(context.call, generation);
        let outcome = async { wasmtime::error::Ok(outcome.await.unwrap_or_else(|_| Err(cancelled()))) };
        host.with(|mut store| {
            let mut events = StreamReader::new(store.as_context_mut(), Events(events)).map_err(no_handle)?;
            match FutureReader::new(store.as_context_mut(), outcome) {
                Ok(outcome) => Ok(Generation { model, events, outcome }),
                Err(cause) => {
                    drop(events.close(store)); // dropped only, it would stay in the store; it was open until now
                    Err(no_handle(cause))
                }
            }
        })
    }

    fn models(mut host: Access<'_, Ctx, Self>) -> Vec<String> {
        models(&mut host)
    }
}

fn models(host: &mut Access<'_, Ctx, HasSelf<Ctx>>) -> Vec<String> {
    granted_models(host.as_context_mut(), "generate")
}

fn no_handle(_: wasmtime::Error) -> Error {
    error(ErrorCode::Overloaded, "this instance holds as many handles as it may: drop some".into())
}

/// The first lines of both ways: what the guest asks for, checked and granted.
fn permitted(context: &Context, prompt: Prompt, options: Options) -> Result<(Permit<Generate>, GenerateJob), Error> {
    let asked = options.model.as_deref();
    let cost = convert::cost(&prompt, &options);
    let permit = context.call.ask(|authority| authority.generate(asked, cost)).map_err(|denial| denied(&denial, asked))?;
    Ok((permit, convert::job(prompt, options)?))
}

fn cancelled() -> Error {
    error(ErrorCode::Cancelled, "the generation was dropped before its end".into())
}

/// The words that clients of OpenAI's API look for where a prompt and what is wanted after it are too long.
fn explain(cause: JobError) -> Error {
    let JobError::ContextOverflow { prompt_tokens, wanted, tokens_max } = cause else { return cause.into() };
    let asked = match wanted {
        Some(wanted) => format!(
            "you requested {} tokens ({prompt_tokens} in the messages, {wanted} in the completion). Please reduce the length of \
             the messages or completion.",
            prompt_tokens.saturating_add(wanted)
        ),
        None => format!("your messages resulted in {prompt_tokens} tokens. Please reduce the length of the messages."),
    };
    error(ErrorCode::TooLong, format!("This model's maximum context length is {tokens_max} tokens. However, {asked}"))
}

/// The host's end of the events. Dropped by wasmtime when the guest drops its own.
struct Events(Running);

impl StreamProducer<Ctx> for Events {
    type Item = Event;
    type Buffer = VecBuffer<Event>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        store: StoreContextMut<'a, Ctx>,
        mut destination: Destination<'a, Event, VecBuffer<Event>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let count = destination.remaining(store).unwrap_or(EVENTS_MAX).min(EVENTS_MAX);
        if count == 0 {
            return Poll::Ready(Ok(StreamResult::Completed)); // a question whether there is something: the next read waits
        }
        let mut events = Vec::new();
        let read = self.0.poll_events(cx, &mut events, count);
        if read.is_pending() && finish {
            return Poll::Ready(Ok(StreamResult::Cancelled));
        }
        let is_over = ready!(read);
        destination.set_buffer(events.into());
        Poll::Ready(Ok(if is_over { StreamResult::Dropped } else { StreamResult::Completed }))
    }
}
