//! `wasi:filesystem` 0.3.

use wasmtime::component::{Accessor, Linker, ResourceType};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p3::bindings::filesystem::types::{
    DescriptorFlags, ErrorCode, HostDescriptorWithStore, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p3::filesystem::FilesystemResult;

use super::super::WASI_P3;
use super::{Fd, Intent, drop_descriptor, get_directories, granted, left, path_functions};
use crate::sandbox::Ctx;

/// A function that names paths: asks for each, then does what the crate does.
macro_rules! shadow {
    ($types:ident, $name:literal, $method:ident($fd:ident, $($arg:ident: $ty:ty),+), $wishes:expr) => {
        $types.func_wrap_concurrent(
            concat!("[method]descriptor.", $name),
            |accessor: &Accessor<Ctx>, ($fd, $($arg),+): (Fd, $($ty),+)| {
                Box::pin(async move {
                    let Some(path) = accessor.with(|mut store| granted(store.as_context_mut(), &$wishes)) else {
                        return Ok((Err(ErrorCode::NotPermitted),));
                    };
                    let files = accessor.with_getter::<WasiFilesystem>(|ctx| ctx.filesystem());
                    let done = HostDescriptorWithStore::$method(&files, $fd, $($arg),+).await;
                    accessor.with(|mut store| Ok((told(store.as_context_mut(), &path, done)?,)))
                })
            },
        )?;
    };
}

pub(super) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.instance(&format!("wasi:filesystem/preopens@{WASI_P3}"))?.func_wrap("get-directories", get_directories)?;
    let mut types = linker.instance(&format!("wasi:filesystem/types@{WASI_P3}"))?;
    types.resource("descriptor", ResourceType::host::<Descriptor>(), drop_descriptor)?;
    types.func_wrap_concurrent(
        "[method]descriptor.open-at",
        |accessor: &Accessor<Ctx>, (fd, follow, path, open, flags): (Fd, PathFlags, String, OpenFlags, DescriptorFlags)| {
            Box::pin(async move {
                let wish = [(fd.rep(), path.as_str(), intent(open, flags))];
                let Some(known) = accessor.with(|mut store| granted(store.as_context_mut(), &wish)) else {
                    return Ok((Err(ErrorCode::NotPermitted),));
                };
                let files = accessor.with_getter::<WasiFilesystem>(|ctx| ctx.filesystem());
                let opened = HostDescriptorWithStore::open_at(&files, fd, follow, path, open, flags).await;
                accessor.with(|mut store| {
                    let mut store = store.as_context_mut();
                    if let Ok(opened) = &opened {
                        store.data_mut().paths.0.insert(opened.rep(), known.clone());
                    }
                    Ok((told(store, &known, opened)?,))
                })
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
fn told<T>(store: StoreContextMut<'_, Ctx>, path: &str, done: FilesystemResult<T>) -> wasmtime::Result<Result<T, ErrorCode>> {
    let code = match done {
        Ok(done) => return Ok(Ok(done)),
        Err(error) => error.downcast()?,
    };
    if matches!(code, ErrorCode::NotPermitted) {
        left(store, path);
    }
    Ok(Err(code))
}
