//! One instance from the inside: how a request is handed to the guest by each of the ways to serve HTTP, and a text to a guard.

use std::sync::Arc;

use ::http::HeaderValue;
use ::http::header::HOST;
use http_body_util::BodyExt;
use wasmtime::AsContextMut;
use wasmtime::component::{Accessor, GuestTaskId};
use wasmtime_wasi_http::handler::{Prepared, Proxy};
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use super::background::{begin, go_on};
use super::{Fault, Incoming, Job, Reply, Response, Slot, Work, invoke};
use crate::bindings::Service;
use crate::bindings::guard::Guards;
use crate::call::Call;
use crate::component::exports::{Guest, HttpGuest};
use crate::guard::{Judgement, Question};
use crate::http::body::{GuestBody, RequestBody};
use crate::http::exchange;
use crate::sandbox::Ctx;

/// Has the guest do one piece of work; a request is done with the last byte of its answer, or with what its guest goes on with
/// after that.
///
/// # Errors
/// When the guest traps: then the whole instance is lost.
pub(super) async fn run(accessor: &Accessor<Ctx>, guest: &Guest, slot: &Slot, work: Work) -> wasmtime::Result<()> {
    let Work { job, call, _inside } = work;
    let _over = call.gone.clone().drop_guard(); // a shared instance lives on; what the guest left running for this call ends
    match (job, &guest.http, &guest.guard) {
        (Job::Serve(request, reply), Some(HttpGuest::Handler(service)), _) => {
            let going = begin(accessor, slot);
            serve_handler(accessor, service, Incoming { request, call: call.clone(), reply }).await?;
            go_on(accessor, slot, &call, going).await;
            Ok(())
        }
        (Job::Serve(request, reply), Some(HttpGuest::Proxy(proxy)), _) => {
            let going = begin(accessor, slot);
            Box::pin(serve_http(accessor, proxy, Incoming { request, call: call.clone(), reply })).await?;
            go_on(accessor, slot, &call, going).await;
            Ok(())
        }
        (Job::Check(question, reply), _, Some(guards)) => check(accessor, guards, question, call, reply).await,
        (Job::Invoke(invocation, reply), ..) => invoke::run(accessor, &guest.instance, invocation, call, reply).await,
        (job, ..) => {
            job.refuse(Fault::BadResponse); // nobody asks a component for what it does not export
            Ok(())
        }
    }
}

async fn check(
    accessor: &Accessor<Ctx>,
    guards: &Guards,
    question: Question,
    call: Arc<Call>,
    reply: Reply<Judgement>,
) -> wasmtime::Result<()> {
    let check = guards.tessera_guard_guard().func_check();
    let running = accessor.with(|mut store| {
        let running = check.start_call_concurrent(store.as_context_mut(), (question.text, question.at))?;
        bind(&mut store, running.task(), call);
        wasmtime::error::Ok(running)
    })?;
    let (answer,) = check.finish_call_concurrent(accessor, running).await?;
    reply.send(Ok(answer.map_err(drop)));
    Ok(())
}

async fn serve_handler(accessor: &Accessor<Ctx>, service: &Service, incoming: Incoming) -> wasmtime::Result<()> {
    let Incoming { request, call, reply } = incoming;
    let handle = service.tessera_handler_handler().func_handle();
    let running = accessor.with(|mut store| {
        let request = exchange::to_guest(&mut store, request)?;
        let running = handle.start_call_concurrent(store.as_context_mut(), (request,))?;
        bind(&mut store, running.task(), call);
        wasmtime::error::Ok(running)
    })?;
    let (response,) = handle.finish_call_concurrent(accessor, running).await?;
    let (response, sent) = accessor.with(|mut store| exchange::from_guest(&mut store, response))?;
    // The client may be gone; then its half of the body is dropped, which ends the stream.
    reply.send(response);
    if let Some(sent) = sent {
        drop(sent.await);
    }
    Ok(())
}

async fn serve_http(accessor: &Accessor<Ctx>, proxy: &Proxy, incoming: Incoming) -> wasmtime::Result<()> {
    let Incoming { request, call, reply } = incoming;
    let (answer, answered) = futures::channel::oneshot::channel();
    let prepared = accessor.with(|mut store| {
        let mut request = request.map(wasi_body);
        if request.headers().get(HOST).is_none_or(|host| host.to_str().is_err()) {
            request.headers_mut().insert(HOST, HeaderValue::from_static("localhost")); // `wasi:http` has no request without one
        }
        let prepared = Prepared::new(store.as_context_mut(), proxy, request, Ctx::http, answer)?;
        bind(&mut store, task(&prepared), call);
        wasmtime::error::Ok(prepared)
    })?;
    // Deadlines are kept from outside, see `dispatch`.
    let run = prepared.run(accessor, std::future::pending());
    // On a task of its own: a 0.2 guest that waits holds its store, and with it all that is polled here.
    let handed_over = tokio::spawn(hand_over(answered, reply));
    run.await?;
    drop(handed_over.await); // it cannot fail, but for a shutdown
    Ok(())
}

type Answer = wasmtime::Result<::http::Response<WasiBody>>;

/// Gives the client its response, and waits until its body has been read or dropped.
async fn hand_over(answered: futures::channel::oneshot::Receiver<Answer>, reply: Reply<Response>) {
    let response = answered.await.unwrap_or_else(|_| Err(wasmtime::format_err!("the guest gave no response")));
    let (response, sent) = match response {
        Ok(response) => {
            let (head, body) = response.into_parts();
            let (body, sent) = GuestBody::boxed(body);
            (Ok(::http::Response::from_parts(head, body)), Some(sent))
        }
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "a wasi:http component gave no response");
            let fault = if error.is::<wasmtime::Trap>() { Fault::Trapped } else { Fault::BadResponse };
            (Err(fault), None)
        }
    };
    reply.send(response);
    if let Some(sent) = sent {
        drop(sent.await);
    }
}

fn task(prepared: &Prepared<'_, Ctx>) -> GuestTaskId {
    match prepared {
        Prepared::P2 { call, .. } => call.task(),
        Prepared::P3 { call, .. } => call.task(),
    }
}

pub(super) fn bind(store: &mut wasmtime::component::Access<'_, Ctx>, task: GuestTaskId, call: Arc<Call>) {
    let ctx = store.data_mut();
    ctx.calls.bind(task, call);
    ctx.nn = None; // what the guest saw of it before any request was nothing
}

fn wasi_body(body: RequestBody) -> WasiBody {
    match body {
        RequestBody::Whole(bytes) => http_body_util::Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
        RequestBody::Streamed(body) => body.map_err(|_| wasmtime_wasi_http::Error::HttpProtocolError).boxed_unsync(),
    }
}
