//! `tessera:config`: settings that the operator wrote for the component.

use wasmtime::AsContextMut;
use wasmtime::component::{Access, HasSelf};

use crate::bindings::tessera::config::config::{Host, HostWithStore};
use crate::call;
use crate::sandbox::Ctx;

impl Host for Ctx {}

impl HostWithStore<Ctx> for HasSelf<Ctx> {
    fn get(mut host: Access<'_, Ctx, Self>, key: String) -> Option<String> {
        let call = call::current(host.as_context_mut())?;
        call.ask(|authority| authority.config(&key).ok().flatten().map(String::from))
    }

    fn all(mut host: Access<'_, Ctx, Self>) -> Vec<(String, String)> {
        let call = call::current(host.as_context_mut());
        let own = |(key, value): (&str, &str)| (key.into(), value.into());
        call.map_or_else(Vec::new, |call| {
            call.ask(|authority| authority.all_config().map_or_else(|_| Vec::new(), |all| all.map(own).collect()))
        })
    }
}
