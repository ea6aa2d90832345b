//! Leaving a granted folder, and changing one that may only be read. By `wasi:filesystem` itself, 0.2 and 0.3, as libc's own
//! checks would come before the host's. The tests lay out the folder, see `tests/attack/files.rs`.

use crate::Report;

/// One thing to try. Links are followed where an attempt opens or links.
enum Attempt {
    Read(&'static str),
    /// The same without following a link at the end.
    ReadPlain(&'static str),
    List(&'static str),
    Stat(&'static str),
    Readlink(&'static str),
    /// Makes a file, or opens it to be written.
    Write(&'static str),
    /// Empties a file that is opened to be read.
    Truncate(&'static str),
    SetSize(&'static str),
    Touch(&'static str),
    Rename(&'static str, &'static str),
    Hardlink(&'static str, &'static str),
    /// Makes a link at the second path that says the first.
    Symlink(&'static str, &'static str),
    Mkdir(&'static str),
    Unlink(&'static str),
    Rmdir(&'static str),
}

use Attempt::{
    Hardlink, List, Mkdir, Read, ReadPlain, Readlink, Rename, Rmdir, SetSize, Stat, Symlink, Touch, Truncate, Unlink, Write,
};

/// Each leads out of the folder, whatever is granted in it.
const ESCAPES: [Attempt; 52] = [
    Read(".."),
    Read("../outside.txt"),
    Read("./../outside.txt"),
    Read("folder/../../outside.txt"),
    Read("folder/../../../../../../../../../../etc/passwd"),
    Read("inside.txt/../../outside.txt"),
    Read("folder//..//..//outside.txt"),
    Read("/"),
    Read("//"),
    Read("/etc/passwd"),
    Read("//etc/passwd"),
    Read("/proc/self/fd"),
    Read("/proc/self/environ"),
    Read("/dev/zero"),
    Read("..\\outside.txt"),
    Read("%2e%2e/outside.txt"),
    Read("\u{2025}/outside.txt"),
    Read("\u{ff0e}\u{ff0e}/outside.txt"),
    Read("../outside.txt\0"),
    Read("file-link"),
    Read("file-link/"),
    Read("absolute-link"),
    Read("absolute-link/"),
    Read("folder-link"),
    Read("folder-link/"),
    Read("folder-link/outside.txt"),
    Read("folder-link/../outside.txt"),
    Read("process-link/environ"),
    Read("two-links/outside.txt"),
    ReadPlain("file-link/"),
    ReadPlain("absolute-link/"),
    ReadPlain("folder-link/"),
    ReadPlain("folder-link/."),
    List("folder-link/"),
    List("../"),
    Stat("../outside.txt"),
    Stat("folder-link/outside.txt"),
    Stat("file-link/"),
    Readlink("folder-link/secret-link"),
    Write("../planted.txt"),
    Write("file-link"),
    Write("folder-link/planted.txt"),
    Truncate("../outside.txt"),
    Touch("../outside.txt"),
    Rename("inside.txt", "../stolen.txt"),
    Rename("../outside.txt", "stolen.txt"),
    Hardlink("../outside.txt", "stolen.txt"),
    Hardlink("inside.txt", "folder-link/stolen.txt"),
    Symlink("/etc/passwd", "planted-link"),
    Mkdir("../planted"),
    Unlink("../outside.txt"),
    Rmdir("../other"),
];

/// Each changes something in the folder; in this order all of them can be done where it may be written.
const CHANGES: [Attempt; 13] = [
    Write("new.txt"),
    Write("inside.txt"),
    SetSize("inside.txt"),
    Truncate("inside.txt"),
    Touch("inside.txt"),
    Hardlink("inside.txt", "linked.txt"),
    Symlink("inside.txt", "soft.txt"),
    Rename("inside.txt", "renamed.txt"),
    Rename("folder", "moved"),
    Mkdir("made"),
    Unlink("renamed.txt"),
    Unlink("file-link"),
    Rmdir("made"),
];

/// By interface 0.2 or 0.3, which the size says.
pub(crate) async fn escape(size: u64) -> Report {
    run(size, &ESCAPES).await
}

/// By interface 0.2 or 0.3, which the size says.
pub(crate) async fn write(size: u64) -> Report {
    run(size, &CHANGES).await
}

async fn run(interface: u64, attempts: &'static [Attempt]) -> Report {
    match interface {
        2 => second::run(attempts).await,
        3 => third::run(attempts).await,
        _ => Report::stopped(0, "there are interfaces 2 and 3"),
    }
}

fn name(attempt: &Attempt) -> String {
    match attempt {
        Read(path) => format!("read {path}"),
        ReadPlain(path) => format!("read {path} as it is"),
        List(path) => format!("list {path}"),
        Stat(path) => format!("stat {path}"),
        Readlink(path) => format!("readlink {path}"),
        Write(path) => format!("write {path}"),
        Truncate(path) => format!("truncate {path}"),
        SetSize(path) => format!("set the size of {path}"),
        Touch(path) => format!("touch {path}"),
        Rename(path, to) => format!("rename {path} to {to}"),
        Hardlink(path, to) => format!("hardlink {path} to {to}"),
        Symlink(path, at) => format!("symlink to {path} at {at}"),
        Mkdir(path) => format!("mkdir {path}"),
        Unlink(path) => format!("unlink {path}"),
        Rmdir(path) => format!("rmdir {path}"),
    }
}

/// The same code by both interfaces: 0.2 takes paths as `&str` and waits, 0.3 takes them as `String` and is awaited.
macro_rules! interface {
    ($module:ident, $wasi:ident $(, . $await:tt)?) => {
        mod $module {
            use $wasi::filesystem::preopens::get_directories;
            use $wasi::filesystem::types::{
                Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
            };

            use super::{Attempt, name};
            use crate::{Report, code};

            /// All attempts in the first granted folder, after one that has to work.
            #[allow(clippy::unused_async, reason = "one of the two interfaces waits")]
            pub(super) async fn run(attempts: &'static [Attempt]) -> Report {
                let folders = get_directories();
                let Some((folder, _)) = folders.first() else { return Report::stopped(0, "no folder is granted") };
                if let Err(error) = attempt(folder, &Attempt::Read("inside.txt")).await {
                    return Report::stopped(0, format!("not even inside: {}", code(error)));
                }
                let mut results = Vec::new();
                for each in attempts {
                    results.push((name(each), attempt(folder, each).await.map_err(code)));
                }
                Report::of_attempts(results)
            }

            async fn open(
                folder: &Descriptor,
                path: &str,
                follow: PathFlags,
                how: OpenFlags,
                access: DescriptorFlags,
            ) -> Result<Descriptor, ErrorCode> {
                folder.open_at(follow, path.into(), how, access)$(.$await)?
            }

            async fn attempt(folder: &Descriptor, attempt: &Attempt) -> Result<(), ErrorCode> {
                let (follow, plain) = (PathFlags::SYMLINK_FOLLOW, PathFlags::empty());
                let (read, nothing) = (DescriptorFlags::READ, OpenFlags::empty());
                let write = DescriptorFlags::READ | DescriptorFlags::WRITE;
                match *attempt {
                    Attempt::Read(path) => open(folder, path, follow, nothing, read).await.map(drop),
                    Attempt::ReadPlain(path) => open(folder, path, plain, nothing, read).await.map(drop),
                    Attempt::List(path) => open(folder, path, follow, OpenFlags::DIRECTORY, read).await.map(drop),
                    Attempt::Stat(path) => folder.stat_at(follow, path.into())$(.$await)?.map(drop),
                    Attempt::Readlink(path) => folder.readlink_at(path.into())$(.$await)?.map(drop),
                    Attempt::Write(path) => open(folder, path, follow, OpenFlags::CREATE, write).await.map(drop),
                    Attempt::Truncate(path) => open(folder, path, follow, OpenFlags::TRUNCATE, read).await.map(drop),
                    Attempt::SetSize(path) => {
                        let file = open(folder, path, follow, nothing, write).await?;
                        file.set_size(1)$(.$await)?
                    }
                    Attempt::Touch(path) => {
                        folder.set_times_at(follow, path.into(), NewTimestamp::Now, NewTimestamp::Now)$(.$await)?
                    }
                    Attempt::Rename(path, to) => folder.rename_at(path.into(), folder, to.into())$(.$await)?,
                    Attempt::Hardlink(path, to) => folder.link_at(plain, path.into(), folder, to.into())$(.$await)?,
                    Attempt::Symlink(path, at) => folder.symlink_at(path.into(), at.into())$(.$await)?,
                    Attempt::Mkdir(path) => folder.create_directory_at(path.into())$(.$await)?,
                    Attempt::Unlink(path) => folder.unlink_file_at(path.into())$(.$await)?,
                    Attempt::Rmdir(path) => folder.remove_directory_at(path.into())$(.$await)?,
                }
            }
        }
    };
}

interface!(second, wasip2);
interface!(third, wasip3, .await);
