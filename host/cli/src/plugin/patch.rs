//! What is changed in the components that tools make, byte by byte and without moving any.
//!
//! Imports that the tool built as ones that wait are marked as `async`: a guest may wait for an `async` import where it calls it,
//! only the type of the import has to say so (Component Model, Binary.md: a function type begins with 0x40, an async one with
//! 0x43). And what a tool exports for itself, to set the guest up as it is built, is hidden: nobody may call that on a server. The
//! section of the export becomes a custom one, and later indices count one less.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail, ensure};

use super::world::AsyncImport;

/// What a binary component begins with.
const PREAMBLE: [u8; 8] = *b"\0asm\x0d\0\x01\0";
/// Components in components.
const DEPTH_MAX: usize = 16;
/// What componentize-qjs and componentize-py export for themselves.
const TOOLS: [&str; 2] = ["init", "exports"];

const SORT_FUNCTION: u8 = 1;
const SORT_TYPE: u8 = 3;
const SORT_INSTANCE: u8 = 5;
const FUNCTION: u8 = 0x40;
const ASYNC_FUNCTION: u8 = 0x43;

/// Marks these imports, and hides what tools export for themselves.
///
/// # Errors
/// When the bytes are no component, or one in which that can't be done.
pub(crate) fn patch(component: &mut [u8], imports: &BTreeSet<AsyncImport>) -> anyhow::Result<()> {
    let end = component.len();
    let mut reader = Reader { bytes: component, at: 0, imports, edits: BTreeMap::new(), instances: 0, hidden: None };
    reader.component(end, 0).context("the component that the tool made can't be read")?;
    for (place, value) in std::mem::take(&mut reader.edits) {
        *component.get_mut(place).context("a place that was read")? = value;
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
    /// Bytes to change: where, and to what.
    edits: BTreeMap<usize, u8>,
    /// Instances of the outermost component so far.
    instances: usize,
    /// The export of the outermost component that is hidden: its sort, and its own index where it is an instance.
    hidden: Option<(u8, usize)>,
}

impl Reader<'_> {
    fn component(&mut self, end: usize, depth: usize) -> anyhow::Result<()> {
        ensure!(depth <= DEPTH_MAX, "components are nested too deep");
        let preamble = self.bytes.get(self.at..self.at + PREAMBLE.len());
        ensure!(preamble == Some(&PREAMBLE), "it is no component");
        self.at += PREAMBLE.len();
        let mut types = Vec::new();
        while self.at < end {
            let start = self.at;
            let (section, length) = (self.byte()?, self.number()?);
            let next = self.at.checked_add(length).filter(|next| *next <= end).context("a section goes beyond the end")?;
            match section {
                4 => self.component(next, depth + 1)?,
                5 if depth == 0 => self.instances += self.number()?,
                6 => self.each(|reader| {
                    let sort = reader.alias()?;
                    reader.instances += usize::from(depth == 0 && sort == SORT_INSTANCE);
                    types.extend((sort == SORT_TYPE).then_some(Type::Other));
                    Ok(())
                })?,
                7 => self.each(|reader| {
                    types.push(reader.definition(0)?);
                    Ok(())
                })?,
                10 => self.each(|reader| reader.import(&mut types, depth))?,
                11 if depth == 0 && self.is_tools_export()? => {
                    self.edits.insert(start, 0);
                }
                11 => self.each(|reader| reader.export(&mut types, depth))?,
                _ => {}
            }
            self.at = next;
        }
        Ok(())
    }

    fn import(&mut self, types: &mut Vec<Type>, depth: usize) -> anyhow::Result<()> {
        let name = self.name()?;
        let (kind, index) = self.description()?;
        types.extend((kind == SORT_TYPE).then_some(Type::Other));
        if kind != SORT_INSTANCE {
            return Ok(());
        }
        self.instances += usize::from(depth == 0);
        let Some(Type::Instance(functions)) = types.get(index) else { return Ok(()) };
        for import in self.imports.iter().filter(|import| import.interface == name) {
            self.edits.extend(functions.get(&import.function).map(|place| (*place, ASYNC_FUNCTION)));
        }
        Ok(())
    }

    /// Whether a section of exports is one that a tool made for itself; it has one export then.
    fn is_tools_export(&mut self) -> anyhow::Result<bool> {
        let start = self.at;
        let (count, name, sort) = (self.number()?, self.name()?, self.sort()?);
        if count == 1 && TOOLS.contains(&name.as_str()) && self.hidden.is_none() {
            self.hidden = Some((sort, self.instances));
            return Ok(true);
        }
        self.at = start;
        Ok(false)
    }

    fn export(&mut self, types: &mut Vec<Type>, depth: usize) -> anyhow::Result<()> {
        self.name()?;
        let sort = self.sort()?;
        let place = self.at;
        let index = self.number()?;
        types.extend((sort == SORT_TYPE).then_some(Type::Other));
        self.optional(|reader| reader.description().map(drop))?;
        match self.hidden {
            _ if depth > 0 => {}
            Some((SORT_FUNCTION, _)) if sort == SORT_FUNCTION => {
                bail!("the world exports a function by itself: put it into an interface")
            }
            Some((SORT_INSTANCE, hidden)) if sort == SORT_INSTANCE && index > hidden => {
                ensure!(index < 0x80, "there are too many instances");
                self.edits.insert(place, index as u8 - 1);
            }
            _ => {}
        }
        self.instances += usize::from(depth == 0 && sort == SORT_INSTANCE);
        Ok(())
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
            patch(&mut after, &import(function)).expect("marks");
            let changed: Vec<usize> = (0..before.len()).filter(|&at| before[at] != after[at]).collect();
            let functions: Vec<usize> = (1..before.len()).filter(|&at| before[at - 1..=at] == [1, FUNCTION]).collect();
            assert_eq!(changed, [functions[ordinal], functions[ordinal + 2]], "{function}");
            assert!(changed.iter().all(|&at| after[at] == ASYNC_FUNCTION));
        }
        let mut after = before.clone();
        patch(&mut after, &import("unknown")).expect("nothing to mark");
        assert_eq!(after, before);
    }

    #[test]
    fn an_export_of_the_tool_is_hidden_and_later_indices_count_one_less() {
        let own = section(11, b"\x01\0\x07exports\x05\0\0");
        let instance = section(5, b"\x01\x01\0");
        let other = section(11, b"\x01\0\x05a:b/d\x05\x02\0");
        let mut code = [component(), own, instance, other].concat();
        let before = code.clone();
        patch(&mut code, &BTreeSet::new()).expect("hides");
        let changed: Vec<(u8, u8)> = before.iter().zip(&code).filter(|(a, b)| a != b).map(|(a, b)| (*a, *b)).collect();
        assert_eq!(changed, [(11, 0), (2, 1)]);
    }

    #[test]
    fn a_component_that_is_cut_within_a_section_is_refused() {
        let whole = component();
        let cut = (9..whole.len()).filter(|&end| patch(&mut whole[..end].to_vec(), &import("wait")).is_err()).count();
        assert!(cut > whole.len() / 2, "only {cut} cuts were refused");
        assert!(patch(&mut b"\0asm\x01\0\0\0".to_vec(), &import("wait")).is_err());
    }
}
