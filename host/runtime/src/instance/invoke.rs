//! Calls of a component's typed functions, with values of any type.

use std::sync::Arc;

use wasmtime::AsContextMut;
use wasmtime::component::{Access, Accessor, Instance, Val};

use super::guest::bind;
use super::{Fault, Hold, Job, Reply, hand_in};
use crate::call::Call;
use crate::component::Component;
use crate::sandbox::Ctx;
use crate::typed::stream::{self, Feed, Items};
use crate::typed::{Function, Success};

/// A function and what it is called with.
pub(crate) struct Invocation {
    /// The function, of the component that is asked.
    pub(crate) function: Arc<Function>,
    /// A value for each parameter, in their order and of their types.
    pub(crate) arguments: Vec<Val>,
}

/// What a function has given.
pub(crate) struct Invoked {
    /// Its value; the error where it is one. None where it has none, or gives a stream.
    pub(crate) value: Result<Option<Val>, Option<Val>>,
    /// The stream that it gives.
    pub(crate) items: Option<Items>,
}

/// Calls a function of a component. Dropping the future stops the work, and so does dropping the hold while a stream goes on:
/// whoever has read the stream to its end says so by [`Hold::done`].
///
/// # Errors
/// As [`Fault`] says.
pub(crate) async fn invoke(
    component: &Arc<Component>,
    function: &Arc<Function>,
    arguments: Vec<Val>,
    call: Arc<Call>,
) -> Result<(Invoked, Hold), Fault> {
    let invocation = Invocation { function: function.clone(), arguments };
    let (invoked, mut hold) = hand_in(component, call, |reply| Job::Invoke(invocation, reply)).await?;
    if invoked.items.is_none() {
        hold.done();
    }
    Ok((invoked, hold))
}

/// Has the guest do it.
///
/// # Errors
/// When the guest traps: then the whole instance is lost.
pub(super) async fn run(
    accessor: &Accessor<Ctx>,
    instance: &Instance,
    invocation: Invocation,
    call: Arc<Call>,
    reply: Reply<Invoked>,
) -> wasmtime::Result<()> {
    let Invocation { function, arguments } = invocation;
    let is_empty = matches!(function.outcome.success, Success::Nothing) && function.outcome.failure.is_none();
    let mut results = vec![Val::Bool(false); usize::from(!is_empty)];
    let code = accessor.with(|mut store| instance.get_func(&mut store, function.export));
    let code = code.ok_or_else(|| wasmtime::format_err!("there is no function `{}` in the instance", function.path))?;
    let running = accessor.with(|mut store| {
        let running = code.start_call_concurrent(store.as_context_mut(), &arguments, &mut results)?;
        bind(&mut store, running.task(), call);
        wasmtime::error::Ok(running)
    })?;
    code.finish_call_concurrent(accessor, running).await?;
    drop(arguments);
    let value = match (&function.outcome.failure, results.pop()) {
        (Some(_), Some(Val::Result(result))) => result.map(unboxed).map_err(unboxed),
        (_, value) => Ok(value),
    };
    let (value, taken) = accessor.with(|mut store| take_stream(&mut store, &function, value))?;
    let (items, feed) = taken.unzip();
    reply.send(Ok(Invoked { value, items }));
    if let Some(feed) = feed {
        feed.run().await;
    }
    Ok(())
}

fn unboxed(value: Option<Box<Val>>) -> Option<Val> {
    value.map(|value| *value)
}

type Value = Result<Option<Val>, Option<Val>>;

/// Takes the stream out of what a function gave.
fn take_stream(
    store: &mut Access<'_, Ctx>,
    function: &Function,
    value: Value,
) -> wasmtime::Result<(Value, Option<(Items, Feed)>)> {
    let (Success::Stream(streamed), Ok(given)) = (&function.outcome.success, &value) else { return Ok((value, None)) };
    let (stream, future) = match given {
        Some(Val::Stream(stream)) => (stream.clone(), None),
        Some(Val::Tuple(parts)) => match &parts[..] {
            [Val::Stream(stream), Val::Future(future)] => (stream.clone(), Some(future.clone())),
            _ => return Err(wasmtime::format_err!("the function gave no stream")),
        },
        _ => return Err(wasmtime::format_err!("the function gave no stream")),
    };
    let end = future.zip(streamed.end.as_ref()).map(|(future, end)| {
        let element = |side: &Option<(_, stream::Element)>| side.as_ref().map(|(_, element)| *element);
        (future, element(&end.ok), element(&end.err))
    });
    let taken = stream::take(store, streamed.element, stream, end)?;
    Ok((Ok(None), Some(taken)))
}
