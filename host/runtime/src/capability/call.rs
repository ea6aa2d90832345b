//! Functions of other components: an import that another component exports, linked by name and found anew at every call, so that
//! what is served now is what is called. The callee runs in an instance of its own, under its own policy, limits and quota, for
//! the caller of the request.
//!
//! Nobody waits here for a place in a component that is full: of two components that each hold their last place and want one in
//! the other, neither would ever get it.

pub(crate) mod chain;
mod failure;
pub(crate) mod import;
mod stream;

use std::sync::{Arc, Mutex, PoisonError, Weak};

pub(crate) use chain::Chain;
pub(crate) use failure::Failure;
pub(crate) use import::Imports;
use policy::{Books, Callee, Permit, Resource};
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Linker, Val};
use wasmtime::{AsContextMut, StoreContextMut};

use crate::call::{self, Call};
use crate::component::Component;
use crate::instance::{self, Hold, Invoked};
use crate::sandbox::Ctx;
use crate::typed::{Function, Signature, Success};

/// An imported function, and who has it.
struct Import {
    callee: Callee,
    /// The interface with its version.
    interface: String,
    function: Signature,
    /// The function whose types were last found to be the same.
    known: Mutex<Weak<Function>>,
}

/// A call that may be made.
struct Errand {
    component: Arc<Component>,
    function: Arc<Function>,
    call: Arc<Call>,
    /// Fires when the request is over for who calls.
    gone: CancellationToken,
}

type Given = Result<(Invoked, Hold), Failure>;

/// Links what a component imports from others. Linking gives no rights.
///
/// # Errors
/// When a name is taken.
pub(crate) fn link(linker: &mut Linker<Ctx>, imports: Imports) -> wasmtime::Result<()> {
    for (callee, interface) in imports.into_parts() {
        let mut instance = linker.instance(&interface.name)?;
        for function in interface.functions {
            let (name, is_async) = (function.name.clone(), function.is_async);
            let interface = interface.name.clone();
            let import = Arc::new(Import { callee: callee.clone(), interface, function, known: Mutex::default() });
            if is_async {
                instance.func_new_concurrent(&name, move |accessor, _, arguments, results| {
                    let import = import.clone();
                    Box::pin(async move {
                        let errand = accessor.with(|mut store| import.errand(store.as_context_mut()));
                        let given = perform(errand, arguments).await;
                        accessor.with(|mut store| import.give(store.as_context_mut(), given, results))
                    })
                })?;
            } else {
                instance.func_new_async(&name, move |mut store, _, arguments, results| {
                    let import = import.clone();
                    Box::new(async move {
                        let errand = import.errand(store.as_context_mut());
                        let given = perform(errand, arguments).await;
                        import.give(store, given, results)
                    })
                })?;
            }
        }
    }
    Ok(())
}

/// Has the callee do it. Dropping the future stops the work.
async fn perform(errand: Result<Errand, Failure>, arguments: &[Val]) -> Given {
    let Errand { component, function, call, gone } = errand?;
    let invoked = Box::pin(instance::invoke(&component, &function, arguments.to_vec(), call));
    tokio::select! {
        biased;
        () = gone.cancelled() => Err(Failure::Cancelled),
        invoked = invoked => invoked.map_err(Failure::from),
    }
}

impl Import {
    /// Whether the call may be made, and to whom.
    fn errand(&self, mut store: StoreContextMut<'_, Ctx>) -> Result<Errand, Failure> {
        let call = call::current(store.as_context_mut()).ok_or(Failure::Outside)?;
        let permit = call.ask(|authority| authority.call(&self.callee)).map_err(|_| Failure::Denied)?;
        let errand = self.permitted(permit, &call, store.data());
        if let Err(failure) = &errand
            && call.governance.may_tell()
        {
            let (request, component) = (&call.id, call.governance.component());
            tracing::warn!(%request, %component, callee = %self.callee, "a component is not called: {failure}");
        }
        errand
    }

    fn permitted(&self, permit: Permit<policy::Call>, call: &Arc<Call>, ctx: &Ctx) -> Result<Errand, Failure> {
        let chain = call.chain.with(call.governance.component(), &permit.action().component)?;
        let component = ctx.sandbox.peers.find(&permit.redeem().component).ok_or(Failure::Absent)?;
        let function = self.find(&component).ok_or(Failure::Mismatch)?;
        let rights = component.governance.rights();
        if !rights.policy.guard().is_empty() {
            return Err(Failure::Guarded);
        }
        let books = Books { component: &component.governance.ledger, tenant: call.caller.ledger() };
        books.take(Resource::Requests, 1).map_err(|_| Failure::Quota)?;
        let nested = Arc::new(call.nested(&component.governance, &rights, chain));
        Ok(Errand { component, function, call: nested, gone: call.gone.clone() })
    }

    /// The function, if the component has it with the same types.
    fn find(&self, component: &Component) -> Option<Arc<Function>> {
        let function = component.exports.functions().exported(&self.interface, &self.function.name)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::ptr::eq(known.as_ptr(), Arc::as_ptr(function)) {
            if !self.function.is_of(function) {
                return None;
            }
            *known = Arc::downgrade(function);
        }
        Some(function.clone())
    }

    /// Gives the caller what the callee gave.
    ///
    /// # Errors
    /// When it failed, and the function's type has no error that can say so: then the caller fails as well.
    fn give(&self, store: StoreContextMut<'_, Ctx>, given: Given, results: &mut [Val]) -> wasmtime::Result<()> {
        let value = match given {
            Ok((invoked, hold)) => self.value(store, invoked, hold)?,
            Err(failure) => match failure.carried_by(self.function.outcome.failure.as_ref()) {
                Some(error) => Some(Val::Result(Err(error.map(Box::new)))),
                None => return Err(self.unspeakable(failure)),
            },
        };
        if let Some((result, value)) = results.first_mut().zip(value) {
            *result = value;
        }
        Ok(())
    }

    fn value(&self, store: StoreContextMut<'_, Ctx>, invoked: Invoked, hold: Hold) -> wasmtime::Result<Option<Val>> {
        let outcome = &self.function.outcome;
        let value = match (invoked.items, &outcome.success) {
            (Some(items), Success::Stream(streamed)) => Ok(Some(stream::give(store, streamed, items, hold)?)),
            _ => invoked.value,
        };
        Ok(match outcome.failure {
            Some(_) => Some(Val::Result(value.map(|value| value.map(Box::new)).map_err(|error| error.map(Box::new)))),
            None => value.unwrap_or_default(),
        })
    }

    fn unspeakable(&self, failure: Failure) -> wasmtime::Error {
        let (interface, name, callee) = (&self.interface, &self.function.name, self.callee.component());
        wasmtime::format_err!(
            "`{interface}#{name}` of component `{callee}` was not called: {failure}; it returns no `result` with an error that \
             could say so"
        )
    }
}
