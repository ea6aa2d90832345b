//! Tokenizers from the metadata of GGUF files, as Hugging Face's. The reference is `src/llama-vocab.cpp` of llama.cpp.

mod split;
mod vocabulary;

use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::utils::Sequence as Normalizers;
use tokenizers::normalizers::{BertNormalizer, NormalizerWrapper, Prepend, Replace};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split as Cut, SplitPattern};
use tokenizers::processors::template::{SpecialToken, TemplateProcessing};
use tokenizers::{DecoderWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

use super::TokenizerError;
use crate::weights::{Metadata, WeightsError};

use split::Split;
use vocabulary::{Kind, Vocabulary};

pub(super) use vocabulary::is_end;

const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const CLS: &str = "tokenizer.ggml.cls_token_id";
/// It is spelled like this.
const SEPARATOR: &str = "tokenizer.ggml.seperator_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
/// The mark of a space, and in WordPiece of the beginning of a word.
const SPACE: &str = "▁";
const CONTINUED: &str = "##";

/// The tokenizer that a file describes, and the tokens that end a generation.
pub(super) fn read(metadata: &Metadata) -> Result<(tokenizers::Tokenizer, Vec<u32>), TokenizerError> {
    let vocabulary = Vocabulary::read(metadata)?;
    let (mut tokenizer, around) = match metadata.text("tokenizer.ggml.model")? {
        "gpt2" => byte_level(metadata, &vocabulary)?,
        "llama" => sentence_piece(metadata, &vocabulary)?,
        "bert" => word_piece(metadata, &vocabulary)?,
        other => return Err(TokenizerError::Unsupported(format!("`{other}`; supported are gpt2, llama and bert"))),
    };
    tokenizer.add_tokens(&vocabulary.added());
    tokenizer.with_post_processor(Some(around.template(&vocabulary)?));
    Ok((tokenizer, vocabulary.ends(metadata)?))
}

/// A tokenizer, and what it puts around a text.
type Built = (tokenizers::Tokenizer, Around);

/// Byte-level BPE: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.2.
fn byte_level(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Built, TokenizerError> {
    let name = optional(metadata, "tokenizer.ggml.pre", Metadata::text)?.unwrap_or("default");
    let split = Split::of(name).ok_or_else(|| TokenizerError::Unsupported(format!("gpt2 with words cut as `{name}`")))?;
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary.ids(), listed_merges(metadata)?)
        .ignore_merges(split.takes_whole_words)
        .build()
        .map_err(contradiction)?;
    let mut steps = Vec::new();
    for &pattern in split.patterns {
        let pattern = SplitPattern::Regex(pattern.into());
        let cut = Cut::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(contradiction)?;
        steps.push(PreTokenizerWrapper::from(cut));
    }
    steps.push(ByteLevel::new(false, false, false).into());
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(steps))).with_decoder(Some(ByteLevel::new(false, false, false)));
    let first = wanted(metadata, ADD_BOS, split.adds_bos)?.then(|| vocabulary.needed(metadata, BOS, None)).transpose()?;
    let last = wanted(metadata, ADD_EOS, false)?.then(|| vocabulary.needed(metadata, EOS, None)).transpose()?;
    Ok((tokenizer, Around { first, last }))
}

/// The merges of a file, each two tokens with a space between; the first may begin with one.
fn listed_merges(metadata: &Metadata) -> Result<Merges, TokenizerError> {
    let pair = |merge: &String| {
        let space = merge.char_indices().skip(1).find(|(_, char)| *char == ' ').map(|(at, _)| at);
        let (left, right) = merge.split_at(space?);
        Some((left.to_owned(), right[1..].to_owned()))
    };
    let pair_or_error = |merge: &String| pair(merge).ok_or_else(|| contradiction(format!("merge `{merge}` is no pair")));
    metadata.texts("tokenizer.ggml.merges")?.iter().map(pair_or_error).collect()
}

/// BPE over characters as SentencePiece does it: Kudo and Richardson 2018, <https://arxiv.org/abs/1808.06226>. What is no
/// token is written in bytes.
fn sentence_piece(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Built, TokenizerError> {
    let scores = metadata.numbers("tokenizer.ggml.scores")?;
    if scores.len() < vocabulary.texts.len() {
        return Err(contradiction("there are fewer scores than tokens"));
    }
    let unknown = vocabulary.needed(metadata, UNKNOWN, Some(0))?;
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary.ids(), scored_merges(vocabulary, scores))
        .unk_token(vocabulary.text(unknown).into())
        .fuse_unk(true)
        .byte_fallback(true)
        .build()
        .map_err(contradiction)?;
    let has_prefix = wanted(metadata, "tokenizer.ggml.add_space_prefix", true)?;
    let prefix = has_prefix.then(|| NormalizerWrapper::from(Prepend::new(SPACE.into())));
    let spaces = Replace::new(" ", SPACE).map_err(contradiction)?;
    let decoders = [Replace::new(SPACE, " ").map_err(contradiction)?.into(), ByteFallback::new().into(), Fuse::new().into()];
    let strip = has_prefix.then(|| DecoderWrapper::from(Strip::new(' ', 1, 0)));
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    tokenizer
        .with_normalizer(Some(Normalizers::new(prefix.into_iter().chain([spaces.into()]).collect())))
        .with_decoder(Some(Decoders::new(decoders.into_iter().chain(strip).collect())));
    let first = wanted(metadata, ADD_BOS, true)?.then(|| vocabulary.needed(metadata, BOS, Some(1))).transpose()?;
    let last = wanted(metadata, ADD_EOS, false)?.then(|| vocabulary.needed(metadata, EOS, Some(2))).transpose()?;
    Ok((tokenizer, Around { first, last }))
}

/// Every way to make a token of two others, the best token first. SentencePiece merges the neighbours that make the best
/// token; so does BPE with these ranks. Tokens that are no part of texts are never made: `<s>` in a text stays a text.
fn scored_merges(vocabulary: &Vocabulary, scores: &[f64]) -> Merges {
    let is_text = |kind: Kind| matches!(kind, Kind::Normal | Kind::UserDefined);
    let ids = vocabulary.ids();
    let part = |text: &str| ids.get(text).copied().filter(|&id| is_text(vocabulary.kinds[id as usize]));
    let mut merges = Vec::new();
    for (text, score) in vocabulary.texts.iter().zip(scores).filter(|(text, _)| part(text).is_some()) {
        let cuts = text.char_indices().skip(1).map(|(at, _)| text.split_at(at));
        let parts = cuts.filter_map(|(left, right)| Some((*score, part(left)?, part(right)?)));
        merges.extend(parts);
    }
    merges.sort_by(|(score, left, right), (other, other_left, other_right)| {
        other.total_cmp(score).then((left, right).cmp(&(other_left, other_right)))
    });
    let text = |id: u32| vocabulary.text(id).to_owned();
    merges.into_iter().map(|(_, left, right)| (text(left), text(right))).collect()
}

/// WordPiece as BERT uses it: Devlin et al. 2018, <https://arxiv.org/abs/1810.04805>. In a GGUF file it is the first piece of
/// a word that has a mark, and not the others.
fn word_piece(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Built, TokenizerError> {
    let marked = |text: &String, kind: Kind| match text.strip_prefix(SPACE) {
        Some(first) => first.to_owned(),
        None if kind != Kind::Normal || (text.starts_with('[') && text.ends_with(']')) => text.clone(),
        None => format!("{CONTINUED}{text}"),
    };
    let pieces = vocabulary.texts.iter().zip(&vocabulary.kinds).map(|(text, kind)| marked(text, *kind));
    let unknown = vocabulary.needed(metadata, UNKNOWN, Some(100))?;
    let model = WordPiece::builder()
        .vocab(pieces.zip(0u32..).collect::<Vocab>())
        .unk_token(vocabulary.text(unknown).into())
        .build()
        .map_err(contradiction)?;
    let lowercase = wanted(metadata, "tokenizer.ggml.normalizer.lowercase", true)?;
    let strip_accents = wanted(metadata, "tokenizer.ggml.normalizer.strip_accents", lowercase)?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer
        .with_normalizer(Some(BertNormalizer::new(true, true, Some(strip_accents), lowercase)))
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_decoder(Some(WordPieceDecoder::new(CONTINUED.into(), true)));
    let first = vocabulary.needed(metadata, if metadata.has(BOS) { BOS } else { CLS }, Some(101))?;
    let last = vocabulary.needed(metadata, SEPARATOR, Some(102))?;
    Ok((tokenizer, Around { first: Some(first), last: Some(last) }))
}

/// The tokens before and after a text.
struct Around {
    first: Option<u32>,
    last: Option<u32>,
}

impl Around {
    /// One text, or two of which the second is closed as the first is.
    fn template(&self, vocabulary: &Vocabulary) -> Result<TemplateProcessing, TokenizerError> {
        let first = self.first.map(|id| ("first", id));
        let last = self.last.map(|id| ("last", id));
        let piece = |name: &str, sequence: u32| format!("{name}:{sequence}");
        let before = first.map(|(name, _)| piece(name, 0));
        let after = |sequence| last.map(|(name, _)| piece(name, sequence));
        let single: Vec<String> = before.into_iter().chain([piece("$A", 0)]).chain(after(0)).collect();
        let pair: Vec<String> = single.iter().cloned().chain([piece("$B", 1)]).chain(after(1)).collect();
        let token = |(name, id): (&str, u32)| SpecialToken::new(name.into(), vec![id], vec![vocabulary.text(id).into()]);
        let tokens = first.into_iter().chain(last).map(token).collect::<Result<Vec<_>, _>>().map_err(contradiction)?;
        let mut builder = TemplateProcessing::builder();
        builder.try_single(single).map_err(contradiction)?.try_pair(pair).map_err(contradiction)?;
        builder.special_tokens(tokens).build().map_err(contradiction)
    }
}

/// A truth value of the metadata, or what holds without it.
fn wanted(metadata: &Metadata, key: &str, default: bool) -> Result<bool, WeightsError> {
    optional(metadata, key, Metadata::bool).map(|value| value.unwrap_or(default))
}

/// A value of the metadata, if it is there.
fn optional<'a, T>(
    metadata: &'a Metadata,
    key: &str,
    read: fn(&'a Metadata, &str) -> Result<T, WeightsError>,
) -> Result<Option<T>, WeightsError> {
    metadata.has(key).then(|| read(metadata, key)).transpose()
}

pub(super) fn contradiction(reason: impl std::fmt::Display) -> TokenizerError {
    TokenizerError::Malformed { file: "the file's metadata".into(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::{SpecialTokens, Tokenizer};
    use crate::weights::Value;
    use proptest::prelude::*;

    const NORMAL: f64 = 1.0;
    const CONTROL: f64 = 3.0;
    const USER_DEFINED: f64 = 4.0;

    /// A file's metadata: tokens with type and score, and what else.
    fn metadata(model: &str, tokens: &[(&str, f64, f64)], others: &[(&str, Value)]) -> Metadata {
        let texts = tokens.iter().map(|(text, ..)| (*text).to_owned()).collect();
        let types = tokens.iter().map(|(_, ty, _)| *ty).collect();
        let scores = tokens.iter().map(|(.., score)| *score).collect();
        let listed = [
            ("tokenizer.ggml.model", Value::Text(model.into())),
            ("tokenizer.ggml.tokens", Value::Texts(texts)),
            ("tokenizer.ggml.token_type", Value::Numbers(types)),
            ("tokenizer.ggml.scores", Value::Numbers(scores)),
        ];
        let others = others.iter().cloned();
        listed.into_iter().chain(others).map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// `<s>` could be made of `<` and `s>`; `ab` is worth more than `bc`.
    fn sentence_piece_sample() -> Metadata {
        let tokens = [
            ("<unk>", 2.0, 0.0),
            ("<s>", CONTROL, 0.0),
            ("</s>", CONTROL, 0.0),
            ("<0x21>", 6.0, 0.0),
            ("▁", NORMAL, -9.0),
            ("a", NORMAL, -9.0),
            ("b", NORMAL, -9.0),
            ("c", NORMAL, -9.0),
            ("bc", NORMAL, -2.0),
            ("ab", NORMAL, -1.0),
            ("<", NORMAL, -9.0),
            ("s>", NORMAL, -3.0),
            ("s", NORMAL, -9.0),
            (">", NORMAL, -9.0),
            ("<tool>", USER_DEFINED, 0.0),
        ];
        metadata("llama", &tokens, &[])
    }

    fn byte_level_sample(pre: &str) -> Metadata {
        let tokens = [("a", NORMAL, 0.0), ("b", NORMAL, 0.0), ("ab", NORMAL, 0.0), ("ba", CONTROL, 0.0), ("Ġ", NORMAL, 0.0)];
        let others = [
            ("tokenizer.ggml.pre", Value::Text(pre.into())),
            ("tokenizer.ggml.merges", Value::Texts(vec!["a b".into()])),
            ("tokenizer.ggml.bos_token_id", Value::Unsigned(3)),
        ];
        metadata("gpt2", &tokens, &others)
    }

    fn build(metadata: &Metadata) -> Tokenizer {
        Tokenizer::from_metadata(metadata, 64).expect("builds")
    }

    fn ids(tokenizer: &Tokenizer, text: &str, special: SpecialTokens) -> Vec<u32> {
        tokenizer.encode_prompt(text, special).expect("encodes")
    }

    #[test]
    fn neighbours_that_make_the_better_token_are_merged_first() {
        let tokenizer = build(&sentence_piece_sample());
        assert_eq!(ids(&tokenizer, "abc", SpecialTokens::None), [4, 9, 7]);
        assert_eq!(ids(&tokenizer, "a!", SpecialTokens::None), [4, 5, 3], "what is no token is written in bytes");
        assert_eq!(tokenizer.decode(&[4, 9, 7, 3]), "abc!");
    }

    #[test]
    fn special_tokens_are_understood_only_where_they_are_wanted() {
        let tokenizer = build(&sentence_piece_sample());
        assert_eq!(ids(&tokenizer, "<s>", SpecialTokens::None), [4, 10, 11]);
        assert_eq!(ids(&tokenizer, "<s>", SpecialTokens::Around), [1, 4, 10, 11]);
        assert_eq!(ids(&tokenizer, "<s>a</s>", SpecialTokens::Within), [1, 4, 5, 2]);
        assert_eq!(ids(&tokenizer, "a<tool>", SpecialTokens::None), [4, 5, 14], "a user-defined token is part of texts");
        assert_eq!(tokenizer.decode(&[1, 4, 5, 14, 2]), "a<tool>");
        assert_eq!(tokenizer.end_ids(), [2]);
        assert_eq!((tokenizer.token_id("</s>"), tokenizer.token_id("</z>")), (Some(2), None));
    }

    #[test]
    fn a_word_that_spells_a_control_token_is_not_that_token() {
        let tokenizer = build(&byte_level_sample("llama-bpe"));
        assert_eq!(ids(&tokenizer, "ba ab", SpecialTokens::None), [1, 0, 4, 2]);
        assert_eq!(ids(&tokenizer, "ba ab", SpecialTokens::Around), [3, 1, 0, 4, 2], "Llama 3 begins with a token");
        assert_eq!(ids(&tokenizer, "ba ab", SpecialTokens::Within), [3, 4, 2]);
    }

    #[test]
    fn a_prompt_is_not_cut_and_an_input_is() {
        let tokenizer = build(&byte_level_sample("gpt-2"));
        let text = "ab ".repeat(100);
        assert_eq!(ids(&tokenizer, &text, SpecialTokens::None).len(), 200);
        let tokens = tokenizer.encode(&text).expect("encodes");
        assert_eq!((tokens.ids.len(), tokens.truncated), (64, true));
    }

    #[test]
    fn word_pieces_have_their_marks_as_the_model_does() {
        let tokens = [
            ("[UNK]", CONTROL, 0.0),
            ("[CLS]", CONTROL, 0.0),
            ("[SEP]", CONTROL, 0.0),
            ("▁play", NORMAL, 0.0),
            ("ing", NORMAL, 0.0),
        ];
        let keys = [("unknown", 0), ("cls", 1), ("seperator", 2)];
        let keys: Vec<_> = keys.map(|(name, id)| (format!("tokenizer.ggml.{name}_token_id"), Value::Unsigned(id))).into();
        let others: Vec<_> = keys.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        let tokenizer = build(&metadata("bert", &tokens, &others));
        assert_eq!(ids(&tokenizer, "Playing [CLS] play", SpecialTokens::Around), [1, 3, 4, 0, 0, 0, 3, 2]);
        let pair = tokenizer.encode_pair("play", "playing").expect("encodes");
        assert_eq!((pair.ids, pair.type_ids), (vec![1, 3, 2, 3, 4, 2], vec![0, 0, 0, 1, 1, 1]));
        assert_eq!(tokenizer.decode(&[1, 3, 4, 3, 2]), "playing play");
    }

    #[test]
    fn unknown_kinds_are_refused_by_name() {
        let refusal = |metadata: &Metadata| Tokenizer::from_metadata(metadata, 64).expect_err("refused").to_string();
        assert!(refusal(&byte_level_sample("no-such-words")).contains("`no-such-words`"));
        assert!(refusal(&metadata("rwkv", &[("a", NORMAL, 0.0)], &[])).contains("`rwkv`"));
    }

    #[test]
    fn contradictions_are_refused() {
        let refusal = |metadata: &Metadata| Tokenizer::from_metadata(metadata, 64).expect_err("refused").to_string();
        let a = ("a", NORMAL, 0.0);
        assert!(refusal(&metadata("llama", &[a, a], &[])).contains("`a` is there twice"));
        let few = ("tokenizer.ggml.scores", Value::Numbers(vec![]));
        assert!(refusal(&metadata("llama", &[a], &[few])).contains("fewer scores"));
        let few = ("tokenizer.ggml.token_type", Value::Numbers(vec![]));
        assert!(refusal(&metadata("llama", &[a], &[few])).contains("fewer token types"));
        let beyond = (EOS, Value::Unsigned(9));
        assert!(refusal(&metadata("llama", &[a, ("b", NORMAL, 0.0)], &[beyond])).contains("beyond the 2 tokens"));
        let merge = ("tokenizer.ggml.merges", Value::Texts(vec!["ab".into()]));
        assert!(refusal(&metadata("gpt2", &[a], &[merge])).contains("`ab` is no pair"));
        assert!(refusal(&metadata("gpt2", &[a], &[])).contains("tokenizer.ggml.merges"));
    }

    #[test]
    fn every_pattern_is_understood() {
        for split in split::SPLITS {
            for name in split.names {
                assert_eq!(ids(&build(&byte_level_sample(name)), "ab 1", SpecialTokens::None), [2, 4], "{name}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_metadata_is_a_tokenizer_or_an_error_and_never_a_panic(
            model in prop::sample::select(vec!["gpt2", "llama", "bert"]),
            tokens in prop::collection::vec(("[ab▁ <>]{0,3}", -1.0..8.0, any::<f64>()), 0..8),
            merges in prop::collection::vec("[ab ]{0,4}", 0..3),
            (key, id) in (prop::sample::select(vec![BOS, EOS, UNKNOWN, CLS, SEPARATOR]), any::<u8>()),
            text in "[ab▁ <>é\\n]{0,9}",
        ) {
            let tokens: Vec<_> = tokens.iter().map(|(text, ty, score)| (text.as_str(), *ty, *score)).collect();
            let others = [("tokenizer.ggml.merges", Value::Texts(merges)), (key, Value::Unsigned((id % 9).into()))];
            if let Ok(tokenizer) = Tokenizer::from_metadata(&metadata(model, &tokens, &others), 64) {
                for special in [SpecialTokens::None, SpecialTokens::Around, SpecialTokens::Within] {
                    let _ = tokenizer.encode_prompt(&text, special).map(|ids| tokenizer.decode(&ids));
                }
            }
        }
    }
}
