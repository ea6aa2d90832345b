//! From the bytes of tokens to pieces of text.
//!
//! A token may end in the middle of a character or of a stop string, so some bytes wait for the next ones: those of an
//! unfinished character, and the longest end of the text that is the beginning of a stop string. Nothing else waits.

use std::ops::Range;

/// Text that comes in tokens and ends at a stop string.
#[derive(Debug)]
pub(crate) struct TextStream {
    stops: Vec<Stop>,
    /// The beginning of a character, at most three bytes.
    unfinished: Vec<u8>,
    /// Text that may turn out to be the beginning of a stop string.
    held: String,
    stopped: bool,
}

/// What a push gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// The text that is certain now, perhaps none.
    pub(crate) text: String,
    /// A stop string was found: the text before it has been given out, and there will be no more.
    pub(crate) stopped: bool,
}

impl TextStream {
    /// A stream that ends before the first of these texts: the one that is complete first, of two that end together the
    /// longer. Empty ones are not looked for.
    pub(crate) fn new(stop: Vec<String>) -> TextStream {
        let stops = stop.into_iter().filter(|text| !text.is_empty()).map(Stop::new).collect();
        TextStream { stops, unfinished: Vec::new(), held: String::new(), stopped: false }
    }

    /// Takes the bytes of a token. What is no UTF-8 becomes U+FFFD, as by [`String::from_utf8_lossy`].
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Pushed {
        self.unfinished.extend_from_slice(bytes);
        let text = decode(&mut self.unfinished);
        self.look_for_stops(&text)
    }

    /// What was held when no more tokens come; an unfinished character is U+FFFD.
    pub(crate) fn finish(&mut self) -> String {
        let rest = String::from_utf8_lossy(&std::mem::take(&mut self.unfinished)).into_owned();
        let mut text = self.look_for_stops(&rest).text;
        text.push_str(&std::mem::take(&mut self.held));
        text
    }

    fn look_for_stops(&mut self, text: &str) -> Pushed {
        if self.stopped {
            return Pushed { text: String::new(), stopped: true };
        }
        let new_from = self.held.len();
        self.held.push_str(text);
        let found = self.stops.iter_mut().filter_map(|stop| stop.search(&self.held, new_from));
        let found = found.min_by_key(|found| (found.end, found.start));
        self.stopped = found.is_some();
        let hold = self.stops.iter().map(|stop| stop.matched).max().unwrap_or(0);
        let certain = found.map_or(self.held.len() - hold, |found| found.start);
        let held = self.held.split_off(certain);
        let text = std::mem::replace(&mut self.held, held);
        if self.stopped {
            self.held.clear();
        }
        Pushed { text, stopped: self.stopped }
    }
}

/// Takes the whole characters from bytes, leaving the beginning of one that more bytes may finish.
fn decode(bytes: &mut Vec<u8>) -> String {
    let chunk = bytes.utf8_chunks().last();
    let tail = chunk.map_or(&[][..], |chunk| chunk.invalid());
    // An error without a length is one that more bytes may mend.
    let waits = std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none());
    let whole = bytes.len() - if waits { tail.len() } else { 0 };
    let text = String::from_utf8_lossy(&bytes[..whole]).into_owned();
    bytes.drain(..whole);
    text
}

/// A stop string and how much of it the text ends with, by Knuth, Morris and Pratt's "Fast pattern matching in strings"
/// (SIAM Journal on Computing 6(2), 1977): each byte of text is looked at once however it is cut.
#[derive(Debug)]
struct Stop {
    text: String,
    /// For each length of a beginning: its longest proper beginning that is also its end.
    borders: Vec<usize>,
    /// Bytes at the end of the text that are the beginning of this.
    matched: usize,
}

impl Stop {
    fn new(text: String) -> Stop {
        let mut borders = vec![0; text.len() + 1];
        let mut stop = Stop { text, borders: Vec::new(), matched: 0 };
        for end in 1..stop.text.len() {
            borders[end + 1] = longer(stop.text.as_bytes(), &borders, borders[end], stop.text.as_bytes()[end]);
        }
        stop.borders = borders;
        stop
    }

    /// The first match in a text of which the bytes from `new_from` on are new.
    fn search(&mut self, text: &str, new_from: usize) -> Option<Range<usize>> {
        for (at, &byte) in text.as_bytes().iter().enumerate().skip(new_from) {
            self.matched = longer(self.text.as_bytes(), &self.borders, self.matched, byte);
            if self.matched == self.text.len() {
                return Some(at + 1 - self.matched..at + 1);
            }
        }
        None
    }
}

/// How much of a pattern is matched after one more byte, when less than all was.
fn longer(pattern: &[u8], borders: &[usize], mut matched: usize, byte: u8) -> usize {
    while matched > 0 && pattern[matched] != byte {
        matched = borders[matched];
    }
    if pattern[matched] == byte { matched + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stops(stops: &[&str]) -> TextStream {
        TextStream::new(stops.iter().map(|&stop| stop.into()).collect())
    }

    fn push(stream: &mut TextStream, bytes: &[u8]) -> String {
        stream.push(bytes).text
    }

    #[test]
    fn characters_wait_until_they_are_whole() {
        let mut stream = stops(&[]);
        let bytes = "a👋b".as_bytes();
        let texts: Vec<String> = bytes.chunks(1).map(|byte| push(&mut stream, byte)).collect();
        assert_eq!(texts, ["a", "", "", "", "👋", "b"]);
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn bytes_that_are_no_text_are_marked_as_soon_as_that_is_certain() {
        let mut stream = stops(&[]);
        assert_eq!(push(&mut stream, b"\xff"), "\u{fffd}");
        assert_eq!(push(&mut stream, b"\xe2\x82"), "");
        assert_eq!(push(&mut stream, b"x"), "\u{fffd}x");
        assert_eq!(push(&mut stream, b"\xf0\x9f"), "");
        assert_eq!(stream.finish(), "\u{fffd}");
    }

    #[test]
    fn text_waits_only_while_it_may_be_a_stop_string() {
        let mut stream = stops(&["</s>", "\n\nUser:"]);
        assert_eq!(push(&mut stream, b"a <"), "a ");
        assert_eq!(push(&mut stream, b"/"), "");
        assert_eq!(push(&mut stream, b"p><<"), "</p><");
        assert_eq!(push(&mut stream, b"\n"), "<");
        assert_eq!(push(&mut stream, b"\n\n"), "\n");
        assert_eq!(push(&mut stream, b"Us"), "");
        assert_eq!(stream.finish(), "\n\nUs");
    }

    #[test]
    fn nothing_comes_from_a_stop_string_on() {
        let mut stream = stops(&["STOP", ""]);
        assert_eq!(stream.push(b"go ST"), Pushed { text: "go ".into(), stopped: false });
        assert_eq!(stream.push(b"OP and on"), Pushed { text: String::new(), stopped: true });
        assert_eq!(stream.push(b"and on"), Pushed { text: String::new(), stopped: true });
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn the_stop_string_that_is_complete_first_counts_and_of_two_the_longer() {
        for pieces in [&["xabcd"][..], &["x", "ab", "c", "d"]] {
            let mut stream = stops(&["abcd", "bc", "c"]);
            let texts: String = pieces.iter().map(|piece| push(&mut stream, piece.as_bytes())).collect();
            assert_eq!(texts, "xa");
        }
    }

    /// The text of the bytes up to the first stop string, and whether there is one.
    fn reference(bytes: &[u8], stops: &[String]) -> (String, bool) {
        let text = String::from_utf8_lossy(bytes);
        for end in (1..=text.len()).filter(|&end| text.is_char_boundary(end)) {
            let ended = stops.iter().filter(|stop| !stop.is_empty() && text[..end].ends_with(stop.as_str()));
            if let Some(length) = ended.map(String::len).max() {
                return (text[..end - length].into(), true);
            }
        }
        (text.into(), false)
    }

    /// Whether an end of the text, not all of a stop string, is the beginning of one.
    fn may_go_on(text: &str, stops: &[String]) -> bool {
        stops.iter().any(|stop| stop.len() > text.len() && stop.starts_with(text))
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => "[ab€]{1,3}".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 1..4),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_split_gives_the_text_before_the_first_stop_string(
            bytes in bytes(),
            lengths in prop::collection::vec(0usize..5, 0..40),
            stops in prop::collection::vec("[ab€\u{fffd}]{0,4}", 0..4),
        ) {
            let (expected, has_stop) = reference(&bytes, &stops);
            let mut stream = TextStream::new(stops.clone());
            let (mut given, mut stopped, mut seen) = (String::new(), false, 0);
            for length in lengths.into_iter().chain([bytes.len()]) {
                let end = (seen + length).min(bytes.len());
                let pushed = stream.push(&bytes[seen..end]);
                given.push_str(&pushed.text);
                stopped = pushed.stopped;
                seen = end;
                let whole = &bytes[..seen - stream.unfinished.len()];
                let whole = String::from_utf8_lossy(whole);
                prop_assert!(stopped || given.len() + stream.held.len() == whole.len());
                prop_assert!(stream.held.is_empty() || may_go_on(&stream.held, &stops));
            }
            // An unfinished character is a mark only at the end, and the mark may be part of a stop string.
            let rest = stream.finish();
            prop_assert!(!stopped || rest.is_empty());
            given.push_str(&rest);
            prop_assert_eq!(&given, &expected);
            prop_assert!(stream.stopped == has_stop);
        }
    }
}
