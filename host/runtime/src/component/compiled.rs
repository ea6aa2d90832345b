//! Compiled components on disk: what took a fraction of a second to compile is mapped back in a fraction of a millisecond.
//!
//! Compiling is the one thing that a component's bytes can make long without end, so it is bounded: in length, and in time and
//! memory by a process of its own that is killed where it takes too long.
#![allow(unsafe_code)]

use std::hash::{Hash, Hasher};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, Result};

use super::LoadError;
use crate::config::ServerConfig;

/// Compiles a component, or takes it from the cache folder. The name of an entry holds the code's SHA-256 and a hash of
/// wasmtime's version, its settings and this machine's features, so an entry never fits anything else. Gives the SHA-256 as well,
/// in hexadecimal digits.
///
/// # Errors
/// When the file is missing, too long or no valid component, or takes too long to compile. A cache that can't be read or
/// written only costs time.
pub(crate) fn load(engine: &Engine, file: &Path, config: &ServerConfig) -> Result<(Component, Arc<str>), LoadError> {
    let wasm = read(file, config.component_bytes_max)?;
    let cache = config.data.join("compiled");
    let mut compatibility = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut compatibility);
    let digest: Arc<str> = hex(&Sha256::digest(&wasm)).into();
    let entry = cache.join(format!("{digest}-{:016x}.cwasm", compatibility.finish()));
    if entry.is_file() {
        // SAFETY: the file holds native code that this process will run. It was written by `store` below from the output of
        // our own compiler; its folder is made for the owner alone, and whoever can write there can replace the binary too.
        match unsafe { Component::deserialize_file(engine, &entry) } {
            Ok(component) => return Ok((component, digest)),
            Err(error) => tracing::warn!(%error, entry = %entry.display(), "a cached component is unusable: compiling again"),
        }
    }
    let code = match &config.compiler {
        Some(compiler) => compile_apart(compiler, wasm, config.compile_ms_max)?,
        None => compile(engine, &wasm).map_err(LoadError::Code)?,
    };
    if let Err(error) = store(&code, &cache, &entry) {
        tracing::warn!(%error, cache = %cache.display(), "a compiled component could not be cached");
    }
    // SAFETY: our own compiler made the code just now, in this process or in one that this process started.
    unsafe { Component::deserialize(engine, &code) }.map(|component| (component, digest)).map_err(LoadError::Code)
}

fn read(file: &Path, bytes_max: u64) -> Result<Vec<u8>, LoadError> {
    let unreadable = |cause: std::io::Error| match cause.kind() {
        std::io::ErrorKind::NotFound => LoadError::NotBuilt(file.into()),
        _ => LoadError::Unreadable { file: file.into(), cause },
    };
    let open = std::fs::File::open(file).map_err(unreadable)?;
    let bytes = open.metadata().map_err(unreadable)?.len();
    if bytes > bytes_max {
        return Err(LoadError::TooLong { file: file.into(), bytes, bytes_max });
    }
    let mut wasm = Vec::new();
    open.take(bytes_max).read_to_end(&mut wasm).map_err(unreadable)?; // a file may grow while it is read
    Ok(wasm)
}

/// Compiles here. Text is no component: only the binary format is taken.
pub(crate) fn compile(engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>> {
    if !wasm.starts_with(b"\0asm") {
        return Err(wasmtime::format_err!("it is no WebAssembly: a component begins with the bytes `\\0asm`"));
    }
    engine.precompile_component(wasm)
}

/// Compiles in a process of its own, which gets the bytes on its standard input and gives the code on its standard output.
fn compile_apart(compiler: &[std::ffi::OsString], wasm: Vec<u8>, ms_max: u64) -> Result<Vec<u8>, LoadError> {
    let failed = |error: std::io::Error| LoadError::Code(wasmtime::format_err!("the compiler can't be run: {error}"));
    let [program, arguments @ ..] = compiler else { return Err(failed(std::io::ErrorKind::InvalidInput.into())) };
    let mut command = Command::new(program);
    // Where the system finds libraries is all that it needs to know.
    let libraries = std::env::var_os("LD_LIBRARY_PATH").map(|path| ("LD_LIBRARY_PATH", path));
    command.args(arguments).env_clear().envs(libraries).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let (mut input, mut output, mut errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (sender, done) = mpsc::channel();
    std::thread::spawn(move || input.take().map(|mut input| input.write_all(&wasm)));
    std::thread::spawn(move || {
        let (mut code, mut reason) = (Vec::new(), String::new());
        let errors = std::thread::spawn(move || {
            errors.as_mut().map(|errors| errors.take(4096).read_to_string(&mut reason));
            reason
        });
        let read = output.as_mut().map(|output| output.read_to_end(&mut code));
        let reason = errors.join().unwrap_or_default();
        drop(sender.send(read.is_some_and(|read| read.is_ok()).then_some((code, reason)))); // nobody waits any more
    });
    let done = done.recv_timeout(Duration::from_millis(ms_max));
    if done.is_err() {
        drop(child.kill()); // it may have ended just now
    }
    let status = child.wait().map_err(failed)?;
    match done {
        Err(_) => Err(LoadError::CompileTime { ms: ms_max }),
        Ok(Some((code, _))) if status.success() => Ok(code),
        Ok(ended) => {
            let reason = ended.map(|(_, reason)| reason).filter(|reason| !reason.is_empty());
            let reason = reason.unwrap_or_else(|| format!("the compiler ended with {status}: the code needs too much memory"));
            Err(LoadError::Code(wasmtime::Error::msg(reason.trim().to_owned())))
        }
    }
}

/// Writes an entry under a temporary name first: another process sees all of it or nothing.
fn store(code: &[u8], cache: &Path, entry: &Path) -> std::io::Result<()> {
    make_private(cache)?;
    let draft = entry.with_extension(format!("{}.draft", std::process::id()));
    std::fs::write(&draft, code)?;
    std::fs::rename(&draft, entry)
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

    fn config(folder: &Path, compiler: Option<&str>) -> ServerConfig {
        let compiler = compiler.map(|script| ["/bin/sh", "-c", script].map(std::ffi::OsString::from).into());
        ServerConfig { data: folder.into(), compiler, compile_ms_max: 300, ..ServerConfig::default() }
    }

    fn file(folder: &Path, wasm: &[u8]) -> std::path::PathBuf {
        let file = folder.join("component.wasm");
        std::fs::write(&file, wasm).expect("writes");
        file
    }

    #[test]
    fn a_component_is_compiled_once_and_a_damaged_entry_is_compiled_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (config, file) = (config(folder.path(), None), file(folder.path(), &EMPTY));
        let engine = Engine::default();
        load(&engine, &file, &config).expect("compiles");
        let entries: Vec<_> = std::fs::read_dir(folder.path().join("compiled")).expect("lists").flatten().collect();
        assert_eq!(entries.len(), 1);
        load(&engine, &file, &config).expect("is cached");
        std::fs::write(entries[0].path(), b"damaged").expect("writes");
        load(&engine, &file, &config).expect("compiles again");
    }

    #[test]
    fn what_is_no_component_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for wasm in [&b""[..], b"(component)", b"\0asm\x01\0\0\0"] {
            let file = file(folder.path(), wasm);
            assert!(load(&Engine::default(), &file, &config(folder.path(), None)).is_err());
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_not_even_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = ServerConfig { component_bytes_max: 7, ..config(folder.path(), None) };
        let error = load(&Engine::default(), &file(folder.path(), &EMPTY), &config).map(drop).expect_err("too long");
        assert!(matches!(error, LoadError::TooLong { bytes: 8, bytes_max: 7, .. }), "{error}");
    }

    #[test]
    fn a_compiler_that_takes_too_long_is_killed_and_one_that_fails_says_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = file(folder.path(), &EMPTY);
        let error =
            |script| load(&Engine::default(), &file, &config(folder.path(), Some(script))).map(drop).expect_err("fails");
        assert!(matches!(error("exec sleep 100"), LoadError::CompileTime { ms: 300 }));
        assert!(error("cat > /dev/null; echo it is wrong >&2; exit 1").to_string().contains("it is wrong"));
        assert!(error("cat > /dev/null; kill -9 $$").to_string().contains("too much memory"));
    }

    #[test]
    fn a_compiler_in_its_own_process_gives_the_same_code() {
        let folder = tempfile::tempdir().expect("a folder");
        let code = folder.path().join("code");
        std::fs::write(&code, compile(&Engine::default(), &EMPTY).expect("compiles")).expect("writes");
        let script = format!("cat > /dev/null; exec cat {}", code.display());
        load(&Engine::default(), &file(folder.path(), &EMPTY), &config(folder.path(), Some(&script))).expect("loads");
    }
}
