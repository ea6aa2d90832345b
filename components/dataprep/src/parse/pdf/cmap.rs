//! Tables of codes to characters, which fonts bring along as `ToUnicode`.

use std::collections::HashMap;

use encoding_rs::UTF_16BE;

use super::lexer::{Lexer, Token};
use super::object::Object;
use crate::limits::{Budget, ParseError};

/// Most codes of one table.
const CODES_MAX: usize = 70_000;

/// Longest text of one code, in characters.
const TEXT_CHARS_MAX: usize = 16;

/// Texts of codes.
#[derive(Debug, Default)]
pub(super) struct CMap {
    texts: HashMap<u32, String>,
    /// Codes that were read, those that were read before counted again.
    read: usize,
    /// Bytes of a code, as far as the table tells.
    pub(super) code_bytes: Option<usize>,
}

impl CMap {
    /// Reads a table. What is broken in it is left out.
    ///
    /// # Errors
    /// It takes too long.
    pub(super) fn read(bytes: &[u8], budget: &mut Budget) -> Result<Self, ParseError> {
        let mut cmap = CMap::default();
        let mut lexer = Lexer::new(bytes, 0);
        while let Some(token) = lexer.token() {
            budget.tick()?;
            match token {
                Token::Word(b"begincodespacerange") => {
                    if let Some(code) = text(&mut lexer) {
                        cmap.code_bytes = Some(code.len().clamp(1, 4));
                    }
                }
                Token::Word(b"beginbfchar") => {
                    while let Some(code) = text(&mut lexer) {
                        budget.tick()?;
                        let Some(target) = text(&mut lexer) else { break };
                        cmap.insert(code_of(&code), &utf16(&target));
                    }
                }
                Token::Word(b"beginbfrange") => {
                    while let Some(first) = text(&mut lexer) {
                        budget.tick()?;
                        let Some(last) = text(&mut lexer) else { break };
                        cmap.range(code_of(&first), code_of(&last), lexer.object()?, budget)?;
                    }
                }
                _ => {}
            }
        }
        Ok(cmap)
    }

    pub(super) fn text(&self, code: u32) -> Option<&str> {
        self.texts.get(&code).map(String::as_str)
    }

    /// What it takes of memory, about.
    pub(super) fn bytes(&self) -> usize {
        let texts: usize = self.texts.values().map(String::len).sum();
        self.texts.capacity() * size_of::<(u32, String)>() + texts
    }

    fn insert(&mut self, code: u32, text: &str) {
        self.read += 1;
        if self.read <= CODES_MAX {
            self.texts.insert(code, text.chars().take(TEXT_CHARS_MAX).collect());
        }
    }

    fn range(&mut self, first: u32, last: u32, target: Option<Object>, budget: &mut Budget) -> Result<(), ParseError> {
        let codes = (first..=last).take(CODES_MAX.saturating_sub(self.read));
        match target {
            Some(Object::Text(target)) => {
                // The last character counts up.
                let text = utf16(&target);
                let mut rest: Vec<char> = text.chars().collect();
                let Some(end) = rest.pop() else { return Ok(()) };
                for (offset, code) in (0..).zip(codes) {
                    budget.tick()?;
                    let character = u32::from(end).checked_add(offset).and_then(char::from_u32);
                    self.insert(code, &rest.iter().copied().chain(character).collect::<String>());
                }
            }
            Some(Object::List(targets)) => {
                for (code, target) in codes.zip(targets.iter()) {
                    budget.tick()?;
                    self.insert(code, &target.text().map(utf16).unwrap_or_default());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn text(lexer: &mut Lexer<'_>) -> Option<Vec<u8>> {
    let before = lexer.at;
    match lexer.token() {
        Some(Token::Value(Object::Text(text))) => Some(text.to_vec()),
        _ => {
            lexer.at = before;
            None
        }
    }
}

pub(super) fn code_of(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |code, &byte| (code << 8) | u32::from(byte))
}

fn utf16(bytes: &[u8]) -> String {
    match bytes {
        [one] => char::from(*one).to_string(),
        _ => UTF_16BE.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn cmap(text: &str) -> CMap {
        CMap::read(text.as_bytes(), &mut Budget::new(Limits::default())).expect("in time")
    }

    #[test]
    fn characters_and_ranges_are_read() {
        let cmap = cmap(
            "1 begincodespacerange <0000> <ffff> endcodespacerange 2 beginbfchar <0003> <0020> <0004> <00660069> endbfchar \
             2 beginbfrange <0010> <0012> <0041> <0020> <0021> [<D83DDE00> <0042>] endbfrange",
        );
        let texts = [0x3, 0x4, 0x10, 0x12, 0x20, 0x21, 0x22].map(|code| cmap.text(code));
        assert_eq!(texts, [Some(" "), Some("fi"), Some("A"), Some("C"), Some("😀"), Some("B"), None]);
        assert_eq!(cmap.code_bytes, Some(2));
    }

    #[test]
    fn ranges_without_end_are_bounded() {
        let cmap = cmap("beginbfrange <00000000> <ffffffff> <0041> <0> <ffffffff> <0041> endbfrange beginbfchar <01>");
        assert!(cmap.texts.len() <= CODES_MAX);
    }
}
