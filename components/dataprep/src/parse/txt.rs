//! Plain text: paragraphs are what stands between empty lines.

use crate::document::{Builder, Kind};
use crate::limits::ParseError;

pub(super) fn read(text: &str, builder: &mut Builder<'_>) -> Result<(), ParseError> {
    let mut paragraph = String::new();
    for line in text.lines() {
        builder.budget.tick()?;
        let line = line.trim_end();
        if line.trim_start().is_empty() {
            builder.push(Kind::Paragraph, &paragraph)?;
            paragraph.clear();
            continue;
        }
        if !paragraph.is_empty() {
            paragraph.push('\n');
        }
        paragraph.push_str(line);
    }
    builder.push(Kind::Paragraph, &paragraph)
}

#[cfg(test)]
mod tests {
    use crate::document::Kind;
    use crate::parse::tests::blocks;

    #[test]
    fn paragraphs_are_apart_by_empty_lines() {
        let expected = ["a\nb", "c", "d"].map(|text| (Kind::Paragraph, text.to_owned()));
        assert_eq!(blocks("a.txt", b"a \r\nb\n\n \nc\r\n\r\nd"), expected);
    }
}
