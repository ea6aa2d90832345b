//! `wasi:filesystem`: folders that the policy names. What is linked is the crate `wasmtime-wasi`, which keeps a guest inside its
//! folders; before it, here, every function that takes a path asks the policy, and what leaves a folder is told.

mod p2;
mod p3;

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use policy::{Access, Authority, Snapshot};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use wasmtime::component::{Linker, Resource};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::preopens::Host;
use wasmtime_wasi::p2::bindings::filesystem::types::HostDescriptor;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use crate::call;
use crate::sandbox::Ctx;

type Fd = Resource<Descriptor>;

/// Every function that names paths, but for `open-at`: what it is called, its arguments, and the rights that it takes. Both versions
/// have them alike; `$shadow` puts one of them behind the policy.
macro_rules! path_functions {
    ($shadow:ident, $types:ident) => {
        $shadow!($types, "stat-at", stat_at(fd, follow: PathFlags, path: String), [(fd.rep(), &path, Intent::Read)]);
        $shadow!($types, "readlink-at", readlink_at(fd, path: String), [(fd.rep(), &path, Intent::Read)]);
        $shadow!($types, "metadata-hash-at", metadata_hash_at(fd, follow: PathFlags, path: String), [(fd.rep(), &path, Intent::Read)]);
        $shadow!($types, "create-directory-at", create_directory_at(fd, path: String), [(fd.rep(), &path, Intent::Write)]);
        $shadow!($types, "remove-directory-at", remove_directory_at(fd, path: String), [(fd.rep(), &path, Intent::Write)]);
        $shadow!($types, "unlink-file-at", unlink_file_at(fd, path: String), [(fd.rep(), &path, Intent::Write)]);
        $shadow!(
            $types, "set-times-at",
            set_times_at(fd, follow: PathFlags, path: String, accessed: NewTimestamp, modified: NewTimestamp),
            [(fd.rep(), &path, Intent::Write)]
        );
        $shadow!(
            $types, "link-at",
            link_at(fd, follow: PathFlags, from: String, into: Fd, to: String),
            [(fd.rep(), &from, Intent::ReadWrite), (into.rep(), &to, Intent::Write)]
        );
        $shadow!(
            $types, "rename-at",
            rename_at(fd, from: String, into: Fd, to: String),
            [(fd.rep(), &from, Intent::ReadWrite), (into.rep(), &to, Intent::Write)]
        );
        $shadow!($types, "symlink-at", symlink_at(fd, target: String, path: String), [(fd.rep(), &path, Intent::Link)]);
    };
}
use path_functions;

/// Shows an instance the folders of its policy. One that can't be opened is left out, and the operator is told.
///
/// No part of a folder's path may be a symbolic link: who can write above it could turn it to another place.
pub(crate) fn preopen(policy: &Snapshot, wasi: &mut WasiCtxBuilder) {
    for folder in policy.grants().fs.iter().flat_map(|fs| &fs.allow) {
        let perms = match folder.access {
            Access::Read => FsPerms::ReadOnly,
            Access::ReadWrite => FsPerms::ReadWrite,
        };
        if let Err(error) = open(&folder.host).map_err(Into::into).and_then(|opened| {
            let opened = format!("/proc/self/fd/{}", opened.as_raw_fd());
            wasi.preopened_dir(opened, &folder.guest, perms).map(|_| ())
        }) {
            let (component, host, error) = (policy.component(), folder.host.display(), format!("{error:#}"));
            tracing::warn!(%component, %host, error, "a granted folder can't be opened; no part of its path may be a link");
        }
    }
}

fn open(folder: &Path) -> std::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat2(CWD, folder, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?)
}

/// What a guest's descriptors are called, by handle: paths as the guest knows them.
#[derive(Default)]
pub(crate) struct Paths(HashMap<u32, String>);

impl Paths {
    /// A path below a descriptor, without `.` and `..`; one that would leave its folder keeps the `..`, which no policy grants.
    fn below(&self, descriptor: u32, path: &str) -> String {
        let base = self.0.get(&descriptor).map_or("", String::as_str);
        let start = if path.starts_with('/') { "" } else { base.trim_end_matches('/') };
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            match part {
                ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        parts.iter().fold(start.into(), |path, part| format!("{path}/{part}"))
    }
}

/// What is about to be done at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Intent {
    Read,
    Write,
    /// Both: opening for both, and giving what is there another name.
    ReadWrite,
    /// Making a symbolic link.
    Link,
}

/// One path that a function names, below a descriptor.
type Wish<'a> = (u32, &'a str, Intent);

/// Asks for the right to each path. Gives the last of them as the guest knows it; none if one is denied.
fn granted(mut store: StoreContextMut<'_, Ctx>, wishes: &[Wish<'_>]) -> Option<String> {
    let mut path = String::new();
    for (descriptor, below, intent) in wishes {
        path = store.data().paths.below(*descriptor, below);
        let ask = |authority: Authority<'_>| match intent {
            Intent::Read => authority.read_file(&path),
            Intent::Write => authority.write_file(&path),
            Intent::ReadWrite => authority.read_file(&path).and_then(|()| authority.write_file(&path)),
            Intent::Link => authority.link_file(&path),
        };
        call::ask(store.as_context_mut(), ask).ok()?;
    }
    Some(path)
}

/// Tells of a path that passed the policy and led out of its folder all the same, as by a symbolic link; the crate refused it.
fn left(store: StoreContextMut<'_, Ctx>, path: &str) {
    call::ask(store, |authority| authority.left_folder(path));
}

/// Puts the policy before the crate's functions.
pub(super) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    p2::link(linker)?;
    p3::link(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// `get-directories` of both versions: the granted folders.
fn get_directories(mut store: StoreContextMut<'_, Ctx>, (): ()) -> wasmtime::Result<(Vec<(Fd, String)>,)> {
    let folders = store.data_mut().filesystem().get_directories()?;
    for (descriptor, path) in &folders {
        store.data_mut().paths.0.insert(descriptor.rep(), path.clone());
    }
    if folders.is_empty() {
        // Standard libraries ask when a program first names a file.
        call::ask(store, |authority| authority.read_file("/").ok());
    }
    Ok((folders,))
}

/// The destructor of both versions.
fn drop_descriptor(mut store: StoreContextMut<'_, Ctx>, descriptor: u32) -> wasmtime::Result<()> {
    store.data_mut().paths.0.remove(&descriptor);
    HostDescriptor::drop(&mut store.data_mut().filesystem(), Resource::new_own(descriptor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_as_the_guest_knows_it_and_one_that_leaves_keeps_its_dots() {
        let paths = Paths([(7, "/data/in".into()), (8, "/".into())].into());
        for (descriptor, below, told) in [
            (7, "a/b", "/data/in/a/b"),
            (7, "./a//b/../c/", "/data/in/a/c"),
            (7, ".", "/data/in"),
            (7, "..", "/data/in/.."),
            (7, "a/../../x", "/data/in/../x"),
            (7, "../../etc", "/data/in/../../etc"),
            (7, "/etc/passwd", "/etc/passwd"),
            (8, "a", "/a"),
        ] {
            assert_eq!(paths.below(descriptor, below), told, "{below}");
        }
    }
}
