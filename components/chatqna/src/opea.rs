//! The bytes of OPEA's own streams, for clients that read them: each piece of text as Python shows a `bytes` object.

use std::fmt::Write;

use tessera_sdk::sse;

/// A piece of text as OPEA's ChatQnA sends it: `data: b'…'`.
pub(crate) fn event(text: &str) -> sse::Event {
    sse::Event::text(&bytes_repr(text.as_bytes()))
}

/// What Python's `repr` makes of bytes: `b'caf\xc3\xa9'`.
fn bytes_repr(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { b'"' } else { b'\'' };
    let mut repr = String::with_capacity(bytes.len() + 3);
    repr.push('b');
    repr.push(quote as char);
    for &byte in bytes {
        match byte {
            b'\t' => repr.push_str("\\t"),
            b'\n' => repr.push_str("\\n"),
            b'\r' => repr.push_str("\\r"),
            b'\\' => repr.push_str("\\\\"),
            _ if byte == quote => {
                repr.push('\\');
                repr.push(byte as char);
            }
            b' '..=b'~' => repr.push(byte as char),
            _ => drop(write!(repr, "\\x{byte:02x}")), // a String takes everything
        }
    }
    repr.push(quote as char);
    repr
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_python_shows_them() {
        for (text, repr) in [
            ("", "b''"),
            (" Nike", "b' Nike'"),
            ("it's", "b\"it's\""),
            ("\"it's\"", "b'\"it\\'s\"'"),
            ("\"x\"", "b'\"x\"'"),
            ("a\n\t\r\\", "b'a\\n\\t\\r\\\\'"),
            ("café", "b'caf\\xc3\\xa9'"),
            ("\u{0}\u{7f}", "b'\\x00\\x7f'"),
        ] {
            assert_eq!(bytes_repr(text.as_bytes()), repr);
        }
    }
}
