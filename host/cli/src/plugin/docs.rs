//! Doc comments of the author's WIT, which a component does not have by itself: a custom section `package-docs`, as `wit-parser`
//! writes it for a package. The server shows them in OpenAPI and to MCP clients.

use std::borrow::Cow;

use anyhow::Context;
use wit_parser::PackageMetadata;

use super::world::World;

/// Bytes before the first section.
const HEADER_BYTES: usize = 8;

/// Appends the author's doc comments to a component: a section has the id 0, its length, its name, and what it holds.
///
/// # Errors
/// When they can't be written down.
pub(crate) fn append(code: &mut Vec<u8>, world: &World) -> anyhow::Result<()> {
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

/// A component without the section at its end: what reads components takes the docs in it for those of another package.
pub(crate) fn without(code: &[u8]) -> Cow<'_, [u8]> {
    let mut at = HEADER_BYTES;
    while let Some((id, content, next)) = section(code, at) {
        let is_docs =
            id == 0 && content.get(1..).is_some_and(|rest| rest.starts_with(PackageMetadata::SECTION_NAME.as_bytes()));
        if is_docs {
            return Cow::Owned([&code[..at], &code[next..]].concat());
        }
        at = next;
    }
    Cow::Borrowed(code)
}

/// The section at a place: its id, what it holds, and where the next one begins.
fn section(code: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let (mut place, mut length, mut shift) = (at + 1, 0usize, 0);
    loop {
        let byte = *code.get(place)?;
        place += 1;
        length |= usize::from(byte & 0x7f).checked_shl(shift).filter(|_| shift < 32)?;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    let next = place.checked_add(length)?;
    Some((*code.get(at)?, code.get(place..next)?, next))
}

/// Appends a number in LEB128.
fn put_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(test)]
mod tests {
    use wit_parser::Resolve;

    use super::super::Plugin;
    use super::*;

    const WIT: &str = "package local:mine;\n/// Sums.\ninterface sums {\n  /// Adds one.\n  add: func(a: u32) -> u32;\n}\n\
                       world w { export sums; }\n";

    #[test]
    fn doc_comments_of_the_authors_wit_are_in_the_component_and_can_be_taken_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = "name = \"mine\"\nversion = \"0.1.0\"\ndescription = \"Mine.\"\n";
        std::fs::write(folder.path().join("component.toml"), manifest).expect("writes");
        std::fs::create_dir(folder.path().join("wit")).expect("a folder");
        std::fs::write(folder.path().join("wit/mine.wit"), WIT).expect("writes");
        let world = World::write(&Plugin::open(folder.path()).expect("opens")).expect("a world");
        let bare = [&b"\0asm\x0d\0\x01\0"[..], b"\0\x02\x01a"].concat();
        let mut code = bare.clone();
        append(&mut code, &world).expect("appends");
        let (id, content, next) = section(&code, bare.len()).expect("a section");
        assert_eq!((id, next), (0, code.len()));
        let docs = PackageMetadata::decode(&content[1 + PackageMetadata::SECTION_NAME.len()..]).expect("decodes");
        let mut resolve = Resolve::default();
        let text: String = WIT.lines().filter(|line| !line.trim().starts_with("///")).map(|line| format!("{line}\n")).collect();
        let package = resolve.push_str("bare.wit", &text).expect("resolves");
        docs.inject(&mut resolve, package).expect("fits");
        let sums = resolve.packages[package].interfaces["sums"];
        assert_eq!(resolve.interfaces[sums].functions["add"].docs.contents.as_deref(), Some("Adds one."));
        assert_eq!(without(&code), bare);
        assert_eq!(without(&bare), bare);
    }
}
