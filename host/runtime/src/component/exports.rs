//! What a component's code gives: a way to serve HTTP, checks of other components' texts, or both.

use wasmtime::Store;
use wasmtime::component::{Component, InstancePre};
use wasmtime_wasi_http::handler::Proxy;
use wasmtime_wasi_http::{p2, p3};

use super::LoadError;
use crate::bindings::guard::{Guards, GuardsIndices};
use crate::bindings::{Service, ServiceIndices};
use crate::sandbox::{Ctx, Sandbox};

/// Linked code and where its exports are.
pub(crate) struct Exports {
    code: InstancePre<Ctx>,
    http: Option<HttpExport>,
    guard: Option<GuardsIndices>,
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
    pub(super) fn link(code: &Component, sandbox: &Sandbox) -> Result<Exports, LoadError> {
        let exports: Vec<String> = code.component_type().exports(&sandbox.engine).map(|(name, _)| name.into()).collect();
        let exported = |prefix: &str| exports.iter().any(|name| name.starts_with(prefix));
        let code = sandbox.linker.instantiate_pre(code).map_err(LoadError::Code)?;
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
            (None, None) => Err(LoadError::NoHandler),
            _ => Ok(Exports { code, http, guard }),
        }
    }

    /// Whether it answers requests.
    pub(crate) fn serves_http(&self) -> bool {
        self.http.is_some()
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
        Ok(Guest { http, guard })
    }
}
