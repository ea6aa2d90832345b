//! HTML, token by token, so that no nesting costs anything. Scripts, styles and navigation are left out.

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{StartTag, Token, Tokenizer};

use crate::document::{Builder, Kind};
use crate::limits::ParseError;

/// Elements whose content is nothing to read.
#[rustfmt::skip]
const SKIPPED: [&[u8]; 13] = [
    b"script", b"style", b"noscript", b"template", b"svg", b"nav", b"iframe", b"object", b"select", b"button", b"canvas", b"math",
    b"textarea",
];

/// Elements that end what stands before them, beside headings, lists, tables and code.
#[rustfmt::skip]
const BLOCKS: [&[u8]; 21] = [
    b"p", b"div", b"section", b"article", b"main", b"header", b"footer", b"aside", b"blockquote", b"figure", b"figcaption",
    b"address", b"dl", b"dd", b"form", b"fieldset", b"hr", b"details", b"summary", b"body", b"caption",
];

/// Most cells of a table row.
const CELLS_MAX: usize = 1000;

pub(super) fn read(text: &str, builder: &mut Builder<'_>) -> Result<(), ParseError> {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut reader =
        Reader { builder, kind: Kind::Paragraph, inline: String::new(), skipped: None, in_title: false, row: None };
    for Ok(token) in Tokenizer::new_with_emitter(text, emitter) {
        reader.builder.budget.tick()?;
        match token {
            Token::StartTag(tag) => reader.start(&tag)?,
            Token::EndTag(tag) => reader.end(&tag.name)?,
            Token::String(text) => reader.text(&String::from_utf8_lossy(&text)),
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    reader.end_row()?;
    reader.flush(Kind::Paragraph)
}

struct Reader<'b, 'a> {
    builder: &'b mut Builder<'a>,
    /// What the text that is gathered is.
    kind: Kind,
    inline: String,
    /// An element that is skipped, and how many of its name are open.
    skipped: Option<(Vec<u8>, usize)>,
    in_title: bool,
    row: Option<Row>,
}

/// A table row that is not over.
#[derive(Default)]
struct Row {
    cells: Vec<String>,
    /// Whether a cell is open, into which text goes.
    in_cell: bool,
    has_data: bool,
}

impl Reader<'_, '_> {
    fn start(&mut self, tag: &StartTag<()>) -> Result<(), ParseError> {
        let name: &[u8] = &tag.name;
        if let Some((skipped, depth)) = &mut self.skipped {
            if skipped == name && !tag.self_closing {
                *depth += 1;
            }
            return Ok(());
        }
        if SKIPPED.contains(&name) && !tag.self_closing {
            self.skipped = Some((name.to_owned(), 1));
            return Ok(());
        }
        match name {
            b"title" => {
                self.flush(Kind::Paragraph)?;
                self.in_title = true;
            }
            b"br" if self.kind == Kind::Code => self.inline.push('\n'),
            b"br" | b"wbr" | b"img" => self.inline.push(' '),
            [b'h', level @ b'1'..=b'6'] => self.block(Kind::Heading(level - b'0'))?,
            b"li" | b"dt" => self.block(Kind::ListItem)?,
            b"pre" => self.block(Kind::Code)?,
            b"tr" => {
                self.end_row()?;
                self.flush(Kind::Paragraph)?;
                self.row = Some(Row::default());
            }
            b"td" | b"th" => self.start_cell(name == b"td"),
            _ if BLOCKS.contains(&name) => self.block(self.kind_around())?,
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, name: &[u8]) -> Result<(), ParseError> {
        if let Some((skipped, depth)) = &mut self.skipped {
            let is_over = (skipped == name && *depth == 1) || name == b"body" || name == b"html";
            if skipped == name {
                *depth -= 1;
            }
            if is_over {
                self.skipped = None;
            }
            return Ok(());
        }
        match name {
            b"title" if self.in_title => {
                self.in_title = false;
                let title = std::mem::take(&mut self.inline);
                self.builder.title(&title);
            }
            b"tr" | b"table" => self.end_row()?,
            b"td" | b"th" => {
                if let Some(row) = &mut self.row {
                    row.in_cell = false;
                }
            }
            [b'h', b'1'..=b'6'] | b"li" | b"dt" | b"pre" | b"ul" | b"ol" => self.block(Kind::Paragraph)?,
            _ if BLOCKS.contains(&name) => self.block(self.kind_around())?,
            _ => {}
        }
        Ok(())
    }

    /// A paragraph inside of a list item is the item's.
    fn kind_around(&self) -> Kind {
        if self.kind == Kind::ListItem && self.inline.trim().is_empty() { Kind::ListItem } else { Kind::Paragraph }
    }

    fn block(&mut self, kind: Kind) -> Result<(), ParseError> {
        match &mut self.row {
            // In a cell it is only a blank.
            Some(row) if row.in_cell => {
                if let Some(cell) = row.cells.last_mut() {
                    cell.push(' ');
                }
                Ok(())
            }
            _ => self.flush(kind),
        }
    }

    fn start_cell(&mut self, is_data: bool) {
        let row = self.row.get_or_insert_default();
        row.has_data |= is_data;
        row.in_cell = true;
        if row.cells.len() < CELLS_MAX {
            row.cells.push(String::new());
        }
    }

    fn text(&mut self, text: &str) {
        if self.skipped.is_some() {
            return;
        }
        match &mut self.row {
            Some(row) if row.in_cell => {
                if let Some(cell) = row.cells.last_mut() {
                    cell.push_str(text);
                }
            }
            _ => self.inline.push_str(text),
        }
    }

    fn end_row(&mut self) -> Result<(), ParseError> {
        let Some(row) = self.row.take() else { return Ok(()) };
        self.builder.push_row(if row.has_data { Kind::TableRow } else { Kind::TableHeader }, &row.cells)
    }

    /// Ends the block that is gathered; the next one is of this kind.
    fn flush(&mut self, next: Kind) -> Result<(), ParseError> {
        let text = std::mem::take(&mut self.inline);
        let kind = std::mem::replace(&mut self.kind, next);
        match kind {
            Kind::Code => self.builder.push(kind, &text),
            _ => self.builder.push_flowing(kind, &text),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::document::Kind;
    use crate::parse::tests::{blocks, read};

    fn assert_blocks(html: &str, expected: &[(Kind, &str)]) {
        let expected: Vec<_> = expected.iter().map(|&(kind, text)| (kind, text.to_owned())).collect();
        assert_eq!(blocks("a.html", html.as_bytes()), expected);
    }

    #[test]
    fn headings_paragraphs_lists_and_code_are_blocks() {
        assert_blocks(
            "<h1>A <b>b</b></h1>intro<p>x&amp;y<br>z</p><ul><li>one<li><p>two</p></li></ul><pre>a\n  b</pre>end",
            &[
                (Kind::Heading(1), "A b"),
                (Kind::Paragraph, "intro"),
                (Kind::Paragraph, "x&y z"),
                (Kind::ListItem, "one"),
                (Kind::ListItem, "two"),
                (Kind::Code, "a\n  b"),
                (Kind::Paragraph, "end"),
            ],
        );
    }

    #[test]
    fn a_row_of_heading_cells_names_the_columns() {
        assert_blocks(
            "<table><tr><th>n</th><th>v</th></tr><tr><td>a</td><td><p>1</p><p>2</p></td></tr></table>",
            &[(Kind::TableHeader, "n | v"), (Kind::TableRow, "a | 1 2")],
        );
    }

    #[test]
    fn scripts_styles_and_navigation_are_left_out() {
        assert_blocks(
            "<nav><ul><li>home</nav><script>if (a < b) '</p>'</script><style>p{}</style><p>text</p><svg><text>x</text></svg>",
            &[(Kind::Paragraph, "text")],
        );
    }

    #[test]
    fn the_title_is_no_text() {
        let (_, document) = read("a.html", b"<title> A\n&lt;b&gt; </title><p>x").expect("fits");
        assert_eq!((document.title.as_deref(), document.text.as_str()), (Some("A <b>"), "x"));
    }

    #[test]
    fn deep_nesting_and_open_tags_do_no_harm() {
        let deep = format!("{}x{}", "<div><table><tr><td>".repeat(20_000), "</div>".repeat(5));
        assert_eq!(read("a.html", deep.as_bytes()).expect("fits").1.text, "x");
        assert!(read("a.html", b"<p>a<b").is_ok());
    }
}
