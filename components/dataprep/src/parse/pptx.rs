//! Presentations: slide by slide in their order, with titles as headings, tables and the speaker's notes.

use super::ooxml::{Package, Runs, walk_runs};
use super::xml::{Element, Node, walk};
use crate::document::{Builder, Kind};
use crate::limits::{Budget, ParseError};

const PRESENTATION: &str = "ppt/presentation.xml";

pub(super) fn read(bytes: &[u8], builder: &mut Builder<'_>) -> Result<(), ParseError> {
    let mut package = Package::new(bytes)?;
    package.title(builder)?;
    let slides = slides(&mut package, builder)?;
    let slides_max = builder.budget.limits.pages_max;
    if slides.len() > slides_max as usize {
        return Err(ParseError::TooLong { what: "slides", max: slides_max.into(), unit: "slides" });
    }
    for (number, part) in (1..).zip(&slides) {
        builder.place.slide = Some(number);
        builder.pages(number);
        let text = package.required(part, builder.budget)?;
        put(&text, Role::Slide, builder)?;
        let relations = package.relations(part, builder.budget)?;
        let notes = relations.into_values().find(|relation| relation.kind == "notesSlide");
        if let Some(notes) = notes
            && let Some(text) = package.part(&notes.part, builder.budget)?
        {
            put(&text, Role::Notes, builder)?;
        }
    }
    Ok(())
}

/// Parts of the slides, in the order of the presentation.
fn slides(package: &mut Package<'_>, builder: &mut Builder<'_>) -> Result<Vec<String>, ParseError> {
    let mut relations = package.relations(PRESENTATION, builder.budget)?;
    let text = package.required(PRESENTATION, builder.budget)?;
    let mut slides = Vec::new();
    walk(&text, builder.budget, &mut |node, _| {
        if let Node::Start(element) = node
            && element.name() == "sldId"
            // It has an `id` and an `r:id`: the latter names the part.
            && let Some(relation) = element.attributes().filter(|(name, _)| name == "id").find_map(|(_, id)| relations.remove(&id))
        {
            slides.push(relation.part);
        }
        Ok(())
    })?;
    Ok(slides)
}

/// What a part is to the presentation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Slide,
    Notes,
}

enum Piece {
    Paragraph(Kind, String),
    Row(Kind, Vec<String>),
}

fn put(text: &str, role: Role, builder: &mut Builder<'_>) -> Result<(), ParseError> {
    let mut reader = Reader { role, pieces: Vec::new(), text: String::new(), shape: Shape::default(), row: None, rows: 0 };
    walk_runs(text, builder.budget, &mut reader)?;
    let held_bytes = reader.pieces.iter().map(Piece::bytes).sum();
    // A title may stand behind the body in the file; readers see it first.
    reader.pieces.sort_by_key(|piece| !matches!(piece, Piece::Paragraph(Kind::Heading(_), _)));
    for piece in reader.pieces {
        match piece {
            Piece::Paragraph(kind, text) => builder.push_flowing(kind, &text)?,
            Piece::Row(kind, cells) => builder.push_row(kind, &cells)?,
        }
    }
    builder.budget.release(held_bytes);
    Ok(())
}

/// The shape that is open.
#[derive(Default)]
struct Shape {
    is_title: bool,
    is_body: bool,
    /// A slide's number, the date, a footer, the picture of the slide beside its notes.
    is_noise: bool,
}

impl Piece {
    /// What it takes of memory.
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Piece::Paragraph(_, text) => text.len(),
                Piece::Row(_, cells) => cells.iter().map(|cell| size_of::<String>() + cell.len()).sum(),
            }
    }
}

struct Reader {
    role: Role,
    pieces: Vec<Piece>,
    text: String,
    shape: Shape,
    row: Option<Vec<String>>,
    /// Rows of the table that is open, before the one that is.
    rows: usize,
}

impl Runs for Reader {
    fn start(&mut self, element: &Element<'_>) {
        match element.name() {
            "sp" => self.shape = Shape::default(),
            "ph" => {
                let kind = element.attribute("type");
                self.shape.is_title = matches!(kind.as_deref(), Some("title" | "ctrTitle"));
                self.shape.is_body = matches!(kind.as_deref(), None | Some("body" | "obj"));
                self.shape.is_noise = matches!(kind.as_deref(), Some("sldNum" | "dt" | "ftr" | "hdr" | "sldImg"));
            }
            "p" => self.text.clear(),
            "br" => self.text.push(' '),
            "tbl" => self.rows = 0,
            "tr" => self.row = Some(Vec::new()),
            "tc" => {
                if let Some(row) = &mut self.row {
                    row.push(String::new());
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn end(&mut self, name: &str, budget: &mut Budget) -> Result<(), ParseError> {
        let before = self.pieces.len();
        match name {
            "p" => self.end_paragraph(),
            "tr" => {
                let kind = if self.rows == 0 { Kind::TableHeader } else { Kind::TableRow };
                self.rows += 1;
                self.pieces.extend(self.row.take().map(|cells| Piece::Row(kind, cells)));
            }
            _ => {}
        }
        budget.hold(self.pieces.iter().skip(before).map(Piece::bytes).sum())
    }
}

impl Reader {
    fn end_paragraph(&mut self) {
        let text = std::mem::take(&mut self.text);
        if let Some(cell) = self.row.as_mut().and_then(|row| row.last_mut()) {
            if !cell.is_empty() {
                cell.push(' ');
            }
            cell.push_str(&text);
        } else if !self.shape.is_noise {
            let kind = match (self.role, &self.shape) {
                (Role::Slide, Shape { is_title: true, .. }) => Kind::Heading(1),
                (Role::Slide, Shape { is_body: true, .. }) => Kind::ListItem,
                _ => Kind::Paragraph,
            };
            self.pieces.push(Piece::Paragraph(kind, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::ooxml::tests::archive;
    use crate::parse::tests::read;

    #[test]
    fn a_presentation_of_python_pptx_is_read() {
        let (_, document) = read("sample.pptx", include_bytes!("samples/sample.pptx")).expect("fits");
        let blocks: Vec<_> =
            document.blocks.iter().map(|block| (block.place.slide, block.kind, &document.text[block.range.clone()])).collect();
        assert_eq!(document.pages, 2);
        assert!(blocks.contains(&(Some(1), Kind::Heading(1), "Tides")), "{blocks:?}");
        assert!(blocks.contains(&(Some(1), Kind::ListItem, "Spring tides follow the full moon.")), "{blocks:?}");
        assert!(blocks.contains(&(Some(1), Kind::Paragraph, "Say what a neap tide is.")), "{blocks:?}");
        assert!(blocks.contains(&(Some(2), Kind::TableHeader, "Port | Range")), "{blocks:?}");
    }

    #[test]
    fn slides_come_in_the_order_of_the_presentation() {
        let relations = r#"<Relationships><Relationship Id="r1" Type="x/slide" Target="slides/a.xml"/>
            <Relationship Id="r2" Type="x/slide" Target="slides/b.xml"/></Relationships>"#;
        let slide = |text: &str| format!(r#"<p:sld xmlns:p="p" xmlns:a="a"><p:sp><a:p><a:t>{text}</a:t></a:p></p:sp></p:sld>"#);
        let bytes = archive(&[
            (PRESENTATION, br#"<p xmlns:r="r"><sldId id="256" r:id="r2"/><sldId id="257" r:id="r1"/></p>"#.as_slice()),
            ("ppt/_rels/presentation.xml.rels", relations.as_bytes()),
            ("ppt/slides/a.xml", slide("first").as_bytes()),
            ("ppt/slides/b.xml", slide("second").as_bytes()),
        ]);
        assert_eq!(read("a.pptx", &bytes).expect("fits").1.text, "second\n\nfirst");
    }
}
