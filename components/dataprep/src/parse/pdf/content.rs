//! What a page's operators draw: pieces of text with their places.

use std::collections::HashMap;
use std::rc::Rc;

use super::file::{File, Page};
use super::font::Font;
use super::lexer::{Lexer, Token};
use super::object::{Dict, Object, Stream};
use crate::limits::{Budget, ParseError};

/// Drawings inside of drawings.
const FORM_DEPTH_MAX: usize = 8;

/// Most operators of a page, those of its drawings counted each time.
const OPERATORS_MAX: usize = 4_000_000;

/// Operands that an operator may have before it; a text with its distances is one.
const OPERANDS_MAX: usize = 64;

/// States that may be kept at one time.
const STATES_MAX: usize = 256;

/// Most bytes of decoded drawings that are kept for the pages to come.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// Most pieces of text on one page.
const SPANS_MAX: usize = 500_000;

/// A piece of text that was drawn at once. Places are those along its direction and across it, upwards.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    pub(super) text: String,
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) across: f64,
    /// Height of the letters, as they are drawn.
    pub(super) size: f64,
    /// Quarters of a turn.
    pub(super) turns: u8,
    pub(super) is_bold: bool,
}

impl Span {
    /// What it takes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len()
    }
}

/// `[a b c d e f]`: a point `(x, y)` comes to `(ax + cy + e, bx + dy + f)`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Matrix([f64; 6]);

const IDENTITY: Matrix = Matrix([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

impl Matrix {
    fn of(numbers: &[f64]) -> Option<Self> {
        numbers.try_into().ok().map(Matrix)
    }

    /// First this, then `next`.
    fn then(self, next: Matrix) -> Matrix {
        let (Matrix([a, b, c, d, e, f]), Matrix([g, h, i, j, k, l])) = (self, next);
        Matrix([a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + l])
    }

    fn moved(self, x: f64, y: f64) -> Matrix {
        Matrix([1.0, 0.0, 0.0, 1.0, x, y]).then(self)
    }
}

#[derive(Debug, Clone)]
struct State {
    matrix: Matrix,
    font: Option<Rc<Font>>,
    size: f64,
    char_space: f64,
    word_space: f64,
    scale: f64,
    leading: f64,
    rise: f64,
}

const STATE: State =
    State { matrix: IDENTITY, font: None, size: 0.0, char_space: 0.0, word_space: 0.0, scale: 1.0, leading: 0.0, rise: 0.0 };

/// Reads pages one after the other, and keeps the fonts and drawings that they share.
pub(super) struct Reader<'f> {
    file: &'f File<'f>,
    fonts: HashMap<u32, Rc<Font>>,
    forms: HashMap<u32, Rc<[u8]>>,
    kept_bytes: usize,
}

impl<'f> Reader<'f> {
    pub(super) fn new(file: &'f File<'f>) -> Self {
        Self { file, fonts: HashMap::new(), forms: HashMap::new(), kept_bytes: 0 }
    }

    /// The texts of a page, in the order in which they are drawn. The budget holds their bytes.
    ///
    /// # Errors
    /// It is more than the limits.
    pub(super) fn page(&mut self, page: &Page, budget: &mut Budget) -> Result<Vec<Span>, ParseError> {
        let mut content = Vec::new();
        let contents = self.file.resolve(&page.contents);
        for part in contents.list().unwrap_or(std::slice::from_ref(contents)) {
            if let Object::Stream(stream) = self.file.resolve(part) {
                let part = self.file.decode(stream, budget)?;
                budget.hold(part.len() + 1)?;
                content.extend(part);
                content.push(b'\n');
            }
        }
        let mut drawing = Drawing { spans: Vec::new(), operators_left: OPERATORS_MAX };
        let resources = page.resources.dict().cloned().unwrap_or_default();
        let mut run =
            Run { reader: self, resources: &resources, state: STATE, kept: Vec::new(), text: IDENTITY, line: IDENTITY };
        run.all(&content, &mut drawing, budget, 0)?;
        budget.release(content.len());
        Ok(drawing.spans)
    }

    fn font(&mut self, resources: &Dict, name: &str, budget: &mut Budget) -> Result<Option<Rc<Font>>, ParseError> {
        let Some(fonts) = self.file.get(resources, "Font").dict() else { return Ok(None) };
        let number = match fonts.get(name) {
            Object::Reference(number) => Some(*number),
            _ => None,
        };
        if let Some(font) = number.and_then(|number| self.fonts.get(&number)) {
            return Ok(Some(Rc::clone(font)));
        }
        let Some(dict) = self.file.get(fonts, name).dict() else { return Ok(None) };
        let font = Rc::new(Font::read(dict, self.file, budget)?);
        if let Some(number) = number {
            budget.hold(font.bytes())?;
            self.fonts.insert(number, Rc::clone(&font));
        }
        Ok(Some(font))
    }

    fn form(&mut self, stream: &Stream, budget: &mut Budget) -> Result<Rc<[u8]>, ParseError> {
        if let Some(content) = self.forms.get(&stream.id.0) {
            return Ok(Rc::clone(content));
        }
        let content: Rc<[u8]> = self.file.decode(stream, budget)?.into();
        if self.kept_bytes + content.len() <= KEPT_BYTES_MAX {
            self.kept_bytes += content.len();
            self.forms.insert(stream.id.0, Rc::clone(&content));
        }
        Ok(content)
    }
}

/// What a page comes to.
struct Drawing {
    spans: Vec<Span>,
    operators_left: usize,
}

/// One run through a page's content, or that of a drawing on it.
struct Run<'r, 'f> {
    reader: &'r mut Reader<'f>,
    resources: &'r Dict,
    state: State,
    kept: Vec<State>,
    /// Where the next text begins, and where the line began.
    text: Matrix,
    line: Matrix,
}

impl Run<'_, '_> {
    fn all(&mut self, content: &[u8], drawing: &mut Drawing, budget: &mut Budget, depth: usize) -> Result<(), ParseError> {
        let mut lexer = Lexer::new(content, 0);
        let mut operands: Vec<Object> = Vec::new();
        loop {
            budget.tick()?;
            if let Some(object) = lexer.object()? {
                if operands.len() < OPERANDS_MAX {
                    operands.push(object);
                }
                continue;
            }
            match lexer.token() {
                None => return Ok(()),
                Some(Token::Word(b"ID")) => skip_image(content, &mut lexer),
                Some(Token::Word(operator)) => {
                    let too_many =
                        ParseError::TooLong { what: "drawing on a page", max: OPERATORS_MAX as u64, unit: "operators" };
                    drawing.operators_left = drawing.operators_left.checked_sub(1).ok_or(too_many)?;
                    match operator {
                        b"Do" => self.draw(&operands, drawing, budget, depth)?,
                        b"Tf" => self.set_font(&operands, budget)?,
                        b"Tj" | b"TJ" => self.show_all(&operands, drawing, budget)?,
                        b"'" | b"\"" => {
                            self.operate(operator, &operands);
                            self.show_all(&operands, drawing, budget)?;
                        }
                        _ => self.operate(operator, &operands),
                    }
                }
                Some(_) => {}
            }
            operands.clear();
        }
    }

    fn set_font(&mut self, operands: &[Object], budget: &mut Budget) -> Result<(), ParseError> {
        if let [Object::Name(name), Object::Number(size)] = operands {
            self.state.font = self.reader.font(self.resources, name, budget)?;
            self.state.size = *size;
        }
        Ok(())
    }

    fn operate(&mut self, operator: &[u8], operands: &[Object]) {
        let numbers: Vec<f64> = operands.iter().filter_map(Object::number).take(6).collect();
        let number = numbers.first().copied();
        match operator {
            b"q" if self.kept.len() < STATES_MAX => self.kept.push(self.state.clone()),
            b"Q" => self.state = self.kept.pop().unwrap_or_else(|| self.state.clone()),
            b"cm" => {
                if let Some(matrix) = Matrix::of(&numbers) {
                    self.state.matrix = matrix.then(self.state.matrix);
                }
            }
            b"BT" => (self.text, self.line) = (IDENTITY, IDENTITY),
            b"Tc" => self.state.char_space = number.unwrap_or(0.0),
            b"Tw" => self.state.word_space = number.unwrap_or(0.0),
            b"Tz" => self.state.scale = number.unwrap_or(100.0) / 100.0,
            b"TL" => self.state.leading = number.unwrap_or(0.0),
            b"Ts" => self.state.rise = number.unwrap_or(0.0),
            b"Td" | b"TD" => {
                if let [x, y] = numbers[..] {
                    if operator == b"TD" {
                        self.state.leading = -y;
                    }
                    self.next_line(x, y);
                }
            }
            b"Tm" => {
                if let Some(matrix) = Matrix::of(&numbers) {
                    (self.text, self.line) = (matrix, matrix);
                }
            }
            b"T*" => self.next_line(0.0, -self.state.leading),
            b"'" | b"\"" => {
                if let (b"\"", [word, char]) = (operator, &numbers[..]) {
                    (self.state.word_space, self.state.char_space) = (*word, *char);
                }
                self.next_line(0.0, -self.state.leading);
            }
            _ => {}
        }
    }

    fn next_line(&mut self, x: f64, y: f64) {
        self.line = self.line.moved(x, y);
        self.text = self.line;
    }

    fn show_all(&mut self, operands: &[Object], drawing: &mut Drawing, budget: &mut Budget) -> Result<(), ParseError> {
        match operands.last() {
            Some(Object::Text(text)) => self.show(text, drawing, budget)?,
            Some(Object::List(pieces)) => {
                for piece in pieces.iter() {
                    match piece {
                        Object::Text(text) => self.show(text, drawing, budget)?,
                        Object::Number(distance) => {
                            let x = -distance / 1000.0 * self.state.size * self.state.scale;
                            self.text = self.text.moved(x, 0.0);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn show(&mut self, bytes: &[u8], drawing: &mut Drawing, budget: &mut Budget) -> Result<(), ParseError> {
        let Some(font) = self.state.font.clone() else { return Ok(()) };
        let State { size, char_space, word_space, scale, rise, .. } = self.state;
        let (mut text, mut width, mut rest) = (String::new(), 0.0, bytes);
        while let Some((glyph, behind)) = font.next(rest) {
            budget.tick()?;
            // A code may show much more than it is.
            budget.hold(glyph.text.len())?;
            text.push_str(&glyph.text);
            let word = if glyph.is_word_space { word_space } else { 0.0 };
            width += (glyph.width / 1000.0 * size + char_space + word) * scale;
            rest = behind;
        }
        let Matrix([a, b, c, d, x, y]) = self.text.moved(0.0, rise).then(self.state.matrix);
        self.text = self.text.moved(width, 0.0);
        let is_sound = [a, b, c, d, x, y, width].iter().all(|number| number.is_finite());
        if text.is_empty() || !is_sound || drawing.spans.len() >= SPANS_MAX {
            budget.release(text.len());
            return Ok(());
        }
        let turns = if a.abs() >= b.abs() {
            if a >= 0.0 { 0 } else { 2 }
        } else if b > 0.0 {
            1
        } else {
            3
        };
        let (along, across) = [(x, y), (y, -x), (-x, -y), (-y, x)][usize::from(turns)];
        let end = along + width * a.hypot(b);
        let height = (size * c.hypot(d)).abs();
        drawing.spans.push(Span { text, start: along, end, across, size: height, turns, is_bold: font.is_bold });
        budget.hold(size_of::<Span>())
    }

    /// Draws what is a drawing of its own.
    fn draw(
        &mut self,
        operands: &[Object],
        drawing: &mut Drawing,
        budget: &mut Budget,
        depth: usize,
    ) -> Result<(), ParseError> {
        let [Object::Name(name)] = operands else { return Ok(()) };
        let file = self.reader.file;
        let Some(forms) = file.get(self.resources, "XObject").dict() else { return Ok(()) };
        let Object::Stream(stream) = file.get(forms, name) else { return Ok(()) };
        if file.get(&stream.dict, "Subtype").name() != Some("Form") || depth >= FORM_DEPTH_MAX {
            return Ok(());
        }
        let content = self.reader.form(stream, budget)?;
        budget.hold(content.len())?;
        let own = file.get(&stream.dict, "Resources").dict();
        let numbers: Vec<f64> =
            file.get(&stream.dict, "Matrix").list().unwrap_or_default().iter().filter_map(Object::number).collect();
        let matrix = Matrix::of(&numbers).unwrap_or(IDENTITY).then(self.state.matrix);
        let state = State { matrix, ..self.state.clone() };
        let resources = own.unwrap_or(self.resources);
        let reader = &mut *self.reader;
        let mut run = Run { reader, resources, state, kept: Vec::new(), text: IDENTITY, line: IDENTITY };
        run.all(&content, drawing, budget, depth + 1)?;
        budget.release(content.len());
        Ok(())
    }
}

/// Goes behind the bytes of an image, which end with `EI` between blanks.
fn skip_image(content: &[u8], lexer: &mut Lexer<'_>) {
    let rest = content.get(lexer.at..).unwrap_or_default();
    let is_end = |window: &[u8]| matches!(window, [before, b'E', b'I', behind] if before.is_ascii_whitespace() && behind.is_ascii_whitespace());
    lexer.at += rest.windows(4).position(is_end).map_or(rest.len(), |at| at + 3);
}

#[cfg(test)]
mod tests {
    use super::super::tests::pdf;
    use super::*;
    use crate::limits::Limits;

    fn spans(content: &str) -> Vec<Span> {
        let mut budget = Budget::new(Limits::default());
        let bytes = pdf(&[content]);
        let file = File::read(&bytes, &mut budget).expect("within the limits");
        let pages = file.pages(&mut budget).expect("pages");
        Reader::new(&file).page(&pages[0], &mut budget).expect("within the limits")
    }

    #[test]
    fn texts_have_places_and_sizes() {
        let content = "q 2 0 0 2 10 10 cm BT /F 6 Tf 5 20 Td (ab) Tj T* ET Q BT /F 9 Tf 0 1 -1 0 30 40 Tm (up) Tj ET";
        let spans = spans(content);
        assert_eq!((spans[0].text.as_str(), spans[0].start, spans[0].across, spans[0].size), ("ab", 20.0, 50.0, 12.0));
        assert!((spans[0].end - spans[0].start - 2.0 * 12.0 * 0.556).abs() < 1e-9);
        assert_eq!((spans[1].turns, spans[1].start, spans[1].across), (1, 40.0, -30.0));
    }

    #[test]
    fn lines_follow_the_leading() {
        let places: Vec<f64> =
            spans("BT /F 10 Tf 12 TL 0 100 Td (a) Tj T* (b) Tj (c) ' 1 2 (d) \" ET").iter().map(|span| span.across).collect();
        assert_eq!(places, [100.0, 88.0, 76.0, 64.0]);
    }

    #[test]
    fn the_clock_is_looked_at_inside_of_a_long_text() {
        let mut budget = Budget::new(Limits::default());
        let file = File::read(b"", &mut budget).expect("within the limits");
        let font = Rc::new(Font::read(&Dict::default(), &file, &mut budget).expect("fits"));
        let mut reader = Reader::new(&file);
        let resources = Dict::default();
        let state = State { font: Some(font), ..STATE };
        let mut run =
            Run { reader: &mut reader, resources: &resources, state, kept: Vec::new(), text: IDENTITY, line: IDENTITY };
        let mut drawing = Drawing { spans: Vec::new(), operators_left: 1 };
        let mut over = Budget::new(Limits { file_ms_max: 0, ..Limits::default() });
        assert_eq!(run.show(&[b'x'; 1000], &mut drawing, &mut over), Err(ParseError::TooSlow { ms_max: 0 }));
    }

    #[test]
    fn images_between_operators_are_skipped() {
        let spans = spans("BI /W 1 /H 1 ID (\\xff EI BT /F 9 Tf (x) Tj ET");
        assert_eq!(spans.iter().map(|span| span.text.as_str()).collect::<Vec<_>>(), ["x"]);
    }

    #[test]
    fn operators_without_their_operands_do_no_harm() {
        assert!(spans("Q Q cm Td Tm Tj TJ ' \" Tf (x) Tj /F Tf Do BT 1 Td [[] /a] TJ ] >> ET").is_empty());
    }
}
