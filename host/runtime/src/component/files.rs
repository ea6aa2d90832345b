//! The files of a component, each read once: what is hashed, checked, parsed and compiled are the same bytes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use policy::{Admitted, CAPABILITIES, ComponentName, Digest, Evidence, Policies, Signature, Snapshot};

use super::record::ComponentRecord;
use super::{LoadError, Manifest, Reuse};
use crate::package::{Package, PackageLimits};

/// Length of `component.toml`, in bytes.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 64 << 10;
/// Length of `component.sig`, in bytes.
pub(crate) const SIGNATURE_BYTES_MAX: u64 = 4 << 10;

/// A component as it was read from its folder, or from its one file.
#[derive(Debug)]
pub struct ComponentFiles {
    pub(crate) manifest: Manifest,
    pub(crate) identity: Identity,
    pub(crate) contents: Contents,
}

/// The bytes of a component's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    /// `component.toml`; code without one wants what it imports and nothing else.
    pub(crate) manifest: Option<Vec<u8>>,
    /// `component.wasm`.
    pub(crate) code: Vec<u8>,
    /// `component.sig`, where there is one.
    pub(crate) signature: Option<Vec<u8>>,
}

/// What a component is made of, to be held against policies again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// SHA-256 of `component.toml`.
    manifest: Digest,
    /// SHA-256 of `component.wasm`.
    pub(crate) code: Digest,
    signature: Option<Signature>,
}

impl ComponentFiles {
    /// Reads `component.toml`, `component.wasm` and, where there is one, `component.sig` of a folder, or a file `NAME.wasm` alone;
    /// `code_bytes_max` is the length of the code at most.
    ///
    /// # Errors
    /// When a file is missing, too long or malformed.
    pub fn read(path: &Path, code_bytes_max: u64) -> Result<ComponentFiles, LoadError> {
        let contents = Contents::read(path, code_bytes_max)?;
        ComponentFiles::parse(path, contents)
    }

    /// The same without `component.sig`, be it there or not.
    ///
    /// # Errors
    /// When a file is missing, too long or malformed.
    pub fn unsigned(folder: &Path, code_bytes_max: u64) -> Result<ComponentFiles, LoadError> {
        let contents = Contents { signature: None, ..Contents::read(folder, code_bytes_max)? };
        ComponentFiles::parse(folder, contents)
    }

    /// What the bytes say; the name of `path` is the component's.
    ///
    /// # Errors
    /// When the manifest or the signature is malformed, or the manifest has another name.
    pub(crate) fn parse(path: &Path, contents: Contents) -> Result<ComponentFiles, LoadError> {
        let name = name_of_path(path);
        let manifest = match &contents.manifest {
            Some(text) => parse_manifest(&path.join("component.toml"), text, &name)?,
            None => bare_manifest(&name)?,
        };
        let signature =
            contents.signature.as_deref().map(|text| parse_signature(&path.join("component.sig"), text)).transpose()?;
        let manifest_digest = Digest::of(contents.manifest.as_deref().unwrap_or_default());
        let identity = Identity { manifest: manifest_digest, code: Digest::of(&contents.code), signature };
        Ok(ComponentFiles { manifest, identity, contents })
    }

    /// Whether there is code and no manifest.
    pub(crate) fn is_bare(&self) -> bool {
        self.contents.manifest.is_none()
    }

    /// The same of a package.
    ///
    /// # Errors
    /// When the manifest or the signature is malformed.
    pub fn of_package(package: &Package) -> Result<ComponentFiles, LoadError> {
        let name = package.manifest()?.name;
        ComponentFiles::parse(name.as_str().as_ref(), package.clone().into())
    }

    /// What `component.toml` says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of `component.toml`.
    pub fn manifest_digest(&self) -> Digest {
        self.identity.manifest
    }

    /// SHA-256 of `component.wasm`.
    pub fn code_digest(&self) -> Digest {
        self.identity.code
    }

    /// `component.sig`, if it was there.
    pub fn signature(&self) -> Option<&Signature> {
        self.identity.signature.as_ref()
    }

    /// Whether the component may run under its policy, and who has signed it.
    ///
    /// # Errors
    /// When its digest, signature or version is not what the policies want, or the record of what ran can't be read.
    pub fn admit(&self, policies: &Policies, policy: &Snapshot, record: &ComponentRecord) -> Result<Admitted, LoadError> {
        self.identity.admit(&self.manifest, policies, policy, record)
    }
}

impl Identity {
    /// As [`ComponentFiles::admit`].
    pub(crate) fn admit(
        &self,
        manifest: &Manifest,
        policies: &Policies,
        policy: &Snapshot,
        record: &ComponentRecord,
    ) -> Result<Admitted, LoadError> {
        let floor = match policies.requires_signature(policy) {
            true => record.floor(&manifest.name)?,
            false => None,
        };
        let evidence = Evidence {
            name: &manifest.name,
            version: &manifest.version,
            manifest: self.manifest,
            code: self.code,
            signature: self.signature.as_ref(),
            floor: floor.as_ref().map(|floor| (floor, record.file())),
        };
        Ok(policies.admit(policy, &evidence)?)
    }

    /// SHA-256 of `component.toml`.
    pub(crate) fn manifest(&self) -> Digest {
        self.manifest
    }

    /// A short name for what the component is made of.
    pub(crate) fn id(&self) -> String {
        version_id(self.code, self.manifest)
    }
}

/// A short name for code and manifest together: 12 hexadecimal digits.
pub(crate) fn version_id(code: Digest, manifest: Digest) -> String {
    let mut id = Digest::of(format!("{code} {manifest}").as_bytes()).hex();
    id.truncate(12);
    id
}

impl Contents {
    /// Reads the files of a folder, of a package, or a file of code.
    ///
    /// # Errors
    /// When one is missing or too long.
    pub(crate) fn read(path: &Path, code_bytes_max: u64) -> Result<Contents, LoadError> {
        let code = |file: &Path| read(file, "as `component_bytes_max` in tessera.toml says", code_bytes_max);
        if !path.is_dir() {
            let limits = PackageLimits { code_bytes_max };
            if path.extension() != Some(OsStr::new("tessera")) {
                return Ok(Contents { manifest: None, code: code(path)?, signature: None });
            }
            let bytes = read(path, "for a package", limits.archive_bytes_max())?;
            let package = Package::read(&bytes, &limits);
            return Ok(package.map_err(|cause| LoadError::Package { file: path.into(), cause })?.into());
        }
        let manifest = Some(read(&path.join("component.toml"), "for every manifest", MANIFEST_BYTES_MAX)?);
        let code = code(&path.join("component.wasm"))?;
        let signature = match read(&path.join("component.sig"), "for every signature", SIGNATURE_BYTES_MAX) {
            Err(LoadError::Unreadable { cause, .. }) if cause.kind() == ErrorKind::NotFound => None,
            read => Some(read?),
        };
        Ok(Contents { manifest, code, signature })
    }
}

impl From<Package> for Contents {
    fn from(package: Package) -> Contents {
        Contents { manifest: Some(package.manifest_text), code: package.code, signature: package.signature }
    }
}

/// The name of the component that a path is for: `chat` of `chat/`, `chat.wasm` and `chat-0.1.0.tessera`.
pub(crate) fn name_of_path(path: &Path) -> String {
    let is_file = ["wasm", "tessera"].iter().any(|kind| path.extension() == Some(OsStr::new(kind)));
    let name = if is_file { path.file_stem() } else { path.file_name() };
    let name = name.unwrap_or_default().to_string_lossy();
    let versioned = name.rsplit_once('-').filter(|(_, version)| is_file && version.starts_with(|c: char| c.is_ascii_digit()));
    match versioned {
        Some((bare, version)) if version.contains('.') => bare.into(),
        _ => name.into(),
    }
}

/// Reads a file into memory, up to a length; `limit` says where that comes from.
fn read(file: &Path, limit: &'static str, bytes_max: u64) -> Result<Vec<u8>, LoadError> {
    let unreadable = |cause: std::io::Error| match cause.kind() {
        ErrorKind::NotFound if file.ends_with("component.wasm") => LoadError::NotBuilt(file.into()),
        _ => LoadError::Unreadable { file: file.into(), cause },
    };
    let open = File::open(file).map_err(unreadable)?;
    let too_long = |bytes| LoadError::TooLong { file: file.into(), bytes, limit, bytes_max };
    let bytes = open.metadata().map_err(unreadable)?.len();
    if bytes > bytes_max {
        return Err(too_long(bytes));
    }
    let mut content = Vec::new();
    open.take(bytes_max.saturating_add(1)).read_to_end(&mut content).map_err(unreadable)?;
    // A file may grow while it is read.
    let bytes = content.len() as u64;
    if bytes > bytes_max { Err(too_long(bytes)) } else { Ok(content) }
}

fn parse_manifest(file: &Path, text: &[u8], name: &str) -> Result<Manifest, LoadError> {
    let not_text = |cause| LoadError::Unreadable { file: file.into(), cause: std::io::Error::other(cause) };
    let text = std::str::from_utf8(text).map_err(not_text)?;
    let manifest: Manifest = toml::from_str(text).map_err(|cause| LoadError::Manifest { file: file.into(), cause })?;
    if name != manifest.name.as_str() {
        return Err(LoadError::Name { folder: name.into(), manifest: manifest.name });
    }
    match manifest.capabilities.iter().find(|name| !CAPABILITIES.contains(&name.as_str())) {
        Some(unknown) => Err(LoadError::UnknownCapability(unknown.clone())),
        None => Ok(manifest),
    }
}

/// That of code which comes alone. It wants what its code imports, which is known when that is compiled.
fn bare_manifest(name: &str) -> Result<Manifest, LoadError> {
    let parsed = name.parse::<ComponentName>().map_err(|cause| LoadError::BareName { name: name.into(), cause })?;
    Ok(Manifest {
        name: parsed,
        version: "0.0.0".into(),
        description: "Code without a manifest.".into(),
        routes: Vec::new(),
        capabilities: Vec::new(),
        imports: Vec::new(),
        guard: None,
        instance: Reuse::default(),
    })
}

fn parse_signature(file: &Path, text: &[u8]) -> Result<Signature, LoadError> {
    let malformed = |cause: String| LoadError::Signature { file: file.into(), cause };
    let text = std::str::from_utf8(text).map_err(|cause| malformed(cause.to_string()))?;
    Signature::parse(text).map_err(|cause| malformed(cause.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "name = \"NAME\"\nversion = \"0.1.0\"\ndescription = \"Made by a test.\"\n";

    fn folder() -> (tempfile::TempDir, std::path::PathBuf) {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("chat");
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join("component.toml"), MANIFEST.replace("NAME", "chat")).expect("writes");
        std::fs::write(folder.join("component.wasm"), b"code").expect("writes");
        (root, folder)
    }

    #[test]
    fn what_was_read_stays_as_it_was() {
        let (_root, folder) = folder();
        let files = ComponentFiles::read(&folder, 4).expect("reads");
        std::fs::write(folder.join("component.wasm"), b"evil").expect("writes");
        std::fs::write(folder.join("component.toml"), "").expect("writes");
        assert_eq!((files.contents.code.as_slice(), files.code_digest()), (&b"code"[..], Digest::of(b"code")));
        assert_eq!(files.manifest_digest(), Digest::of(MANIFEST.replace("NAME", "chat").as_bytes()));
    }

    #[test]
    fn a_file_that_is_too_long_is_not_even_read() {
        let (_root, folder) = folder();
        let refused = |bytes_max| ComponentFiles::read(&folder, bytes_max).expect_err("refused").to_string();
        let text = refused(3);
        assert!(text.contains("has 4 bytes and 3 are the most, as `component_bytes_max`"), "{text}");
        std::fs::write(folder.join("component.sig"), vec![b'#'; 5000]).expect("writes");
        assert!(refused(4).contains("component.sig has 5000 bytes"));
        std::fs::write(folder.join("component.toml"), vec![b'#'; 70_000]).expect("writes");
        assert!(refused(4).contains("component.toml has 70000 bytes"));
    }

    #[test]
    fn a_signature_that_is_none_keeps_the_component_out() {
        let (_root, folder) = folder();
        for garbage in [&b""[..], b"\xff\xfe", b"schema = 1", b"schema = 9\nkey = \"a\"\nsignature = \"\""] {
            std::fs::write(folder.join("component.sig"), garbage).expect("writes");
            let error = ComponentFiles::read(&folder, 4).expect_err("refused");
            assert!(matches!(error, LoadError::Signature { .. }), "{error}");
        }
        std::fs::write(folder.join("component.sig"), "schema = 1\nkey = \"a\"\nsignature = \"\"").expect("writes");
        assert!(ComponentFiles::read(&folder, 4).expect("reads").identity.signature.is_some());
    }

    #[test]
    fn code_alone_is_a_component_of_its_files_name() {
        let root = tempfile::tempdir().expect("a folder");
        let read = |file: &str| {
            std::fs::write(root.path().join(file), b"code").expect("writes");
            ComponentFiles::read(&root.path().join(file), 4)
        };
        let files = read("hello.wasm").expect("reads");
        assert!(files.is_bare() && files.manifest.capabilities.is_empty());
        assert_eq!((files.manifest.name.as_str(), files.code_digest()), ("hello", Digest::of(b"code")));
        for (path, name) in
            [("a/b", "b"), ("a/b.wasm", "b"), ("b-1.tessera", "b-1"), ("b-1.2.0.tessera", "b"), ("b-1.2", "b-1.2")]
        {
            assert_eq!(name_of_path(path.as_ref()), name);
        }
        let refused = read("Not a name.wasm").expect_err("refused").to_string();
        assert!(refused.contains("Not a name.wasm"), "{refused}");
    }
}
