//! Streams that functions give, read item by item. The host reads a stream only as a type that it knows when it is built, so there is
//! a list of those.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::PollSender;
use wasmtime::component::{
    Access, ComponentType, FutureAny, FutureConsumer, Lift, Source, StreamAny, StreamConsumer, StreamResult, Val,
};
use wasmtime::{Result, StoreContextMut};

use super::types::{Integer, Kind};
use crate::bindings::tessera::generate::types as generate;
use crate::bindings::tessera::inference::types as inference;
use crate::sandbox::Ctx;

/// Pieces of a stream that wait for their reader; then the guest waits. Of items that may be long only one waits.
const PIECES_WAITING_MAX: usize = 8;
/// Items in one piece.
const ITEMS_MAX: usize = 64;
/// Bytes in one piece.
const BYTES_MAX: usize = 64 << 10;

/// A type that the host reads from streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    /// `bool`.
    Bool,
    /// `s8`.
    S8,
    /// `u8`: bytes, in pieces as the guest writes them.
    U8,
    /// `s16`.
    S16,
    /// `u16`.
    U16,
    /// `s32`.
    S32,
    /// `u32`.
    U32,
    /// `s64`.
    S64,
    /// `u64`.
    U64,
    /// `f32`.
    F32,
    /// `f64`.
    F64,
    /// `char`.
    Char,
    /// `string`.
    String,
    /// `list<u8>`.
    Bytes,
    /// `tessera:generate/types.event`.
    Event,
    /// `tessera:generate/types.outcome`.
    Outcome,
    /// `tessera:inference/types.error`.
    Error,
}

impl Element {
    /// What may be streamed, for authors.
    pub(crate) const READABLE: &str = "numbers, `bool`, `char`, `string`, `list<u8>`, and the records `event` and `outcome` of \
                                       `tessera:generate` and `error` of `tessera:inference`";

    /// The one of a type; none where it can't be read.
    pub(crate) fn of(kind: &Kind) -> Option<Element> {
        Some(match kind {
            Kind::Bool => Element::Bool,
            Kind::Integer(Integer::S8) => Element::S8,
            Kind::Integer(Integer::U8) => Element::U8,
            Kind::Integer(Integer::S16) => Element::S16,
            Kind::Integer(Integer::U16) => Element::U16,
            Kind::Integer(Integer::S32) => Element::S32,
            Kind::Integer(Integer::U32) => Element::U32,
            Kind::Integer(Integer::S64) => Element::S64,
            Kind::Integer(Integer::U64) => Element::U64,
            Kind::Float32 => Element::F32,
            Kind::Float64 => Element::F64,
            Kind::Char => Element::Char,
            Kind::String => Element::String,
            Kind::Bytes => Element::Bytes,
            _ => return None,
        })
    }

    /// Whether a stream may end with a result of these: of errors only texts and the host's own can be read.
    pub(crate) fn may_end(ok: Option<Element>, err: Option<Element>) -> bool {
        let is_readable_ok = matches!(ok, None | Some(Element::String | Element::U32 | Element::U64 | Element::Outcome));
        is_readable_ok && matches!(err, None | Some(Element::String | Element::Error))
    }
}

/// A part of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    /// Bytes of a `stream<u8>`.
    Bytes(Bytes),
    /// One item of a `stream<list<u8>>`, which as a value would be thirty times as long.
    List(Vec<u8>),
    /// Items of any other.
    Items(Vec<Val>),
}

/// How a stream ended: what it gave or said at its end, if anything.
pub(crate) type Ended = std::result::Result<Option<Val>, Option<Val>>;

/// A stream as its reader sees it. Dropping it stops the guest's writing.
#[derive(Debug)]
pub(crate) struct Items {
    /// What comes.
    pub(crate) pieces: mpsc::Receiver<Piece>,
    /// How it ended. Dropped unsent, the guest failed before.
    pub(crate) end: oneshot::Receiver<Ended>,
}

/// The inside's end of a stream.
pub(crate) struct Feed {
    /// Fires when no more pieces come, or nobody wants them.
    closed: oneshot::Receiver<()>,
    /// What the guest says of the end, where it says anything.
    said: Option<oneshot::Receiver<Ended>>,
    end: oneshot::Sender<Ended>,
}

impl Feed {
    /// Waits for the end and tells it. It has to be waited for where the guest runs: if that fails, no end is told.
    pub(crate) async fn run(self) {
        drop(self.closed.await); // either way it is over
        let ended = match self.said {
            Some(said) => said.await.ok(),
            None => Some(Ok(None)),
        };
        if let Some(ended) = ended {
            drop(self.end.send(ended)); // the client may be gone
        }
    }
}

/// Takes a stream over from a guest.
///
/// # Errors
/// When it holds other items than its function's type says.
pub(crate) fn take(
    store: &mut Access<'_, Ctx>,
    element: Element,
    stream: StreamAny,
    end: Option<(FutureAny, Option<Element>, Option<Element>)>,
) -> Result<(Items, Feed)> {
    let is_long = matches!(element, Element::String | Element::Bytes | Element::Event);
    let (sender, pieces) = mpsc::channel(if is_long { 1 } else { PIECES_WAITING_MAX });
    let (closing, closed) = oneshot::channel();
    let (ended, told) = oneshot::channel();
    pipe(store, element, stream, Sink { pieces: PollSender::new(sender), _closing: closing })?;
    let said = match end {
        Some((future, ok, err)) => {
            let (say, said) = oneshot::channel();
            pipe_end(store, future, (ok, err), say)?;
            Some(said)
        }
        None => None,
    };
    Ok((Items { pieces, end: told }, Feed { closed, said, end: ended }))
}

/// Where pieces go.
struct Sink {
    pieces: PollSender<Piece>,
    _closing: oneshot::Sender<()>,
}

fn pipe(store: &mut Access<'_, Ctx>, element: Element, stream: StreamAny, sink: Sink) -> Result<()> {
    fn items<T: Item>(store: &mut Access<'_, Ctx>, stream: StreamAny, sink: Sink) -> Result<()> {
        stream.try_into_stream_reader::<T>()?.pipe(store, ItemsOf::<T> { sink, item: PhantomData })
    }
    match element {
        Element::Bool => items::<bool>(store, stream, sink),
        Element::S8 => items::<i8>(store, stream, sink),
        Element::U8 => stream.try_into_stream_reader::<u8>()?.pipe(store, BytesOf(sink)),
        Element::S16 => items::<i16>(store, stream, sink),
        Element::U16 => items::<u16>(store, stream, sink),
        Element::S32 => items::<i32>(store, stream, sink),
        Element::U32 => items::<u32>(store, stream, sink),
        Element::S64 => items::<i64>(store, stream, sink),
        Element::U64 => items::<u64>(store, stream, sink),
        Element::F32 => items::<f32>(store, stream, sink),
        Element::F64 => items::<f64>(store, stream, sink),
        Element::Char => items::<char>(store, stream, sink),
        Element::String => items::<String>(store, stream, sink),
        Element::Bytes => stream.try_into_stream_reader::<Vec<u8>>()?.pipe(store, ListsOf(sink)),
        Element::Event => items::<generate::Event>(store, stream, sink),
        Element::Outcome => items::<generate::Outcome>(store, stream, sink),
        Element::Error => items::<inference::Error>(store, stream, sink),
    }
}

fn pipe_end(
    store: &mut Access<'_, Ctx>,
    future: FutureAny,
    (ok, err): (Option<Element>, Option<Element>),
    say: oneshot::Sender<Ended>,
) -> Result<()> {
    fn result<O: Item, E: Item>(store: &mut Access<'_, Ctx>, future: FutureAny, say: oneshot::Sender<Ended>) -> Result<()> {
        let end = EndOf::<O, E> { say: Some(say), item: PhantomData };
        future.try_into_future_reader::<std::result::Result<O, E>>()?.pipe(store, end)
    }
    fn with<O: Item>(
        store: &mut Access<'_, Ctx>,
        future: FutureAny,
        err: Option<Element>,
        say: oneshot::Sender<Ended>,
    ) -> Result<()> {
        match err {
            None => result::<O, ()>(store, future, say),
            Some(Element::String) => result::<O, String>(store, future, say),
            Some(_) => result::<O, inference::Error>(store, future, say),
        }
    }
    match ok {
        None => with::<()>(store, future, err, say),
        Some(Element::String) => with::<String>(store, future, err, say),
        Some(Element::U32) => with::<u32>(store, future, err, say),
        Some(Element::U64) => with::<u64>(store, future, err, say),
        Some(_) => with::<generate::Outcome>(store, future, err, say),
    }
}

/// What is read from a guest's streams.
trait Item: ComponentType + Lift + Send + Sync + 'static {
    /// As a value of any type; none where it is nothing.
    fn value(self) -> Option<Val>;
}

macro_rules! items {
    ($($ty:ty => $case:ident),*) => {
        $(impl Item for $ty {
            fn value(self) -> Option<Val> {
                Some(Val::$case(self))
            }
        })*
    };
}

items!(bool => Bool, i8 => S8, u8 => U8, i16 => S16, u16 => U16, i32 => S32, u32 => U32, i64 => S64, u64 => U64);
items!(f32 => Float32, f64 => Float64, char => Char, String => String);

impl Item for () {
    fn value(self) -> Option<Val> {
        None
    }
}

fn bytes(bytes: Vec<u8>) -> Val {
    Val::List(bytes.into_iter().map(Val::U8).collect())
}

fn record<const N: usize>(fields: [(&str, Val); N]) -> Val {
    Val::Record(fields.map(|(name, value)| (name.into(), value)).into())
}

impl Item for generate::Event {
    fn value(self) -> Option<Val> {
        let likely = |likely: generate::Logprob| {
            let generate::Logprob { id, bytes: text, logprob } = likely;
            record([("id", Val::U32(id)), ("bytes", bytes(text)), ("logprob", Val::Float32(logprob))])
        };
        let token = |token: generate::Token| {
            let top = token.top.into_iter().map(likely).collect();
            record([("picked", likely(token.picked)), ("top", Val::List(top))])
        };
        let tokens = self.tokens.into_iter().map(token).collect();
        Some(record([("text", Val::String(self.text)), ("tokens", Val::List(tokens))]))
    }
}

impl Item for generate::Outcome {
    fn value(self) -> Option<Val> {
        let reason = match self.reason {
            generate::FinishReason::Stop => "stop",
            generate::FinishReason::Length => "length",
        };
        Some(record([
            ("reason", Val::Enum(reason.into())),
            ("prompt-tokens", Val::U32(self.prompt_tokens)),
            ("generated-tokens", Val::U32(self.generated_tokens)),
        ]))
    }
}

impl Item for inference::Error {
    fn value(self) -> Option<Val> {
        let code = match self.code {
            inference::ErrorCode::UnknownModel => "unknown-model",
            inference::ErrorCode::Unsupported => "unsupported",
            inference::ErrorCode::InvalidInput => "invalid-input",
            inference::ErrorCode::TooLong => "too-long",
            inference::ErrorCode::Overloaded => "overloaded",
            inference::ErrorCode::Deadline => "deadline",
            inference::ErrorCode::Internal => "internal",
            inference::ErrorCode::Cancelled => "cancelled",
            inference::ErrorCode::Quota => "quota",
        };
        let again = self.retry_after_ms.map(|ms| Box::new(Val::U32(ms)));
        Some(record([
            ("code", Val::Enum(code.into())),
            ("message", Val::String(self.message)),
            ("retry-after-ms", Val::Option(again)),
        ]))
    }
}

/// Reads items of one type.
struct ItemsOf<T> {
    sink: Sink,
    item: PhantomData<fn() -> T>,
}

impl<T: Item> StreamConsumer<Ctx> for ItemsOf<T> {
    type Item = T;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, Ctx>,
        mut source: Source<'_, T>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        match self.sink.pieces.poll_reserve(cx) {
            Poll::Ready(Ok(())) => {
                let mut items = Vec::with_capacity(source.remaining(&mut store).min(ITEMS_MAX));
                source.read(&mut store, &mut items)?;
                let items: Vec<Val> = items.into_iter().filter_map(T::value).collect();
                let is_sent = items.is_empty() || self.sink.pieces.send_item(Piece::Items(items)).is_ok();
                Poll::Ready(Ok(if is_sent { StreamResult::Completed } else { StreamResult::Dropped }))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Reads lists of bytes, one at a time.
struct ListsOf(Sink);

impl StreamConsumer<Ctx> for ListsOf {
    type Item = Vec<u8>;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, Ctx>,
        mut source: Source<'_, Vec<u8>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        match self.0.pieces.poll_reserve(cx) {
            Poll::Ready(Ok(())) => {
                let mut list = None;
                source.read(&mut store, &mut list)?;
                let is_sent = list.is_none_or(|list| self.0.pieces.send_item(Piece::List(list)).is_ok());
                Poll::Ready(Ok(if is_sent { StreamResult::Completed } else { StreamResult::Dropped }))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Reads bytes.
struct BytesOf(Sink);

impl StreamConsumer<Ctx> for BytesOf {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, Ctx>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        match self.0.pieces.poll_reserve(cx) {
            Poll::Ready(Ok(())) => {
                let mut source = source.as_direct(store);
                let length = source.remaining().len().min(BYTES_MAX);
                let bytes = Bytes::copy_from_slice(&source.remaining()[..length]);
                let is_sent = bytes.is_empty() || self.0.pieces.send_item(Piece::Bytes(bytes)).is_ok();
                source.mark_read(length);
                Poll::Ready(Ok(if is_sent { StreamResult::Completed } else { StreamResult::Dropped }))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Reads how a stream ended. Dropped unused, as when the guest drops its half, it says nothing.
struct EndOf<O, E> {
    say: Option<oneshot::Sender<Ended>>,
    item: PhantomData<fn() -> (O, E)>,
}

impl<O: Item, E: Item> FutureConsumer<Ctx> for EndOf<O, E> {
    type Item = std::result::Result<O, E>;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        store: StoreContextMut<'_, Ctx>,
        mut source: Source<'_, Self::Item>,
        _finish: bool,
    ) -> Poll<Result<()>> {
        let mut end = None;
        source.read(store, &mut end)?;
        if let (Some(end), Some(say)) = (end, self.say.take()) {
            drop(say.send(end.map(O::value).map_err(E::value))); // nobody may wait for it any more
        }
        Poll::Ready(Ok(()))
    }
}
