//! Where components come from: a folder, a package, bare code, or an OCI registry.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use policy::{CAPABILITIES, ComponentName};
use runtime::{Package, PackageLimits};

use crate::oci::login::Login;
use crate::oci::{self, Registry};
use crate::plugin::docs;

/// How a component in binary form begins: the four bytes of all WebAssembly, the version of its format and the layer.
const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
/// How all WebAssembly begins.
const WASM: &[u8] = b"\0asm";
/// Version of a component that comes without any.
const VERSION: &str = "0.1.0";

/// Reads a component from `DIR`, `FILE.tessera`, `FILE.wasm` or `oci://REGISTRY/REPOSITORY:TAG`. It blocks, and is not for async
/// code.
///
/// # Errors
/// When there is none, or it is malformed or beyond its limits.
pub(crate) fn component_from(source: &str, login: &Login, limits: &PackageLimits) -> anyhow::Result<Package> {
    if oci::is_address(source) {
        return Ok(Registry::open(source, login)?.pull(limits)?.package);
    }
    let path = Path::new(source);
    let about = std::fs::metadata(path).with_context(|| format!("there is no {source}"))?;
    let package = match about.is_dir() {
        true => Package::from_folder(path, limits)?,
        false => from_file(path, limits)?,
    };
    check(&package).with_context(|| source.to_owned())?;
    Ok(package)
}

/// Reads a package or bare code; they are told apart by how they begin.
fn from_file(file: &Path, limits: &PackageLimits) -> anyhow::Result<Package> {
    let bytes = read(file, limits.archive_bytes_max())?;
    if Package::is_package(&bytes) {
        return Package::read(&bytes, limits).with_context(|| file.display().to_string());
    }
    ensure!(bytes.starts_with(WASM), "{} is neither a package nor WebAssembly", file.display());
    let description = format!("Made of {}.", file.file_name().unwrap_or_default().to_string_lossy());
    let package = bare(bytes, name_of(file)?.as_str(), VERSION, &description)?;
    package.check(limits)?;
    Ok(package)
}

/// The name of a component whose code is in a file: the file's, or its folder's where that has every component's code.
///
/// # Errors
/// When no name can be made of it.
pub(crate) fn name_of(file: &Path) -> anyhow::Result<ComponentName> {
    let is_in_folder = file.file_name().is_some_and(|name| name == "component.wasm");
    let folder = file.canonicalize().ok().filter(|_| is_in_folder);
    let folder = folder.as_deref().and_then(Path::parent).and_then(Path::file_name);
    component_name(&folder.or(file.file_stem()).unwrap_or_default().to_string_lossy())
}

/// Reads a file into memory, up to a length in bytes.
///
/// # Errors
/// When it can't be read or is longer.
pub(crate) fn read(file: &Path, bytes_max: u64) -> anyhow::Result<Vec<u8>> {
    let unreadable = || format!("{} can't be read", file.display());
    let about = std::fs::metadata(file).with_context(unreadable)?;
    ensure!(about.is_file(), "{} is no file", file.display());
    let mut bytes = Vec::new();
    let open = File::open(file).with_context(unreadable)?;
    open.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).with_context(unreadable)?;
    ensure!(bytes.len() as u64 <= bytes_max, "{} has more than {bytes_max} bytes, which are the most", file.display());
    Ok(bytes)
}

/// A package of code that comes without a manifest: it wants what the code imports.
///
/// # Errors
/// When the code is no component, or no name can be made of `name`.
pub(crate) fn bare(code: Vec<u8>, name: &str, version: &str, description: &str) -> anyhow::Result<Package> {
    let name = component_name(name)?;
    let world = world_of(&code)?;
    let imports = world.imports.iter().filter_map(|import| capability_of(import));
    let capabilities = CAPABILITIES.into_iter().filter(|known| imports.clone().any(|import| import == *known));
    // A text of JSON is one of TOML as well, without what can't be seen.
    let text = |text: &str| serde_json::Value::from(text.chars().filter(|c| !c.is_control()).collect::<String>());
    let capabilities: serde_json::Value = capabilities.collect();
    let [version, description] = [version, description].map(text);
    let mut manifest =
        format!("name = \"{name}\"\nversion = {version}\ndescription = {description}\ncapabilities = {capabilities}\n");
    if world.exports.iter().any(|export| export.starts_with("tessera:guard/guard@")) {
        manifest.push_str("\n[guard]\nreasons = []\n");
    }
    let package = Package { manifest_text: manifest.into(), code, signature: None, policy: None, readme: None };
    package.manifest()?;
    Ok(package)
}

/// What a component imports and exports.
///
/// # Errors
/// When the code is no component.
pub(crate) fn world_of(code: &[u8]) -> anyhow::Result<oci_wasm::Component> {
    if !code.starts_with(&COMPONENT) {
        bail!(match code.starts_with(WASM) {
            true =>
                "it is a core module and no component: build it for wasm32-wasip2, or make it one with `wasm-tools component new`",
            false => "it is no WebAssembly",
        });
    }
    oci_wasm::Component::from_raw_component(docs::without(code)).context("it is no component")
}

/// Checks what can be checked of a component before any server sees it.
///
/// # Errors
/// When its manifest is malformed or its code no component.
pub(crate) fn check(package: &Package) -> anyhow::Result<()> {
    package.manifest()?;
    world_of(&package.code).context("component.wasm is refused")?;
    Ok(())
}

/// The capability that an import is of, if it is one.
fn capability_of(import: &str) -> Option<&str> {
    let (namespace, rest) = import.split_once(':')?;
    let package = rest.split(['/', '@']).next()?;
    match (namespace, package) {
        ("tessera", _) | ("wasi", "nn") => Some(package),
        ("wasi", "filesystem") => Some("fs"),
        ("wasi", "cli") => rest.starts_with("cli/environment@").then_some("env"),
        ("wasi", "http") => (rest.starts_with("http/outgoing-handler@") || rest.starts_with("http/client@")).then_some("http"),
        _ => None,
    }
}

/// A component's name from one that follows other rules.
fn component_name(text: &str) -> anyhow::Result<ComponentName> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = text.chars().map(plain).collect();
    Ok(name.trim_matches('-').parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest component.
    const EMPTY: [u8; 8] = COMPONENT;
    const MANIFEST: &str = "name = \"chat\"\nversion = \"0.1.0\"\ndescription = \"Made by a test.\"\n";

    fn limits() -> PackageLimits {
        PackageLimits { code_bytes_max: 1 << 20 }
    }

    fn from(path: &Path) -> anyhow::Result<Package> {
        component_from(&path.to_string_lossy(), &Login::default(), &limits())
    }

    #[test]
    fn a_folder_its_package_and_bare_code_are_the_same_component() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let folder = root.path().join("chat");
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("component.toml"), MANIFEST)?;
        std::fs::write(folder.join("component.wasm"), EMPTY)?;
        let package = from(&folder)?;
        let file = root.path().join("chat.tessera");
        std::fs::write(&file, package.write()?)?;
        assert_eq!(from(&file)?, package);
        let bare = from(&folder.join("component.wasm"))?;
        assert_eq!((bare.manifest()?.name.as_str(), bare.code), ("chat", package.code));
        Ok(())
    }

    #[test]
    fn what_is_no_component_is_refused_with_the_reason() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let refused = |content: &[u8]| -> anyhow::Result<String> {
            let file = root.path().join("file");
            std::fs::write(&file, content)?;
            Ok(format!("{:#}", from(&file).expect_err("refused")))
        };
        assert!(refused(b"")?.contains("neither a package nor WebAssembly"));
        assert!(refused(b"\0asm\x01\0\0\0")?.contains("core module"));
        assert!(refused(b"PK\x03\x04")?.contains("damaged"));
        assert!(refused(&[b' '; 4 << 20])?.contains("which are the most"));
        assert!(format!("{:#}", from(&root.path().join("missing")).expect_err("refused")).contains("there is no"));
        assert!(from(root.path()).expect_err("refused").to_string().contains("there is no component.toml"));
        Ok(())
    }

    #[test]
    fn bare_code_gets_a_manifest_that_wants_what_it_imports() -> anyhow::Result<()> {
        let package = bare(EMPTY.to_vec(), "My_Tool.v2", "1.2.3", "A \"tool\"\n\u{7}")?;
        let manifest = package.manifest()?;
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("my-tool-v2", "1.2.3"));
        assert_eq!(manifest.description, "A \"tool\"");
        assert!(manifest.capabilities.is_empty());
        assert!(bare(EMPTY.to_vec(), "...", "1.2.3", "").is_err());
        assert_eq!(capability_of("tessera:embed/embed@0.1.0"), Some("embed"));
        assert_eq!(capability_of("wasi:nn/graph@0.2.0-rc-2024-10-28"), Some("nn"));
        assert_eq!(capability_of("wasi:cli/environment@0.2.6"), Some("env"));
        assert_eq!(capability_of("wasi:cli/stdin@0.2.6"), None);
        assert_eq!(capability_of("wasi:http/outgoing-handler@0.2.0"), Some("http"));
        assert_eq!(capability_of("wasi:http/types@0.2.0"), None);
        Ok(())
    }
}
