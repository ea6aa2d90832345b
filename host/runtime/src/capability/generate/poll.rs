//! `generate-poll`: a generation as a resource, for guests of WASI 0.2.

use std::future::poll_fn;
use std::mem::take;

use futures::FutureExt;
use wasmtime::AsContextMut;
use wasmtime::component::{Access, HasSelf, Resource};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::running::{Ended, Running};
use super::{EVENTS_MAX, cancelled, context, explain, models, no_handle, permitted};
use crate::bindings::tessera::generate::generate_poll::{
    Host, HostGeneration, HostGenerationWithStore, HostWithStore, Progress,
};
use crate::bindings::tessera::generate::types::{Event, Options, Outcome, Prompt};
use crate::bindings::tessera::inference::types::Error;
use crate::sandbox::Ctx;

/// The resource behind a guest's handle.
#[allow(unreachable_pub, reason = "the generated bindings export it again")]
pub struct Polled {
    model: String,
    /// None once it was cancelled.
    running: Option<Running>,
    outcome: Ended,
    /// Events that came and were not given to the guest.
    waiting: Vec<Event>,
    /// How it ended, once all events have come.
    ended: Option<Result<Outcome, Error>>,
}

impl Polled {
    /// Waits until there is something to tell. Dropping the future loses nothing.
    async fn fill(&mut self) {
        if !self.waiting.is_empty() || self.ended.is_some() {
            return;
        }
        let is_over = match &mut self.running {
            Some(running) => poll_fn(|cx| running.poll_events(cx, &mut self.waiting, EVENTS_MAX)).await,
            None => true,
        };
        if is_over {
            let outcome = (&mut self.outcome).await; // it was told before
            self.ended = Some(outcome.unwrap_or_else(|_| Err(cancelled())));
        }
    }

    fn next(&mut self) -> Result<Progress, Error> {
        if self.fill().now_or_never().is_none() {
            return Ok(Progress::Waiting);
        }
        match &self.ended {
            _ if !self.waiting.is_empty() => Ok(Progress::Events(take(&mut self.waiting))),
            Some(ended) => ended.clone().map(Progress::Done),
            None => Ok(Progress::Waiting),
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Polled {
    async fn ready(&mut self) {
        self.fill().await;
    }
}

impl Host for Ctx {}

impl HostWithStore<Ctx> for HasSelf<Ctx> {
    fn start(
        mut host: Access<'_, Ctx, Self>,
        prompt: Prompt,
        options: Options,
    ) -> wasmtime::Result<Result<Resource<Polled>, Error>> {
        let started = context(host.as_context_mut()).and_then(|context| {
            let (permit, job) = permitted(&context, prompt, options)?;
            let (model, inference) = (permit.action().model.as_str().into(), context.inference);
            let generation = async move { inference.generate(permit, job).await.map_err(explain) };
            let (running, outcome) = Running::starting(context.call, generation);
            host.get()
                .table
                .push(Polled { model, running: Some(running), outcome, waiting: Vec::new(), ended: None })
                .map_err(|error| no_handle(error.into()))
        });
        Ok(started)
    }

    fn models(mut host: Access<'_, Ctx, Self>) -> wasmtime::Result<Vec<String>> {
        Ok(models(&mut host))
    }
}

impl HostGeneration for Ctx {}

impl HostGenerationWithStore<Ctx> for HasSelf<Ctx> {
    fn model(mut host: Access<'_, Ctx, Self>, generation: Resource<Polled>) -> wasmtime::Result<String> {
        Ok(host.get().table.get(&generation)?.model.clone())
    }

    fn next(mut host: Access<'_, Ctx, Self>, generation: Resource<Polled>) -> wasmtime::Result<Result<Progress, Error>> {
        Ok(host.get().table.get_mut(&generation)?.next())
    }

    fn subscribe(mut host: Access<'_, Ctx, Self>, generation: Resource<Polled>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(&mut host.get().table, generation)
    }

    fn cancel(mut host: Access<'_, Ctx, Self>, generation: Resource<Polled>) -> wasmtime::Result<()> {
        host.get().table.get_mut(&generation)?.running = None;
        Ok(())
    }

    fn drop(mut host: Access<'_, Ctx, Self>, generation: Resource<Polled>) -> wasmtime::Result<()> {
        host.get().table.delete(generation)?;
        Ok(())
    }
}
