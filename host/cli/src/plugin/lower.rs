//! Marks imports of a component as `async` that were built as ones that wait.
//!
//! A guest may wait for an `async` import where it calls it: only the type of the import has to say `async`. That is one byte of
//! the component's binary form (Component Model, Binary.md: a function type begins with 0x40, an async one with 0x43). It is found
//! by reading the type sections up to it, in nested components as well.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail, ensure};

use super::world::AsyncImport;

/// What a binary component begins with.
const PREAMBLE: [u8; 8] = *b"\0asm\x0d\0\x01\0";
/// Components in components.
const DEPTH_MAX: usize = 16;

const SORT_TYPE: u8 = 3;
const FUNCTION: u8 = 0x40;
const ASYNC_FUNCTION: u8 = 0x43;

/// Marks these imports.
///
/// # Errors
/// When the bytes are no component, or import none of them under such a name.
pub(crate) fn mark_async(component: &mut [u8], imports: &BTreeSet<AsyncImport>) -> anyhow::Result<()> {
    if imports.is_empty() {
        return Ok(());
    }
    let mut reader = Reader { bytes: component, at: 0, imports, found: BTreeSet::new() };
    let end = reader.bytes.len();
    reader.component(end, 0).context("the component that the tool made can't be read")?;
    for place in std::mem::take(&mut reader.found) {
        let byte = component.get_mut(place).context("a place that was read")?;
        *byte = ASYNC_FUNCTION;
    }
    Ok(())
}

/// What a type is, as far as it matters here.
#[derive(Debug, Clone)]
enum Type {
    /// A function: where its first byte is.
    Function(usize),
    /// An instance: its functions by name.
    Instance(BTreeMap<String, usize>),
    Other,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    imports: &'a BTreeSet<AsyncImport>,
    /// Where the types of wanted imports begin.
    found: BTreeSet<usize>,
}

impl Reader<'_> {
    fn component(&mut self, end: usize, depth: usize) -> anyhow::Result<()> {
        ensure!(depth <= DEPTH_MAX, "components are nested too deep");
        let preamble = self.bytes.get(self.at..self.at + PREAMBLE.len());
        ensure!(preamble == Some(&PREAMBLE), "it is no component");
        self.at += PREAMBLE.len();
        let mut types = Vec::new();
        while self.at < end {
            let (section, length) = (self.byte()?, self.number()?);
            let next = self.at.checked_add(length).filter(|next| *next <= end).context("a section goes beyond the end")?;
            match section {
                4 => self.component(next, depth + 1)?,
                6 => self.each(|reader| {
                    let sort = reader.alias()?;
                    types.extend((sort == SORT_TYPE).then_some(Type::Other));
                    Ok(())
                })?,
                7 => self.each(|reader| {
                    types.push(reader.definition(0)?);
                    Ok(())
                })?,
                10 => self.each(|reader| reader.import(&mut types))?,
                11 => self.each(|reader| reader.export(&mut types))?,
                _ => {}
            }
            self.at = next;
        }
        Ok(())
    }

    fn import(&mut self, types: &mut Vec<Type>) -> anyhow::Result<()> {
        let name = self.name()?;
        let (kind, index) = self.description()?;
        types.extend((kind == 3).then_some(Type::Other));
        let Some(Type::Instance(functions)) = types.get(index).filter(|_| kind == 5) else { return Ok(()) };
        for import in self.imports.iter().filter(|import| import.interface == name) {
            self.found.extend(functions.get(&import.function));
        }
        Ok(())
    }

    fn export(&mut self, types: &mut Vec<Type>) -> anyhow::Result<()> {
        self.name()?;
        let sort = self.sort()?;
        self.number()?;
        types.extend((sort == SORT_TYPE).then_some(Type::Other));
        self.optional(|reader| reader.description().map(drop))
    }

    /// A type's definition.
    fn definition(&mut self, depth: usize) -> anyhow::Result<Type> {
        ensure!(depth <= DEPTH_MAX, "types are nested too deep");
        let start = self.at;
        match self.byte()? {
            FUNCTION | ASYNC_FUNCTION => {
                self.each(Self::labelled)?;
                if self.byte()? == 0 {
                    self.value()?;
                } else {
                    self.byte()?;
                }
                return Ok(Type::Function(start));
            }
            0x42 => return Ok(Type::Instance(self.instance(depth + 1)?)),
            0x41 => self.each(|reader| match reader.byte()? {
                3 => reader.name().and_then(|_| reader.description()).map(drop),
                kind => reader.declaration(kind, &mut Vec::new(), &mut BTreeMap::new(), depth + 1),
            })?,
            0x3f => {
                self.byte()?;
                self.optional(|reader| reader.number().map(drop))?;
            }
            0x72 => self.each(Self::labelled)?,
            0x71 => self.each(|reader| {
                reader.text()?;
                reader.optional(Self::value)?;
                reader.optional(|reader| reader.number().map(drop))
            })?,
            0x70 | 0x6b => self.value()?,
            0x6f => self.each(Self::value)?,
            0x6e | 0x6d => self.each(|reader| reader.text().map(drop))?,
            0x6a => {
                self.optional(Self::value)?;
                self.optional(Self::value)?;
            }
            0x69 | 0x68 => drop(self.number()?),
            0x67 => {
                self.value()?;
                self.number()?;
            }
            0x66 | 0x65 => self.optional(Self::value)?,
            0x63 => {
                self.value()?;
                self.value()?;
            }
            0x64 | 0x73..=0x7f => {}
            other => bail!("a type begins with {other:#x}, which is not known"),
        }
        Ok(Type::Other)
    }

    fn instance(&mut self, depth: usize) -> anyhow::Result<BTreeMap<String, usize>> {
        let (mut types, mut functions) = (Vec::new(), BTreeMap::new());
        self.each(|reader| {
            let kind = reader.byte()?;
            reader.declaration(kind, &mut types, &mut functions, depth)
        })?;
        Ok(functions)
    }

    fn declaration(
        &mut self,
        kind: u8,
        types: &mut Vec<Type>,
        functions: &mut BTreeMap<String, usize>,
        depth: usize,
    ) -> anyhow::Result<()> {
        match kind {
            1 => types.push(self.definition(depth)?),
            2 => types.extend((self.alias()? == SORT_TYPE).then_some(Type::Other)),
            4 => {
                let name = self.name()?;
                let (kind, index) = self.description()?;
                types.extend((kind == 3).then_some(Type::Other));
                if let Some(Type::Function(place)) = types.get(index).filter(|_| kind == 1) {
                    functions.insert(name, *place);
                }
            }
            other => bail!("a declaration begins with {other:#x}, which is not known"),
        }
        Ok(())
    }

    /// What an import or an export is: its kind, and the index of its type.
    fn description(&mut self) -> anyhow::Result<(u8, usize)> {
        let kind = self.byte()?;
        let has_index = match kind {
            0 => self.byte()? == 0x11, // a core module
            2 | 3 => self.byte()? == 0,
            _ => true,
        };
        let index = if has_index || kind == 2 { self.number()? } else { 0 };
        Ok((kind, index))
    }

    /// What an alias is for.
    fn alias(&mut self) -> anyhow::Result<u8> {
        let sort = self.sort()?;
        match self.byte()? {
            0 | 1 => self.number().and_then(|_| self.text()).map(drop)?,
            2 => self.number().and_then(|_| self.number()).map(drop)?,
            other => bail!("an alias of kind {other:#x} is not known"),
        }
        Ok(sort)
    }

    fn sort(&mut self) -> anyhow::Result<u8> {
        let sort = self.byte()?;
        if sort == 0 {
            self.byte()?;
        }
        Ok(sort)
    }

    fn labelled(&mut self) -> anyhow::Result<()> {
        self.text()?;
        self.value()
    }

    /// A value's type: one byte of a primitive, or an index.
    fn value(&mut self) -> anyhow::Result<()> {
        self.number().map(drop)
    }

    fn optional(&mut self, read: impl FnOnce(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        if self.byte()? == 0 { Ok(()) } else { read(self) }
    }

    fn each(&mut self, mut read: impl FnMut(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        (0..self.number()?).try_for_each(|_| read(self))
    }

    /// The name of an import or an export.
    fn name(&mut self) -> anyhow::Result<String> {
        ensure!(self.byte()? <= 1, "a name has options, which are not known");
        self.text()
    }

    fn text(&mut self) -> anyhow::Result<String> {
        let length = self.number()?;
        let bytes = self.at.checked_add(length).and_then(|end| self.bytes.get(self.at..end)).context("it ends too early")?;
        self.at += length;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// A number in LEB128.
    fn number(&mut self) -> anyhow::Result<usize> {
        let mut number = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        bail!("a number is too long")
    }

    fn byte(&mut self) -> anyhow::Result<u8> {
        let byte = self.bytes.get(self.at).context("it ends too early")?;
        self.at += 1;
        Ok(*byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id, u8::try_from(content.len()).expect("short")], content].concat()
    }

    /// A component that imports `a:b/c` with the functions `wait` and `other`, and has another one within.
    fn component() -> Vec<u8> {
        let functions = b"\x01\x42\x04\x01\x40\0\x01\0\x04\0\x04wait\x01\0\x01\x40\x01\x01x\x73\0\x79\x04\0\x05other\x01\x01";
        let imports = b"\x01\0\x05a:b/c\x05\0";
        let parts = [section(7, functions), section(10, imports)].concat();
        let inner = [&PREAMBLE[..], &parts].concat();
        [&PREAMBLE[..], &section(4, &inner), &parts].concat()
    }

    fn import(function: &str) -> BTreeSet<AsyncImport> {
        BTreeSet::from([AsyncImport { interface: "a:b/c".into(), function: function.into() }])
    }

    #[test]
    fn the_types_of_the_named_imports_change_and_nothing_else() {
        let before = component();
        for (function, ordinal) in [("wait", 0), ("other", 1)] {
            let mut after = before.clone();
            mark_async(&mut after, &import(function)).expect("marks");
            let changed: Vec<usize> = (0..before.len()).filter(|&at| before[at] != after[at]).collect();
            let functions: Vec<usize> = (1..before.len()).filter(|&at| before[at - 1..=at] == [1, FUNCTION]).collect();
            assert_eq!(changed, [functions[ordinal], functions[ordinal + 2]], "{function}");
            assert!(changed.iter().all(|&at| after[at] == ASYNC_FUNCTION));
        }
        let mut after = before.clone();
        mark_async(&mut after, &import("unknown")).expect("nothing to mark");
        assert_eq!(after, before);
    }

    #[test]
    fn a_component_that_is_cut_within_a_section_is_refused() {
        let whole = component();
        let cut = (9..whole.len()).filter(|&end| mark_async(&mut whole[..end].to_vec(), &import("wait")).is_err()).count();
        assert!(cut > whole.len() / 2, "only {cut} cuts were refused");
        assert!(mark_async(&mut b"\0asm\x01\0\0\0".to_vec(), &import("wait")).is_err());
    }

    #[test]
    fn without_imports_nothing_is_read() {
        let mut garbage = b"garbage".to_vec();
        mark_async(&mut garbage, &BTreeSet::new()).expect("nothing to do");
        assert_eq!(garbage, b"garbage");
    }
}
