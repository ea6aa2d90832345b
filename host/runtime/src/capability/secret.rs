//! `tessera:secret`: placeholders of credentials. The values are put in their place where requests leave, see `egress`.

use wasmtime::AsContextMut;
use wasmtime::component::{Access, HasSelf};

use crate::bindings::tessera::secret::secret::{Host, HostWithStore};
use crate::call;
use crate::sandbox::Ctx;

impl Host for Ctx {}

impl HostWithStore<Ctx> for HasSelf<Ctx> {
    fn get(mut host: Access<'_, Ctx, Self>, name: String) -> Option<String> {
        let call = call::current(host.as_context_mut())?;
        call.ask(|authority| authority.secret(&name).ok().map(String::from))
    }
}
