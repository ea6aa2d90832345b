//! What a file is: by its first bytes where they tell, by its name among the kinds of text.

use super::Source;
use super::ooxml;
use crate::limits::ParseError;

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Markdown,
    Html,
    Json,
    JsonLines,
    Csv,
    Xml,
    Yaml,
    Pdf,
    Docx,
    Pptx,
    Xlsx,
}

/// Extensions and what they promise.
const EXTENSIONS: [(&str, Format); 20] = [
    ("txt", Format::Text),
    ("text", Format::Text),
    ("log", Format::Text),
    ("md", Format::Markdown),
    ("markdown", Format::Markdown),
    ("html", Format::Html),
    ("htm", Format::Html),
    ("xhtml", Format::Html),
    ("json", Format::Json),
    ("jsonl", Format::JsonLines),
    ("ndjson", Format::JsonLines),
    ("csv", Format::Csv),
    ("tsv", Format::Csv),
    ("xml", Format::Xml),
    ("yaml", Format::Yaml),
    ("yml", Format::Yaml),
    ("pdf", Format::Pdf),
    ("docx", Format::Docx),
    ("pptx", Format::Pptx),
    ("xlsx", Format::Xlsx),
];

/// Media types that tell more than the name, as those of links.
const MEDIA_TYPES: [(&str, Format); 10] = [
    ("text/html", Format::Html),
    ("application/xhtml+xml", Format::Html),
    ("text/markdown", Format::Markdown),
    ("application/json", Format::Json),
    ("application/x-ndjson", Format::JsonLines),
    ("text/csv", Format::Csv),
    ("application/xml", Format::Xml),
    ("text/xml", Format::Xml),
    ("application/yaml", Format::Yaml),
    ("application/pdf", Format::Pdf),
];

/// First bytes of files that are not read, and what they are.
const OTHERS: [(usize, &[u8], &str); 24] = [
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"II*\0", "a TIFF image"),
    (0, b"MM\0*", "a TIFF image"),
    (0, b"BM", "a bitmap image"),
    (8, b"WEBP", "a WebP image"),
    (8, b"WAVE", "a sound"),
    (8, b"AVI ", "a video"),
    (4, b"ftyp", "a video or an image"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (0, b"OggS", "a sound"),
    (0, b"ID3", "a sound"),
    (0, b"fLaC", "a sound"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\0", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
    (0, b"\0asm", "a program"),
];

/// What the content is.
enum Content {
    Binary(Format),
    Text,
}

impl Format {
    /// What a file is.
    ///
    /// # Errors
    /// It is nothing that is read, or not what its name says; the text tells what it is.
    pub(crate) fn of(source: Source<'_>) -> Result<Format, ParseError> {
        let promised = promised(source);
        match (content(source.bytes)?, promised) {
            (Content::Binary(found), Some(promised)) if found != promised => Err(misnamed(promised, found.describe())),
            (Content::Binary(found), _) => Ok(found),
            (Content::Text, Some(promised)) if promised.is_binary() => Err(misnamed(promised, "plain text")),
            (Content::Text, Some(promised)) => Ok(promised),
            (Content::Text, None) => Ok(sniff(source.bytes)),
        }
    }

    /// The name of the format, which is its usual extension.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Text => "txt",
            Format::Markdown => "md",
            Format::Html => "html",
            Format::Json => "json",
            Format::JsonLines => "jsonl",
            Format::Csv => "csv",
            Format::Xml => "xml",
            Format::Yaml => "yaml",
            Format::Pdf => "pdf",
            Format::Docx => "docx",
            Format::Pptx => "pptx",
            Format::Xlsx => "xlsx",
        }
    }

    /// The media type under which a file is given back.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain",
            Format::Markdown => "text/markdown",
            Format::Html => "text/html",
            Format::Json => "application/json",
            Format::JsonLines => "application/x-ndjson",
            Format::Csv => "text/csv",
            Format::Xml => "application/xml",
            Format::Yaml => "application/yaml",
            Format::Pdf => "application/pdf",
            Format::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            Format::Pptx => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            Format::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Format::Pdf => "a PDF",
            Format::Docx => "a Word document (docx)",
            Format::Pptx => "a PowerPoint presentation (pptx)",
            Format::Xlsx => "an Excel workbook (xlsx)",
            _ => "plain text",
        }
    }

    fn is_binary(self) -> bool {
        matches!(self, Format::Pdf | Format::Docx | Format::Pptx | Format::Xlsx)
    }
}

fn misnamed(promised: Format, found: &str) -> ParseError {
    let promised = promised.name();
    ParseError::Unsupported(format!("it is called {promised} and its content is {found}: give it the name of what it is"))
}

/// What the name, or else the sender, says.
fn promised(source: Source<'_>) -> Option<Format> {
    let extension = source.name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let by_name = extension.and_then(|extension| EXTENSIONS.iter().find(|(known, _)| *known == extension));
    let media = source.content_type.and_then(|text| text.split(';').next()).map(|text| text.trim().to_ascii_lowercase());
    let by_media = media.and_then(|media| MEDIA_TYPES.iter().find(|(known, _)| *known == media));
    by_name.or(by_media).map(|&(_, format)| format)
}

fn content(bytes: &[u8]) -> Result<Content, ParseError> {
    if bytes[..bytes.len().min(1024)].windows(5).any(|window| window == b"%PDF-") {
        return Ok(Content::Binary(Format::Pdf));
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return ooxml::format(bytes).map(Content::Binary);
    }
    if bytes.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return Err(compound(bytes));
    }
    let is_at = |&&(at, magic, _): &&(usize, &[u8], &str)| bytes.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let is_wide = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    if let Some((_, _, what)) = OTHERS.iter().find(is_at).filter(|_| !is_wide && !is_plain(bytes)) {
        return Err(ParseError::Unsupported(format!("it is {what}: only documents with text are read")));
    }
    if bytes.contains(&0) && !is_wide {
        return Err(ParseError::Unsupported("it is binary data of a kind that is not known here".into()));
    }
    Ok(Content::Text)
}

/// Whether it is text in spite of first bytes that could be something else's, as `BM` or `MZ`.
fn is_plain(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok()
}

/// What Microsoft's older container holds: names in it are UTF-16.
fn compound(bytes: &[u8]) -> ParseError {
    let has = |name: &str| {
        let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        bytes.windows(wide.len()).any(|window| window == wide)
    };
    if has("EncryptedPackage") {
        return ParseError::Encrypted;
    }
    let what = match () {
        () if has("WordDocument") => "an old Word document (doc): save it as docx",
        () if has("PowerPoint Document") => "an old PowerPoint presentation (ppt): save it as pptx",
        () if has("Workbook") => "an old Excel workbook (xls): save it as xlsx",
        () => "a compound file of a kind that is not known here",
    };
    ParseError::Unsupported(format!("it is {what}"))
}

/// The kind of a text whose name tells nothing.
fn sniff(bytes: &[u8]) -> Format {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]);
    let start = text.trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    if start.starts_with("<!doctype html") || start.starts_with("<html") {
        return Format::Html;
    }
    if start.starts_with("<?xml") {
        return if start.contains("<html") { Format::Html } else { Format::Xml };
    }
    let is_json = start.starts_with(['{', '[']) && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
    if is_json { Format::Json } else { Format::Text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, content_type: Option<&str>, bytes: &[u8]) -> Result<Format, String> {
        Format::of(Source { name, content_type, bytes }).map_err(|error| error.to_string())
    }

    #[test]
    fn the_content_tells_what_the_name_does_not() {
        assert_eq!(of("a", None, b"\n%PDF-1.4"), Ok(Format::Pdf));
        assert_eq!(of("a", None, b" <!DOCTYPE HTML><p>"), Ok(Format::Html));
        assert_eq!(of("a", None, b"<?xml version='1.0'?><a/>"), Ok(Format::Xml));
        assert_eq!(of("a", None, b"[1]"), Ok(Format::Json));
        assert_eq!(of("a", None, b"[not json"), Ok(Format::Text));
    }

    #[test]
    fn the_name_decides_among_kinds_of_text_and_the_sender_after_it() {
        assert_eq!(of("A.MD", Some("text/html"), b"x"), Ok(Format::Markdown));
        assert_eq!(of("/page", Some("text/html; charset=utf-8"), b"x"), Ok(Format::Html));
        assert_eq!(of("notes.rst", None, b"BM is a text"), Ok(Format::Text));
        assert_eq!(of("a.txt", None, b"\xff\xfea\0"), Ok(Format::Text));
    }

    #[test]
    fn a_wrong_extension_is_told_with_what_it_is() {
        assert!(of("a.txt", None, b"%PDF-1.4").is_err_and(|text| text.contains("called txt and its content is a PDF")));
        assert!(of("a.pdf", None, b"hello").is_err_and(|text| text.contains("called pdf and its content is plain text")));
    }

    #[test]
    fn what_is_not_read_is_named() {
        for (bytes, what) in [
            (b"\x89PNG\r\n\x1a\n\0".as_slice(), "PNG"),
            (b"\x1f\x8b\x08\0", "gzip"),
            (b"a\0b", "binary data"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1W\0o\0r\0d\0D\0o\0c\0u\0m\0e\0n\0t\0", "old Word document"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "compound file"),
        ] {
            assert!(of("a.bin", None, bytes).is_err_and(|text| text.contains(what)), "{what}");
        }
    }
}
