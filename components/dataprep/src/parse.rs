//! Files to documents. Each format has a file below; all keep within the [`Budget`].

mod csv;
mod detect;
mod docx;
mod html;
mod json;
mod markdown;
mod ooxml;
mod pdf;
mod pptx;
mod record;
mod text;
mod txt;
mod xlsx;
mod xml;
mod yaml;

#[cfg(test)]
mod fuzz;

pub(crate) use detect::Format;

use crate::document::{Builder, Document};
use crate::limits::{Budget, Limits, ParseError};

/// A file as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// With its extension; a link's path.
    pub(crate) name: &'a str,
    /// What the sender calls it, if it says so.
    pub(crate) content_type: Option<&'a str>,
    pub(crate) bytes: &'a [u8],
}

/// Reads a file, whatever it is.
///
/// # Errors
/// What it is, or what is wrong with it.
pub(crate) fn parse(source: Source<'_>, limits: &Limits) -> Result<(Format, Document), ParseError> {
    if source.bytes.len() > limits.file_bytes_max {
        return Err(ParseError::TooLong { what: "content", max: limits.file_bytes_max as u64, unit: "bytes" });
    }
    if source.bytes.is_empty() {
        return Err(ParseError::Empty("it is empty"));
    }
    let format = Format::of(source)?;
    let mut budget = Budget::new(limits.clone());
    let mut builder = Builder::new(&mut budget);
    let bytes = source.bytes;
    match format {
        Format::Text => txt::read(&text::decode(bytes), &mut builder),
        Format::Markdown => markdown::read(&text::decode(bytes), &mut builder),
        Format::Html => html::read(&text::decode_html(bytes, source.content_type), &mut builder),
        Format::Json => json::read(&text::decode(bytes), &mut builder),
        Format::JsonLines => json::read_lines(&text::decode(bytes), &mut builder),
        Format::Csv => csv::read(&text::decode(bytes), &mut builder),
        Format::Xml => xml::read(&text::decode_xml(bytes), &mut builder),
        Format::Yaml => yaml::read(&text::decode(bytes), &mut builder),
        Format::Pdf => pdf::read(bytes, &mut builder),
        Format::Docx => docx::read(bytes, &mut builder),
        Format::Pptx => pptx::read(bytes, &mut builder),
        Format::Xlsx => xlsx::read(bytes, &mut builder),
    }?;
    if builder.is_empty() {
        return Err(ParseError::Empty(match format {
            Format::Pdf => {
                "it has no text that can be read: its pages may be scanned images, or their fonts don't say what they show"
            }
            _ => "it has no text",
        }));
    }
    Ok((format, builder.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Kind;

    /// The blocks of a file that is read without an error.
    pub(crate) fn blocks(name: &str, bytes: &[u8]) -> Vec<(Kind, String)> {
        let (_, document) = read(name, bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        document.blocks.iter().map(|block| (block.kind, document.text[block.range.clone()].to_owned())).collect()
    }

    pub(crate) fn read(name: &str, bytes: &[u8]) -> Result<(Format, Document), ParseError> {
        parse(Source { name, content_type: None, bytes }, &Limits::default())
    }

    #[test]
    fn an_empty_file_is_told_from_one_without_text() {
        assert_eq!(read("a.txt", b""), Err(ParseError::Empty("it is empty")));
        assert_eq!(read("a.txt", b" \n"), Err(ParseError::Empty("it has no text")));
    }

    #[test]
    fn a_file_over_its_limit_is_refused_before_it_is_read() {
        let limits = Limits { file_bytes_max: 3, ..Limits::default() };
        let error = parse(Source { name: "a.txt", content_type: None, bytes: b"four" }, &limits).expect_err("too long");
        assert_eq!(error.code().0, "too_long");
    }
}
