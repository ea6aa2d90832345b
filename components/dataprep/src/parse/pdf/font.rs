//! Fonts: what their codes say, and how wide that is.

use std::borrow::Cow;
use std::collections::HashMap;

use encoding_rs::{BIG5, EUC_JP, EUC_KR, Encoding, GBK, SHIFT_JIS, UTF_16BE};

use super::cmap::{CMap, code_of};
use super::encoding::{Base, glyph_text};
use super::file::File;
use super::object::{Dict, Object};
use crate::limits::{Budget, ParseError};

/// Most widths that a font may list.
const WIDTHS_MAX: usize = 70_000;

#[derive(Debug)]
pub(super) struct Font {
    codes: Codes,
    to_unicode: Option<CMap>,
    /// By code, in thousandths of the size.
    widths: HashMap<u32, f64>,
    width_default: f64,
    pub(super) is_bold: bool,
}

/// How bytes are codes, and what these say where the font does not bring a table.
#[derive(Debug)]
enum Codes {
    /// One byte each.
    Simple(Vec<String>),
    /// Two bytes each, glyphs of no known meaning.
    Glyphs,
    /// One or two bytes each, in an older encoding of East Asia, or UTF-16.
    Legacy(&'static Encoding),
}

/// What one code shows.
pub(super) struct Glyph<'f> {
    pub(super) text: Cow<'f, str>,
    /// In thousandths of the size.
    pub(super) width: f64,
    /// The one byte 32, at which the spacing of words is added.
    pub(super) is_word_space: bool,
}

impl Font {
    /// Reads a font. What it lacks is guessed.
    ///
    /// # Errors
    /// It is more than the limits.
    pub(super) fn read(dict: &Dict, file: &File<'_>, budget: &mut Budget) -> Result<Self, ParseError> {
        let to_unicode = match file.get(dict, "ToUnicode") {
            Object::Stream(stream) => Some(CMap::read(&file.decode(stream, budget)?, budget)?),
            _ => None,
        };
        let name = file.get(dict, "BaseFont").name().unwrap_or_default().to_ascii_lowercase();
        let is_bold = name.contains("bold") || name.contains("black") || name.contains("heavy");
        let descendant = file.get(dict, "DescendantFonts").list().and_then(|fonts| file.resolve(fonts.first()?).dict());
        Ok(match descendant {
            Some(descendant) => Self {
                codes: composite_codes(file.get(dict, "Encoding")),
                to_unicode,
                widths: composite_widths(descendant, file, budget)?,
                width_default: file.get(descendant, "DW").number().unwrap_or(1000.0),
                is_bold,
            },
            None => Self {
                codes: Codes::Simple(simple_codes(dict, &name, file)),
                to_unicode,
                widths: simple_widths(dict, file),
                width_default: if name.contains("courier") || name.contains("mono") { 600.0 } else { f64::NAN },
                is_bold,
            },
        })
    }

    /// What it takes of memory, about.
    pub(super) fn bytes(&self) -> usize {
        let texts = match &self.codes {
            Codes::Simple(texts) => texts.iter().map(|text| size_of::<String>() + text.len()).sum(),
            Codes::Glyphs | Codes::Legacy(_) => 0,
        };
        let table = self.to_unicode.as_ref().map_or(0, CMap::bytes);
        size_of::<Self>() + texts + table + self.widths.capacity() * size_of::<(u32, f64)>()
    }

    /// The next code of a text, and what is behind it.
    pub(super) fn next<'f, 'b>(&'f self, bytes: &'b [u8]) -> Option<(Glyph<'f>, &'b [u8])> {
        let &first = bytes.first()?;
        let length = match &self.codes {
            Codes::Simple(_) => 1,
            Codes::Glyphs => self.to_unicode.as_ref().and_then(|cmap| cmap.code_bytes).unwrap_or(2),
            Codes::Legacy(encoding) if *encoding == UTF_16BE => 2,
            Codes::Legacy(_) => 1 + usize::from(first >= 0x81),
        };
        let (code_bytes, rest) = bytes.split_at(length.min(bytes.len()));
        let code = code_of(code_bytes);
        let listed = self.to_unicode.as_ref().and_then(|cmap| cmap.text(code)).filter(|text| !text.is_empty());
        let text: Cow<'_, str> = match (&self.codes, listed) {
            (_, Some(text)) => text.into(),
            (Codes::Simple(texts), None) => texts.get(code as usize).map_or("", String::as_str).into(),
            (Codes::Glyphs, None) => "".into(),
            (Codes::Legacy(encoding), None) => encoding.decode_without_bom_handling(code_bytes).0.into_owned().into(),
        };
        let width = self.widths.get(&code).copied().unwrap_or(self.width_default);
        let width = if width.is_finite() { width } else { guessed_width(&text) };
        Some((Glyph { text, width, is_word_space: code_bytes == b" " }, rest))
    }
}

/// About the width of Helvetica's letters, for the standard fonts, which files need not describe.
fn guessed_width(text: &str) -> f64 {
    match text.chars().next() {
        Some(' ' | '.' | ',' | ':' | ';' | '/' | '\'' | '!' | '|' | 'I' | 'f' | 't') => 278.0,
        Some('i' | 'j' | 'l') => 222.0,
        Some('r' | '(' | ')' | '-' | '[' | ']' | '`' | '“' | '”') => 333.0,
        Some('m' | 'M' | 'W' | '%' | '—' | '…') => 850.0,
        Some('w') => 722.0,
        Some('c' | 'k' | 's' | 'v' | 'x' | 'y' | 'z' | 'J') => 500.0,
        Some(other) if other.is_uppercase() => 690.0,
        _ => 556.0,
    }
}

fn composite_codes(encoding: &Object) -> Codes {
    let name = encoding.name().unwrap_or_default();
    let legacy = |encoding| Codes::Legacy(encoding);
    match () {
        () if name.contains("UCS2") || name.contains("UTF16") => legacy(UTF_16BE),
        () if name.contains("RKSJ") => legacy(SHIFT_JIS),
        () if name.starts_with("GB") => legacy(GBK),
        () if name.contains("B5") || name.starts_with("ETen") => legacy(BIG5),
        () if name.starts_with("KSC") => legacy(EUC_KR),
        () if name.starts_with("EUC") => legacy(EUC_JP),
        () => Codes::Glyphs,
    }
}

/// `c [w1 w2 …]` and `first last w`, any number of times. A code may be said again and again: each time counts.
fn composite_widths(descendant: &Dict, file: &File<'_>, budget: &mut Budget) -> Result<HashMap<u32, f64>, ParseError> {
    let mut widths = HashMap::new();
    let mut left = WIDTHS_MAX;
    let list = file.get(descendant, "W").list().unwrap_or_default();
    let mut rest = list.iter().map(|object| file.resolve(object));
    while let (Some(first), Some(second)) = (rest.next().and_then(Object::count), rest.next()) {
        budget.tick()?;
        if left == 0 {
            break;
        }
        if let Some(list) = second.list() {
            let numbers = list.iter().take(left).map(|width| file.resolve(width).number().unwrap_or(0.0));
            left -= numbers.len();
            widths.extend((first..=u32::MAX).zip(numbers));
        } else if let (Some(last), Some(width)) = (second.count(), rest.next().and_then(Object::number)) {
            let codes = (last as usize).saturating_add(1).saturating_sub(first as usize).min(left);
            left -= codes;
            widths.extend((first..=last).take(codes).map(|code| (code, width)));
        }
    }
    Ok(widths)
}

fn simple_widths(dict: &Dict, file: &File<'_>) -> HashMap<u32, f64> {
    let first = file.get(dict, "FirstChar").count().unwrap_or(0);
    let list = file.get(dict, "Widths").list().unwrap_or_default();
    // Fonts that are drawn by operators have a scale of their own.
    let scale =
        file.get(dict, "FontMatrix").list().and_then(|matrix| matrix.first()?.number()).map_or(1.0, |scale| scale * 1000.0);
    let numbers = list.iter().take(256).filter_map(|width| file.resolve(width).number()).map(|width| width * scale);
    (first..=u32::MAX).zip(numbers).collect()
}

fn simple_codes(dict: &Dict, name: &str, file: &File<'_>) -> Vec<String> {
    let encoding = file.get(dict, "Encoding");
    let named = encoding.name().or_else(|| file.get(encoding.dict()?, "BaseEncoding").name()).and_then(Base::named);
    let base = named.unwrap_or_else(|| match () {
        () if name.ends_with("symbol") => Base::Symbol,
        () if name.contains("dingbats") => Base::Dingbats,
        () if file.get(dict, "Subtype").name() == Some("TrueType") => Base::WinAnsi,
        () => Base::Standard,
    });
    let mut texts: Vec<String> = (0..=255).map(|code| base.character(code).map(String::from).unwrap_or_default()).collect();
    let differences = encoding.dict().and_then(|dict| file.get(dict, "Differences").list()).unwrap_or_default();
    let mut code = 0_usize;
    for difference in differences {
        match file.resolve(difference) {
            Object::Number(number) => code = *number as usize,
            Object::Name(glyph) => {
                if let Some(text) = texts.get_mut(code) {
                    *text = glyph_text(glyph).unwrap_or_default();
                }
                code = code.saturating_add(1);
            }
            _ => {}
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn font(definition: &str) -> Font {
        let bytes = format!("1 0 obj {definition} endobj");
        let mut budget = Budget::new(Limits::default());
        let file = File::read(bytes.as_bytes(), &mut budget).expect("within the limits");
        Font::read(file.resolve(&Object::Reference(1)).dict().expect("a dictionary"), &file, &mut budget).expect("fits")
    }

    fn show(font: &Font, mut bytes: &[u8]) -> (String, f64) {
        let (mut text, mut width) = (String::new(), 0.0);
        while let Some((glyph, rest)) = font.next(bytes) {
            text.push_str(&glyph.text);
            width += glyph.width;
            bytes = rest;
        }
        (text, width)
    }

    #[test]
    fn a_simple_font_has_an_encoding_and_differences() {
        let font = font(
            "<</Widths [500 250] /FirstChar 65 /Encoding <</BaseEncoding /WinAnsiEncoding /Differences [66 /Euro /f_i]>>>>",
        );
        assert_eq!(show(&font, b"A"), ("A".into(), 500.0));
        assert_eq!(show(&font, b"BC").0, "€fi");
    }

    #[test]
    fn a_composite_font_may_have_an_older_encoding() {
        let font = font("<</Encoding /90ms-RKSJ-H /DescendantFonts [<</DW 900 /W [65 [1 2] 70 72 3]>>]>>");
        assert_eq!(show(&font, b"A\x93\xfa"), ("A日".into(), 901.0));
        assert_eq!(show(&font, b"H"), ("H".into(), 3.0));
    }

    #[test]
    fn widths_that_are_said_again_and_again_are_bounded() {
        let font = font(&format!("<</DescendantFonts [<</W [{} 5 5 7]>>]>>", "0 69999 1 ".repeat(10_000)));
        assert_eq!(font.widths.len(), WIDTHS_MAX);
        assert_eq!(font.widths.get(&5), Some(&1.0), "what stands behind the limit is not read");
    }

    #[test]
    fn a_code_that_is_cut_off_does_no_harm() {
        let font = font("<</DescendantFonts [<<>>]>>");
        assert_eq!(show(&font, b"abc"), (String::new(), 2000.0));
    }
}
