//! A file's objects and pages.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::crypt::Crypt;
use super::encoding::text_string;
use super::filter;
use super::lexer::{Lexer, Token, is_blank};
use super::object::{Dict, NULL, Object, Stream};
use crate::limits::{Budget, ParseError};

/// References that are followed one after the other.
const REFERENCES_MAX: usize = 16;

/// Levels of the tree of pages.
const PAGE_DEPTH_MAX: usize = 64;

/// Most objects of a file.
const OBJECTS_MAX: usize = 1_000_000;

pub(super) struct File<'a> {
    bytes: &'a [u8],
    /// Objects with the place where they are defined: the last one counts.
    objects: HashMap<u32, (usize, Object)>,
    trailer: Dict,
    crypt: Option<Crypt>,
}

/// A page, with what it inherits.
pub(super) struct Page {
    pub(super) contents: Object,
    pub(super) resources: Object,
}

impl<'a> File<'a> {
    /// Finds every object.
    ///
    /// # Errors
    /// It is encrypted with a password, or is more than the limits.
    pub(super) fn read(bytes: &'a [u8], budget: &mut Budget) -> Result<Self, ParseError> {
        let mut file = Self { bytes, objects: HashMap::new(), trailer: Dict::default(), crypt: None };
        let values_left = file.scan(budget)?;
        if let Some(dict) = file.resolve(file.trailer.get("Encrypt")).dict() {
            let id = file.resolve(file.trailer.get("ID")).list().and_then(|ids| ids.first());
            let id = id.and_then(|id| file.resolve(id).text()).unwrap_or_default();
            file.crypt = Some(Crypt::new(dict, id).ok_or(ParseError::Encrypted)?);
        }
        file.unpack(values_left, budget)?;
        Ok(file)
    }

    /// Looks for `N G obj` and `trailer`, and says how many values may still be read.
    fn scan(&mut self, budget: &mut Budget) -> Result<usize, ParseError> {
        let mut lexer = Lexer::new(self.bytes, 0);
        let mut at = 0;
        while at < self.bytes.len() {
            let rest = &self.bytes[at..];
            if rest.starts_with(b"obj")
                && let Some(id) = id_before(&self.bytes[..at])
            {
                budget.tick()?;
                lexer.at = at + 3;
                if let Some(object) = lexer.object()? {
                    let object = self.with_stream(object, id, &mut lexer);
                    if let Object::Stream(stream) = &object
                        && stream.dict.is_of_type("XRef")
                    {
                        self.add_trailer(stream.dict.clone());
                    }
                    self.define(id.0, at, object)?;
                }
                at = lexer.at.max(at + 3);
            } else if rest.starts_with(b"trailer") {
                lexer.at = at + 7;
                if let Some(Object::Dict(dict)) = lexer.object()? {
                    self.add_trailer((*dict).clone());
                }
                at = lexer.at.max(at + 7);
            } else {
                // `o` and `t` begin all that is looked for.
                let next = rest[1..].iter().position(|byte| matches!(byte, b'o' | b't'));
                at += 1 + next.unwrap_or(rest.len() - 1);
            }
        }
        Ok(lexer.values_left)
    }

    fn define(&mut self, number: u32, at: usize, object: Object) -> Result<(), ParseError> {
        if self.objects.len() >= OBJECTS_MAX {
            return Err(ParseError::TooLong { what: "objects", max: OBJECTS_MAX as u64, unit: "objects" });
        }
        let defined = self.objects.entry(number).or_insert((at, Object::Null));
        if defined.0 <= at {
            *defined = (at, object);
        }
        Ok(())
    }

    fn add_trailer(&mut self, dict: Dict) {
        if *dict.get("Root") != NULL {
            self.trailer.0.extend(dict.0);
        }
    }

    /// A dictionary with the stream behind it, if there is one.
    fn with_stream(&self, object: Object, id: (u32, u16), lexer: &mut Lexer<'_>) -> Object {
        let Object::Dict(dict) = &object else { return object };
        let before = lexer.at;
        if !matches!(lexer.token(), Some(Token::Word(b"stream"))) {
            lexer.at = before;
            return object;
        }
        let mut start = lexer.at;
        start += usize::from(self.bytes.get(start) == Some(&b'\r'));
        start += usize::from(self.bytes.get(start) == Some(&b'\n'));
        let end = self.stream_end(start, dict.get("Length").count());
        lexer.at = end;
        Object::Stream(Rc::new(Stream { dict: (**dict).clone(), range: start.min(end)..end, id }))
    }

    /// Where a stream ends: at its length if `endstream` stands there, else where that word stands.
    fn stream_end(&self, start: usize, length: Option<u32>) -> usize {
        let said = length.and_then(|length| start.checked_add(length as usize)).filter(|&end| end <= self.bytes.len());
        if let Some(end) = said {
            let mut lexer = Lexer::new(self.bytes, end);
            if matches!(lexer.token(), Some(Token::Word(word)) if word.starts_with(b"endstream")) {
                return end;
            }
        }
        let rest = self.bytes.get(start..).unwrap_or_default();
        let found = rest.windows(9).position(|window| window == b"endstream").unwrap_or(rest.len());
        let trimmed =
            rest[..found].strip_suffix(b"\r\n").or_else(|| rest[..found].strip_suffix(b"\n")).unwrap_or(&rest[..found]);
        start.min(self.bytes.len()) + trimmed.len()
    }

    /// Reads the objects that are in streams.
    fn unpack(&mut self, mut values_left: usize, budget: &mut Budget) -> Result<(), ParseError> {
        let is_packed = |object: &Object| matches!(object, Object::Stream(stream) if stream.dict.is_of_type("ObjStm"));
        let mut packed: Vec<(usize, Object)> = self.objects.values().filter(|(_, object)| is_packed(object)).cloned().collect();
        packed.sort_by_key(|&(at, _)| at);
        for (at, object) in packed {
            let Object::Stream(stream) = object else { continue };
            let bytes = self.decode(&stream, budget)?;
            let first = self.resolve(stream.dict.get("First")).count().unwrap_or(0) as usize;
            let count = self.resolve(stream.dict.get("N")).count().unwrap_or(0);
            let mut index = Lexer::new(&bytes, 0);
            for _ in 0..count {
                budget.tick()?;
                let (Some(number), Some(offset)) = (next_count(&mut index), next_count(&mut index)) else { break };
                let start = first.saturating_add(offset as usize);
                let mut lexer = Lexer::new(&bytes, start);
                lexer.values_left = values_left;
                if let Some(object) = lexer.object()? {
                    // Several numbers may have one place.
                    budget.hold(lexer.at.saturating_sub(start))?;
                    self.define(number, at, object)?;
                }
                values_left = lexer.values_left;
            }
        }
        Ok(())
    }

    /// The object that is meant, behind all references.
    pub(super) fn resolve<'o>(&'o self, object: &'o Object) -> &'o Object {
        let mut object = object;
        for _ in 0..REFERENCES_MAX {
            match object {
                Object::Reference(number) => object = self.objects.get(number).map_or(&NULL, |(_, object)| object),
                _ => return object,
            }
        }
        &NULL
    }

    /// What a name of a dictionary stands for, behind all references.
    pub(super) fn get<'o>(&'o self, dict: &'o Dict, name: &str) -> &'o Object {
        self.resolve(dict.get(name))
    }

    /// A stream's bytes, decrypted and decoded; none of those that are images.
    ///
    /// # Errors
    /// They come to more than the limits.
    pub(super) fn decode(&self, stream: &Stream, budget: &mut Budget) -> Result<Vec<u8>, ParseError> {
        let raw = self.bytes.get(stream.range.clone()).unwrap_or_default();
        let decrypted = match &self.crypt {
            Some(crypt) if !stream.dict.is_of_type("XRef") => crypt.decrypt_stream(raw, stream.id),
            _ => raw.into(),
        };
        filter::decode(&decrypted, &stream.dict, self, budget)
    }

    /// The title that the file says of itself.
    pub(super) fn title(&self) -> Option<String> {
        // In an encrypted file it is encrypted with the number of its object, which is lost here.
        let info = self.resolve(self.trailer.get("Info")).dict().filter(|_| self.crypt.is_none())?;
        self.get(info, "Title").text().map(text_string)
    }

    /// All pages in their order.
    ///
    /// # Errors
    /// There are none, or more than the limit.
    pub(super) fn pages(&self, budget: &mut Budget) -> Result<Vec<Page>, ParseError> {
        let catalog = self.resolve(self.trailer.get("Root")).dict();
        let by_type = || self.objects.values().filter_map(|(_, object)| object.dict()).find(|dict| dict.is_of_type("Catalog"));
        let mut pages = match catalog.or_else(by_type) {
            Some(catalog) => self.page_tree(catalog.get("Pages"), budget)?,
            None => Vec::new(),
        };
        if pages.is_empty() {
            // Without a tree, pages are what says that it is one.
            let mut numbers: Vec<u32> = self.objects.keys().copied().collect();
            numbers.sort_unstable();
            let dicts = numbers.iter().filter_map(|number| self.objects.get(number)?.1.dict());
            let found = dicts.filter(|dict| dict.is_of_type("Page")).take(budget.limits.pages_max as usize);
            pages.extend(found.map(|dict| Page::new(dict, self.get(dict, "Resources").clone())));
        }
        if pages.is_empty() { Err(ParseError::malformed("PDF", "it has no pages")) } else { Ok(pages) }
    }

    fn page_tree(&self, root: &Object, budget: &mut Budget) -> Result<Vec<Page>, ParseError> {
        let mut pages = Vec::new();
        let mut seen = HashSet::new();
        let mut open = vec![(root, NULL, 0)];
        while let Some((node, inherited, depth)) = open.pop() {
            budget.tick()?;
            // No node is in the tree twice, whatever the file says.
            if matches!(node, Object::Reference(number) if !seen.insert(*number)) || depth > PAGE_DEPTH_MAX {
                continue;
            }
            let Some(dict) = self.resolve(node).dict() else { continue };
            let resources = match self.get(dict, "Resources") {
                Object::Null => inherited,
                own => own.clone(),
            };
            match self.get(dict, "Kids").list() {
                Some(kids) if !dict.is_of_type("Page") => {
                    open.extend(kids.iter().rev().map(|kid| (kid, resources.clone(), depth + 1)));
                }
                _ => pages.push(Page::new(dict, resources)),
            }
            let pages_max = budget.limits.pages_max;
            if pages.len() > pages_max as usize {
                return Err(ParseError::TooLong { what: "pages", max: pages_max.into(), unit: "pages" });
            }
        }
        Ok(pages)
    }
}

impl Page {
    fn new(dict: &Dict, resources: Object) -> Self {
        Self { contents: dict.get("Contents").clone(), resources }
    }
}

fn next_count(lexer: &mut Lexer<'_>) -> Option<u32> {
    match lexer.token()? {
        Token::Value(value) => value.count(),
        _ => None,
    }
}

/// Number and generation at the end of what stands before `obj`.
fn id_before(bytes: &[u8]) -> Option<(u32, u16)> {
    let (generation, rest) = digits_before(trim_blanks(bytes)?)?;
    let (number, _) = digits_before(trim_blanks(rest)?)?;
    Some((number, u16::try_from(generation).ok()?))
}

/// Without the blanks at its end, of which there must be some.
fn trim_blanks(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().rposition(|&byte| !is_blank(byte))? + 1;
    (end < bytes.len()).then(|| &bytes[..end])
}

fn digits_before(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let start = bytes.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |at| at + 1);
    let number = std::str::from_utf8(&bytes[start..]).ok()?.parse().ok()?;
    Some((number, &bytes[..start]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn resolved(bytes: &[u8], number: u32) -> Object {
        let mut budget = Budget::new(Limits::default());
        let file = File::read(bytes, &mut budget).expect("within the limits");
        file.resolve(&Object::Reference(number)).clone()
    }

    #[test]
    fn the_last_definition_of_an_object_counts() {
        assert_eq!(resolved(b"1 0 obj 5 endobj\n1 0 obj 6 endobj", 1), Object::Number(6.0));
    }

    #[test]
    fn an_object_inside_of_a_stream_is_none() {
        let bytes = b"1 0 obj 5 endobj 2 0 obj <</Length 16>> stream\n1 0 obj 6 endobj\nendstream endobj";
        assert_eq!(resolved(bytes, 1), Object::Number(5.0));
    }

    #[test]
    fn objects_of_a_stream_are_found() {
        let bytes = b"7 0 obj <</Type /ObjStm /N 2 /First 8 /Length 14>> stream\n3 0 4 2 5 (a) endstream endobj";
        assert_eq!(resolved(bytes, 3), Object::Number(5.0));
        assert_eq!(resolved(bytes, 4).text(), Some(b"a".as_slice()));
    }

    #[test]
    fn a_reference_to_itself_is_null() {
        assert_eq!(resolved(b"1 0 obj 1 0 R endobj", 1), Object::Null);
    }
}
