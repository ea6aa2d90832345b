//! Bytes to text: by a mark of byte order, as UTF-8, by what the file says of itself, or else as Windows-1252.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// Bytes at a file's beginning in which it may name its encoding.
const LABEL_BYTES: usize = 1024;

/// The text of a plain file.
pub(super) fn decode(bytes: &[u8]) -> Cow<'_, str> {
    decode_as(bytes, None)
}

/// The text of HTML, whose encoding the sender or a `<meta>` may name.
pub(super) fn decode_html<'a>(bytes: &'a [u8], content_type: Option<&str>) -> Cow<'a, str> {
    let sent = content_type.and_then(|text| label(text.as_bytes(), b"charset="));
    decode_as(bytes, sent.or_else(|| label(&bytes[..bytes.len().min(LABEL_BYTES)], b"charset=")))
}

/// The text of XML, whose encoding its first line may name.
pub(super) fn decode_xml(bytes: &[u8]) -> Cow<'_, str> {
    let first = bytes.split(|&byte| byte == b'>').next().unwrap_or_default();
    decode_as(bytes, label(&first[..first.len().min(LABEL_BYTES)], b"encoding="))
}

fn decode_as<'a>(bytes: &'a [u8], named: Option<&'static Encoding>) -> Cow<'a, str> {
    if let Some((encoding, mark_bytes)) = Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(&bytes[mark_bytes..]).0;
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    named.filter(|&encoding| encoding != UTF_8).unwrap_or(WINDOWS_1252).decode_without_bom_handling(bytes).0
}

/// The encoding behind a key, with or without quotes.
fn label(bytes: &[u8], key: &[u8]) -> Option<&'static Encoding> {
    let at = bytes.windows(key.len()).position(|window| window.eq_ignore_ascii_case(key))?;
    let rest = bytes.get(at + key.len()..)?;
    let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
    let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b"-_:.".contains(byte)).unwrap_or(rest.len());
    Encoding::for_label(rest.get(..end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_of_byte_order_decides() {
        assert_eq!(decode(b"\xef\xbb\xbfa"), "a");
        assert_eq!(decode(b"\xff\xfea\0\xe9\0"), "aé");
        assert_eq!(decode(b"\xfe\xff\0a"), "a");
    }

    #[test]
    fn what_is_no_utf8_is_windows_1252() {
        assert_eq!(decode("aé€".as_bytes()), "aé€");
        assert_eq!(decode(b"caf\xe9 \x80"), "café €");
    }

    #[test]
    fn a_file_may_name_its_encoding() {
        assert_eq!(decode_html(b"<meta charset=\"shift_jis\">\x93\xfa", None), "<meta charset=\"shift_jis\">日");
        assert_eq!(decode_html(b"\x93\xfa", Some("text/html; charset=Shift_JIS")), "日");
        assert!(decode_xml(b"<?xml version='1.0' encoding='iso-8859-2'?><a>\xb1</a>").ends_with("<a>ą</a>"));
    }

    #[test]
    fn an_encoding_nobody_knows_is_windows_1252() {
        assert_eq!(decode_html(b"\xe9", Some("text/html; charset=klingon")), "é");
    }
}
