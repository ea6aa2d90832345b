//! Streams from one component's store into another's, a few pieces at a time: who writes waits for who reads. Dropped by its
//! reader, a stream stops the work behind it.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::oneshot;
use wasmtime::component::{
    ComponentType, Destination, FutureAny, FutureReader, Lift, Lower, StreamAny, StreamProducer, StreamReader, StreamResult,
    Val, VecBuffer,
};
use wasmtime::{AsContextMut, Result, StoreContextMut, format_err};

use super::Failure;
use crate::bindings::tessera::generate::types as generate;
use crate::bindings::tessera::inference::types as inference;
use crate::instance::Hold;
use crate::sandbox::Ctx;
use crate::typed::stream::{Element, Ended, Items, Piece};
use crate::typed::{End, Streamed};

/// Makes the caller's end of a stream, and of the future beside it, if there is one.
///
/// # Errors
/// When the caller holds as many handles as it may.
pub(super) fn give(mut store: StoreContextMut<'_, Ctx>, streamed: &Streamed, items: Items, hold: Hold) -> Result<Val> {
    let (say, told) = oneshot::channel();
    let say = streamed.end.is_some().then_some(say);
    let flow = Flow { items, hold: Some(hold), say };
    let mut stream = stream(&mut store, streamed.element, flow)?;
    let Some(end) = &streamed.end else { return Ok(Val::Stream(stream)) };
    match future(&mut store, end, told) {
        Ok(future) => Ok(Val::Tuple(vec![Val::Stream(stream), Val::Future(future)])),
        Err(error) => {
            drop(stream.close(store)); // dropped only, it would stay in the store; it was open until now
            Err(error)
        }
    }
}

/// A stream on its way.
struct Flow {
    items: Items,
    /// Stops the callee when it is dropped; none when the stream is over.
    hold: Option<Hold>,
    /// Where its end is told.
    say: Option<oneshot::Sender<std::result::Result<Ended, Failure>>>,
}

impl Flow {
    /// The next piece; none at the end. A stream that breaks off without a future that could say so is an error.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>>> {
        if self.hold.is_none() {
            return Poll::Ready(Ok(None));
        }
        if let Some(piece) = ready!(self.items.pieces.poll_recv(cx)) {
            return Poll::Ready(Ok(Some(piece)));
        }
        let ended = ready!(Pin::new(&mut self.items.end).poll(cx)).map_err(|_| Failure::Trapped);
        if let (Some(mut hold), Ok(_)) = (self.hold.take(), &ended) {
            hold.done();
        }
        match (self.say.take(), ended) {
            (Some(say), ended) => drop(say.send(ended)), // a guest may not care how it ended
            (None, Err(failure)) => return Poll::Ready(Err(format_err!("a stream of another component broke off: {failure}"))),
            (None, Ok(_)) => {}
        }
        Poll::Ready(Ok(None))
    }
}

fn stream(store: &mut StoreContextMut<'_, Ctx>, element: Element, flow: Flow) -> Result<StreamAny> {
    fn of<T: Given>(store: &mut StoreContextMut<'_, Ctx>, flow: Flow) -> Result<StreamAny> {
        let reader = StreamReader::new(store.as_context_mut(), ItemsFrom::<T> { flow, item: PhantomData })?;
        StreamAny::try_from_stream_reader(store.as_context_mut(), reader)
    }
    match element {
        Element::Bool => of::<bool>(store, flow),
        Element::S8 => of::<i8>(store, flow),
        Element::U8 => {
            let reader = StreamReader::new(store.as_context_mut(), BytesFrom(flow))?;
            StreamAny::try_from_stream_reader(store.as_context_mut(), reader)
        }
        Element::S16 => of::<i16>(store, flow),
        Element::U16 => of::<u16>(store, flow),
        Element::S32 => of::<i32>(store, flow),
        Element::U32 => of::<u32>(store, flow),
        Element::S64 => of::<i64>(store, flow),
        Element::U64 => of::<u64>(store, flow),
        Element::F32 => of::<f32>(store, flow),
        Element::F64 => of::<f64>(store, flow),
        Element::Char => of::<char>(store, flow),
        Element::String => of::<String>(store, flow),
        Element::Bytes => of::<Vec<u8>>(store, flow),
        Element::Event => of::<generate::Event>(store, flow),
        Element::Outcome => of::<generate::Outcome>(store, flow),
        Element::Error => of::<inference::Error>(store, flow),
    }
}

type Told = oneshot::Receiver<std::result::Result<Ended, Failure>>;

/// The future beside a stream: how the callee says that it ended, or how it failed.
fn future(store: &mut StoreContextMut<'_, Ctx>, end: &End, told: Told) -> Result<FutureAny> {
    fn of<O: Given, E: Given + Blame>(store: &mut StoreContextMut<'_, Ctx>, told: Told) -> Result<FutureAny> {
        let ended = async move {
            Ok::<_, wasmtime::Error>(match told.await.unwrap_or(Err(Failure::Cancelled)) {
                Ok(Ok(value)) => Ok(O::of(value).ok_or_else(misfit)?),
                Ok(Err(value)) => Err(E::of(value).ok_or_else(misfit)?),
                Err(failure) => Err(E::blame(failure)),
            })
        };
        let reader = FutureReader::new(store.as_context_mut(), ended)?;
        FutureAny::try_from_future_reader(store.as_context_mut(), reader)
    }
    fn with<O: Given>(store: &mut StoreContextMut<'_, Ctx>, err: Option<Element>, told: Told) -> Result<FutureAny> {
        match err {
            None => of::<O, ()>(store, told),
            Some(Element::String) => of::<O, String>(store, told),
            Some(_) => of::<O, inference::Error>(store, told),
        }
    }
    let err = end.err.as_ref().map(|(_, element)| *element);
    match end.ok.as_ref().map(|(_, element)| *element) {
        None => with::<()>(store, err, told),
        Some(Element::String) => with::<String>(store, err, told),
        Some(Element::U32) => with::<u32>(store, err, told),
        Some(Element::U64) => with::<u64>(store, err, told),
        Some(_) => with::<generate::Outcome>(store, err, told),
    }
}

fn misfit() -> wasmtime::Error {
    format_err!("a stream of another component holds something else than its type says")
}

/// Items of one type, for the caller to read.
struct ItemsFrom<T> {
    flow: Flow,
    item: PhantomData<fn() -> T>,
}

impl<T: Given> StreamProducer<Ctx> for ItemsFrom<T> {
    type Item = T;
    type Buffer = VecBuffer<T>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'a, Ctx>,
        mut destination: Destination<'a, T, VecBuffer<T>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        if destination.remaining(store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed)); // a question whether there is something: the next read waits
        }
        match self.flow.poll(cx)? {
            Poll::Ready(Some(Piece::Items(items))) => {
                let items: Option<Vec<T>> = items.into_iter().map(|item| T::of(Some(item))).collect();
                destination.set_buffer(items.ok_or_else(misfit)?.into());
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(Some(Piece::List(bytes))) => {
                destination.set_buffer(vec![T::of_list(bytes).ok_or_else(misfit)?].into());
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(Some(Piece::Bytes(_))) => Poll::Ready(Err(misfit())),
            Poll::Ready(None) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Bytes, for the caller to read.
struct BytesFrom(Flow);

impl StreamProducer<Ctx> for BytesFrom {
    type Item = u8;
    type Buffer = Bytes;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'a, Ctx>,
        mut destination: Destination<'a, u8, Bytes>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        if destination.remaining(store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        match self.0.poll(cx)? {
            Poll::Ready(Some(Piece::Bytes(bytes))) => {
                destination.set_buffer(bytes);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(Some(Piece::Items(_) | Piece::List(_))) => Poll::Ready(Err(misfit())),
            Poll::Ready(None) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// What is written to a guest's streams.
trait Given: ComponentType + Lower + Lift + Send + Sync + Unpin + 'static {
    /// From a value of any type; none where it is of another.
    fn of(value: Option<Val>) -> Option<Self>;

    /// From bytes; none where it is something else.
    fn of_list(_bytes: Vec<u8>) -> Option<Self> {
        None
    }
}

/// An error that can say why a component failed.
trait Blame {
    fn blame(failure: Failure) -> Self;
}

macro_rules! given {
    ($($ty:ty => $case:ident),*) => {
        $(impl Given for $ty {
            fn of(value: Option<Val>) -> Option<Self> {
                if let Some(Val::$case(value)) = value { Some(value) } else { None }
            }
        })*
    };
}

given!(bool => Bool, i8 => S8, u8 => U8, i16 => S16, u16 => U16, i32 => S32, u32 => U32, i64 => S64, u64 => U64);
given!(f32 => Float32, f64 => Float64, char => Char, String => String);

impl Given for () {
    fn of(value: Option<Val>) -> Option<Self> {
        value.is_none().then_some(())
    }
}

impl Given for Vec<u8> {
    fn of_list(bytes: Vec<u8>) -> Option<Self> {
        Some(bytes)
    }

    fn of(value: Option<Val>) -> Option<Self> {
        list(value?, u8::of)
    }
}

impl Given for generate::Event {
    fn of(value: Option<Val>) -> Option<Self> {
        let [text, tokens] = fields(value?)?;
        Some(generate::Event { text: String::of(Some(text))?, tokens: list(tokens, token)? })
    }
}

impl Given for generate::Outcome {
    fn of(value: Option<Val>) -> Option<Self> {
        let [reason, prompt_tokens, generated_tokens] = fields(value?)?;
        let reason = match word(reason)?.as_str() {
            "stop" => generate::FinishReason::Stop,
            "length" => generate::FinishReason::Length,
            _ => return None,
        };
        let (prompt_tokens, generated_tokens) = (u32::of(Some(prompt_tokens))?, u32::of(Some(generated_tokens))?);
        Some(generate::Outcome { reason, prompt_tokens, generated_tokens })
    }
}

impl Given for inference::Error {
    fn of(value: Option<Val>) -> Option<Self> {
        let [code, message, again] = fields(value?)?;
        let code = match word(code)?.as_str() {
            "unknown-model" => inference::ErrorCode::UnknownModel,
            "unsupported" => inference::ErrorCode::Unsupported,
            "invalid-input" => inference::ErrorCode::InvalidInput,
            "too-long" => inference::ErrorCode::TooLong,
            "overloaded" => inference::ErrorCode::Overloaded,
            "deadline" => inference::ErrorCode::Deadline,
            "cancelled" => inference::ErrorCode::Cancelled,
            "quota" => inference::ErrorCode::Quota,
            _ => inference::ErrorCode::Internal,
        };
        let retry_after_ms = match again {
            Val::Option(Some(ms)) => Some(u32::of(Some(*ms))?),
            _ => None,
        };
        Some(inference::Error { code, message: String::of(Some(message))?, retry_after_ms })
    }
}

impl Blame for () {
    fn blame(_: Failure) -> Self {}
}

impl Blame for String {
    fn blame(failure: Failure) -> Self {
        failure.to_string()
    }
}

impl Blame for inference::Error {
    fn blame(failure: Failure) -> Self {
        let code = match failure {
            Failure::Cancelled => inference::ErrorCode::Cancelled,
            _ => inference::ErrorCode::Internal,
        };
        inference::Error { code, message: failure.to_string(), retry_after_ms: None }
    }
}

fn token(value: Option<Val>) -> Option<generate::Token> {
    let [picked, top] = fields(value?)?;
    Some(generate::Token { picked: likely(Some(picked))?, top: list(top, likely)? })
}

fn likely(value: Option<Val>) -> Option<generate::Logprob> {
    let [id, bytes, logprob] = fields(value?)?;
    Some(generate::Logprob { id: u32::of(Some(id))?, bytes: list(bytes, u8::of)?, logprob: f32::of(Some(logprob))? })
}

fn list<T>(value: Val, of: impl Fn(Option<Val>) -> Option<T>) -> Option<Vec<T>> {
    let Val::List(items) = value else { return None };
    items.into_iter().map(|item| of(Some(item))).collect()
}

/// The values of a record's fields, in their order.
fn fields<const N: usize>(value: Val) -> Option<[Val; N]> {
    let Val::Record(fields) = value else { return None };
    fields.into_iter().map(|(_, value)| value).collect::<Vec<_>>().try_into().ok()
}

fn word(value: Val) -> Option<String> {
    if let Val::Enum(word) = value { Some(word) } else { None }
}
