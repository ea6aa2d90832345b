//! Codes and names of glyphs to characters.

use std::collections::HashMap;
use std::sync::LazyLock;

use encoding_rs::{Encoding, MACINTOSH, UTF_16BE, WINDOWS_1252};

/// Names of glyphs with their characters in hexadecimal, from the Adobe Glyph List (2.0): those of European writing.
const GLYPHS: &str = include_str!("glyphs.txt");

/// Characters of Adobe's standard encoding that differ from ASCII.
#[rustfmt::skip]
const STANDARD: [(u8, char); 59] = [
    (0x27, '’'), (0x60, '‘'), (0xa1, '¡'), (0xa2, '¢'), (0xa3, '£'), (0xa4, '⁄'), (0xa5, '¥'), (0xa6, 'ƒ'), (0xa7, '§'),
    (0xa8, '¤'), (0xa9, '\''), (0xaa, '“'), (0xab, '«'), (0xac, '‹'), (0xad, '›'), (0xae, 'ﬁ'), (0xaf, 'ﬂ'), (0xb1, '–'),
    (0xb2, '†'), (0xb3, '‡'), (0xb4, '·'), (0xb6, '¶'), (0xb7, '•'), (0xb8, '‚'), (0xb9, '„'), (0xba, '”'), (0xbb, '»'),
    (0xbc, '…'), (0xbd, '‰'), (0xbf, '¿'), (0xc1, '`'), (0xc2, '´'), (0xc3, 'ˆ'), (0xc4, '˜'), (0xc5, '¯'), (0xc6, '˘'),
    (0xc7, '˙'), (0xc8, '¨'), (0xca, '˚'), (0xcb, '¸'), (0xcd, '˝'), (0xce, '˛'), (0xcf, 'ˇ'), (0xd0, '—'), (0xe1, 'Æ'),
    (0xe3, 'ª'), (0xe8, 'Ł'), (0xe9, 'Ø'), (0xea, 'Œ'), (0xeb, 'º'), (0xf1, 'æ'), (0xf5, 'ı'), (0xf8, 'ł'), (0xf9, 'ø'),
    (0xfa, 'œ'), (0xfb, 'ß'), (0x7f, ' '), (0xa0, ' '), (0xc0, ' '),
];

/// What the font `Symbol` has for the letters from `A` to `Z` and from `a` to `z`.
const SYMBOL_UPPER: &str = "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ";
const SYMBOL_LOWER: &str = "αβχδεφγηιϕκλμνοπθρστυϖωξψζ";

/// The character of each code of a simple font.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    Standard,
    WinAnsi,
    MacRoman,
    Symbol,
    /// Ornaments, of which lists take their marks.
    Dingbats,
}

impl Base {
    /// The encoding of a name as PDF has it.
    pub(super) fn named(name: &str) -> Option<Base> {
        match name {
            "StandardEncoding" => Some(Base::Standard),
            "WinAnsiEncoding" => Some(Base::WinAnsi),
            "MacRomanEncoding" => Some(Base::MacRoman),
            _ => None,
        }
    }

    /// The character of a code; none for controls.
    pub(super) fn character(self, code: u8) -> Option<char> {
        let legacy = |encoding: &'static Encoding| encoding.decode_without_bom_handling(&[code]).0.chars().next();
        let character = match self {
            Base::WinAnsi => legacy(WINDOWS_1252),
            Base::MacRoman => legacy(MACINTOSH),
            Base::Standard => {
                let special = STANDARD.iter().find(|&&(special, _)| special == code).map(|&(_, character)| character);
                special.or_else(|| code.is_ascii().then(|| char::from(code)))
            }
            Base::Symbol => match code {
                b'A'..=b'Z' => SYMBOL_UPPER.chars().nth(usize::from(code - b'A')),
                b'a'..=b'z' => SYMBOL_LOWER.chars().nth(usize::from(code - b'a')),
                0xb7 => Some('•'),
                _ => code.is_ascii().then(|| char::from(code)),
            },
            Base::Dingbats => Some(if code == b' ' { ' ' } else { '•' }),
        };
        character.filter(|character| !character.is_control())
    }
}

/// The text of a glyph's name: of the list, `uni20AC`, `u1F600`, or several put together by `_`. What is behind a dot is a
/// variant of it.
pub(super) fn glyph_text(name: &str) -> Option<String> {
    static BY_NAME: LazyLock<HashMap<&str, char>> = LazyLock::new(|| {
        let row = |line: &'static str| line.split_once(' ').and_then(|(name, code)| Some((name, hex_char(code)?)));
        GLYPHS.lines().filter_map(row).collect()
    });
    let name = name.split('.').next().filter(|name| !name.is_empty())?;
    name.split('_')
        .map(|part| {
            let listed = BY_NAME.get(part).copied();
            let by_code = || part.strip_prefix("uni").filter(|code| code.len() >= 4).and_then(|code| hex_char(code.get(..4)?));
            let by_long_code = || part.strip_prefix('u').filter(|code| (4..=6).contains(&code.len())).and_then(hex_char);
            listed.or_else(by_code).or_else(by_long_code)
        })
        .collect()
}

fn hex_char(code: &str) -> Option<char> {
    char::from_u32(u32::from_str_radix(code, 16).ok()?)
}

/// A text outside of pages: UTF-16 or UTF-8 by its mark, else nearly Latin-1.
pub(super) fn text_string(bytes: &[u8]) -> String {
    match bytes {
        [0xfe, 0xff, rest @ ..] => UTF_16BE.decode_without_bom_handling(rest).0.into_owned(),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_characters() {
        assert_eq!(Base::WinAnsi.character(0x80), Some('€'));
        assert_eq!(Base::MacRoman.character(0x8a), Some('ä'));
        assert_eq!(Base::Standard.character(0x27), Some('’'));
        assert_eq!(Base::Symbol.character(b'p'), Some('π'));
        assert_eq!((SYMBOL_UPPER.chars().count(), SYMBOL_LOWER.chars().count()), (26, 26));
    }

    #[test]
    fn names_of_glyphs_have_texts() {
        for (name, text) in [("adieresis", "ä"), ("uni20AC", "€"), ("u1F600", "😀"), ("f_f_i", "ffi"), ("a.alt", "a")] {
            assert_eq!(glyph_text(name).as_deref(), Some(text), "{name}");
        }
        assert_eq!(["g12", ".notdef", "uniD800", "uni\u{e4}\u{e4}"].map(glyph_text), [const { None }; 4]);
    }
}
