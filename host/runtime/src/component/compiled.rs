//! Compiled components on disk: what took a fraction of a second to compile is read back in a millisecond.
//!
//! Compiling is the one thing that a component's bytes can make long without end, so it is bounded: in length, and in time and
//! memory by a process of its own that is killed where it takes too long.
#![allow(unsafe_code)]

mod prune;
mod seal;

use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use policy::Digest;
use prometheus_client::metrics::counter::Counter;
use prune::prune;
use ring::hmac;
use wasmtime::component::Component;
use wasmtime::{Engine, Result};

use super::LoadError;
use crate::config::ServerConfig;

/// How drafts of entries end.
const DRAFT: &str = "draft";
/// Bytes of an entry for each byte that a component may have: native code is longer.
const GROWTH_MAX: u64 = 32;
/// A use of an entry is written down when the last one is so long ago.
const TOUCH: Duration = Duration::from_secs(60 * 60);

/// The folder of compiled code. A component never sees it (see [`policy::Protected`]), and what lies in it runs only if this
/// server wrote it: every entry has an authentication code over its name and all its bytes.
pub(crate) struct Cache {
    folder: PathBuf,
    /// None where none can be kept: then nothing is cached.
    key: Option<hmac::Key>,
    /// Fits code to this engine: wasmtime's version, its settings and this machine's features.
    compatibility: String,
    refused: Counter,
}

impl Cache {
    /// Opens the cache in the server's data folder, and throws out what nobody uses any more; `refused` counts entries that are
    /// not what this server wrote.
    pub(crate) fn open(config: &ServerConfig, engine: &Engine, refused: Counter) -> Cache {
        let folder = config.data.join("compiled");
        let key = seal::key(&config.data).inspect_err(|error| {
            let data = config.data.display();
            tracing::warn!(%error, %data, "there is no key for compiled components: they are compiled at every start");
        });
        let mut hasher = std::hash::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let compatibility = format!("{:016x}", hasher.finish());
        prune(&folder, &compatibility);
        Cache { folder, key: key.ok(), compatibility, refused }
    }

    /// Compiles a component, or takes what was compiled of the same bytes.
    ///
    /// # Errors
    /// When it is no valid component, or takes too long to compile. A cache that can't be read or written only costs time.
    pub(crate) fn load(
        &self,
        engine: &Engine,
        wasm: &[u8],
        digest: Digest,
        config: &ServerConfig,
    ) -> Result<Component, LoadError> {
        let name = format!("{}-{}.cwasm", digest.hex(), self.compatibility);
        let entry = self.folder.join(&name);
        if let Some(component) = self.take(engine, &entry, &name, config) {
            return Ok(component);
        }
        let code = match &config.compiler {
            Some(compiler) => compile_apart(compiler, wasm.to_vec(), config.compile_ms_max)?,
            None => compile(engine, wasm).map_err(LoadError::Code)?,
        };
        let stored = self.key.as_ref().map_or(Ok(()), |key| store(&seal::seal(key, &name, &code), &self.folder, &entry));
        if let Err(error) = stored {
            tracing::warn!(%error, cache = %self.folder.display(), "a compiled component could not be cached");
        }
        // SAFETY: our own compiler made the code just now, in this process or in one that this process started.
        unsafe { Component::deserialize(engine, &code) }.map_err(LoadError::Code)
    }

    /// The component of an entry, if the entry is there and what this server wrote under this name.
    fn take(&self, engine: &Engine, entry: &Path, name: &str, config: &ServerConfig) -> Option<Component> {
        let key = self.key.as_ref()?;
        let refused = |error: &dyn std::fmt::Display| {
            self.refused.inc();
            tracing::warn!(%error, entry = %entry.display(), "a cached component is not what this server wrote: compiling again");
        };
        let sealed = match read(entry, config.component_bytes_max.saturating_mul(GROWTH_MAX)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            sealed => sealed.inspect_err(|error| refused(error)).ok()?,
        };
        let Some(code) = seal::unseal(key, name, &sealed) else {
            refused(&"its authentication code is wrong");
            return None;
        };
        // SAFETY: the bytes in memory were checked to be what `load` above sealed under this name, with a key that only this
        // server has: the output of our own compiler for this engine and the bytes of this digest. The file is not read again.
        unsafe { Component::deserialize(engine, code) }.inspect_err(|error| refused(error)).ok()
    }
}

/// Reads an entry whole, and notes that it is used.
fn read(entry: &Path, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let file = File::open(entry)?;
    let about = file.metadata()?;
    if about.len() > bytes_max {
        return Err(std::io::Error::other(format!("it has {} bytes", about.len())));
    }
    if about.modified()?.elapsed().is_ok_and(|age| age > TOUCH) {
        drop(file.set_modified(SystemTime::now())); // only costs the next pruning
    }
    let mut sealed = Vec::with_capacity(usize::try_from(about.len()).unwrap_or_default());
    (&file).take(bytes_max).read_to_end(&mut sealed)?;
    Ok(sealed)
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
    let draft = entry.with_extension(format!("{}.{DRAFT}", std::process::id()));
    std::fs::write(&draft, code)?;
    std::fs::rename(&draft, entry)
}

/// Makes a folder, and those above it, for the owner alone.
pub(crate) fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests;
