//! Bytes to tokens and objects.

use std::rc::Rc;

use super::object::{Dict, Object};
use crate::limits::ParseError;

/// Deepest nesting of lists and dictionaries.
const DEPTH_MAX: usize = 64;

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Most values of one file, or of the contents of one page.
const VALUES_MAX: usize = 4_000_000;

/// A piece of a PDF.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    Value(Object),
    ListStart,
    ListEnd,
    DictStart,
    DictEnd,
    /// `obj`, `stream`, `R`, or an operator.
    Word(&'a [u8]),
}

/// Reads tokens from a place on.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
    /// Values that may still be read.
    pub(super) values_left: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, values_left: VALUES_MAX }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn skip_blanks(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'%' => {
                    let rest = self.bytes.get(self.at..).unwrap_or_default();
                    self.at += rest.iter().position(|&byte| byte == b'\n' || byte == b'\r').unwrap_or(rest.len());
                }
                _ if is_blank(byte) => self.at += 1,
                _ => break,
            }
        }
    }

    /// The next token; none at the end.
    pub(super) fn token(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        let start = self.at;
        let first = self.peek()?;
        self.at += 1;
        Some(match first {
            b'[' => Token::ListStart,
            b']' => Token::ListEnd,
            b'(' => Token::Value(Object::Text(self.literal().into())),
            b'<' if self.peek() == Some(b'<') => {
                self.at += 1;
                Token::DictStart
            }
            b'<' => Token::Value(Object::Text(self.hexadecimal().into())),
            b'>' if self.peek() == Some(b'>') => {
                self.at += 1;
                Token::DictEnd
            }
            b'/' => Token::Value(Object::Name(self.name().into())),
            b'>' | b')' | b'{' | b'}' => Token::Word(&self.bytes[start..self.at]),
            _ => self.word(start),
        })
    }

    /// The next object, with what is in it; none where there is none.
    ///
    /// # Errors
    /// It has more values than the limit.
    pub(super) fn object(&mut self) -> Result<Option<Object>, ParseError> {
        self.object_at(0)
    }

    fn object_at(&mut self, depth: usize) -> Result<Option<Object>, ParseError> {
        if depth > DEPTH_MAX {
            return Err(ParseError::TooDeep);
        }
        self.count()?;
        let before = self.at;
        match self.token() {
            Some(Token::Value(Object::Number(number))) => Ok(Some(self.reference(number).unwrap_or(Object::Number(number)))),
            Some(Token::Value(value)) => Ok(Some(value)),
            Some(Token::ListStart) => self.list(depth).map(Some),
            Some(Token::DictStart) => self.dict(depth).map(|dict| Some(Object::Dict(Rc::new(dict)))),
            _ => {
                self.at = before;
                Ok(None)
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Object, ParseError> {
        let mut list = Vec::new();
        loop {
            if let Some(value) = self.object_at(depth + 1)? {
                list.push(value);
                continue;
            }
            // What is no object is left out, but for words that end what this is in.
            let before = self.at;
            match self.token() {
                Some(Token::Word(word)) if !is_end(word) => {}
                Some(Token::ListEnd) | None => return Ok(Object::List(list.into())),
                Some(_) => {
                    self.at = before;
                    return Ok(Object::List(list.into()));
                }
            }
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Dict, ParseError> {
        let mut dict = Dict::default();
        loop {
            let before = self.at;
            match self.token() {
                Some(Token::Value(Object::Name(name))) => {
                    let value = self.object_at(depth + 1)?.unwrap_or(Object::Null);
                    dict.0.insert(name, value);
                }
                Some(Token::Word(word)) if is_end(word) => {
                    self.at = before;
                    return Ok(dict);
                }
                Some(Token::DictEnd) | None => return Ok(dict),
                Some(_) => self.count()?,
            }
        }
    }

    fn count(&mut self) -> Result<(), ParseError> {
        let too_many = ParseError::TooLong { what: "values", max: VALUES_MAX as u64, unit: "values" };
        self.values_left = self.values_left.checked_sub(1).ok_or(too_many)?;
        Ok(())
    }

    /// `12 0 R`, whose first number was read.
    fn reference(&mut self, number: f64) -> Option<Object> {
        let number = Object::Number(number).count().filter(|&count| f64::from(count) == number)?;
        let before = self.at;
        let is_reference = matches!(self.token(), Some(Token::Value(Object::Number(generation))) if generation >= 0.0)
            && matches!(self.token(), Some(Token::Word(b"R")));
        if !is_reference {
            self.at = before;
        }
        is_reference.then_some(Object::Reference(number))
    }

    fn word(&mut self, start: usize) -> Token<'a> {
        while self.peek().is_some_and(|byte| !is_blank(byte) && !is_delimiter(byte)) {
            self.at += 1;
        }
        let word = &self.bytes[start..self.at];
        match word {
            b"true" => Token::Value(Object::Bool(true)),
            b"false" => Token::Value(Object::Bool(false)),
            b"null" => Token::Value(Object::Null),
            _ => number(word).map_or(Token::Word(word), |number| Token::Value(Object::Number(number))),
        }
    }

    fn name(&mut self) -> String {
        let mut name = Vec::new();
        while let Some(byte) = self.peek().filter(|&byte| !is_blank(byte) && !is_delimiter(byte)) {
            self.at += 1;
            let escaped = (byte == b'#').then(|| self.bytes.get(self.at..self.at + 2).and_then(hex_pair)).flatten();
            if escaped.is_some() {
                self.at += 2;
            }
            if name.len() < NAME_BYTES_MAX {
                name.push(escaped.unwrap_or(byte));
            }
        }
        String::from_utf8(name).unwrap_or_else(|error| error.into_bytes().iter().map(|&byte| char::from(byte)).collect())
    }

    /// A text in parentheses, whose first was read.
    fn literal(&mut self) -> Vec<u8> {
        let (mut text, mut depth) = (Vec::new(), 0_usize);
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'\\' => self.escape(&mut text),
                b'(' => {
                    depth += 1;
                    text.push(byte);
                }
                b')' if depth == 0 => break,
                b')' => {
                    depth -= 1;
                    text.push(byte);
                }
                _ => text.push(byte),
            }
        }
        text
    }

    fn escape(&mut self, text: &mut Vec<u8>) {
        let Some(byte) = self.peek() else { return };
        self.at += 1;
        match byte {
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'b' => text.push(8),
            b'f' => text.push(12),
            b'0'..=b'7' => {
                let mut code = u32::from(byte - b'0');
                for _ in 0..2 {
                    let Some(digit @ b'0'..=b'7') = self.peek() else { break };
                    code = code * 8 + u32::from(digit - b'0');
                    self.at += 1;
                }
                text.push((code & 0xff) as u8);
            }
            b'\r' if self.peek() == Some(b'\n') => self.at += 1,
            b'\r' | b'\n' => {}
            _ => text.push(byte),
        }
    }

    /// A text in hexadecimal digits, whose `<` was read.
    fn hexadecimal(&mut self) -> Vec<u8> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == b'>').unwrap_or(rest.len());
        self.at += (end + 1).min(rest.len());
        hex_bytes(&rest[..end])
    }
}

/// Bytes of hexadecimal digits, of which the last may be missing; what is no digit is left out.
pub(super) fn hex_bytes(digits: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = digits.iter().copied().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| hex_pair(&[pair[0], pair.get(1).copied().unwrap_or(b'0')]).unwrap_or(0)).collect()
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*pair.get(index)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// A number as PDF has it: without an exponent. Several signs, which some writers make, count as one.
fn number(word: &[u8]) -> Option<f64> {
    let digits = word.iter().position(|byte| !matches!(byte, b'+' | b'-')).map(|at| &word[at..])?;
    if !digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.' || *byte == b'-')
        || !digits.iter().any(u8::is_ascii_digit)
    {
        return None;
    }
    let whole = digits.split(|&byte| byte == b'-').next().unwrap_or_default();
    let number: f64 = std::str::from_utf8(whole).ok()?.parse().ok()?;
    Some(if word.first() == Some(&b'-') { -number } else { number })
}

/// Words that end an object, whatever is open in it.
fn is_end(word: &[u8]) -> bool {
    matches!(word, b"endobj" | b"stream" | b"endstream" | b"obj" | b"xref" | b"trailer" | b"startxref")
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\0' | b'\t' | b'\n' | 12 | b'\r' | b' ')
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'(' | b')' | b'<' | b'>' | b'[' | b']' | b'{' | b'}' | b'/' | b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(bytes: &[u8]) -> Object {
        Lexer::new(bytes, 0).object().expect("within the limits").expect("an object")
    }

    #[test]
    fn objects_are_read() {
        assert_eq!(object(b" % c\n -1.5"), Object::Number(-1.5));
        assert_eq!(object(b"(a\\(b\\051(c)\\n\\\r\nd)").text(), Some(b"a(b)(c)\nd".as_slice()));
        assert_eq!(object(b"<48 65 6>").text(), Some(b"He`".as_slice()));
        assert_eq!(object(b"/A#20b/c").name(), Some("A b"));
        assert_eq!(object(b"[1 2 0 R 3]").list().map(<[_]>::len), Some(3));
        let dict = object(b"<</A [<</B null>>] /C 5 0 R/D true>>");
        assert_eq!(dict.dict().map(|dict| dict.get("C").clone()), Some(Object::Reference(5)));
    }

    #[test]
    fn what_is_broken_ends_where_it_must() {
        assert_eq!(object(b"[1 (a").list().map(<[_]>::len), Some(2));
        assert_eq!(object(b"<</A endobj"), Object::Dict(Rc::new(Dict(std::iter::once(("A".into(), Object::Null)).collect()))));
        assert_eq!(Lexer::new(b"", 0).object(), Ok(None));
        assert_eq!(number(b"--3"), Some(-3.0));
        assert_eq!(number(b"."), None);
        assert_eq!(number(b"1e5"), None);
    }

    #[test]
    fn nesting_and_values_are_bounded() {
        assert_eq!(Lexer::new(&b"[".repeat(10_000), 0).object(), Err(ParseError::TooDeep));
        let mut lexer = Lexer::new(b"[1 2 3]", 0);
        lexer.values_left = 3;
        assert!(lexer.object().is_err());
    }
}
