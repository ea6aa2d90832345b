//! What the office formats share (ECMA-376): a ZIP archive of XML parts that name each other by relations.

use std::collections::HashMap;
use std::io::{Cursor, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use super::Format;
use super::text::decode_xml;
use super::xml::{Element, Node, walk};
use crate::document::Builder;
use crate::limits::{Budget, ParseError};

/// Most files in an archive.
const ENTRIES_MAX: usize = 20_000;

/// Most bytes of one part.
const PART_BYTES_MAX: u64 = 64 << 20;

/// How many times its own size a part may come to, and from which size on that is looked at.
const RATIO_MAX: u64 = 200;
const RATIO_BYTES_MIN: u64 = 8 << 20;

/// The kind of an archive.
///
/// # Errors
/// It is no office document; the text tells what it is.
pub(super) fn format(bytes: &[u8]) -> Result<Format, ParseError> {
    let archive = open(bytes)?;
    let has = |name: &str| archive.index_for_name(name).is_some();
    let unsupported = |what: &str| Err(ParseError::Unsupported(format!("it is {what}")));
    match () {
        () if has("word/document.xml") => Ok(Format::Docx),
        () if has("ppt/presentation.xml") => Ok(Format::Pptx),
        () if has("xl/workbook.xml") => Ok(Format::Xlsx),
        () if has("xl/workbook.bin") => unsupported("a binary Excel workbook (xlsb): save it as xlsx"),
        () if has("META-INF/container.xml") => unsupported("an e-book (epub), which is not read"),
        () if has("content.xml") => unsupported("an OpenDocument file, which is not read: save it as docx, pptx or xlsx"),
        () => unsupported("a ZIP archive: send the files in it by themselves"),
    }
}

fn open(bytes: &[u8]) -> Result<ZipArchive<Cursor<&[u8]>>, ParseError> {
    let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| ParseError::malformed("ZIP archive", error))?;
    if archive.len() > ENTRIES_MAX {
        return Err(ParseError::TooLong { what: "files in it", max: ENTRIES_MAX as u64, unit: "files" });
    }
    Ok(archive)
}

/// An office document whose parts are read one by one.
pub(super) struct Package<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
}

impl<'a> Package<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, ParseError> {
        open(bytes).map(|archive| Self { archive })
    }

    /// The text of a part; none if it is not there.
    ///
    /// # Errors
    /// It is encrypted, broken, or comes to more than the limits.
    pub(super) fn part(&mut self, name: &str, budget: &mut Budget) -> Result<Option<String>, ParseError> {
        let entry = match self.archive.by_name(name) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED)) => return Err(ParseError::Encrypted),
            Err(ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_)) => {
                let why = format!("its part {name} is compressed in a way that is not read: save it again");
                return Err(ParseError::Unsupported(why));
            }
            Err(error) => return Err(ParseError::malformed("ZIP archive", error)),
        };
        let bytes_max = PART_BYTES_MAX.min(budget.inflatable_bytes());
        let ratio_max = RATIO_BYTES_MIN.max(entry.compressed_size().saturating_mul(RATIO_MAX));
        let bytes_max = bytes_max.min(ratio_max);
        let mut bytes = Vec::new();
        // What the archive says of the size is not believed.
        entry.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| ParseError::malformed("ZIP archive", error))?;
        if bytes.len() as u64 > bytes_max {
            return Err(budget.bomb());
        }
        budget.inflate(bytes.len() as u64)?;
        Ok(Some(decode_xml(&bytes).into_owned()))
    }

    /// The text of a part without which the document is none.
    ///
    /// # Errors
    /// Those of [`part`](Self::part), or it is not there.
    pub(super) fn required(&mut self, name: &str, budget: &mut Budget) -> Result<String, ParseError> {
        let missing = || ParseError::malformed("office document", format!("its part {name} is missing"));
        self.part(name, budget)?.ok_or_else(missing)
    }

    /// The parts that a part names, by the ids it uses.
    ///
    /// # Errors
    /// Those of [`part`](Self::part).
    pub(super) fn relations(&mut self, name: &str, budget: &mut Budget) -> Result<HashMap<String, Relation>, ParseError> {
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        let Some(text) = self.part(&format!("{folder}/_rels/{file}.rels"), budget)? else { return Ok(HashMap::new()) };
        let mut relations = HashMap::new();
        walk(&text, budget, &mut |node, _| {
            if let Node::Start(element) = node
                && let (Some(id), Some(target)) = (element.attribute("Id"), element.attribute("Target"))
            {
                let kind = element.attribute("Type").unwrap_or_default();
                let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
                relations.insert(id, Relation { kind, part: resolve(folder, &target) });
            }
            Ok(())
        })?;
        Ok(relations)
    }

    /// Names the document as its properties do.
    ///
    /// # Errors
    /// Those of [`part`](Self::part).
    pub(super) fn title(&mut self, builder: &mut Builder<'_>) -> Result<(), ParseError> {
        let Some(text) = self.part("docProps/core.xml", builder.budget)? else { return Ok(()) };
        let (mut title, mut is_in) = (String::new(), false);
        walk(&text, builder.budget, &mut |node, _| {
            match node {
                Node::Start(element) => is_in = element.name() == "title",
                Node::End(_) => is_in = false,
                Node::Text(text) if is_in => title.push_str(&text),
                Node::Text(_) => {}
            }
            Ok(())
        })?;
        builder.title(&title);
        Ok(())
    }
}

/// Another part.
#[derive(Debug)]
pub(super) struct Relation {
    /// The last word of its type: `slide`, `notesSlide`, `worksheet`, …
    pub(super) kind: String,
    pub(super) part: String,
}

/// A part's name from one that is relative to a folder.
fn resolve(folder: &str, target: &str) -> String {
    if let Some(absolute) = target.strip_prefix('/') {
        return absolute.to_owned();
    }
    let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in target.split('/') {
        match name {
            ".." => {
                names.pop();
            }
            "." | "" => {}
            _ => names.push(name),
        }
    }
    names.join("/")
}

/// What is told of a part whose texts stand in runs, as those of documents and slides do.
pub(super) trait Runs {
    /// An element begins.
    fn start(&mut self, element: &Element<'_>);
    /// A piece of text, as it is shown.
    fn text(&mut self, text: &str);
    /// The element of this local name ends. What is kept of it is held in the budget.
    ///
    /// # Errors
    /// It is more than the limits.
    fn end(&mut self, name: &str, budget: &mut Budget) -> Result<(), ParseError>;
}

/// Goes through a part. Only what is in elements `t` is text; the rest is field codes and the like. What stands in a `Fallback`
/// is left out.
///
/// # Errors
/// Those of [`walk`].
pub(super) fn walk_runs(text: &str, budget: &mut Budget, runs: &mut impl Runs) -> Result<(), ParseError> {
    let (mut in_text, mut fallbacks) = (false, 0_usize);
    walk(text, budget, &mut |node, budget| {
        match node {
            Node::Start(element) if element.name() == "Fallback" => fallbacks += 1,
            Node::End("Fallback") => fallbacks = fallbacks.saturating_sub(1),
            // It repeats what stands before it, for programs that don't know that.
            _ if fallbacks > 0 => {}
            Node::Start(element) => {
                in_text = element.name() == "t";
                runs.start(element);
            }
            Node::End(name) => {
                in_text = false;
                runs.end(name, budget)?;
            }
            Node::Text(text) if in_text => runs.text(&text),
            Node::Text(_) => {}
        }
        Ok(())
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;
    use crate::limits::Limits;
    use crate::parse::tests::read;

    pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in files {
            writer.start_file(*name, SimpleFileOptions::default()).expect("a new file");
            writer.write_all(bytes).expect("writes");
        }
        writer.finish().expect("writes").into_inner()
    }

    #[test]
    fn names_of_parts_are_relative_to_who_names_them() {
        assert_eq!(resolve("ppt/slides", "../notesSlides/n1.xml"), "ppt/notesSlides/n1.xml");
        assert_eq!(resolve("xl", "/xl/worksheets/s.xml"), "xl/worksheets/s.xml");
        assert_eq!(resolve("xl", "../../../etc/passwd"), "etc/passwd");
    }

    #[test]
    fn a_part_that_inflates_beyond_all_proportion_is_a_bomb() {
        let bomb = archive(&[("word/document.xml", &vec![b' '; 9 << 20])]);
        assert!(bomb.len() < 100_000);
        assert_eq!(read("a.docx", &bomb).expect_err("a bomb").code().0, "decompression_bomb");
    }

    #[test]
    fn an_unknown_compression_is_told_from_a_password() {
        let whole = archive(&[("word/document.xml", b"<a/>")]);
        // The method and the flags of the file's own head and of the archive's list.
        let changed = |at_head: usize, at_list: usize, byte: u8| {
            let list = whole.windows(4).position(|window| window == b"PK\x01\x02").expect("a list");
            let mut bytes = whole.clone();
            (bytes[at_head], bytes[list + at_list]) = (byte, byte);
            read("a.docx", &bytes).expect_err("not read")
        };
        assert_eq!(changed(6, 8, 1), ParseError::Encrypted);
        assert_eq!(changed(8, 10, 97).code().0, "unsupported_format");
    }

    #[test]
    fn parts_are_bounded_together() {
        let bytes = archive(&[("a", &[b'x'; 600]), ("b", &[b'y'; 600])]);
        let mut budget = Budget::new(Limits { inflated_bytes_max: 1000, ..Limits::default() });
        let mut package = Package::new(&bytes).expect("an archive");
        assert!(package.part("a", &mut budget).is_ok());
        assert_eq!(package.part("b", &mut budget).expect_err("too much").code().0, "decompression_bomb");
    }

    #[test]
    fn other_archives_are_named() {
        let inner = archive(&[("b.txt", b"x")]);
        let error = read("a.zip", &archive(&[("a.zip", &inner)])).expect_err("an archive");
        assert!(error.to_string().contains("ZIP archive: send the files in it by themselves"), "{error}");
        let error = read("a.odt", &archive(&[("content.xml", b"<a/>")])).expect_err("not read");
        assert!(error.to_string().contains("OpenDocument"), "{error}");
    }
}
