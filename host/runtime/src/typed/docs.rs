//! What authors say of their interfaces, which a component carries in sections of its own: `package-docs`, as `wit-parser` writes it
//! for a package. A component needs none, and what can't be read is left out.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use serde::Deserialize;

const SECTION: &[u8] = b"package-docs";
/// Packages that are read at most.
const PACKAGES_MAX: usize = 256;
/// Length of what is said of one thing, in bytes.
const TEXT_BYTES_MAX: usize = 8 << 10;
/// Bytes before the first section.
const HEADER_BYTES: usize = 8;

/// The docs of all packages that a component carries any of.
#[derive(Debug, Default)]
pub(super) struct Docs(Vec<Package>);

#[derive(Debug, Deserialize)]
struct Package {
    #[serde(default)]
    worlds: HashMap<String, World>,
    #[serde(default)]
    interfaces: HashMap<String, Interface>,
}

#[derive(Debug, Deserialize)]
struct World {
    #[serde(default)]
    interfaces: HashMap<String, Interface>,
    #[serde(default)]
    interface_exports: HashMap<String, Interface>,
    #[serde(default)]
    funcs: HashMap<String, Item>,
    #[serde(default)]
    func_exports: HashMap<String, Item>,
}

/// What is said of one interface.
#[derive(Debug, Deserialize)]
pub(super) struct Interface {
    #[serde(default)]
    funcs: HashMap<String, Item>,
    #[serde(default)]
    types: HashMap<String, Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    docs: Option<String>,
    /// Of fields, cases and flags.
    #[serde(default)]
    items: HashMap<String, String>,
}

impl Docs {
    /// Takes the docs out of a component's code, and gives the code without them.
    pub(super) fn split(wasm: &[u8]) -> (Docs, Cow<'_, [u8]>) {
        let mut docs = Docs::default();
        let mut others: Vec<Range<usize>> = Vec::new();
        let mut at = HEADER_BYTES;
        while let Some(section) = section(wasm, at) {
            match section.docs {
                Some(text) if docs.0.len() < PACKAGES_MAX => docs.0.extend(serde_json::from_slice(text).ok()),
                Some(_) => {}
                None => others.push(at..at + section.bytes),
            }
            at += section.bytes;
        }
        let kept: usize = others.iter().map(Range::len).sum();
        if at != wasm.len() || HEADER_BYTES + kept == wasm.len() {
            return (docs, Cow::Borrowed(wasm));
        }
        let mut rest = Vec::with_capacity(HEADER_BYTES + kept);
        rest.extend_from_slice(&wasm[..HEADER_BYTES]);
        others.into_iter().for_each(|section| rest.extend_from_slice(&wasm[section]));
        (docs, Cow::Owned(rest))
    }

    /// What is said of an interface, in the first package that has one of its name.
    pub(super) fn interface(&self, name: &str) -> Option<&Interface> {
        let own = |package: &'_ Package| package.interfaces.contains_key(name);
        match self.0.iter().find(|package| own(package)) {
            Some(package) => package.interfaces.get(name),
            None => self.worlds().find_map(|world| world.interface_exports.get(name).or_else(|| world.interfaces.get(name))),
        }
    }

    /// What is said of a function that stands in no interface.
    pub(super) fn function(&self, name: &str) -> Option<String> {
        let item = self.worlds().find_map(|world| world.func_exports.get(name).or_else(|| world.funcs.get(name)));
        item?.docs.as_deref().map(cut)
    }

    fn worlds(&self) -> impl Iterator<Item = &World> {
        self.0.iter().flat_map(|package| package.worlds.values())
    }
}

impl Interface {
    /// What is said of a function.
    pub(super) fn function(&self, name: &str) -> Option<String> {
        self.funcs.get(name)?.docs.as_deref().map(cut)
    }

    /// What is said of a type.
    pub(super) fn ty(&self, name: &str) -> Option<String> {
        self.types.get(name)?.docs.as_deref().map(cut)
    }

    /// What is said of a field, case or flag of a type.
    pub(super) fn item(&self, ty: &str, name: &str) -> Option<String> {
        self.types.get(ty)?.items.get(name).map(|text| cut(text))
    }
}

/// So much of a text as is told.
pub(super) fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].into()
}

/// One section of a component.
struct Section<'w> {
    /// Its length, with its head.
    bytes: usize,
    /// The docs in it, if it holds any that can be read.
    docs: Option<&'w [u8]>,
}

fn section(wasm: &[u8], at: usize) -> Option<Section<'_>> {
    let rest = wasm.get(at..)?;
    let (&id, rest) = rest.split_first()?;
    let (length, head) = leb128(rest)?;
    let content = rest.get(head..head.checked_add(length)?)?;
    let docs = (id == 0).then(|| custom(content)).flatten();
    Some(Section { bytes: 1 + head + length, docs })
}

/// The content of a custom section of the name, after its version.
fn custom(content: &[u8]) -> Option<&[u8]> {
    let (length, head) = leb128(content)?;
    let (name, content) = content.get(head..)?.split_at_checked(length)?;
    (name == SECTION).then(|| content.get(1..).unwrap_or_default())
}

/// A number of up to 32 bits, and how many bytes it takes.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut number = 0_u64;
    for (place, byte) in bytes.iter().take(5).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(number).ok()?, place + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section_of(id: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("short");
        [&[id, length][..], content].concat()
    }

    #[test]
    fn what_authors_say_is_taken_out_of_the_code() {
        let header = b"\0asm\x0d\0\x01\0";
        let said = br#"{"interfaces":{"ops":{"funcs":{"add":{"docs":"Adds."}}}},"new":1}"#;
        let docs = section_of(0, &[b"\x0cpackage-docs\x01", &said[..]].concat());
        let (other, custom) = (section_of(7, b"types"), section_of(0, b"\x04nameabc"));
        let wasm = [&header[..], &other, &docs, &custom].concat();
        let (docs, rest) = Docs::split(&wasm);
        assert_eq!(docs.interface("ops").and_then(|ops| ops.function("add")).as_deref(), Some("Adds."));
        assert_eq!(rest, [&header[..], &other, &custom].concat());
    }

    #[test]
    fn code_without_them_stays_as_it_is_however_it_ends() {
        for wasm in [
            &b""[..],
            b"\0asm",
            b"\0asm\x0d\0\x01\0",
            b"\0asm\x0d\0\x01\0\0\xff\xff\xff\xff\xff",
            b"\0asm\x0d\0\x01\0\0\x05\x0cpack",
        ] {
            let (docs, rest) = Docs::split(wasm);
            assert!(docs.0.is_empty() && matches!(rest, Cow::Borrowed(same) if same == wasm), "{wasm:?}");
        }
    }
}
