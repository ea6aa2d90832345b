//! The files of a component, each read once: what is hashed, checked, parsed and compiled are the same bytes.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use policy::{Admitted, CAPABILITIES, Digest, Evidence, Policies, Signature, Snapshot};

use super::record::ComponentRecord;
use super::{LoadError, Manifest};
use crate::package::Package;

/// Length of `component.toml`, in bytes.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 64 << 10;
/// Length of `component.sig`, in bytes.
pub(crate) const SIGNATURE_BYTES_MAX: u64 = 4 << 10;

/// A component as it was read from its folder.
#[derive(Debug)]
pub struct ComponentFiles {
    pub(crate) manifest: Manifest,
    pub(crate) identity: Identity,
    pub(crate) code: Vec<u8>,
}

/// What a component is made of, to be held against policies again and again.
#[derive(Debug)]
pub(crate) struct Identity {
    /// SHA-256 of `component.toml`.
    manifest: Digest,
    /// SHA-256 of `component.wasm`.
    pub(crate) code: Digest,
    signature: Option<Signature>,
}

impl ComponentFiles {
    /// Reads `component.toml`, `component.wasm` and, where there is one, `component.sig`; `code_bytes_max` is the length of the code
    /// at most.
    ///
    /// # Errors
    /// When a file is missing, too long or malformed.
    pub fn read(folder: &Path, code_bytes_max: u64) -> Result<ComponentFiles, LoadError> {
        let mut files = ComponentFiles::unsigned(folder, code_bytes_max)?;
        files.identity.signature = read_signature(folder)?;
        Ok(files)
    }

    /// The same without `component.sig`, be it there or not.
    ///
    /// # Errors
    /// When a file is missing, too long or malformed.
    pub fn unsigned(folder: &Path, code_bytes_max: u64) -> Result<ComponentFiles, LoadError> {
        let text = read(&folder.join("component.toml"), "for every manifest", MANIFEST_BYTES_MAX)?;
        let manifest = parse_manifest(folder, &text)?;
        let code = read(&folder.join("component.wasm"), "as `component_bytes_max` in tessera.toml says", code_bytes_max)?;
        let identity = Identity { manifest: Digest::of(&text), code: Digest::of(&code), signature: None };
        Ok(ComponentFiles { manifest, identity, code })
    }

    /// The same of a package.
    ///
    /// # Errors
    /// When the manifest or the signature is malformed.
    pub fn of_package(package: &Package) -> Result<ComponentFiles, LoadError> {
        let (manifest, code) = (package.manifest()?, package.code.clone());
        let signature = package.signature.as_deref().map(|text| parse_signature("component.sig".as_ref(), text)).transpose()?;
        let identity = Identity { manifest: Digest::of(&package.manifest_text), code: Digest::of(&code), signature };
        Ok(ComponentFiles { manifest, identity, code })
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

fn parse_manifest(folder: &Path, text: &[u8]) -> Result<Manifest, LoadError> {
    let file = folder.join("component.toml");
    let not_text = |cause| LoadError::Unreadable { file: file.clone(), cause: std::io::Error::other(cause) };
    let text = std::str::from_utf8(text).map_err(not_text)?;
    let manifest: Manifest = toml::from_str(text).map_err(|cause| LoadError::Manifest { file, cause })?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    if name != manifest.name.as_str() {
        return Err(LoadError::Name { folder: name.into(), manifest: manifest.name });
    }
    match manifest.capabilities.iter().find(|name| !CAPABILITIES.contains(&name.as_str())) {
        Some(unknown) => Err(LoadError::UnknownCapability(unknown.clone())),
        None => Ok(manifest),
    }
}

fn read_signature(folder: &Path) -> Result<Option<Signature>, LoadError> {
    let file = folder.join("component.sig");
    let text = match read(&file, "for every signature", SIGNATURE_BYTES_MAX) {
        Err(LoadError::Unreadable { cause, .. }) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    parse_signature(&file, &text).map(Some)
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
        assert_eq!((files.code.as_slice(), files.code_digest()), (&b"code"[..], Digest::of(b"code")));
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
}
