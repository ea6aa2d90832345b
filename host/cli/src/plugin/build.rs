//! Building a plugin: sources to `component.wasm`.

mod javascript;
mod python;
mod rust;

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use wit_parser::PackageMetadata;

use super::world::World;
use super::{Language, Plugin, lower};

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
    if language == Language::JavaScript {
        lower::mark_async(&mut code, &world.async_imports())?;
    }
    document(&mut code, &world)?;
    let is_new = replace(&plugin.code(), &code)?;
    Ok(Built { bytes: code.len() as u64, took: start.elapsed(), is_new })
}

/// Appends the doc comments of the author's WIT, which a component does not have by itself: a custom section with the id 0, its
/// length, its name, and what it holds.
fn document(code: &mut Vec<u8>, world: &World) -> anyhow::Result<()> {
    let Some((resolve, package)) = world.author() else { return Ok(()) };
    let docs = PackageMetadata::extract(resolve, package).encode().context("the doc comments in wit/")?;
    let name = PackageMetadata::SECTION_NAME;
    let mut section = Vec::new();
    put_number(&mut section, name.len());
    section.extend(name.as_bytes());
    section.extend(docs);
    code.push(0);
    put_number(code, section.len());
    code.extend(section);
    Ok(())
}

/// Appends a number in LEB128.
fn put_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
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
    use wit_parser::Resolve;

    use super::*;

    #[test]
    fn a_file_is_written_only_where_it_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("component.wasm");
        let written: Vec<bool> = [b"a", b"a", b"b"].iter().map(|content| replace(&file, *content).expect("writes")).collect();
        assert_eq!(written, [true, false, true]);
    }

    #[test]
    fn doc_comments_of_the_authors_wit_are_in_the_component() {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = "name = \"mine\"\nversion = \"0.1.0\"\ndescription = \"Mine.\"\n";
        std::fs::write(folder.path().join("component.toml"), manifest).expect("writes");
        std::fs::create_dir(folder.path().join("wit")).expect("a folder");
        let wit = "package local:mine;\n/// Sums.\ninterface sums {\n  /// Adds one.\n  add: func(a: u32) -> u32;\n}\nworld w { export sums; }\n";
        std::fs::write(folder.path().join("wit/mine.wit"), wit).expect("writes");
        let world = World::write(&Plugin::open(folder.path()).expect("opens")).expect("a world");
        let mut code = b"\0asm\x0d\0\x01\0".to_vec();
        document(&mut code, &world).expect("appends");
        assert_eq!(code[8], 0);
        let name = PackageMetadata::SECTION_NAME.as_bytes();
        let at = code.windows(name.len()).position(|window| window == name).expect("the section");
        let docs = PackageMetadata::decode(&code[at + name.len()..]).expect("decodes");
        let mut bare = Resolve::default();
        let text = wit.replace("/// Sums.\n", "").replace("/// Adds one.\n", "");
        let package = bare.push_str("bare.wit", &text).expect("resolves");
        docs.inject(&mut bare, package).expect("fits");
        let interface =
            bare.interfaces.iter().find(|(_, interface)| interface.name.as_deref() == Some("sums")).expect("is there");
        assert_eq!(interface.1.functions["add"].docs.contents.as_deref(), Some("Adds one."));
    }
}
