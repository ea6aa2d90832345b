use futures::executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::document::Builder;
use crate::limits::{Budget, Limits};

/// A token for every four characters of a word.
struct Words;

impl Measure for Words {
    type Error = ParseError;

    async fn tokens(&mut self, text: &str) -> Result<u32, ParseError> {
        Ok(count(text))
    }
}

fn count(text: &str) -> u32 {
    text.split_whitespace().map(|word| word.chars().count().div_ceil(4) as u32).sum()
}

fn settings(tokens_max: u32, overlap_tokens_max: u32) -> Settings {
    Settings { tokens_max, overlap_tokens_max, chars_max: 100_000, overlap_chars_max: 100_000, chunks_max: 10_000 }
}

fn budget() -> Budget {
    Budget::new(Limits::default())
}

fn document(blocks: &[(Kind, &str)]) -> Document {
    let mut budget = Budget::new(Limits::default());
    let mut builder = Builder::new(&mut budget);
    for (kind, text) in blocks {
        builder.push(*kind, text).expect("within the limits");
    }
    builder.finish()
}

fn chunks(blocks: &[(Kind, &str)], settings: &Settings) -> Vec<Chunk> {
    block_on(chunk(&document(blocks), settings, &mut Words, &mut budget())).expect("within the limits")
}

fn texts(chunks: &[Chunk]) -> Vec<&str> {
    chunks.iter().map(|chunk| chunk.text.as_str()).collect()
}

#[test]
fn paragraphs_fill_a_chunk_and_sentences_are_shared() {
    let text = "one one. Two two. Six six. Ten ten.";
    let chunks = chunks(&[(Kind::Paragraph, text)], &settings(6, 2));
    assert_eq!(texts(&chunks), ["one one. Two two. Six six.", "Six six. Ten ten."]);
    assert_eq!((chunks[1].start, chunks[1].end), (18, 35));
}

#[test]
fn chunks_never_cross_a_heading_and_know_the_headings_above() {
    let blocks = [
        (Kind::Heading(1), "A"),
        (Kind::Heading(2), "B"),
        (Kind::Paragraph, "one"),
        (Kind::Heading(2), "C"),
        (Kind::Paragraph, "two"),
        (Kind::Heading(1), "D"),
        (Kind::Paragraph, "six"),
    ];
    let chunks = chunks(&blocks, &settings(100, 50));
    let found: Vec<(&str, Vec<&str>)> =
        chunks.iter().map(|chunk| (chunk.text.as_str(), chunk.heading.iter().map(|name| &**name).collect())).collect();
    assert_eq!(found, [("one", vec!["A", "B"]), ("two", vec!["A", "C"]), ("six", vec!["D"])]);
}

#[test]
fn a_paragraph_is_not_torn_apart_where_it_can_begin_the_next_chunk() {
    let blocks = [(Kind::Paragraph, "a b c d e f"), (Kind::Paragraph, "g h. I j. K l. M n.")];
    assert_eq!(texts(&chunks(&blocks, &settings(10, 1))), ["a b c d e f", "g h. I j. K l. M n."]);
}

#[test]
fn a_table_keeps_the_names_of_its_columns() {
    let blocks =
        [(Kind::TableHeader, "n | v"), (Kind::TableRow, "a | 1"), (Kind::TableRow, "b | 2"), (Kind::TableRow, "c | 3")];
    let chunks = chunks(&blocks, &settings(9, 3));
    assert_eq!(texts(&chunks), ["n | v\na | 1\nb | 2", "n | v\nc | 3"]);
    assert_eq!((chunks[1].start, chunks[1].end), (18, 23));
}

#[test]
fn characters_are_bounded_as_well() {
    let limits = Settings { chars_max: 7, overlap_chars_max: 0, ..settings(100, 0) };
    assert_eq!(texts(&chunks(&[(Kind::Paragraph, "aaa bbb ccc ddd")], &limits)), ["aaa bbb", "ccc ddd"]);
}

#[test]
fn a_word_longer_than_a_chunk_is_divided() {
    let chunks = chunks(&[(Kind::Paragraph, &"é".repeat(40))], &settings(3, 1));
    assert!(chunks.iter().all(|chunk| count(&chunk.text) <= 3));
    assert_eq!(texts(&chunks).concat(), "é".repeat(40));
}

#[test]
fn more_chunks_than_the_limit_are_refused() {
    let limits = Settings { chunks_max: 2, ..settings(1, 0) };
    let error =
        block_on(chunk(&document(&[(Kind::Paragraph, "a b c")]), &limits, &mut Words, &mut budget())).expect_err("too many");
    assert_eq!(error.code().0, "too_long");
}

#[test]
fn a_heading_without_text_is_a_chunk_and_one_of_the_same_level_is_not_lost() {
    let blocks = [(Kind::Heading(1), "A"), (Kind::Heading(1), "B"), (Kind::Paragraph, "one"), (Kind::Heading(2), "C")];
    assert_eq!(texts(&chunks(&blocks, &settings(100, 0))), ["A\n\nB\n\none", "C"]);
}

/// The last chunk of a document with this title, and its path.
fn last_under(title: Option<&str>, blocks: &[(Kind, &str)], settings: &Settings) -> String {
    let document = Document { title: title.map(str::to_owned), ..document(blocks) };
    let chunks = block_on(chunk(&document, settings, &mut Words, &mut budget())).expect("within the limits");
    let last = chunks.last().expect("a chunk");
    let whole = last.under_headings();
    assert_eq!(&whole[last.path.len()..], last.text);
    assert!(count(&whole) <= settings.tokens_max && whole.chars().count() <= settings.chars_max, "{whole}");
    whole
}

#[test]
fn headings_above_are_put_before_what_is_embedded() {
    let last = |title: Option<&str>, blocks: &[(Kind, &str)]| last_under(title, blocks, &settings(200, 0));
    let (a, b, text) = ((Kind::Heading(1), "A"), (Kind::Heading(2), "B"), (Kind::Paragraph, "text"));
    assert_eq!(last(Some("T"), &[a, b, text]), "T > A > B\ntext");
    assert_eq!(last(Some("A"), &[a, b, text]), "A > B\ntext");
    assert_eq!(last(None, &[a, text, b]), "A\nB");
    assert_eq!(last(None, &[text]), "text");
    let long = "x".repeat(190);
    let blocks = [(Kind::Heading(1), long.as_str()), (Kind::Heading(2), "near"), text];
    assert_eq!(last(Some("title"), &blocks), format!("{long} > near\ntext"));
}

#[test]
fn headings_take_half_of_a_chunk_at_most_and_are_text_where_they_take_more() {
    let blocks = [(Kind::Heading(1), "a b c d"), (Kind::Heading(2), "e f"), (Kind::Paragraph, "g h i")];
    assert_eq!(last_under(None, &blocks[1..], &settings(6, 0)), "e f\ng h i");
    // The outer one has no place in the line, and is in no other chunk.
    assert_eq!(last_under(None, &blocks, &settings(6, 0)), "e f\ng h i");
    let document = Document { title: None, ..document(&blocks) };
    let chunks = block_on(chunk(&document, &settings(6, 0), &mut Words, &mut budget())).expect("within the limits");
    assert_eq!(texts(&chunks), ["a b c d", "e f", "g h i"]);
}

#[test]
fn a_text_of_more_tokens_than_all_chunks_may_have_is_not_measured_to_its_end() {
    struct Calls(usize);
    impl Measure for Calls {
        type Error = ParseError;

        async fn tokens(&mut self, text: &str) -> Result<u32, ParseError> {
            self.0 += 1;
            Ok(count(text))
        }
    }
    let long = "Ab. ".repeat(100_000);
    let limits = Settings { chunks_max: 10, ..settings(160, 32) };
    let mut calls = Calls(0);
    let document = document(&[(Kind::Paragraph, &long)]);
    let error = block_on(chunk(&document, &limits, &mut calls, &mut budget())).expect_err("too many");
    assert_eq!(error, ParseError::TooLong { what: "text", max: 10, unit: "chunks" });
    assert!(calls.0 <= 10 * 160 / 8 + 2, "{} calls", calls.0);
    let mut over = Budget::new(Limits { file_ms_max: 0, ..Limits::default() });
    assert_eq!(block_on(chunk(&document, &limits, &mut Words, &mut over)), Err(ParseError::TooSlow { ms_max: 0 }));
}

#[test]
fn headings_above_many_sections_are_kept_once() {
    let mut blocks = vec![(Kind::Heading(1), "above")];
    for _ in 0..1000 {
        blocks.extend([(Kind::Heading(2), "x"), (Kind::Paragraph, "y")]);
    }
    let found = chunks(&blocks, &settings(100, 0));
    assert!(found.windows(2).all(|pair| std::rc::Rc::ptr_eq(&pair[0].heading[0], &pair[1].heading[0])));
    let limits = Settings { chunks_max: 999, ..settings(100, 0) };
    assert_eq!(section::sections(&document(&blocks), &limits), Err(limits.too_many()));
}

fn any_block() -> impl Strategy<Value = (Kind, String)> {
    let kinds = prop_oneof![
        1 => (1..4_u8).prop_map(Kind::Heading),
        5 => Just(Kind::Paragraph),
        2 => Just(Kind::ListItem),
        1 => Just(Kind::TableHeader),
        3 => Just(Kind::TableRow),
        1 => Just(Kind::Code),
    ];
    (kinds, "([a-zé世]{1,9}[.!?,]?[ |\n]){0,40}")
}

proptest! {
    #[test]
    fn all_text_is_in_some_chunk_and_no_chunk_is_too_large(
        blocks in prop::collection::vec(any_block(), 1..12),
        tokens_max in 2..40_u32,
        overlap in 0..10_u32,
        chars_max in 8..400_usize,
    ) {
        let blocks: Vec<(Kind, &str)> = blocks.iter().map(|(kind, text)| (*kind, text.as_str())).collect();
        let document = document(&blocks);
        let overlap = overlap.min(tokens_max - 1);
        let settings = Settings { chars_max, overlap_chars_max: chars_max / 4, ..settings(tokens_max, overlap) };
        let chunks = block_on(chunk(&document, &settings, &mut Words, &mut budget())).expect("within the limits");
        let chars: Vec<char> = document.text.chars().collect();
        let mut is_covered = vec![false; chars.len()];
        for chunk in &chunks {
            let own: String = chars[chunk.start..chunk.end].iter().collect();
            prop_assert!(chunk.text.ends_with(&own), "{:?} is not at the end of {:?}", own, chunk.text);
            prop_assert!(count(&chunk.under_headings()) <= tokens_max.max(1), "{:?}", chunk);
            prop_assert!(chunk.under_headings().chars().count() <= chars_max, "{:?}", chunk);
            is_covered[chunk.start..chunk.end].fill(true);
        }
        for block in document.blocks.iter().filter(|block| matches!(block.kind, Kind::Heading(_))) {
            let heading = &document.text[block.range.clone()];
            if chunks.iter().any(|chunk| chunk.path.contains(heading)) {
                let start = document.text[..block.range.start].chars().count();
                is_covered[start..start + heading.chars().count()].fill(true);
            }
        }
        for (character, is_covered) in chars.iter().zip(is_covered) {
            prop_assert!(is_covered || character.is_whitespace(), "{character:?} is in no chunk");
        }
        prop_assert!(chunks.windows(2).all(|pair| pair[0].start < pair[1].start && pair[0].end <= pair[1].start + chars_max));
    }
}
