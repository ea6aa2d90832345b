//! Pieces of text to lines, lines to paragraphs and headings, in the order of reading.

use std::collections::HashMap;

use super::content::Span;
use crate::document::{Builder, Kind};
use crate::limits::ParseError;

/// How far two pieces of one line may be from each other across it, in parts of their size.
const LINE_SHIFT_MAX: f64 = 0.35;

/// The gap that is a blank, in parts of the size.
const BLANK_GAP_MIN: f64 = 0.16;

/// How far apart lines of a paragraph may be, in parts of their size.
const LINE_GAP_MAX: f64 = 1.75;

/// How much larger than the body's letters those of a heading are.
const HEADING_SIZE_MIN: f64 = 1.12;

/// Longest heading, in characters.
const HEADING_CHARS_MAX: usize = 160;

/// On how many pages, of all of them, a line at the edge has to be to be left out as a running head.
const RUNNING_PAGES_MIN: usize = 3;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    text: String,
    start: f64,
    end: f64,
    across: f64,
    size: f64,
    turns: u8,
    is_bold: bool,
}

/// The lines of a page in the order of reading: that in which they are drawn, as far as it goes down the page.
pub(super) fn lines(spans: Vec<Span>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for span in spans {
        match lines.last_mut().filter(|line| line.goes_on_with(&span)) {
            Some(line) => line.append(span),
            None => lines.push(Line::of(span)),
        }
    }
    lines.retain(|line| !line.text.trim().is_empty());
    if is_disordered(&lines) {
        lines.sort_by(|a, b| a.turns.cmp(&b.turns).then(b.across.total_cmp(&a.across)).then(a.start.total_cmp(&b.start)));
        lines = joined(lines);
    }
    lines
}

/// Whether many lines go up the page without going to another column.
fn is_disordered(lines: &[Line]) -> bool {
    let is_up = |pair: &[Line]| {
        let [before, after] = pair else { return false };
        after.across > before.across + after.size * 0.5 && after.start < before.end
    };
    let count = lines.windows(2).filter(|pair| is_up(pair)).count();
    count > 2 && count * 5 > lines.len()
}

/// Puts pieces that a sort brought side by side into one line.
fn joined(lines: Vec<Line>) -> Vec<Line> {
    let mut joined: Vec<Line> = Vec::new();
    for line in lines {
        let Line { text, start, end, across, size, turns, is_bold } = line;
        let span = Span { text, start, end, across, size, turns, is_bold };
        match joined.last_mut().filter(|line| line.goes_on_with(&span)) {
            Some(line) => line.append(span),
            None => joined.push(Line::of(span)),
        }
    }
    joined
}

impl Line {
    /// What it takes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len()
    }

    fn of(span: Span) -> Self {
        let Span { text, start, end, across, size, turns, is_bold } = span;
        Self { text, start, end, across, size, turns, is_bold }
    }

    fn goes_on_with(&self, span: &Span) -> bool {
        let size = self.size.max(span.size);
        self.turns == span.turns
            && (self.across - span.across).abs() <= size * LINE_SHIFT_MAX
            && span.start >= self.end - size
            // A piece far away is another column.
            && span.start <= self.end + size * 12.0
    }

    fn append(&mut self, span: Span) {
        let gap = span.start - self.end;
        let has_blank = self.text.ends_with(char::is_whitespace) || span.text.starts_with(char::is_whitespace);
        if gap > self.size.max(span.size) * BLANK_GAP_MIN && !has_blank {
            self.text.push(' ');
        }
        let is_blank = span.text.trim().is_empty();
        self.text.push_str(&span.text);
        self.end = self.end.max(span.end);
        if !is_blank {
            self.is_bold &= span.is_bold;
            self.size = self.size.max(span.size);
        }
    }

    /// Without what differs from page to page.
    fn running_text(&self) -> String {
        self.text.chars().filter(|c| !c.is_ascii_digit() && !c.is_whitespace()).collect()
    }
}

/// Writes pages of lines.
///
/// # Errors
/// It is more than the limits.
pub(super) fn write(mut pages: Vec<Vec<Line>>, builder: &mut Builder<'_>) -> Result<(), ParseError> {
    remove_running(&mut pages);
    let headings = Headings::of(&pages);
    let mut text = String::new();
    for (number, lines) in (1..).zip(&pages) {
        builder.pages(number);
        builder.place.page = Some(number);
        for (index, line) in lines.iter().enumerate() {
            builder.budget.tick()?;
            let level = headings.level(line);
            let before = index.checked_sub(1).and_then(|before| lines.get(before));
            let is_new = before.is_none_or(|before| starts_block(before, line) || headings.level(before) != level);
            if is_new {
                let before_kind = before.map_or(Kind::Paragraph, |before| headings.kind(before, &text));
                builder.push_flowing(before_kind, &text)?;
                text.clear();
            }
            join(&mut text, &line.text);
        }
        let kind = lines.last().map_or(Kind::Paragraph, |line| headings.kind(line, &text));
        builder.push_flowing(kind, &text)?;
        text.clear();
    }
    Ok(())
}

/// Whether a line begins something new behind the one before.
fn starts_block(before: &Line, line: &Line) -> bool {
    let size = before.size.max(line.size);
    let gap = before.across - line.across;
    let is_elsewhere = before.turns != line.turns || gap < -size * 0.5 || gap > size * LINE_GAP_MAX || line.start > before.end;
    let is_other_size = (before.size - line.size).abs() > size * 0.08;
    is_elsewhere || is_other_size || is_list_item(&line.text)
}

fn is_list_item(text: &str) -> bool {
    let text = text.trim_start();
    let is_bullet =
        text.starts_with(['•', '◦', '▪', '‣', '●', '○', '■', '–']) && text.chars().nth(1).is_some_and(char::is_whitespace);
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let is_number = (1..=2).contains(&digits) && (text[digits..].starts_with(". ") || text[digits..].starts_with(") "));
    is_bullet || is_number
}

/// Puts a line behind a text; a hyphen between two small letters was only for the line's end.
fn join(text: &mut String, line: &str) {
    let line = line.trim();
    let mut ends = text.chars().rev();
    let is_hyphenated = matches!(ends.next(), Some('-' | '\u{ad}')) && ends.next().is_some_and(char::is_lowercase);
    if is_hyphenated && line.starts_with(char::is_lowercase) {
        text.pop();
    } else if !text.is_empty() {
        text.push(' ');
    }
    for character in line.chars() {
        match character {
            'ﬀ' => text.push_str("ff"),
            'ﬁ' => text.push_str("fi"),
            'ﬂ' => text.push_str("fl"),
            'ﬃ' => text.push_str("ffi"),
            'ﬄ' => text.push_str("ffl"),
            _ => text.push(character),
        }
    }
}

/// Leaves out what stands at the upper or lower edge of most pages, but for its numbers.
fn remove_running(pages: &mut [Vec<Line>]) {
    let edges = |lines: &[Line]| {
        let by_height = |a: &(usize, &Line), b: &(usize, &Line)| a.1.across.total_cmp(&b.1.across);
        let top = lines.iter().enumerate().max_by(by_height).map(|(index, _)| index);
        let bottom = lines.iter().enumerate().min_by(by_height).map(|(index, _)| index);
        [top, bottom.filter(|bottom| Some(*bottom) != top)]
    };
    let mut counts: HashMap<(usize, String), usize> = HashMap::new();
    for lines in pages.iter() {
        for (edge, index) in edges(lines).into_iter().enumerate() {
            if let Some(line) = index.and_then(|index| lines.get(index)) {
                *counts.entry((edge, line.running_text())).or_default() += 1;
            }
        }
    }
    let pages_min = RUNNING_PAGES_MIN.max(pages.len() / 2);
    for lines in pages {
        let found = edges(lines).into_iter().enumerate();
        let is_running = |&(edge, index): &(usize, usize)| {
            let count = counts.get(&(edge, lines[index].running_text())).copied().unwrap_or(0);
            // A page of one line is not only its own running head.
            (count >= pages_min || is_page_number(&lines[index].text)) && lines.len() > 1
        };
        let mut running: Vec<usize> =
            found.filter_map(|(edge, index)| Some((edge, index?))).filter(is_running).map(|(_, index)| index).collect();
        running.sort_unstable();
        for index in running.into_iter().rev() {
            lines.remove(index);
        }
    }
}

/// Whether a line is only the number of its page, as `7`, `- 7 -` or `Page 7 of 12`.
fn is_page_number(text: &str) -> bool {
    let is_number = |word: &str| (1..=4).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    let is_around =
        |word: &str| matches!(word.to_lowercase().as_str(), "page" | "seite" | "p." | "of" | "von" | "/" | "-" | "–" | "|");
    let words: Vec<&str> = text.split_whitespace().collect();
    words.len() <= 4 && words.iter().any(|word| is_number(word)) && words.iter().all(|word| is_number(word) || is_around(word))
}

/// Which lines are headings, by what most of the document's letters look like.
struct Headings {
    body_size: f64,
    is_body_bold: bool,
    /// Sizes of headings in half points, the largest first.
    sizes: Vec<i64>,
}

/// A size in half points, so that roundings of writers don't make many of one.
fn half_points(size: f64) -> i64 {
    (size * 2.0).round() as i64
}

impl Headings {
    fn of(pages: &[Vec<Line>]) -> Self {
        let (mut by_size, mut bold, mut all): (HashMap<i64, usize>, usize, usize) = (HashMap::new(), 0, 0);
        for line in pages.iter().flatten() {
            let length = line.text.len();
            *by_size.entry(half_points(line.size)).or_default() += length;
            all += length;
            bold += if line.is_bold { length } else { 0 };
        }
        let body = by_size.iter().max_by_key(|&(&size, &length)| (length, -size)).map_or(0, |(&size, _)| size);
        let body_size = body as f64 / 2.0;
        let mut sizes: Vec<i64> =
            by_size.into_keys().filter(|&size| size as f64 / 2.0 > body_size * HEADING_SIZE_MIN).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        Self { body_size, is_body_bold: bold * 2 > all, sizes }
    }

    fn level(&self, line: &Line) -> Option<u8> {
        let text = line.text.trim();
        if text.chars().count() > HEADING_CHARS_MAX || !text.chars().any(char::is_alphabetic) {
            return None;
        }
        let by_size = self.sizes.iter().position(|&size| size == half_points(line.size));
        let is_bold =
            line.is_bold && !self.is_body_bold && line.size > self.body_size * 0.95 && !text.ends_with(['.', ',', ';']);
        let place = by_size.or(is_bold.then_some(self.sizes.len()))?;
        Some(u8::try_from(place + 1).unwrap_or(6).min(6))
    }

    fn kind(&self, line: &Line, text: &str) -> Kind {
        match self.level(line) {
            Some(level) if text.chars().count() <= HEADING_CHARS_MAX => Kind::Heading(level),
            _ if is_list_item(text) => Kind::ListItem,
            _ => Kind::Paragraph,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::pdf;
    use super::*;
    use crate::parse::tests::blocks;

    fn span(text: &str, start: f64, across: f64) -> Span {
        Span { text: text.into(), start, end: start + text.len() as f64 * 5.0, across, size: 10.0, turns: 0, is_bold: false }
    }

    fn texts(spans: Vec<Span>) -> Vec<String> {
        lines(spans).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn gaps_are_blanks() {
        let spans = vec![span("ab", 0.0, 0.0), span("cd", 10.5, 0.1), span("ef", 24.0, 0.0), span("gh", 0.0, -12.0)];
        assert_eq!(texts(spans), ["abcd ef", "gh"]);
    }

    #[test]
    fn columns_are_read_one_after_the_other() {
        let spans = vec![span("a", 0.0, 100.0), span("b", 0.0, 88.0), span("c", 300.0, 100.0), span("d", 300.0, 88.0)];
        assert_eq!(texts(spans), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_page_drawn_upwards_is_put_in_order() {
        let spans = (0..6).map(|line| span(&format!("l{line}"), 0.0, f64::from(line) * 12.0)).collect();
        assert_eq!(texts(spans), ["l5", "l4", "l3", "l2", "l1", "l0"]);
    }

    #[test]
    fn headings_lists_and_paragraphs_are_told_apart() {
        let content = "BT /F 18 Tf 0 700 Td (Big) Tj /F 10 Tf 0 -30 Td (some text that) Tj 0 -12 Td (goes on) Tj \
                       0 -12 Td (1. one) Tj 0 -12 Td (2. two) Tj 0 -40 Td (more text) Tj ET";
        let expected = [
            (Kind::Heading(1), "Big"),
            (Kind::Paragraph, "some text that goes on"),
            (Kind::ListItem, "1. one"),
            (Kind::ListItem, "2. two"),
            (Kind::Paragraph, "more text"),
        ];
        assert_eq!(blocks("a.pdf", &pdf(&[content])), expected.map(|(kind, text)| (kind, text.to_owned())));
    }

    #[test]
    fn numbers_of_pages_are_known() {
        for text in ["7", "- 7 -", "Page 7 of 12", "Seite 3"] {
            assert!(is_page_number(text), "{text}");
        }
        for text in ["", "Page", "7 ships", "12345", "of 1 2 3 4"] {
            assert!(!is_page_number(text), "{text}");
        }
    }

    #[test]
    fn running_heads_are_left_out() {
        let page = |number: usize| {
            format!(
                "BT /F 10 Tf 0 700 Td (Report 7, page {number}) Tj 0 -40 Td (text {}) Tj ET",
                ["one", "two", "three"][number]
            )
        };
        let pages = [page(0), page(1), page(2)];
        let contents: Vec<&str> = pages.iter().map(String::as_str).collect();
        let texts: Vec<String> = blocks("a.pdf", &pdf(&contents)).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["text one", "text two", "text three"]);
    }
}
