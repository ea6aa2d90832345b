//! PDF (ISO 32000-2): the text of its pages in the order of reading, with headings by the size of their letters.
//!
//! Files are read without their tables of offsets, by looking for every object: that reads broken files as well as sound ones,
//! and whatever a hostile file says is counted before it is done.

mod cmap;
mod content;
mod crypt;
mod encoding;
mod file;
mod filter;
mod font;
mod layout;
mod lexer;
mod object;

use crate::document::Builder;
use crate::limits::ParseError;

pub(super) fn read(bytes: &[u8], builder: &mut Builder<'_>) -> Result<(), ParseError> {
    let file = file::File::read(bytes, builder.budget)?;
    if let Some(title) = file.title() {
        builder.title(&title);
    }
    let mut pages = Vec::new();
    let mut reader = content::Reader::new(&file);
    for page in file.pages(builder.budget)? {
        let spans = reader.page(&page, builder.budget)?;
        let spans_bytes = spans.iter().map(content::Span::bytes).sum();
        let lines = layout::lines(spans);
        builder.budget.release(spans_bytes);
        builder.budget.hold(lines.iter().map(layout::Line::bytes).sum())?;
        pages.push(lines);
    }
    layout::write(pages, builder)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::document::{Document, Kind};
    use crate::limits::Limits;
    use crate::parse::tests::{blocks, read};
    use crate::parse::{Source, parse};

    /// A file of one font and pages with these contents.
    pub(super) fn pdf(contents: &[&str]) -> Vec<u8> {
        pdf_with(contents, "")
    }

    /// As [`pdf`], with more objects.
    fn pdf_with(contents: &[&str], objects: &str) -> Vec<u8> {
        let kids: Vec<String> = (0..contents.len()).map(|page| format!("{} 0 R", 10 + 2 * page)).collect();
        let mut file = format!(
            "%PDF-1.4\n1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj\n\
             2 0 obj <</Type /Pages /Kids [{}] /Count {} /Resources <</Font <</F 3 0 R /G 4 0 R>> /XObject <</X 5 0 R>>>>>> endobj\n{objects}\
             3 0 obj <</Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding>> endobj\n",
            kids.join(" "),
            contents.len()
        );
        for (page, content) in contents.iter().enumerate() {
            let number = 10 + 2 * page;
            let _ = write!(
                file,
                "{number} 0 obj <</Type /Page /Parent 2 0 R /Contents {} 0 R>> endobj\n{} 0 obj <</Length {}>> stream\n{content}\nendstream endobj\n",
                number + 1,
                number + 1,
                content.len()
            );
        }
        file.push_str("trailer <</Root 1 0 R>>\n%%EOF\n");
        file.into_bytes()
    }

    fn sample(bytes: &[u8]) -> Document {
        read("sample.pdf", bytes).expect("fits").1
    }

    #[test]
    fn a_file_of_reportlab_is_read_with_headings_and_pages() {
        let document = sample(include_bytes!("samples/sample.pdf"));
        let blocks: Vec<_> =
            document.blocks.iter().map(|block| (block.place.page, block.kind, &document.text[block.range.clone()])).collect();
        assert_eq!(document.title.as_deref(), Some("Lighthouses"));
        assert_eq!(document.pages, 3);
        let lamp = "The lamp of the old tower burned whale oil until the year 1865, when a burner for paraffin took its place.";
        let expected = [
            (Some(1), Kind::Heading(1), "The lamp"),
            (Some(1), Kind::Paragraph, lamp),
            (Some(2), Kind::Heading(1), "Der Wärter"),
            (Some(2), Kind::Paragraph, "Der Wärter aß täglich Grütze – für 3 € im Monat. Łuk lies inland."),
            (Some(3), Kind::Heading(1), "The fog horn"),
            (Some(3), Kind::Paragraph, "In fog the horn sounds every ninety seconds (“two long”)."),
        ];
        assert_eq!(blocks, expected);
    }

    #[test]
    fn objects_in_streams_are_read() {
        assert_eq!(sample(include_bytes!("samples/packed.pdf")), sample(include_bytes!("samples/sample.pdf")));
    }

    #[test]
    fn a_file_that_needs_a_password_is_refused_and_one_that_does_not_is_read() {
        assert_eq!(read("a.pdf", include_bytes!("samples/locked.pdf")), Err(ParseError::Encrypted));
        assert_eq!(sample(include_bytes!("samples/owned.pdf")).text, sample(include_bytes!("samples/sample.pdf")).text);
        assert_eq!(sample(include_bytes!("samples/owned4.pdf")).text, sample(include_bytes!("samples/sample.pdf")).text);
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let content = "BT /F 12 Tf 50 700 Td [(Hel) 20 (lo) -400 (world)] TJ 0 -14 Td (again) Tj ET";
        assert_eq!(blocks("a.pdf", &pdf(&[content])), [(Kind::Paragraph, "Hello world again".into())]);
    }

    #[test]
    fn a_file_without_its_end_is_read() {
        let file = pdf(&["BT /F 12 Tf (text) Tj ET"]);
        let cut = file.len() - b"trailer <</Root 1 0 R>>\n%%EOF\n".len();
        assert_eq!(sample(&file[..cut]).text, "text");
    }

    #[test]
    fn pages_beyond_the_limit_are_refused() {
        let contents = vec!["BT /F 12 Tf (x) Tj ET"; 11];
        let limits = Limits { pages_max: 10, ..Limits::default() };
        let file = pdf(&contents);
        let error = parse(Source { name: "a.pdf", content_type: None, bytes: &file }, &limits).expect_err("too many pages");
        assert!(error.to_string().contains("more pages than the limit of 10"), "{error}");
    }

    #[test]
    fn circles_of_objects_end() {
        let file = b"%PDF-1.4\n1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj\n\
            2 0 obj <</Type /Pages /Kids [2 0 R 3 0 R 3 0 R] /Resources 4 0 R>> endobj\n\
            3 0 obj <</Type /Page /Parent 3 0 R /Contents 5 0 R>> endobj 4 0 obj 4 0 R endobj\n\
            5 0 obj <</Length 6 0 R>> stream\n/X Do\nendstream endobj 6 0 obj 7 0 R endobj 7 0 obj 6 0 R endobj\n";
        assert!(matches!(read("a.pdf", file), Err(ParseError::Empty(_))));
        let own = b"%PDF-1.4\n1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj\n\
            2 0 obj <</Type /Pages /Kids [3 0 R]>> endobj\n\
            3 0 obj <</Type /Page /Contents 5 0 R /Resources <</XObject <</X 5 0 R>>>>>> endobj\n\
            5 0 obj <</Subtype /Form /Length 23>> stream\n/X Do /X Do /X Do /X Do\nendstream endobj\n";
        assert!(read("a.pdf", own).is_err());
    }

    #[test]
    fn a_stream_that_inflates_without_end_is_a_bomb() {
        use std::io::Write as _;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![b' '; 2 << 20]).expect("writes");
        let bomb = encoder.finish().expect("writes");
        let mut file =
            b"%PDF-1.5\n1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj\n2 0 obj <</Type /Pages /Kids [3 0 R]>> endobj\n\
            3 0 obj <</Type /Page /Contents 5 0 R>> endobj\n5 0 obj <</Filter /FlateDecode>> stream\n"
                .to_vec();
        file.extend_from_slice(&bomb);
        file.extend_from_slice(b"\nendstream endobj\n");
        let limits = Limits { inflated_bytes_max: 1 << 20, ..Limits::default() };
        let error = parse(Source { name: "a.pdf", content_type: None, bytes: &file }, &limits).expect_err("a bomb");
        assert_eq!(error.code().0, "decompression_bomb");
    }

    /// Limits that tests reach soon.
    fn small() -> Limits {
        Limits { held_bytes_max: 16 << 20, ..Limits::default() }
    }

    /// What is said of a file that must not be held in memory.
    fn assert_too_much(file: &[u8]) {
        let error = parse(Source { name: "a.pdf", content_type: None, bytes: file }, &small()).expect_err("too much");
        assert!(error.to_string().contains("bytes in memory"), "{error}");
    }

    /// A stream of this dictionary.
    fn stream(number: u32, dict: &str, content: &str) -> String {
        format!("{number} 0 obj <<{dict} /Length {}>> stream\n{content}\nendstream endobj\n", content.len())
    }

    #[test]
    fn contents_that_name_one_plain_stream_again_and_again_are_refused() {
        let plain = stream(9, "", &" ".repeat(1 << 20));
        let mut file = b"%PDF-1.4\n1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj\n".to_vec();
        file.extend_from_slice(plain.as_bytes());
        let contents = "9 0 R ".repeat(400);
        file.extend_from_slice(b"2 0 obj <</Type /Pages /Kids [3 0 R]>> endobj\n");
        file.extend_from_slice(format!("3 0 obj <</Type /Page /Contents [{contents}]>> endobj\n").as_bytes());
        assert_too_much(&file);
    }

    #[test]
    fn objects_of_a_stream_at_one_place_are_refused() {
        let index: String = (100..1100).map(|number| format!("{number} 0 ")).collect();
        let packed = format!("{index}({})", "x".repeat(1 << 20));
        let dict = format!("/Type /ObjStm /N 1000 /First {}", index.len());
        assert_too_much(&pdf_with(&["BT ET"], &stream(9, &dict, &packed)));
    }

    #[test]
    fn codes_that_show_long_texts_are_refused() {
        let letters = vec!["a"; 128].join("_");
        let font = format!("4 0 obj <</Type /Font /Encoding <</Differences [65 /{letters}]>>>> endobj\n");
        let content = format!("BT /G 12 Tf ({}) Tj ET", "A".repeat(2 << 20));
        assert_too_much(&pdf_with(&[&content], &font));
    }

    #[test]
    fn pages_that_share_a_large_drawing_are_refused() {
        let pieces: String = (0..10_000).map(|line| format!("0 -20 Td (x{line}) Tj ")).collect();
        let form = stream(5, "/Subtype /Form", &format!("BT /F 12 Tf {pieces} ET"));
        let file = pdf_with(&vec!["/X Do"; 60], &form);
        assert_too_much(&file);
        // One page of it is not too much.
        let one = pdf_with(&["/X Do"], &form);
        assert!(parse(Source { name: "a.pdf", content_type: None, bytes: &one }, &small()).is_ok());
    }

    #[test]
    fn fonts_with_large_tables_are_refused() {
        let (mut objects, mut content) = (String::new(), String::from("BT "));
        let range = "beginbfrange <0000> <ffff> <00410042004300440045004600470048004900500051> endbfrange";
        objects.push_str(&stream(9, "", range));
        for number in 1000..1060 {
            objects.push_str(&format!("{number} 0 obj <</Type /Font /ToUnicode 9 0 R>> endobj\n"));
            content.push_str(&format!("/F{number} 9 Tf "));
        }
        let fonts: String = (1000..1060).map(|number| format!("/F{number} {number} 0 R ")).collect();
        objects.push_str(&stream(5, &format!("/Subtype /Form /Resources <</Font <<{fonts}>>>>"), &content));
        assert_too_much(&pdf_with(&["/X Do"], &objects));
    }

    #[test]
    fn what_is_no_pdf_behind_its_first_line_is_refused() {
        assert_eq!(read("a.pdf", b"%PDF-1.4\nnothing").expect_err("no pages").code().0, "malformed");
    }
}
