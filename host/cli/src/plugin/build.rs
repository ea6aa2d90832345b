//! Building a plugin: sources to `component.wasm`.

mod javascript;
mod python;
mod rust;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::look::Look;
use super::world::World;
use super::{Language, Plugin, docs, patch};

/// What a build made.
#[derive(Debug)]
pub(crate) struct Built {
    /// Length of `component.wasm`, in bytes.
    pub(crate) bytes: u64,
    /// How long it took, the installation of tools included.
    pub(crate) took: Duration,
    /// Whether it is another component than before.
    pub(crate) is_new: bool,
}

/// Builds a plugin and puts `component.wasm` beside its `component.toml`.
///
/// # Errors
/// When a tool is missing, or the sources do not build: the tool has said why.
pub(crate) fn build(plugin: &Plugin) -> anyhow::Result<Built> {
    let start = Instant::now();
    let language = Language::of(&plugin.folder)?;
    let world = World::write(plugin)?;
    let mut code = match language {
        Language::Rust => rust::build(plugin)?,
        Language::JavaScript => javascript::build(plugin, &world)?,
        Language::Python => python::build(plugin, &world)?,
    };
    match language {
        Language::Rust => {}
        Language::JavaScript => patch::patch(&mut code, &world.async_imports())?,
        Language::Python => patch::patch(&mut code, &BTreeSet::new())?,
    }
    docs::append(&mut code, &world)?;
    Look::of(&code).context("what the tool made is no component")?;
    let is_new = replace(&plugin.code(), &code)?;
    Ok(Built { bytes: code.len() as u64, took: start.elapsed(), is_new })
}

/// Writes a file at once where it is not the same already; says whether it was another.
fn replace(file: &Path, content: &[u8]) -> anyhow::Result<bool> {
    match std::fs::read(file) {
        Ok(old) if old == content => return Ok(false),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("{} can't be read", file.display()));
        }
        _ => {}
    }
    let part = file.with_extension("wasm.part");
    std::fs::write(&part, content).with_context(|| format!("{} can't be written", part.display()))?;
    std::fs::rename(&part, file).with_context(|| format!("{} can't be written", file.display()))?;
    Ok(true)
}

/// Writes files that travel in the program into a folder.
fn unpack(files: &[super::files::File], folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    for (path, text) in files {
        std::fs::write(folder.join(path), text).with_context(|| format!("{path} can't be written"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_only_where_it_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("component.wasm");
        let written: Vec<bool> = [b"a", b"a", b"b"].iter().map(|content| replace(&file, *content).expect("writes")).collect();
        assert_eq!(written, [true, false, true]);
    }
}
