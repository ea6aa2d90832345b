//! The bytes that each token stands for, so that generated tokens become text one by one.

use std::collections::HashMap;

use tokenizers::decoders::DecoderWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{ModelWrapper, Tokenizer};

/// Ids beyond are no tokens of a model; the largest vocabularies have 300,000.
const IDS_MAX: u32 = 1 << 24;

/// Each token's bytes, one after the other. A character may be spread over several tokens.
#[derive(Debug)]
pub(crate) struct Pieces {
    bytes: Vec<u8>,
    /// Where the bytes of an id end; those of the next begin there.
    ends: Vec<usize>,
    is_special: Vec<bool>,
    begins_with_space: bool,
}

impl Pieces {
    /// Reads the bytes off a tokenizer's vocabulary, by the kind of its decoder.
    pub(crate) fn new(tokenizer: &Tokenizer) -> Pieces {
        let spelling = Spelling::of(tokenizer);
        let added = tokenizer.get_added_tokens_decoder();
        let mut texts: Vec<(String, u32)> = tokenizer.get_vocab(true).into_iter().filter(|(_, id)| *id < IDS_MAX).collect();
        texts.sort_unstable_by_key(|(_, id)| *id);
        let count = texts.last().map_or(0, |(_, id)| *id as usize + 1);
        let mut pieces = Pieces {
            bytes: Vec::new(),
            ends: Vec::with_capacity(count),
            is_special: vec![false; count],
            begins_with_space: spelling.begins_with_space(),
        };
        for (text, id) in texts {
            pieces.ends.resize(id as usize, pieces.bytes.len());
            match added.get(&id) {
                Some(token) => pieces.bytes.extend(token.content.bytes()),
                None => spelling.write(&text, &mut pieces.bytes),
            }
            pieces.is_special[id as usize] = added.get(&id).is_some_and(|token| token.special);
            pieces.ends.push(pieces.bytes.len());
        }
        pieces
    }

    /// The bytes of a token; none of an id that is not one.
    pub(crate) fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = id.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(id).map_or(&[], |&end| &self.bytes[start..end])
    }

    /// Whether a token steers the model and is no part of a text.
    pub(crate) fn is_special(&self, id: u32) -> bool {
        self.is_special.get(id as usize).copied().unwrap_or(false)
    }

    /// Whether the tokens of a text begin with a space that the text does not have.
    pub(crate) fn begins_with_space(&self) -> bool {
        self.begins_with_space
    }
}

/// How a vocabulary writes bytes.
enum Spelling {
    /// Each byte as a character of its own: GPT-2.
    Bytes(HashMap<char, u8>),
    /// As they are but for a mark for spaces and `<0xXX>` for bytes: SentencePiece.
    Marked { mark: char, has_prefix: bool },
    /// As words, with a mark at pieces that continue one: WordPiece.
    Words { continued: String },
    /// As they are.
    Plain,
}

impl Spelling {
    fn of(tokenizer: &Tokenizer) -> Spelling {
        let by_decoder = tokenizer.get_decoder().and_then(Spelling::of_decoder);
        let by_words = || tokenizer.get_pre_tokenizer().and_then(Spelling::of_pre_tokenizer);
        let by_model = || match tokenizer.get_model() {
            ModelWrapper::WordPiece(model) => Some(Spelling::Words { continued: model.continuing_subword_prefix.clone() }),
            _ => None,
        };
        by_decoder.or_else(by_words).or_else(by_model).unwrap_or(Spelling::Plain)
    }

    fn of_decoder(decoder: &DecoderWrapper) -> Option<Spelling> {
        match decoder {
            DecoderWrapper::ByteLevel(_) => Some(Spelling::Bytes(byte_alphabet())),
            DecoderWrapper::WordPiece(words) => Some(Spelling::Words { continued: words.prefix.clone() }),
            DecoderWrapper::Metaspace(spaces) => Some(Spelling::Marked {
                mark: spaces.get_replacement(),
                has_prefix: spaces.get_prepend_scheme() != PrependScheme::Never,
            }),
            DecoderWrapper::Sequence(steps) => {
                let steps = steps.get_decoders();
                let has_prefix = steps.iter().any(|step| matches!(step, DecoderWrapper::Strip(strip) if strip.start > 0));
                match steps.iter().find_map(Spelling::of_decoder)? {
                    Spelling::Marked { mark, .. } => Some(Spelling::Marked { mark, has_prefix }),
                    other => Some(other),
                }
            }
            DecoderWrapper::Replace(_) | DecoderWrapper::ByteFallback(_) => {
                Some(Spelling::Marked { mark: '▁', has_prefix: false })
            }
            _ => None,
        }
    }

    fn of_pre_tokenizer(pre_tokenizer: &PreTokenizerWrapper) -> Option<Spelling> {
        match pre_tokenizer {
            PreTokenizerWrapper::ByteLevel(_) => Some(Spelling::Bytes(byte_alphabet())),
            PreTokenizerWrapper::Metaspace(spaces) => Some(Spelling::Marked {
                mark: spaces.get_replacement(),
                has_prefix: spaces.get_prepend_scheme() != PrependScheme::Never,
            }),
            PreTokenizerWrapper::Sequence(steps) => steps.as_ref().iter().find_map(Spelling::of_pre_tokenizer),
            _ => None,
        }
    }

    fn begins_with_space(&self) -> bool {
        matches!(self, Spelling::Marked { has_prefix: true, .. } | Spelling::Words { .. })
    }

    fn write(&self, text: &str, out: &mut Vec<u8>) {
        match self {
            Spelling::Bytes(alphabet) => {
                match text.chars().map(|char| alphabet.get(&char).copied()).collect::<Option<Vec<u8>>>() {
                    Some(bytes) => out.extend(bytes),
                    None => out.extend(text.bytes()),
                }
            }
            Spelling::Marked { mark, .. } => match byte(text) {
                Some(byte) => out.push(byte),
                None => out.extend(text.replace(*mark, " ").bytes()),
            },
            Spelling::Words { continued } => match text.strip_prefix(continued.as_str()) {
                Some(rest) => out.extend(rest.bytes()),
                None => out.extend([" ", text].concat().bytes()),
            },
            Spelling::Plain => out.extend(text.bytes()),
        }
    }
}

/// The byte that `<0xXX>` is.
fn byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// The characters that stand for bytes in GPT-2's vocabulary: printable ones for themselves, the others in order from U+0100.
/// `bytes_to_unicode` of <https://github.com/openai/gpt-2/blob/master/src/encoder.py>.
fn byte_alphabet() -> HashMap<char, u8> {
    let is_printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let printable = (0..=u8::MAX).filter(is_printable).map(|byte| (char::from(byte), byte));
    let others = ('\u{100}'..).zip((0..=u8::MAX).filter(|byte| !is_printable(byte)));
    printable.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::models::bpe::BPE;
    use tokenizers::models::wordpiece::WordPiece;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers::pre_tokenizers::metaspace::Metaspace;
    use tokenizers::{AddedToken, decoders};

    fn bpe(texts: &[&str]) -> Tokenizer {
        let vocab = texts.iter().map(|text| (*text).to_owned()).zip(0u32..).collect::<tokenizers::models::bpe::Vocab>();
        Tokenizer::new(BPE::builder().vocab_and_merges(vocab, Vec::new()).build().expect("builds"))
    }

    fn text(pieces: &Pieces, id: u32) -> &str {
        std::str::from_utf8(pieces.bytes(id)).expect("UTF-8")
    }

    #[test]
    fn characters_of_the_byte_alphabet_are_bytes() {
        let mut tokenizer = bpe(&["Ġthe", "Ã", "©", "½", "▁x"]);
        tokenizer.with_decoder(Some(ByteLevel::default()));
        let pieces = Pieces::new(&tokenizer);
        assert_eq!(text(&pieces, 0), " the");
        assert_eq!([pieces.bytes(1), pieces.bytes(2)].concat(), "é".as_bytes());
        assert_eq!(pieces.bytes(3), [0xbd]);
        assert_eq!(text(&pieces, 4), "▁x", "what is not in the alphabet is a text");
        assert_eq!(byte_alphabet().len(), 256);
        assert_eq!((byte_alphabet()[&'Ġ'], byte_alphabet()[&'Ċ'], byte_alphabet()[&'\u{143}']), (b' ', b'\n', 0xad));
    }

    #[test]
    fn marks_are_spaces_and_byte_tokens_are_bytes() {
        let mut tokenizer = bpe(&["▁the", "<0x0A>", "<0xZZ>", "e▁"]);
        tokenizer.with_decoder(Some(Metaspace::default()));
        let pieces = Pieces::new(&tokenizer);
        assert_eq!([0, 1, 2, 3].map(|id| text(&pieces, id)), [" the", "\n", "<0xZZ>", "e "]);
        assert!(pieces.begins_with_space());
    }

    #[test]
    fn pieces_that_continue_a_word_have_no_space() {
        let vocab = [("play", 0), ("##ing", 1)].map(|(text, id)| (text.to_owned(), id));
        let model = WordPiece::builder().vocab(vocab).build().expect("builds");
        let pieces = Pieces::new(&Tokenizer::new(model));
        assert_eq!([0, 1].map(|id| text(&pieces, id)), [" play", "ing"]);
    }

    #[test]
    fn added_tokens_are_themselves_and_know_if_they_are_special() {
        let mut tokenizer = bpe(&["a"]);
        tokenizer.with_decoder(Some(decoders::byte_fallback::ByteFallback::new()));
        tokenizer.add_tokens(&[AddedToken::from("<end>", true), AddedToken::from("▁▁", false)]);
        let pieces = Pieces::new(&tokenizer);
        assert_eq!([0, 1, 2].map(|id| text(&pieces, id)), ["a", "<end>", "▁▁"]);
        assert_eq!([0, 1, 2, 3].map(|id| pieces.is_special(id)), [false, true, false, false]);
    }

    #[test]
    fn ids_without_a_token_have_no_bytes() {
        let vocab = [("a", 1), ("b", 4), ("far", u32::MAX)].map(|(text, id)| (text.to_owned(), id));
        let pieces = Pieces::new(&Tokenizer::new(BPE::builder().vocab_and_merges(vocab, Vec::new()).build().expect("builds")));
        assert_eq!([0, 1, 2, 3, 4, 5, u32::MAX].map(|id| text(&pieces, id)), ["", "a", "", "", "b", "", ""]);
    }
}
