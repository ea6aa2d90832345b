//! `.tessera` packages: a component in one file.
//!
//! A package is a zip archive with up to five entries and nothing else. It carries no rights: `policy.toml` in it is what its
//! author asks for, and stays unread until a person takes it over.

mod layout;

use std::fs::File;
use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use layout::Entry;
use policy::CAPABILITIES;
use zip::read::read_zipfile_from_stream;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::component::files::{MANIFEST_BYTES_MAX, SIGNATURE_BYTES_MAX};
use crate::component::{LoadError, Manifest};
use crate::config::ServerConfig;

/// Length of `policy.toml`, in bytes.
const POLICY_BYTES_MAX: u64 = 64 << 10;
/// Length of `README.md`, in bytes.
const README_BYTES_MAX: u64 = 256 << 10;
/// Length of all that an archive has beside the content of its entries, in bytes.
const FRAME_BYTES_MAX: u64 = 4 << 10;

/// How long the parts of a package may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackageLimits {
    /// Length of `component.wasm` at most, in bytes.
    pub code_bytes_max: u64,
}

impl PackageLimits {
    /// Those of a server.
    pub fn of(config: &ServerConfig) -> PackageLimits {
        PackageLimits { code_bytes_max: config.component_bytes_max }
    }

    /// Length of a whole archive at most, in bytes: no longer file needs to be read.
    pub fn archive_bytes_max(&self) -> u64 {
        // What can't be made smaller grows a little when it is compressed.
        let content = Part::ALL.iter().fold(FRAME_BYTES_MAX, |sum, part| sum.saturating_add(part.bytes_max(self)));
        content.saturating_add(content >> 8)
    }
}

/// A component with all that belongs to it, in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Package {
    /// `component.toml`.
    pub manifest_text: Vec<u8>,
    /// `component.wasm`.
    pub code: Vec<u8>,
    /// `component.sig`: who has signed both.
    pub signature: Option<Vec<u8>>,
    /// `policy.toml`: the rights that the author proposes. Nothing applies it by itself.
    pub policy: Option<Vec<u8>>,
    /// `README.md`, for people.
    pub readme: Option<Vec<u8>>,
}

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The file is something else.
    #[error("it is no package: `tessera package DIR` makes one")]
    NotAPackage,
    /// Bytes of it are missing or changed.
    #[error("the package is damaged, {0}: fetch it again, or make it again with `tessera package DIR`")]
    Damaged(&'static str),
    /// It is an archive with something in it that packages don't have.
    #[error("the package is refused, {0}: make it with `tessera package DIR`")]
    Unusual(&'static str),
    /// An entry's name is none that a package has.
    #[error("the package is refused, `{0}` has no place in it: there may be {known}", known = Part::names())]
    Name(String),
    /// Two entries have one name.
    #[error("the package is refused, it has two entries `{0}`: which one counts?")]
    Twice(&'static str),
    /// A part that every package has is not there.
    #[error("there is no {0}: a component needs component.toml and component.wasm")]
    Missing(&'static str),
    /// A part is longer than it may be.
    #[error("{name} has {bytes} bytes and {bytes_max} are the most{}", Part::limit(name))]
    TooLong {
        /// The part.
        name: &'static str,
        /// Its length.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// A file can't be read or written.
    #[error("{file}: {cause}")]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// There is something where the component should go.
    #[error("{0} is there already: nothing is overwritten, so name another folder or delete it")]
    Occupied(PathBuf),
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Manifest,
    Signature,
    Policy,
    Readme,
    Code,
}

impl Part {
    /// In the order in which a package has them: what is looked at first comes first.
    const ALL: [Part; 5] = [Part::Manifest, Part::Signature, Part::Policy, Part::Readme, Part::Code];

    fn name(self) -> &'static str {
        match self {
            Part::Manifest => "component.toml",
            Part::Signature => "component.sig",
            Part::Policy => "policy.toml",
            Part::Readme => "README.md",
            Part::Code => "component.wasm",
        }
    }

    fn names() -> String {
        Part::ALL.map(|part| part.name()).join(", ")
    }

    fn bytes_max(self, limits: &PackageLimits) -> u64 {
        match self {
            Part::Manifest => MANIFEST_BYTES_MAX,
            Part::Signature => SIGNATURE_BYTES_MAX,
            Part::Policy => POLICY_BYTES_MAX,
            Part::Readme => README_BYTES_MAX,
            Part::Code => limits.code_bytes_max,
        }
    }

    /// Where the limit of a part comes from, if one can change it.
    fn limit(name: &str) -> &'static str {
        match name == Part::Code.name() {
            true => ", as `component_bytes_max` in tessera.toml says",
            false => "",
        }
    }

    fn check(self, bytes: u64, limits: &PackageLimits) -> Result<(), PackageError> {
        let bytes_max = self.bytes_max(limits);
        if bytes > bytes_max { Err(PackageError::TooLong { name: self.name(), bytes, bytes_max }) } else { Ok(()) }
    }
}

impl Package {
    /// Whether a file that begins so is an archive.
    pub fn is_package(bytes: &[u8]) -> bool {
        bytes.starts_with(layout::ENTRY)
    }

    /// Reads an archive. Every byte of it belongs to an entry that packages have; nothing is inflated beyond its limit.
    ///
    /// # Errors
    /// When it is damaged, or anything in it is not as `tessera package` makes it.
    pub fn read(bytes: &[u8], limits: &PackageLimits) -> Result<Package, PackageError> {
        if !Package::is_package(bytes) {
            return Err(PackageError::NotAPackage);
        }
        let entries = layout::entries(bytes, limits)?;
        Package::of(|part| entries.iter().find(|entry| entry.part == part).map(inflate).transpose())
    }

    /// Reads what a component's folder has of a package; other files stay behind.
    ///
    /// # Errors
    /// When a file can't be read or is too long, or the manifest or the code is missing.
    pub fn from_folder(folder: &Path, limits: &PackageLimits) -> Result<Package, PackageError> {
        Package::of(|part| read_file(&folder.join(part.name()), part, limits))
    }

    fn of(mut read: impl FnMut(Part) -> Result<Option<Vec<u8>>, PackageError>) -> Result<Package, PackageError> {
        let missing = |part: Part| PackageError::Missing(part.name());
        Ok(Package {
            manifest_text: read(Part::Manifest)?.ok_or_else(|| missing(Part::Manifest))?,
            code: read(Part::Code)?.ok_or_else(|| missing(Part::Code))?,
            signature: read(Part::Signature)?,
            policy: read(Part::Policy)?,
            readme: read(Part::Readme)?,
        })
    }

    fn part(&self, part: Part) -> Option<&[u8]> {
        match part {
            Part::Manifest => Some(&self.manifest_text),
            Part::Signature => self.signature.as_deref(),
            Part::Policy => self.policy.as_deref(),
            Part::Readme => self.readme.as_deref(),
            Part::Code => Some(&self.code),
        }
    }

    /// Its parts by the names of their files, in a fixed order.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        Part::ALL.into_iter().filter_map(|part| Some((part.name(), self.part(part)?)))
    }

    /// Whether every part is within its limit.
    ///
    /// # Errors
    /// When one is not.
    pub fn check(&self, limits: &PackageLimits) -> Result<(), PackageError> {
        let check = |part: Part| self.part(part).map_or(Ok(()), |content| part.check(content.len() as u64, limits));
        Part::ALL.into_iter().try_for_each(check)
    }

    /// What `component.toml` says.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn manifest(&self) -> Result<Manifest, LoadError> {
        let file = PathBuf::from(Part::Manifest.name());
        let text = std::str::from_utf8(&self.manifest_text);
        let text = text.map_err(|cause| LoadError::Unreadable { file: file.clone(), cause: io::Error::other(cause) })?;
        let manifest: Manifest = toml::from_str(text).map_err(|cause| LoadError::Manifest { file, cause })?;
        match manifest.capabilities.iter().find(|name| !CAPABILITIES.contains(&name.as_str())) {
            Some(unknown) => Err(LoadError::UnknownCapability(unknown.clone())),
            None => Ok(manifest),
        }
    }

    /// The archive. The same parts give the same bytes: no times, users or orders are in it.
    ///
    /// # Errors
    /// When a part is longer than an archive can hold, 4 GiB.
    pub fn write(&self) -> Result<Vec<u8>, PackageError> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            .unix_permissions(0o644);
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in self.files() {
            let written = archive.start_file(name, options).map_err(io::Error::from);
            let written = written.and_then(|()| archive.write_all(content));
            written.map_err(|cause| PackageError::File { file: name.into(), cause })?;
        }
        let archive = archive.finish().map_err(|cause| PackageError::File { file: "package".into(), cause: cause.into() })?;
        Ok(archive.into_inner())
    }

    /// Writes the parts into a new folder, which is there whole or not at all.
    ///
    /// # Errors
    /// When the folder is there already, or can't be written.
    pub fn place(&self, folder: &Path) -> Result<(), PackageError> {
        static DRAFTS: AtomicU64 = AtomicU64::new(0);
        if folder.symlink_metadata().is_ok() {
            return Err(PackageError::Occupied(folder.into()));
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let count = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let draft = folder.with_file_name(format!(".{name}.draft-{}-{count}", std::process::id()));
        let failed = |file: &Path| {
            let file = file.to_owned();
            move |cause| PackageError::File { file, cause }
        };
        std::fs::create_dir(&draft).map_err(failed(&draft))?;
        let placed = self.files().try_for_each(|(name, content)| {
            let file = draft.join(name);
            let written = File::create_new(&file).and_then(|mut open| open.write_all(content).and_then(|()| open.sync_all()));
            written.map_err(failed(&file))
        });
        let placed = placed.and_then(|()| std::fs::rename(&draft, folder).map_err(failed(folder)));
        if placed.is_err() {
            drop(std::fs::remove_dir_all(&draft)); // what is left of it is in nobody's way
        }
        placed
    }
}

/// A package shows sizes: its content is nobody's log line.
impl std::fmt::Debug for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.files().map(|(name, content)| (name, content.len()))).finish()
    }
}

fn inflate(entry: &Entry<'_>) -> Result<Vec<u8>, PackageError> {
    let damaged = |_| PackageError::Damaged("an entry can't be inflated or has another checksum");
    let mut archive = entry.bytes;
    let file = read_zipfile_from_stream(&mut archive).map_err(io::Error::from).map_err(damaged)?;
    let file = file.ok_or(PackageError::Damaged("an entry is missing"))?;
    let mut content = Vec::new();
    // One byte more than it says: its checksum is looked at when nothing is left.
    file.take(entry.content_bytes.saturating_add(1)).read_to_end(&mut content).map_err(damaged)?;
    match content.len() as u64 == entry.content_bytes {
        true => Ok(content),
        false => Err(PackageError::Damaged("an entry has another length than it says")),
    }
}

fn read_file(file: &Path, part: Part, limits: &PackageLimits) -> Result<Option<Vec<u8>>, PackageError> {
    let failed = |cause| PackageError::File { file: file.into(), cause };
    let about = match std::fs::metadata(file) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        about => about.map_err(failed)?,
    };
    if !about.is_file() {
        return Err(failed(io::Error::other("it is no file")));
    }
    part.check(about.len(), limits)?;
    let mut content = Vec::new();
    let open = File::open(file).map_err(failed)?;
    open.take(part.bytes_max(limits).saturating_add(1)).read_to_end(&mut content).map_err(failed)?;
    part.check(content.len() as u64, limits)?; // it may have grown since
    Ok(Some(content))
}

#[cfg(test)]
mod tests;
