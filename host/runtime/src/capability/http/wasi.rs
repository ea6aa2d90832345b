//! Standard `wasi:http`, 0.2 and 0.3, on the same back end. What is linked is the crate `wasmtime-wasi-http`; here is what it
//! sends requests with.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use ::http::{Request, Response};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi_http::p2::bindings::http as p2;
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::p3::bindings::http as p3;
use wasmtime_wasi_http::{RequestOptions, WasiBody, WasiHttp, WasiHttpHooks, WasiHttpView};

use super::super::{WASI_P2, WASI_P3};
use crate::call::{self, Call};
use crate::egress::{Body, EgressError, Terms};
use crate::sandbox::Ctx;

type Error = wasmtime_wasi_http::Error;
type Work<T> = Box<dyn Future<Output = Result<T, Error>> + Send>;

/// Redirects are answers: `wasi:http` leaves them to the guest, which asks again for each.
const REDIRECTS_MAX: u32 = 0;

/// In whose name the crate sends the next request: its functions don't say for which task they are called.
#[derive(Default)]
pub(crate) struct Outbound(Option<Arc<Call>>);

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _result: Work<()>,
    ) -> Work<(Response<WasiBody>, Work<()>)> {
        let call = self.0.take();
        Box::new(async move {
            let call = call.ok_or(Error::HttpRequestDenied)?;
            let options = options.unwrap_or_default();
            let terms = Terms {
                redirects_max: REDIRECTS_MAX,
                connect_max: options.connect_timeout,
                deadline: call.until(),
                gone: call.gone.clone(),
            };
            let rights = call.governance.rights();
            let (gone, (head, body)) = (call.gone.clone(), request.into_parts());
            let body = Shared(Arc::new(Mutex::new(body)));
            let sent = super::send(call, rights, Request::from_parts(head, Body::streamed(body.clone())), terms);
            let answer = match options.first_byte_timeout {
                None => sent.await,
                Some(timeout) => tokio::time::timeout(timeout, sent).await.map_err(|_| Error::HttpResponseTimeout)?,
            };
            let response = match answer {
                Ok(answer) => answer.response,
                Err(error) => {
                    // A guest that still writes would learn of a closed pipe, and not why: let it come to its end.
                    tokio::spawn(async move { gone.run_until_cancelled(discard(body)).await });
                    return Err(explain(error));
                }
            };
            let io: Work<()> = Box::new(std::future::ready(Ok(())));
            Ok((response.map(|body| body.map_err(explain).boxed_unsync()), io))
        })
    }
}

async fn discard(mut body: Shared) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// A body of which the sender may keep a hold.
#[derive(Clone)]
struct Shared(Arc<Mutex<WasiBody>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, WasiBody> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl http_body::Body for Shared {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut *self.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().size_hint()
    }
}

fn explain(error: EgressError) -> Error {
    match error {
        EgressError::Denied(_) => Error::HttpRequestDenied,
        EgressError::TooMany => Error::ConnectionLimitReached,
        EgressError::ConnectTimeout => Error::ConnectionTimeout,
        EgressError::Deadline | EgressError::Cancelled => Error::HttpResponseTimeout,
        EgressError::Dns => Error::DestinationNotFound,
        EgressError::Connect | EgressError::NotRecorded => Error::ConnectionRefused,
        EgressError::Tls | EgressError::NoRoots => Error::TlsCertificateError,
        EgressError::Protocol => Error::HttpProtocolError,
        EgressError::BrokenOff => Error::HttpResponseIncomplete,
        EgressError::HeadTooLong => Error::HttpResponseHeaderSectionSize(None),
        EgressError::BodyTooLong => Error::HttpResponseBodySize(None),
        EgressError::Invalid(_) => Error::HttpRequestUriInvalid,
        EgressError::RequestBody => Error::HttpRequestBodySize(None),
    }
}

/// Puts before both versions what says in whose name a request is sent.
pub(in crate::capability) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(&format!("wasi:http/outgoing-handler@{WASI_P2}"))?.func_wrap("handle", handle)?;
    linker
        .instance(&format!("wasi:http/client@{WASI_P3}"))?
        .func_wrap_concurrent("send", |accessor, (request,)| Box::pin(async move { Ok((send(accessor, request).await?,)) }))?;
    linker.allow_shadowing(false);
    Ok(())
}

type Handled = Result<Resource<HostFutureIncomingResponse>, p2::types::ErrorCode>;

fn handle(
    mut store: StoreContextMut<'_, Ctx>,
    (request, options): (Resource<HostOutgoingRequest>, Option<Resource<p2::types::RequestOptions>>),
) -> wasmtime::Result<(Handled,)> {
    let call = call::current(store.as_context_mut());
    let ctx = store.data_mut();
    ctx.outbound = Outbound(call);
    match p2::outgoing_handler::Host::handle(&mut ctx.http(), request, options) {
        Ok(response) => Ok((Ok(response),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

type Sent = Result<Resource<p3::types::Response>, p3::types::ErrorCode>;

async fn send(accessor: &Accessor<Ctx>, request: Resource<p3::types::Request>) -> wasmtime::Result<Sent> {
    accessor.with(|mut store| {
        let call = call::current(store.as_context_mut());
        store.data_mut().outbound = Outbound(call);
    });
    // The crate hands the request over before it first waits, so no other task comes between.
    let http = accessor.with_getter::<WasiHttp>(|ctx| ctx.http());
    match p3::client::HostWithStore::send(&http, request).await {
        Ok(response) => Ok(Ok(response)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}
