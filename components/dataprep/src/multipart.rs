//! Forms with files (RFC 7578), read while they come: what is not wanted is not kept.

use tessera_sdk::{Body, Error};

/// Longest head of a part, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Longest boundary, in bytes (RFC 2046).
const BOUNDARY_BYTES_MAX: usize = 70;

/// Where bytes come from.
pub(crate) trait Chunks {
    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// The body broke off.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Error>;
}

impl Chunks for Body {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.chunk().await?)
    }
}

/// A form that is read part by part.
#[derive(Debug)]
pub(crate) struct Multipart<C> {
    chunks: C,
    /// What has come and is not read yet.
    buffer: Vec<u8>,
    /// Line break, two dashes and the boundary.
    delimiter: Vec<u8>,
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In a part, or before the first one.
    Part,
    /// Right behind a delimiter.
    Delimiter,
    End,
}

/// The head of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) name: String,
    pub(crate) file_name: Option<String>,
    pub(crate) content_type: Option<String>,
}

impl<C: Chunks> Multipart<C> {
    /// A form of this content type.
    ///
    /// # Errors
    /// 415 for another content type, 400 for one without a boundary.
    pub(crate) fn new(content_type: &str, chunks: C) -> Result<Self, Error> {
        let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            let message = "the request must be a form: send it as multipart/form-data, as `curl -F files=@NAME` does";
            return Err(Error::new(415, "unsupported_media_type", message));
        }
        let boundary = parameter(parameters, "boundary").filter(|boundary| (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()));
        let boundary = boundary.ok_or_else(|| malformed("its content type has no boundary"))?;
        // As if a line break stood before the first delimiter, which may be the first bytes of all.
        Ok(Self { chunks, buffer: b"\r\n".to_vec(), delimiter: format!("\r\n--{boundary}").into_bytes(), at: At::Part })
    }

    /// The head of the next part; none behind the last. What is left of the part before is skipped.
    ///
    /// # Errors
    /// The form is malformed or breaks off.
    pub(crate) async fn next_part(&mut self) -> Result<Option<Head>, Error> {
        while self.at == At::Part {
            self.data().await?;
        }
        if self.at == At::End {
            return Ok(None);
        }
        while self.buffer.len() < 2 {
            self.fill().await?;
        }
        if self.buffer.starts_with(b"--") {
            self.at = At::End;
            // What comes behind the end is nobody's, but has to be taken for the answer to be read.
            while self.chunks.next().await?.is_some() {}
            return Ok(None);
        }
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err(malformed("the head of a part is too long"));
            }
            self.fill().await?;
        };
        let head = head(&self.buffer[..end])?;
        // The last line break may also be the one before a delimiter, if there is nothing between.
        self.buffer.drain(..end + 2);
        self.at = At::Part;
        self.skip_line_break();
        Ok(Some(head))
    }

    /// A part's data begins behind the empty line. Its line break is kept if it is already that of a delimiter.
    fn skip_line_break(&mut self) {
        if !self.buffer.starts_with(&self.delimiter) {
            self.buffer.drain(..2);
        }
    }

    /// The next bytes of a part; none at its end.
    ///
    /// # Errors
    /// The form breaks off.
    pub(crate) async fn data(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if self.at != At::Part {
            return Ok(None);
        }
        loop {
            if let Some(end) = find(&self.buffer, &self.delimiter) {
                let data: Vec<u8> = self.buffer.drain(..end).collect();
                if data.is_empty() {
                    self.buffer.drain(..self.delimiter.len());
                    self.at = At::Delimiter;
                    return Ok(None);
                }
                return Ok(Some(data));
            }
            // The end of what has come may be the beginning of a delimiter.
            let sure = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            if sure > 0 {
                return Ok(Some(self.buffer.drain(..sure).collect()));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Error> {
        let chunk = self.chunks.next().await?.ok_or_else(|| malformed("it breaks off before its end"))?;
        self.buffer.extend_from_slice(&chunk);
        Ok(())
    }
}

fn head(bytes: &[u8]) -> Result<Head, Error> {
    let text = String::from_utf8_lossy(bytes);
    let header = |wanted: &str| {
        let named = |line: &str| {
            line.split_once(':')
                .filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.trim().to_owned())
        };
        text.split("\r\n").find_map(named)
    };
    let disposition = header("content-disposition").ok_or_else(|| malformed("a part has no content-disposition"))?;
    let (_, parameters) = disposition.split_once(';').unwrap_or((&disposition, ""));
    let name = parameter(parameters, "name").ok_or_else(|| malformed("a part has no name"))?;
    let extended = parameter(parameters, "filename*").and_then(|value| {
        let (_, encoded) = value.split_once("''")?;
        Some(percent_decoded(encoded))
    });
    let file_name = extended.or_else(|| parameter(parameters, "filename").map(|name| unescaped(&name)));
    Ok(Head { name: unescaped(&name), file_name, content_type: header("content-type") })
}

/// A parameter of a header, with or without quotes.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        rest = rest.trim_start_matches([';', ' ', '\t']);
        let (name, behind) = rest.split_once('=')?;
        let (value, behind) = match behind.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted),
            None => {
                let end = behind.find(';').unwrap_or(behind.len());
                (behind[..end].trim().to_owned(), &behind[end..])
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = behind;
    }
}

/// What stands before the closing quote, and what behind it.
fn quoted_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            // Browsers of old put whole paths there, in which a backslash means itself.
            '\\' if text[at + 1..].starts_with(['"', '\\']) => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

/// Browsers write quotes and line breaks in this way, and nothing else.
fn unescaped(text: &str) -> String {
    text.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n")
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn malformed(why: &str) -> Error {
    Error::new(400, "invalid_form", format!("the form is malformed: {why}"))
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    /// Gives a text in pieces of so many bytes.
    struct Pieces(Vec<u8>, usize);

    impl Chunks for Pieces {
        async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
            let end = self.1.min(self.0.len());
            let piece: Vec<u8> = self.0.drain(..end).collect();
            Ok((!piece.is_empty()).then_some(piece))
        }
    }

    fn read(form: &str, piece_bytes: usize) -> Result<Vec<(Head, String)>, Error> {
        let mut parts = Vec::new();
        block_on(async {
            let pieces = Pieces(form.replace('\n', "\r\n").into_bytes(), piece_bytes);
            let mut form = Multipart::new("multipart/form-data; boundary=\"X-y\"", pieces)?;
            while let Some(head) = form.next_part().await? {
                let mut text = Vec::new();
                while let Some(data) = form.data().await? {
                    text.extend(data);
                }
                parts.push((head, String::from_utf8_lossy(&text).into_owned()));
            }
            Ok(parts)
        })
    }

    const FORM: &str = "preamble\n--X-y\nContent-Disposition: form-data; name=\"a\"\n\n1\n--X-\n2\n--X-y\n\
        content-disposition: form-data; filename=\"C:\\dir\\b \\\"q\\\".txt\"; name=files\nContent-Type: text/plain\n\n\n--X-y\n\
        Content-Disposition: form-data; name=\"c\"; filename*=UTF-8''%e2%82%ac.md\n\n\nx\n\n--X-y--\nbehind";

    #[test]
    fn parts_are_the_same_however_the_form_comes() {
        for piece_bytes in [1, 2, 3, 7, 50, 10_000] {
            let parts = read(FORM, piece_bytes).expect("well-formed");
            let names: Vec<_> = parts.iter().map(|(head, _)| (head.name.as_str(), head.file_name.as_deref())).collect();
            assert_eq!(names, [("a", None), ("files", Some("C:\\dir\\b \"q\".txt")), ("c", Some("€.md"))], "{piece_bytes}");
            let texts: Vec<&str> = parts.iter().map(|(_, text)| text.as_str()).collect();
            assert_eq!(texts, ["1\r\n--X-\r\n2", "", "\r\nx\r\n"], "{piece_bytes}");
            assert_eq!(parts[1].0.content_type.as_deref(), Some("text/plain"));
        }
    }

    #[test]
    fn a_form_that_breaks_off_is_refused() {
        for form in
            ["", "--X-y\n", "--X-y\nContent-Disposition: form-data; name=a\n\ntext", "--X-y\nContent-Type: a\n\n--X-y--"]
        {
            assert_eq!(read(form, 5).map_err(|error| error.status()), Err(400), "{form:?}");
        }
        assert_eq!(read("--X-y--", 5), Ok(Vec::new()));
    }

    #[test]
    fn another_content_type_is_refused() {
        let status =
            |content_type| Multipart::new(content_type, Pieces(Vec::new(), 1)).map(|_| ()).map_err(|error| error.status());
        assert_eq!(status("application/json"), Err(415));
        assert_eq!(status("multipart/form-data"), Err(400));
        assert_eq!(status("Multipart/Form-Data; charset=x; boundary=a"), Ok(()));
    }

    #[test]
    fn a_head_without_end_is_refused() {
        let form = format!("--X-y\nContent-Disposition: {}", "a".repeat(HEAD_BYTES_MAX));
        assert_eq!(read(&form, 1000).map_err(|error| error.status()), Err(400));
    }
}
