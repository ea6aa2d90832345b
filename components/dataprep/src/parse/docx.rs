//! Word documents: headings by the level of their style, lists, tables, notes; pages where Word has written their breaks.

use std::collections::HashMap;

use super::ooxml::{Package, Runs, walk_runs};
use super::xml::{Element, Node, walk};
use crate::document::{Builder, Kind};
use crate::limits::{Budget, ParseError};

/// Most cells of a table row.
const CELLS_MAX: usize = 1000;

pub(super) fn read(bytes: &[u8], builder: &mut Builder<'_>) -> Result<(), ParseError> {
    let mut package = Package::new(bytes)?;
    package.title(builder)?;
    let styles = match package.part("word/styles.xml", builder.budget)? {
        Some(text) => styles(&text, builder)?,
        None => HashMap::new(),
    };
    let text = package.required("word/document.xml", builder.budget)?;
    let has_pages = text.contains("lastRenderedPageBreak");
    builder.place.page = has_pages.then_some(1);
    let pieces = pieces(&text, &styles, builder)?;
    put(pieces, builder)?;
    builder.pages(builder.place.page.unwrap_or(0));
    builder.place.page = None;
    for part in ["word/footnotes.xml", "word/endnotes.xml"] {
        if let Some(text) = package.part(part, builder.budget)? {
            put(self::pieces(&text, &styles, builder)?, builder)?;
        }
    }
    Ok(())
}

/// What a style makes of a paragraph.
#[derive(Debug, Clone, Copy, Default)]
struct Style {
    heading: Option<u8>,
    is_list: bool,
}

/// Styles by their ids. A heading's level is its outline level, or is in its name.
fn styles(text: &str, builder: &mut Builder<'_>) -> Result<HashMap<String, Style>, ParseError> {
    let mut styles: HashMap<String, Style> = HashMap::new();
    let mut id = String::new();
    walk(text, builder.budget, &mut |node, _| {
        let Node::Start(element) = node else { return Ok(()) };
        match element.name() {
            "style" => id = element.attribute("styleId").unwrap_or_default(),
            "name" => {
                let name = element.attribute("val").unwrap_or_default().to_ascii_lowercase();
                let level = name.strip_prefix("heading ").and_then(|level| level.trim().parse::<u8>().ok());
                let level = if name == "title" { Some(1) } else { level.filter(|level| (1..=9).contains(level)) };
                let style = styles.entry(id.clone()).or_default();
                style.heading = level.or(style.heading);
                style.is_list |= name.starts_with("list");
            }
            "outlineLvl" => {
                let level = element.attribute("val").and_then(|level| level.parse::<u8>().ok()).filter(|&level| level < 9);
                let style = styles.entry(id.clone()).or_default();
                style.heading = style.heading.or(level.map(|level| level + 1));
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(styles)
}

/// What is in a part, in its order.
enum Piece {
    Paragraph(Kind, String),
    Row(Kind, Vec<String>),
    /// A page begins.
    Page,
}

impl Piece {
    /// What it takes of memory.
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Piece::Paragraph(_, text) => text.len(),
                Piece::Row(_, cells) => cells.iter().map(|cell| size_of::<String>() + cell.len()).sum(),
                Piece::Page => 0,
            }
    }
}

fn put(pieces: Vec<Piece>, builder: &mut Builder<'_>) -> Result<(), ParseError> {
    for piece in pieces {
        builder.budget.release(piece.bytes());
        match piece {
            Piece::Paragraph(kind, text) => builder.push(kind, &text)?,
            Piece::Row(kind, cells) => builder.push_row(kind, &cells)?,
            Piece::Page => builder.place.page = builder.place.page.map(|page| page.saturating_add(1)),
        }
        if builder.place.page.is_some_and(|page| page > builder.budget.limits.pages_max) {
            return Err(ParseError::TooLong { what: "pages", max: builder.budget.limits.pages_max.into(), unit: "pages" });
        }
    }
    Ok(())
}

fn pieces(text: &str, styles: &HashMap<String, Style>, builder: &mut Builder<'_>) -> Result<Vec<Piece>, ParseError> {
    let mut reader = Reader { styles, pieces: Vec::new(), held: 0, open: Vec::new(), rows: Vec::new() };
    walk_runs(text, builder.budget, &mut reader)?;
    Ok(reader.pieces)
}

struct Reader<'s> {
    styles: &'s HashMap<String, Style>,
    pieces: Vec<Piece>,
    /// How many of them the budget knows of.
    held: usize,
    /// For each paragraph that is open, the outermost first, its text and its style: a box with paragraphs of its own may stand
    /// in one.
    open: Vec<(String, Style)>,
    /// For each table that is open the row that is read.
    rows: Vec<Row>,
}

#[derive(Default)]
struct Row {
    cells: Vec<String>,
    is_header: bool,
    /// Rows of the table before this one.
    before: usize,
}

impl Runs for Reader<'_> {
    fn start(&mut self, element: &Element<'_>) {
        match element.name() {
            "p" => self.open.push((String::new(), Style::default())),
            "pStyle" => {
                let style = element.attribute("val").and_then(|id| self.styles.get(&id)).copied().unwrap_or_default();
                if let Some((_, own)) = self.open.last_mut() {
                    *own = Style { is_list: own.is_list || style.is_list, ..style };
                }
            }
            "numPr" => {
                if let Some((_, style)) = self.open.last_mut() {
                    style.is_list = true;
                }
            }
            "tab" => self.text("\t"),
            "br" | "cr" => self.text("\n"),
            "noBreakHyphen" => self.text("-"),
            // Word writes one where it broke a page when it was last shown; a break by hand comes before it.
            "lastRenderedPageBreak" => self.page(),
            "tbl" => self.rows.push(Row::default()),
            "tr" => {
                if let Some(row) = self.rows.last_mut() {
                    row.cells.clear();
                    row.is_header = row.before == 0;
                }
            }
            "tc" => {
                if let Some(row) = self.rows.last_mut().filter(|row| row.cells.len() < CELLS_MAX) {
                    row.cells.push(String::new());
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if let Some((own, _)) = self.open.last_mut() {
            own.push_str(text);
        }
    }

    fn end(&mut self, name: &str, budget: &mut Budget) -> Result<(), ParseError> {
        match name {
            "p" => {
                if let Some((text, style)) = self.open.pop() {
                    self.end_paragraph(text, style);
                }
            }
            "tr" => {
                if let Some(row) = self.rows.last_mut() {
                    row.before += 1;
                    let kind = if row.is_header { Kind::TableHeader } else { Kind::TableRow };
                    let cells = std::mem::take(&mut row.cells);
                    self.pieces.push(Piece::Row(kind, cells));
                }
            }
            "tbl" => {
                self.rows.pop();
            }
            _ => {}
        }
        let fresh = self.pieces.iter().skip(self.held).map(Piece::bytes).sum();
        self.held = self.pieces.len();
        budget.hold(fresh)
    }
}

impl Reader<'_> {
    fn page(&mut self) {
        // What stands before the break is on the page before.
        if let Some((text, style)) = self.open.last_mut()
            && self.rows.is_empty()
            && !text.trim().is_empty()
            && style.heading.is_none()
        {
            let (text, style) = (std::mem::take(text), *style);
            self.end_paragraph(text, style);
        }
        self.pieces.push(Piece::Page);
    }

    fn end_paragraph(&mut self, text: String, style: Style) {
        if let Some(cell) = self.rows.last_mut().and_then(|row| row.cells.last_mut()) {
            if !cell.is_empty() {
                cell.push(' ');
            }
            cell.push_str(&text);
            return;
        }
        let kind = match style {
            Style { heading: Some(level), .. } => Kind::Heading(level),
            Style { is_list: true, .. } => Kind::ListItem,
            Style { .. } => Kind::Paragraph,
        };
        self.pieces.push(Piece::Paragraph(kind, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::parse::ooxml::tests::archive;
    use crate::parse::tests::{blocks, read};
    use crate::parse::{Source, parse};

    const STYLES: &str = r#"<w:styles xmlns:w="w"><w:style w:styleId="H2"><w:name w:val="heading 2"/></w:style>
        <w:style w:styleId="X"><w:name w:val="Own"/><w:pPr><w:outlineLvl w:val="2"/></w:pPr></w:style></w:styles>"#;

    fn docx(body: &str) -> Vec<u8> {
        let document = format!(r#"<?xml version="1.0"?><w:document xmlns:w="w"><w:body>{body}</w:body></w:document>"#);
        archive(&[("word/document.xml", document.as_bytes()), ("word/styles.xml", STYLES.as_bytes())])
    }

    #[test]
    fn headings_lists_and_tables_are_known_by_their_styles() {
        let body = r#"<w:p><w:pPr><w:pStyle w:val="H2"/></w:pPr><w:r><w:t>A</w:t></w:r></w:p>
            <w:p><w:pPr><w:pStyle w:val="X"/></w:pPr><w:r><w:t>B</w:t></w:r></w:p>
            <w:p><w:r><w:t xml:space="preserve">one </w:t></w:r><w:r><w:t>two</w:t><w:instrText>PAGE</w:instrText></w:r></w:p>
            <w:p><w:pPr><w:numPr/></w:pPr><w:r><w:t>item</w:t></w:r></w:p>
            <w:tbl><w:tr><w:tc><w:p><w:r><w:t>n</w:t></w:r></w:p></w:tc><w:tc><w:p/></w:tc></w:tr>
            <w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p><w:p><w:r><w:t>b</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"#;
        let expected = [
            (Kind::Heading(2), "A"),
            (Kind::Heading(3), "B"),
            (Kind::Paragraph, "one two"),
            (Kind::ListItem, "item"),
            (Kind::TableHeader, "n"),
            (Kind::TableRow, "a b"),
        ];
        assert_eq!(blocks("a.docx", &docx(body)), expected.map(|(kind, text)| (kind, text.to_owned())));
    }

    #[test]
    fn a_box_inside_of_a_paragraph_leaves_it_whole_and_is_read_once() {
        let shape = "<w:txbxContent><w:p><w:r><w:t>in the box</w:t></w:r></w:p></w:txbxContent>";
        let body = format!(
            r#"<w:p><w:pPr><w:pStyle w:val="H2"/></w:pPr><w:r><w:t>before </w:t></w:r><w:r><mc:AlternateContent>
            <mc:Choice>{shape}</mc:Choice><mc:Fallback>{shape}</mc:Fallback></mc:AlternateContent></w:r>
            <w:r><w:t>behind</w:t></w:r></w:p>"#
        );
        let expected = [(Kind::Paragraph, "in the box"), (Kind::Heading(2), "before behind")];
        assert_eq!(blocks("a.docx", &docx(&body)), expected.map(|(kind, text)| (kind, text.to_owned())));
    }

    #[test]
    fn paragraphs_are_held_only_until_they_are_written() {
        let body = "<w:p><w:r><w:t>a paragraph</w:t></w:r></w:p>".repeat(20);
        let notes = format!(r#"<w:footnotes xmlns:w="w">{body}</w:footnotes>"#);
        let document = format!(r#"<w:document xmlns:w="w"><w:body>{body}</w:body></w:document>"#);
        let bytes = archive(&[("word/document.xml", document.as_bytes()), ("word/footnotes.xml", notes.as_bytes())]);
        let read = |held_bytes_max: usize| {
            let limits = Limits { held_bytes_max, ..Limits::default() };
            parse(Source { name: "a.docx", content_type: None, bytes: &bytes }, &limits)
        };
        let paragraph = size_of::<Piece>() + "a paragraph".len();
        assert!(read(20 * paragraph).is_ok());
        assert_eq!(read(20 * paragraph - 1).expect_err("too much").code().0, "too_long");
    }

    #[test]
    fn pages_are_those_that_word_has_counted() {
        let body = "<w:p><w:r><w:t>a</w:t><w:lastRenderedPageBreak/><w:t>b</w:t></w:r></w:p>";
        let (_, document) = read("a.docx", &docx(body)).expect("fits");
        let pages: Vec<_> = document.blocks.iter().map(|block| block.place.page).collect();
        assert_eq!((document.pages, pages), (2, vec![Some(1), Some(2)]));
        assert_eq!(read("a.docx", &docx("<w:p><w:r><w:t>a</w:t></w:r></w:p>")).expect("fits").1.pages, 0);
    }

    #[test]
    fn a_file_of_python_docx_is_read() {
        let blocks = blocks("sample.docx", include_bytes!("samples/sample.docx"));
        assert!(blocks.contains(&(Kind::Heading(1), "Harbour rules".into())), "{blocks:?}");
        assert!(blocks.contains(&(Kind::TableHeader, "Berth | Depth".into())), "{blocks:?}");
        assert!(blocks.contains(&(Kind::TableRow, "North | 9 m".into())), "{blocks:?}");
        assert!(blocks.contains(&(Kind::ListItem, "Moor only with permission.".into())), "{blocks:?}");
    }
}
