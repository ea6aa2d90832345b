//! What a component's code gives: a way to serve HTTP, typed functions, checks of other components' texts, or several of them.

use wasmtime::Store;
use wasmtime::component::{Component, Instance, InstancePre};
use wasmtime_wasi_http::handler::Proxy;
use wasmtime_wasi_http::{p2, p3};

use super::LoadError;
use crate::bindings::guard::{Guards, GuardsIndices};
use crate::bindings::{Service, ServiceIndices};
use crate::capability::call::{self, Imports};
use crate::sandbox::{Ctx, Sandbox};
use crate::typed::Functions;

/// Linked code and where its exports are.
pub(crate) struct Exports {
    code: InstancePre<Ctx>,
    http: Option<HttpExport>,
    guard: Option<GuardsIndices>,
    functions: Functions,
}

/// The ways to serve HTTP.
enum HttpExport {
    /// The lean typed export.
    Handler(ServiceIndices),
    /// `wasi:http` 0.2.
    P2(p2::bindings::ProxyIndices),
    /// `wasi:http` 0.3.
    P3(p3::bindings::ServiceIndices),
}

/// An instantiated component.
pub(crate) struct Guest {
    /// Where its functions are.
    pub(crate) instance: Instance,
    /// How it serves HTTP, if it does.
    pub(crate) http: Option<HttpGuest>,
    /// How it checks texts, if it is a guard.
    pub(crate) guard: Option<Guards>,
}

/// An instance that serves HTTP.
pub(crate) enum HttpGuest {
    /// By the lean typed export.
    Handler(Service),
    /// By `wasi:http`.
    Proxy(Proxy),
}

impl Exports {
    /// Links the code and finds what it gives.
    ///
    /// # Errors
    /// When it can't be linked, or gives nothing that the host knows.
    pub(super) fn link(wasm: &[u8], code: &Component, imports: Imports, sandbox: &Sandbox) -> Result<Exports, LoadError> {
        let functions = Functions::read(wasm, code, &sandbox.engine);
        let functions = functions.map_err(|error| LoadError::Stream { function: error.path, reason: error.reason })?;
        let exports: Vec<String> = code.component_type().exports(&sandbox.engine).map(|(name, _)| name.into()).collect();
        let exported = |prefix: &str| exports.iter().any(|name| name.starts_with(prefix));
        let code = match imports.is_empty() {
            true => sandbox.linker.instantiate_pre(code),
            false => {
                let mut linker = sandbox.linker.clone();
                call::link(&mut linker, imports).and_then(|()| linker.instantiate_pre(code))
            }
        };
        let code = code.map_err(LoadError::Code)?;
        let http = if exported("tessera:handler/handler@") {
            Some(HttpExport::Handler(ServiceIndices::new(&code).map_err(LoadError::Code)?))
        } else if exported("wasi:http/handler@0.3.") {
            Some(HttpExport::P3(p3::bindings::ServiceIndices::new(&code).map_err(LoadError::Code)?))
        } else if exported("wasi:http/incoming-handler@0.2.") {
            Some(HttpExport::P2(p2::bindings::ProxyIndices::new(&code).map_err(LoadError::Code)?))
        } else {
            None
        };
        let guard = exported("tessera:guard/guard@").then(|| GuardsIndices::new(&code)).transpose().map_err(LoadError::Code)?;
        match (&http, &guard) {
            (None, None) if functions.is_empty() => Err(LoadError::NoHandler { unexposed: told(&functions) }),
            _ => Ok(Exports { code, http, guard, functions }),
        }
    }

    /// Whether it answers requests, with a handler or with functions.
    pub(crate) fn serves_http(&self) -> bool {
        self.has_handler() || !self.functions.is_empty()
    }

    /// Whether it answers requests for any path.
    pub(crate) fn has_handler(&self) -> bool {
        self.http.is_some()
    }

    /// Its typed functions.
    pub(crate) fn functions(&self) -> &Functions {
        &self.functions
    }

    /// Whether it checks texts.
    pub(crate) fn is_guard(&self) -> bool {
        self.guard.is_some()
    }

    /// Makes an instance.
    ///
    /// # Errors
    /// When it traps, or there is no room for it.
    pub(crate) async fn instantiate(&self, store: &mut Store<Ctx>) -> wasmtime::Result<Guest> {
        let instance = self.code.instantiate_async(&mut *store).await?;
        let http = match &self.http {
            Some(HttpExport::Handler(indices)) => Some(HttpGuest::Handler(indices.load(&mut *store, &instance)?)),
            Some(HttpExport::P2(indices)) => Some(HttpGuest::Proxy(Proxy::P2(indices.load(&mut *store, &instance)?))),
            Some(HttpExport::P3(indices)) => Some(HttpGuest::Proxy(Proxy::P3(indices.load(&mut *store, &instance)?))),
            None => None,
        };
        let guard = self.guard.as_ref().map(|indices| indices.load(&mut *store, &instance)).transpose()?;
        Ok(Guest { instance, http, guard })
    }
}

/// Why functions that it has are not called, for the error that says that there is nothing else.
fn told(functions: &Functions) -> String {
    functions
        .unexposed()
        .iter()
        .map(|unexposed| format!("\n`{}` is not served: {}", unexposed.path, unexposed.reason))
        .collect()
}
