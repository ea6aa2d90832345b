//! Texts to token ids and back, by Hugging Face's `tokenizer.json` or the metadata of a GGUF file.

mod gguf;
#[cfg(test)]
mod goldens;
mod pieces;

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, MatchKind};
use tokenizers::{
    AddedVocabulary, EncodeInput, Encoding, Model as _, OffsetType, PostProcessor as _, PreTokenizer as _, Token,
    TruncationDirection, TruncationParams, TruncationStrategy,
};

use crate::batch::Tokens;
use crate::weights::{Metadata, WeightsError};

pub(crate) use pieces::Pieces;

/// Why a tokenizer can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file is missing or not a tokenizer.
    #[error("{file} is not a good tokenizer: {reason}")]
    Malformed {
        /// The file.
        file: String,
        /// What the parser said.
        reason: String,
    },
    /// The metadata lacks something that a tokenizer needs.
    #[error(transparent)]
    Metadata(#[from] WeightsError),
    /// The metadata asks for a kind that is not implemented.
    #[error("tokenizers of the kind {0} are not supported")]
    Unsupported(String),
    /// The text could not be encoded.
    #[error("the text could not be tokenized: {0}")]
    Text(String),
}

/// What special tokens are to a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpecialTokens {
    /// None: what looks like one in the text is only text.
    None,
    /// Those that the model wants around a text are put there; what looks like one in the text is only text.
    Around,
    /// Those in the text are understood, and no others are added: for the output of chat templates.
    Within,
}

/// Where a token is in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Bytes of the text.
    pub(crate) bytes: Range<usize>,
    /// The word that it is of, counted from 0.
    pub(crate) word: Option<u32>,
}

/// Two characters that Unicode keeps for use inside programs: no text has them.
const MARKS: [char; 2] = ['\u{FDD0}', '\u{FDD1}'];

/// A model's tokenizer. It cuts at the model's length and says so; it never pads.
#[derive(Debug)]
pub(crate) struct Tokenizer {
    tokenizer: tokenizers::Tokenizer,
    /// The added tokens, where special ones are only text.
    plain: AddedVocabulary,
    /// Ids that no plain text may become by spelling them, and their texts.
    control: HashSet<u32>,
    control_texts: AhoCorasick,
    end_ids: Vec<u32>,
    pieces: OnceLock<Pieces>,
}

impl Tokenizer {
    /// Reads `tokenizer.json`; texts are cut to `tokens_max` tokens, special tokens included. Padding and truncation that
    /// the file itself asks for are set aside: a batch is never padded, and the model's own files say its length.
    ///
    /// # Errors
    /// When the file is missing or damaged.
    pub(crate) fn open(file: &Path, tokens_max: usize) -> Result<Tokenizer, TokenizerError> {
        let malformed = |reason: tokenizers::Error| TokenizerError::Malformed {
            file: file.display().to_string(),
            reason: reason.to_string(),
        };
        let tokenizer = tokenizers::Tokenizer::from_file(file).map_err(malformed)?;
        let added = tokenizer.get_added_vocabulary().get_vocab();
        let mut end_ids: Vec<u32> = added.iter().filter(|(text, _)| gguf::is_end(text)).map(|(_, id)| *id).collect();
        end_ids.sort_unstable();
        Tokenizer::new(tokenizer, end_ids, tokens_max).map_err(malformed)
    }

    /// Builds the tokenizer that a GGUF file describes; texts are cut as by [`open`](Self::open).
    ///
    /// # Errors
    /// When the metadata is incomplete, or its kind of tokenizer is not supported.
    pub(crate) fn from_metadata(metadata: &Metadata, tokens_max: usize) -> Result<Tokenizer, TokenizerError> {
        let (tokenizer, end_ids) = gguf::read(metadata)?;
        Tokenizer::new(tokenizer, end_ids, tokens_max).map_err(gguf::contradiction)
    }

    fn new(mut tokenizer: tokenizers::Tokenizer, end_ids: Vec<u32>, tokens_max: usize) -> tokenizers::Result<Tokenizer> {
        let truncation = TruncationParams {
            direction: TruncationDirection::Right,
            max_length: tokens_max,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        tokenizer.with_padding(None).with_truncation(Some(truncation))?;
        let mut plain = tokenizer.get_added_vocabulary().clone();
        plain.set_encode_special_tokens(true);
        let special = || plain.get_added_tokens_decoder().iter().filter(|(_, token)| token.special);
        let control = special().map(|(id, _)| *id).collect();
        let texts = special().map(|(_, token)| token.content.as_str()).filter(|text| !text.is_empty());
        let control_texts = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts)?;
        Ok(Tokenizer { tokenizer, plain, control, control_texts, end_ids, pieces: OnceLock::new() })
    }

    /// The tokens of a text, with the special tokens around it.
    ///
    /// # Errors
    /// When the tokenizer has no token for something in it.
    pub(crate) fn encode(&self, text: &str) -> Result<Tokens, TokenizerError> {
        self.encode_input(text.into())
    }

    /// The tokens of two texts as one input, as cross-encoders read them.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub(crate) fn encode_pair(&self, first: &str, second: &str) -> Result<Tokens, TokenizerError> {
        self.encode_input((first, second).into())
    }

    fn encode_input(&self, input: EncodeInput<'_>) -> Result<Tokens, TokenizerError> {
        let encoding = self.tokenizer.encode_fast(input, true).map_err(|error| TokenizerError::Text(error.to_string()))?;
        Ok(tokens(&encoding))
    }

    /// The tokens of a text with the special tokens around it, and where each of them is in the text; those around it are
    /// nowhere.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub(crate) fn encode_with_places(&self, text: &str) -> Result<(Tokens, Vec<Option<Place>>), TokenizerError> {
        let encoding = self.tokenizer.encode(text, true).map_err(|error| TokenizerError::Text(error.to_string()))?;
        let places = encoding.get_offsets().iter().zip(encoding.get_word_ids()).zip(encoding.get_special_tokens_mask());
        let place = |((&(start, end), &word), &special)| (special == 0).then_some(Place { bytes: start..end, word });
        Ok((tokens(&encoding), places.map(place).collect()))
    }

    /// The tokens of a prompt, however long it is.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub(crate) fn encode_prompt(&self, text: &str, special: SpecialTokens) -> Result<Vec<u32>, TokenizerError> {
        let encoding = match special {
            SpecialTokens::Within => self.encode_text(text, self.tokenizer.get_added_vocabulary(), &HashSet::new()),
            SpecialTokens::None => self.encode_text(text, &self.plain, &self.control),
            SpecialTokens::Around => {
                let inner = self.encode_text(text, &self.plain, &self.control);
                inner.and_then(|inner| match self.tokenizer.get_post_processor() {
                    Some(processor) => processor.process(inner, None, true),
                    None => Ok(inner),
                })
            }
        };
        encoding.map(|encoding| encoding.get_ids().to_vec()).map_err(|error| TokenizerError::Text(error.to_string()))
    }

    /// A text that somebody wrote, with marks around what spells special tokens: so that
    /// [`encode_marked`](Self::encode_marked) reads it as text, wherever a template puts it.
    pub(crate) fn mark(&self, text: &str) -> String {
        let text = text.replace(MARKS, "\u{FFFD}");
        let mut marked = String::with_capacity(text.len());
        let mut end = 0;
        for found in self.control_texts.find_iter(&text) {
            marked.push_str(&text[end..found.start()]);
            marked.extend([MARKS[0], MARKS[1]]);
            marked.insert_str(marked.len() - MARKS[1].len_utf8(), &text[found.range()]);
            end = found.end();
        }
        marked.push_str(&text[end..]);
        marked
    }

    /// The tokens of a prompt with special tokens within it, but not between marks.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub(crate) fn encode_marked(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::new();
        let mut is_text = false;
        for part in text.split_inclusive(MARKS) {
            let special = if is_text { SpecialTokens::None } else { SpecialTokens::Within };
            let end = part.char_indices().next_back().filter(|(_, end)| MARKS.contains(end));
            let text = &part[..end.map_or(part.len(), |(at, _)| at)];
            if !text.is_empty() {
                ids.extend(self.encode_prompt(text, special)?);
            }
            // A template may have cut one of a pair away: then what follows is text until the next pair ends.
            is_text = end.is_some_and(|(_, mark)| mark == MARKS[0]);
        }
        Ok(ids)
    }

    /// What Hugging Face's tokenizer does to a text, but for cutting it to length: find added tokens, normalise, cut into
    /// words, and turn each into tokens. A word that would spell one of the `refused` tokens is encoded character by character.
    fn encode_text(&self, text: &str, added: &AddedVocabulary, refused: &HashSet<u32>) -> tokenizers::Result<Encoding> {
        let mut words = added.extract_and_normalize(self.tokenizer.get_normalizer(), text);
        if let Some(pre_tokenizer) = self.tokenizer.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut words)?;
        }
        let model = self.tokenizer.get_model();
        let spells = |word: &str, token: &Token| {
            let spelled = || word.get(token.offsets.0..token.offsets.1).and_then(|part| model.token_to_id(part));
            refused.contains(&token.id) && spelled() == Some(token.id)
        };
        words.tokenize(|word| {
            let word = word.get();
            let tokens = model.tokenize(word)?;
            if !tokens.iter().any(|token| spells(word, token)) {
                return Ok(tokens);
            }
            let chars = word.char_indices().map(|(at, char)| &word[at..at + char.len_utf8()]);
            let kept = |char| Ok(model.tokenize(char)?.into_iter().filter(move |token| !spells(char, token)));
            Ok(chars.map(kept).collect::<tokenizers::Result<Vec<_>>>()?.into_iter().flatten().collect())
        })?;
        words.into_encoding(None, 0, OffsetType::None)
    }

    /// The text of tokens, without the special ones. What is no UTF-8 becomes U+FFFD.
    pub(crate) fn decode(&self, ids: &[u32]) -> String {
        let pieces = self.pieces();
        let shown = ids.iter().filter(|&&id| !pieces.is_special(id));
        let bytes: Vec<u8> = shown.flat_map(|&id| pieces.bytes(id)).copied().collect();
        let bytes = match bytes.strip_prefix(b" ") {
            Some(rest) if pieces.begins_with_space() => rest,
            _ => &bytes,
        };
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// The bytes of each token.
    pub(crate) fn pieces(&self) -> &Pieces {
        self.pieces.get_or_init(|| Pieces::new(&self.tokenizer))
    }

    /// The id of a token, by its text in the vocabulary.
    #[cfg(test)]
    pub(crate) fn token_id(&self, text: &str) -> Option<u32> {
        self.tokenizer.token_to_id(text)
    }

    /// The tokens that end a generation.
    pub(crate) fn end_ids(&self) -> &[u32] {
        &self.end_ids
    }
}

fn tokens(encoding: &Encoding) -> Tokens {
    Tokens {
        ids: encoding.get_ids().to_vec(),
        type_ids: encoding.get_type_ids().to_vec(),
        truncated: !encoding.get_overflowing().is_empty(),
    }
}
