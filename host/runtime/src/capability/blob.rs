//! `tessera:blob`: files by name, whose bodies pass through piece by piece.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use policy::BlobVerb;
use store::Place;
use store::blob as back;
use wasmtime::AsContextMut;
use wasmtime::component::{Access, Accessor, HasSelf};

use super::stores::{Context, context, denied, error, named, place, rows};
use crate::bindings::tessera::blob::blob::{File, Host, HostWithStore, Info, Page, Range};
use crate::bindings::tessera::handler::types::{self as handler, Body, BodyErrorCode};
use crate::bindings::tessera::store::types::{Error, ErrorCode};
use crate::call::Call;
use crate::http::exchange;
use crate::sandbox::Ctx;

impl Host for Ctx {}

impl HostWithStore<Ctx> for HasSelf<Ctx> {
    async fn put(
        host: &Accessor<Ctx, Self>,
        container: String,
        name: String,
        content_type: String,
        body: Body,
    ) -> Result<Info, Error> {
        let (context, place) = granted(host, BlobVerb::Put, &container)?;
        let body = host.with(|mut store| incoming(&mut store, body))?;
        context.within(context.stores.blobs.put(&place, &name, &content_type, body)).await.map(info)
    }

    async fn get(host: &Accessor<Ctx, Self>, container: String, name: String, range: Option<Range>) -> Result<File, Error> {
        let (context, place) = granted(host, BlobVerb::Get, &container)?;
        let range = range.map_or_else(back::Range::default, |Range { start, bytes }| back::Range { start, bytes });
        let (found, body) = context.within(context.stores.blobs.get(&place, &name, range)).await?;
        let body = outgoing(body, context.call);
        let chunks = host.with(|mut store| exchange::give(&mut store, body));
        let full = |_| error(ErrorCode::Overloaded, "this instance holds as many handles as it may: drop some");
        Ok(File { info: info(found), body: Body::Streamed(chunks.map_err(full)?) })
    }

    async fn stat(host: &Accessor<Ctx, Self>, container: String, name: String) -> Result<Option<Info>, Error> {
        let (context, place) = granted(host, BlobVerb::Get, &container)?;
        let found = context.within(context.stores.blobs.stat(&place, &name)).await?;
        Ok(found.map(info))
    }

    async fn delete(host: &Accessor<Ctx, Self>, container: String, name: String) -> Result<bool, Error> {
        let (context, place) = granted(host, BlobVerb::Delete, &container)?;
        context.within(context.stores.blobs.delete(&place, &name)).await
    }

    async fn list(
        host: &Accessor<Ctx, Self>,
        container: String,
        prefix: String,
        after: Option<String>,
        files_max: u32,
    ) -> Result<Page, Error> {
        let (context, place) = granted(host, BlobVerb::List, &container)?;
        let files_max = rows(files_max, back::FILES_MAX);
        let page = context.within(context.stores.blobs.list(&place, &prefix, after.as_deref(), files_max)).await?;
        Ok(Page { files: page.files.into_iter().map(info).collect(), has_more: page.has_more })
    }
}

fn granted(host: &Accessor<Ctx, HasSelf<Ctx>>, verb: BlobVerb, container: &str) -> Result<(Context, Place), Error> {
    let context = host.with(|mut store| context(store.as_context_mut()))?;
    let name = named(container)?;
    let permit = context.call.ask(|authority| authority.blob(verb, &name)).map_err(denied)?;
    Ok((context, place(permit)?))
}

/// A body that the guest gives.
fn incoming(store: &mut Access<'_, Ctx>, body: Body) -> Result<back::Body, Error> {
    match body {
        Body::Whole(bytes) => Ok(stream::once(async { io::Result::Ok(Bytes::from(bytes)) }).boxed()),
        Body::Streamed(chunks) => {
            let unusable = |_| error(ErrorCode::InvalidInput, "the body's streams are not usable");
            let (body, _sent) = exchange::take(store, chunks).map_err(unusable)?;
            Ok(body.into_data_stream().map_err(io::Error::other).boxed())
        }
    }
}

/// A body that the guest reads, until its request is over.
fn outgoing(body: back::Body, call: Arc<Call>) -> http_body_util::combinators::UnsyncBoxBody<Bytes, handler::BodyError> {
    let pieces = stream::unfold(Some((body, call)), |state| async move {
        let (mut body, call) = state?;
        let piece = tokio::select! {
            biased;
            () = call.gone.cancelled() => Some(Err(io::ErrorKind::Interrupted.into())),
            piece = body.next() => piece,
            () = call.timed_out() => Some(Err(io::ErrorKind::TimedOut.into())),
        }?;
        let rest = piece.is_ok().then_some((body, call));
        Some((piece, rest))
    });
    let explain = |cause: io::Error| {
        let message = match cause.kind() {
            io::ErrorKind::Interrupted => "the request is over".into(),
            io::ErrorKind::TimedOut => "the time for this request is over".into(),
            _ => {
                tracing::error!("a file can't be read to its end: {cause}");
                String::from("the store failed")
            }
        };
        handler::BodyError { code: BodyErrorCode::Incomplete, message }
    };
    StreamBody::new(pieces.map_ok(Frame::data).map_err(explain)).boxed_unsync()
}

fn info(info: back::Info) -> Info {
    let back::Info { name, bytes, digest, content_type, changed_ms } = info;
    Info { name, bytes, digest, content_type, changed_ms }
}
