//! Markdown as CommonMark has it, with GitHub's tables, task lists, strikethrough and footnotes.

use pulldown_cmark::{Event, MetadataBlockKind, Options, Parser, Tag, TagEnd};

use super::html;
use crate::document::{Builder, Kind};
use crate::limits::ParseError;

pub(super) fn read(text: &str, builder: &mut Builder<'_>) -> Result<(), ParseError> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut reader =
        Reader { builder, kind: Kind::Paragraph, inline: String::new(), items: Vec::new(), row: Vec::new(), raw: None };
    for event in Parser::new_ext(text, options) {
        reader.builder.budget.tick()?;
        reader.take(event)?;
    }
    reader.flush()
}

struct Reader<'b, 'a> {
    builder: &'b mut Builder<'a>,
    kind: Kind,
    inline: String,
    /// For each list that is open the number of its next item, if it has numbers.
    items: Vec<Option<u64>>,
    /// Cells of the row that is open.
    row: Vec<String>,
    /// HTML or metadata that is open.
    raw: Option<Raw>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Raw {
    Html,
    Metadata,
}

impl Reader<'_, '_> {
    fn take(&mut self, event: Event<'_>) -> Result<(), ParseError> {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.inline.push_str(&text);
                Ok(())
            }
            Event::Html(text) => {
                self.inline.push_str(&text);
                Ok(())
            }
            Event::SoftBreak | Event::HardBreak => {
                self.inline.push(' ');
                Ok(())
            }
            Event::TaskListMarker(is_done) => {
                self.inline.push_str(if is_done { "[x] " } else { "[ ] " });
                Ok(())
            }
            Event::Rule => self.flush(),
            Event::InlineHtml(tag) => {
                if !is_of_letters(&tag) {
                    self.inline.push(' ');
                }
                Ok(())
            }
            Event::FootnoteReference(_) => Ok(()),
        }
    }

    fn start(&mut self, tag: Tag<'_>) -> Result<(), ParseError> {
        match tag {
            Tag::Paragraph => self.begin(if self.items.is_empty() { Kind::Paragraph } else { Kind::ListItem }),
            Tag::Heading { level, .. } => self.begin(Kind::Heading(level as u8)),
            Tag::CodeBlock(_) => self.begin(Kind::Code),
            Tag::List(first) => {
                self.flush()?;
                self.items.push(first);
                Ok(())
            }
            Tag::Item => {
                self.begin(Kind::ListItem)?;
                match self.items.last_mut() {
                    Some(Some(number)) => {
                        self.inline = format!("{number}. ");
                        *number += 1;
                    }
                    _ => self.inline.push_str("- "),
                }
                Ok(())
            }
            Tag::HtmlBlock => {
                self.raw = Some(Raw::Html);
                self.begin(Kind::Paragraph)
            }
            Tag::MetadataBlock(_) => {
                self.raw = Some(Raw::Metadata);
                self.begin(Kind::Paragraph)
            }
            Tag::Table(_) | Tag::TableHead | Tag::TableRow => {
                self.row.clear();
                self.begin(Kind::Paragraph)
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, tag: TagEnd) -> Result<(), ParseError> {
        match tag {
            TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::CodeBlock | TagEnd::Item | TagEnd::FootnoteDefinition => {
                self.flush()
            }
            TagEnd::List(_) => {
                self.flush()?;
                self.items.pop();
                Ok(())
            }
            TagEnd::HtmlBlock => {
                self.raw = None;
                let text = std::mem::take(&mut self.inline);
                html::read(&text, self.builder)
            }
            TagEnd::MetadataBlock(MetadataBlockKind::YamlStyle | MetadataBlockKind::PlusesStyle) => {
                self.raw = None;
                let text = std::mem::take(&mut self.inline);
                if let Some(title) = text.lines().find_map(|line| line.strip_prefix("title:")) {
                    self.builder.title(title.trim().trim_matches(['"', '\'']));
                }
                Ok(())
            }
            TagEnd::TableCell => {
                self.row.push(std::mem::take(&mut self.inline));
                Ok(())
            }
            TagEnd::TableHead => self.builder.push_row(Kind::TableHeader, &self.row),
            TagEnd::TableRow => self.builder.push_row(Kind::TableRow, &self.row),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, kind: Kind) -> Result<(), ParseError> {
        // The mark of a list item stays before its first paragraph.
        let is_marked = kind == Kind::ListItem && self.kind == Kind::ListItem && is_mark(&self.inline);
        if !is_marked {
            self.flush()?;
        }
        self.kind = kind;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ParseError> {
        let text = std::mem::take(&mut self.inline);
        let kind = std::mem::replace(&mut self.kind, Kind::Paragraph);
        if kind == Kind::ListItem && is_mark(&text) {
            return Ok(());
        }
        match kind {
            Kind::Code => self.builder.push(kind, &text),
            _ => self.builder.push_flowing(kind, &text),
        }
    }
}

/// Elements that only change how letters look, also inside of a word.
#[rustfmt::skip]
const OF_LETTERS: [&str; 19] = [
    "a", "abbr", "b", "code", "del", "em", "font", "i", "ins", "kbd", "mark", "s", "small", "span", "strong", "sub", "sup", "u",
    "wbr",
];

/// Whether what a tag stands between is one word, as in `H<sub>2</sub>O`; others, as `<br>`, divide words.
fn is_of_letters(tag: &str) -> bool {
    let name = tag.trim_start_matches(['<', '/']).split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    tag.starts_with("<!") || OF_LETTERS.contains(&name.to_ascii_lowercase().as_str())
}

/// Whether it is a list item's mark and nothing else.
fn is_mark(text: &str) -> bool {
    let mark = text.trim();
    mark == "-" || mark.strip_suffix('.').is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use crate::document::Kind;
    use crate::parse::tests::{blocks, read};

    fn assert_blocks(markdown: &str, expected: &[(Kind, &str)]) {
        let expected: Vec<_> = expected.iter().map(|&(kind, text)| (kind, text.to_owned())).collect();
        assert_eq!(blocks("a.md", markdown.as_bytes()), expected);
    }

    #[test]
    fn structure_is_kept_and_marks_are_not() {
        assert_blocks(
            "# A *b*\n\nsome `code`\nand [link](x)\n\n- one\n- two\n\n  more\n\n3. three\n\n```rust\nfn a() {\n}\n```\n",
            &[
                (Kind::Heading(1), "A b"),
                (Kind::Paragraph, "some code and link"),
                (Kind::ListItem, "- one"),
                (Kind::ListItem, "- two"),
                (Kind::ListItem, "more"),
                (Kind::ListItem, "3. three"),
                (Kind::Code, "fn a() {\n}"),
            ],
        );
    }

    #[test]
    fn tables_have_a_header_and_rows() {
        assert_blocks(
            "| n | v |\n|---|---|\n| a | 1 |\n| b |  |\n",
            &[(Kind::TableHeader, "n | v"), (Kind::TableRow, "a | 1"), (Kind::TableRow, "b")],
        );
    }

    #[test]
    fn nested_lists_and_html_are_read() {
        assert_blocks(
            "- a\n  - b\n\n<div><p>x <b>y</b></p></div>\n",
            &[(Kind::ListItem, "- a"), (Kind::ListItem, "- b"), (Kind::Paragraph, "x y")],
        );
    }

    #[test]
    fn tags_in_a_line_divide_words_unless_they_are_of_letters() {
        assert_blocks("a<br>b<BR/>c <b>d</b>e H<sub>2</sub>O f<!-- g -->h\n", &[(Kind::Paragraph, "a b c de H2O fh")]);
        assert_blocks("| n |\n|---|\n| a<br>b |\n", &[(Kind::TableHeader, "n"), (Kind::TableRow, "a b")]);
    }

    #[test]
    fn the_title_is_that_of_the_metadata_or_the_first_heading() {
        let title = |markdown: &str| read("a.md", markdown.as_bytes()).expect("fits").1.title;
        assert_eq!(title("---\ntitle: \"T\"\n---\n# H\n").as_deref(), Some("T"));
        assert_eq!(title("## G\n# H\n").as_deref(), Some("H"));
    }

    #[test]
    fn deep_nesting_does_no_harm() {
        assert!(read("a.md", format!("{}x", "> ".repeat(20_000)).as_bytes()).is_ok());
        assert!(read("a.md", format!("x{}", "[".repeat(50_000)).as_bytes()).is_ok());
    }
}
