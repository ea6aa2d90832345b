//! `wasi:filesystem` 0.2.

use wasmtime::component::{Linker, ResourceType};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView};
use wasmtime_wasi::p2::FsResult;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, ErrorCode, HostDescriptor, NewTimestamp, OpenFlags, PathFlags,
};

use super::super::WASI_P2;
use super::{Fd, Intent, drop_descriptor, get_directories, granted, left, path_functions};
use crate::sandbox::Ctx;

/// A function that names paths: asks for each, then does what the crate does.
macro_rules! shadow {
    ($types:ident, $name:literal, $method:ident($fd:ident, $($arg:ident: $ty:ty),+), $wishes:expr) => {
        $types.func_wrap_async(
            concat!("[method]descriptor.", $name),
            |mut store: StoreContextMut<'_, Ctx>, ($fd, $($arg),+): (Fd, $($ty),+)| {
                Box::new(async move {
                    let Some(path) = granted(store.as_context_mut(), &$wishes) else {
                        return Ok((Err(ErrorCode::NotPermitted),));
                    };
                    let done = store.data_mut().filesystem().$method($fd, $($arg),+).await;
                    Ok((told(store, &path, done)?,))
                })
            },
        )?;
    };
}

pub(super) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.instance(&format!("wasi:filesystem/preopens@{WASI_P2}"))?.func_wrap("get-directories", get_directories)?;
    let mut types = linker.instance(&format!("wasi:filesystem/types@{WASI_P2}"))?;
    types.resource("descriptor", ResourceType::host::<Descriptor>(), drop_descriptor)?;
    types.func_wrap_async(
        "[method]descriptor.open-at",
        |mut store: StoreContextMut<'_, Ctx>,
         (fd, follow, path, open, flags): (Fd, PathFlags, String, OpenFlags, DescriptorFlags)| {
            Box::new(async move {
                let Some(known) = granted(store.as_context_mut(), &[(fd.rep(), &path, intent(open, flags))]) else {
                    return Ok((Err(ErrorCode::NotPermitted),));
                };
                let opened = store.data_mut().filesystem().open_at(fd, follow, path, open, flags).await;
                if let Ok(opened) = &opened {
                    store.data_mut().paths.0.insert(opened.rep(), known.clone());
                }
                Ok((told(store, &known, opened)?,))
            })
        },
    )?;
    path_functions!(shadow, types);
    Ok(())
}

fn intent(open: OpenFlags, flags: DescriptorFlags) -> Intent {
    let writes = flags.intersects(DescriptorFlags::WRITE | DescriptorFlags::MUTATE_DIRECTORY)
        || open.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE);
    match (flags.contains(DescriptorFlags::READ), writes) {
        (true, true) => Intent::ReadWrite,
        (false, true) => Intent::Write,
        (_, false) => Intent::Read,
    }
}

/// The crate's answer in the interface's terms. A path that turned out to lead out of its folder is told.
fn told<T>(store: StoreContextMut<'_, Ctx>, path: &str, done: FsResult<T>) -> wasmtime::Result<Result<T, ErrorCode>> {
    let code = match done {
        Ok(done) => return Ok(Ok(done)),
        Err(error) => error.downcast()?,
    };
    if code == ErrorCode::NotPermitted {
        left(store, path);
    }
    Ok(Err(code))
}
