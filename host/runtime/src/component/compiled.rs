//! Compiled components on disk: what took a fraction of a second to compile is mapped back in a fraction of a millisecond.
#![allow(unsafe_code)]

use std::hash::{Hash, Hasher};
use std::path::Path;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, Result};

/// Compiles a component, or takes it from the cache folder. The name of an entry holds the code's SHA-256 and a hash of
/// wasmtime's version, its settings and this machine's features, so an entry never fits anything else.
///
/// # Errors
/// When the bytes are no valid component. A cache that can't be read or written only costs time.
pub(crate) fn load(engine: &Engine, wasm: &[u8], cache: &Path) -> Result<Component> {
    let mut compatibility = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut compatibility);
    let entry = cache.join(format!("{}-{:016x}.cwasm", hex(&Sha256::digest(wasm)), compatibility.finish()));
    if entry.is_file() {
        // SAFETY: the file holds native code that this process will run. It was written by `store` below from the output of
        // our own compiler; its folder is made for the owner alone, and whoever can write there can replace the binary too.
        match unsafe { Component::deserialize_file(engine, &entry) } {
            Ok(component) => return Ok(component),
            Err(error) => tracing::warn!(%error, entry = %entry.display(), "a cached component is unusable: compiling again"),
        }
    }
    // Text and precompiled code are no components: only the binary format is taken.
    let component = Component::from_binary(engine, wasm)?;
    if let Err(error) = store(&component, cache, &entry) {
        tracing::warn!(%error, cache = %cache.display(), "a compiled component could not be cached");
    }
    Ok(component)
}

/// Writes an entry under a temporary name first: another process sees all of it or nothing.
fn store(component: &Component, cache: &Path, entry: &Path) -> Result<()> {
    make_private(cache)?;
    let draft = entry.with_extension(format!("{}.draft", std::process::id()));
    std::fs::write(&draft, component.serialize()?)?;
    std::fs::rename(&draft, entry)?;
    Ok(())
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest component there is: magic, version 13, layer 1.
    const EMPTY: [u8; 8] = [0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0];

    #[test]
    fn a_component_is_compiled_once_and_a_damaged_entry_is_compiled_again() {
        let cache = tempfile::tempdir().expect("a folder");
        let cache = cache.path().join("compiled");
        let engine = Engine::default();
        load(&engine, &EMPTY, &cache).expect("compiles");
        let entries: Vec<_> = std::fs::read_dir(&cache).expect("lists").flatten().collect();
        assert_eq!(entries.len(), 1);
        load(&engine, &EMPTY, &cache).expect("is cached");
        std::fs::write(entries[0].path(), b"damaged").expect("writes");
        load(&engine, &EMPTY, &cache).expect("compiles again");
    }

    #[test]
    fn what_is_no_component_is_refused() {
        let cache = tempfile::tempdir().expect("a folder");
        for wasm in [&b""[..], b"(component)", b"\0asm\x01\0\0\0"] {
            assert!(load(&Engine::default(), wasm, cache.path()).is_err());
        }
    }
}
