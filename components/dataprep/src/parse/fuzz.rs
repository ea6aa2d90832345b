//! Every format with thousands of damaged files: each ends in a document or an error, in time.

use std::time::{Duration, Instant};

use super::{Source, parse};
use crate::limits::Limits;

/// Damaged files of each sample.
const ROUNDS: usize = 400;

/// A file and what is damaged.
const SAMPLES: [(&str, &[u8]); 15] = [
    ("a.pdf", include_bytes!("samples/sample.pdf")),
    ("b.pdf", include_bytes!("samples/packed.pdf")),
    ("c.pdf", include_bytes!("samples/owned.pdf")),
    ("d.pdf", include_bytes!("samples/owned4.pdf")),
    ("a.docx", include_bytes!("samples/sample.docx")),
    ("a.pptx", include_bytes!("samples/sample.pptx")),
    ("a.xlsx", include_bytes!("samples/sample.xlsx")),
    ("a.html", b"<!doctype html><title>t</title><h1>a</h1><table><tr><th>b<td>c</table><pre>d\n</pre><ul><li>e&amp;&#65;</ul>"),
    ("a.md", b"---\ntitle: x\n---\n# a\n\n- b\n  1. c\n\n| d | e |\n|---|---|\n| f | g |\n\n```\nh\n```\n[^1]: i <b>j</b>\n"),
    ("a.json", br#"{"a": [1, -2.5e3, "b\u00e9", null, true, {"c": []}], "d": {"e": "f"}}"#),
    ("a.jsonl", b"{\"a\": 1}\n{\"b\": [2, \"x\"]}\n"),
    ("a.csv", b"a;b;c\n1;\"2;3\";4\n5;6\n"),
    ("a.xml", b"<?xml version='1.0'?><!DOCTYPE a><a b='c'>d<e>f</e>&amp;<![CDATA[g]]><!-- h --></a>"),
    ("a.yaml", b"a: &x {b: [1, two]}\nc: *x\n? d\n: |\n  e\n  f\n---\n- \"g\\n\"\n- 'h'\n"),
    ("a.txt", b"\xff\xfea\0b\0\n\0\n\0c\0"),
];

/// Numbers that look like chance and are the same each time (Steele, Lea and Flood, 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Bytes that mean something in some format.
const WORDS: [&[u8]; 16] = [
    b"\0",
    b"\xff",
    b"<",
    b">",
    b"/",
    b"(",
    b"[",
    b"{",
    b"}",
    b"999999999999",
    b"-1",
    b" obj ",
    b"stream\n",
    b"&",
    b"\"",
    b"R",
];

fn damage(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..1 + numbers.below(6) {
        let at = numbers.below(bytes.len());
        match numbers.below(7) {
            0 => bytes.truncate(at),
            1 => {
                let word = WORDS[numbers.below(WORDS.len())];
                bytes.splice(at..at, word.iter().copied());
            }
            2 => {
                let end = (at + 1 + numbers.below(40)).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let end = (at + 1 + numbers.below(200)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = numbers.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = numbers.next() as u8;
                }
            }
        }
    }
}

/// Every result is a document or an error: a panic would fail the test.
fn assert_ends(name: &str, bytes: &[u8], limits: &Limits) {
    let started = Instant::now();
    if let Ok((_, document)) = parse(Source { name, content_type: None, bytes }, limits) {
        assert!(document.text.len() <= limits.text_bytes_max + 2 * limits.blocks_max);
        for block in &document.blocks {
            assert!(document.text.get(block.range.clone()).is_some_and(|text| !text.is_empty()), "{name}: {block:?}");
        }
    }
    let slow = Duration::from_millis(limits.file_ms_max * 4);
    assert!(started.elapsed() < slow, "{name} of {} bytes took {:?}", bytes.len(), started.elapsed());
}

#[test]
fn damaged_files_end_in_documents_or_errors() {
    let limits = Limits { file_ms_max: 5000, ..Limits::default() };
    let mut numbers = Numbers(7);
    for (name, sample) in SAMPLES {
        for _ in 0..ROUNDS {
            let mut bytes = sample.to_vec();
            damage(&mut bytes, &mut numbers);
            assert_ends(name, &bytes, &limits);
        }
    }
}

#[test]
fn damaged_parts_of_office_files_end_in_documents_or_errors() {
    use std::io::{Cursor, Read, Write};

    let limits = Limits { file_ms_max: 5000, ..Limits::default() };
    let mut numbers = Numbers(8);
    for (name, sample) in SAMPLES.into_iter().filter(|(name, _)| name.ends_with('x')) {
        let mut archive = zip::ZipArchive::new(Cursor::new(sample)).expect("a sample is an archive");
        let parts: Vec<(String, Vec<u8>)> = (0..archive.len())
            .map(|index| {
                let mut part = archive.by_index(index).expect("a sample is sound");
                let mut bytes = Vec::new();
                part.read_to_end(&mut bytes).expect("a sample is sound");
                (part.name().to_owned(), bytes)
            })
            .filter(|(name, _)| name.ends_with(".xml") || name.ends_with(".rels"))
            .collect();
        for _ in 0..ROUNDS / 5 {
            let chosen = numbers.below(parts.len());
            let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
            let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
            for (index, (name, bytes)) in parts.iter().enumerate() {
                let mut bytes = bytes.clone();
                if index == chosen {
                    damage(&mut bytes, &mut numbers);
                }
                writer.start_file(name.as_str(), options).expect("a new file");
                writer.write_all(&bytes).expect("writes");
            }
            assert_ends(name, writer.finish().expect("writes").get_ref(), &limits);
        }
    }
}
