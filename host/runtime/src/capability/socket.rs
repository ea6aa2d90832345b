//! `wasi:sockets`: linked, because standard libraries import it everywhere, and always refused. `[http]` is the way out.

use wasmtime::component::{Linker, Resource};
use wasmtime::{StoreContextMut, component::Accessor};
use wasmtime_wasi::p2::bindings::sockets as p2;
use wasmtime_wasi::p3::bindings::sockets as p3;

use super::{WASI_P2, WASI_P3};
use crate::call;
use crate::sandbox::Ctx;

/// Puts refusals in the place of whatever makes a socket or looks up a name.
pub(super) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(&format!("wasi:sockets/tcp-create-socket@{WASI_P2}"))?.func_wrap(
        "create-tcp-socket",
        |store: StoreContextMut<'_, Ctx>, (_,): (p2::network::IpAddressFamily,)| {
            refuse(store, "tcp");
            Ok((Err::<Resource<p2::tcp::TcpSocket>, _>(p2::network::ErrorCode::AccessDenied),))
        },
    )?;
    linker.instance(&format!("wasi:sockets/udp-create-socket@{WASI_P2}"))?.func_wrap(
        "create-udp-socket",
        |store: StoreContextMut<'_, Ctx>, (_,): (p2::network::IpAddressFamily,)| {
            refuse(store, "udp");
            Ok((Err::<Resource<p2::udp::UdpSocket>, _>(p2::network::ErrorCode::AccessDenied),))
        },
    )?;
    linker.instance(&format!("wasi:sockets/ip-name-lookup@{WASI_P2}"))?.func_wrap(
        "resolve-addresses",
        |store: StoreContextMut<'_, Ctx>, (_, name): (Resource<p2::network::Network>, String)| {
            refuse(store, &name);
            Ok((Err::<Resource<p2::ip_name_lookup::ResolveAddressStream>, _>(p2::network::ErrorCode::AccessDenied),))
        },
    )?;
    let mut types = linker.instance(&format!("wasi:sockets/types@{WASI_P3}"))?;
    types.func_wrap("[static]tcp-socket.create", |store: StoreContextMut<'_, Ctx>, (_,): (p3::types::IpAddressFamily,)| {
        refuse(store, "tcp");
        Ok((Err::<Resource<p3::types::TcpSocket>, _>(p3::types::ErrorCode::AccessDenied),))
    })?;
    types.func_wrap("[static]udp-socket.create", |store: StoreContextMut<'_, Ctx>, (_,): (p3::types::IpAddressFamily,)| {
        refuse(store, "udp");
        Ok((Err::<Resource<p3::types::UdpSocket>, _>(p3::types::ErrorCode::AccessDenied),))
    })?;
    linker.instance(&format!("wasi:sockets/ip-name-lookup@{WASI_P3}"))?.func_wrap_concurrent(
        "resolve-addresses",
        |accessor: &Accessor<Ctx>, (name,): (String,)| {
            accessor.with(|mut store| refuse(wasmtime::AsContextMut::as_context_mut(&mut store), &name));
            let denied = Err::<Vec<p3::types::IpAddress>, _>(p3::ip_name_lookup::ErrorCode::AccessDenied);
            Box::pin(async move { Ok((denied,)) })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn refuse(store: StoreContextMut<'_, Ctx>, target: &str) {
    call::ask(store, |authority| authority.socket(target));
}
