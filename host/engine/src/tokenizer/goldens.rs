//! The tokens of llama.cpp for its own vocabularies and texts. `scripts/vocabularies.sh` fetches them.

use std::path::PathBuf;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{SpecialTokens, Tokenizer};
use crate::weights::Weights;

/// Not among them: Gemma 4, whose kind `gemma4` is not supported, and vocabularies that come without tokens to compare with.
const FAMILIES: [&str; 14] = [
    "bert-bge",
    "command-r",
    "deepseek-coder",
    "deepseek-llm",
    "falcon",
    "gpt-2",
    "llama-bpe",
    "llama-spm",
    "mpt",
    "phi-3",
    "qwen2",
    "qwen35",
    "refact",
    "starcoder",
];

const SEPARATOR: &str = "\n__ggml_vocab_test__\n";

fn folder() -> PathBuf {
    let models = || {
        std::env::var_os("TESSERA_MODELS").map_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models").into(), PathBuf::from)
    };
    std::env::var_os("TESSERA_VOCABULARIES").map_or_else(|| models().join(".vocabularies"), PathBuf::from)
}

fn open(family: &str) -> Tokenizer {
    let file = folder().join(format!("ggml-vocab-{family}.gguf"));
    assert!(file.is_file(), "{} is missing: run scripts/vocabularies.sh", file.display());
    let metadata = Weights::open(&file).expect("opens").take_metadata().expect("metadata");
    Tokenizer::from_metadata(&metadata, 512).expect("builds")
}

/// The texts of a family with their tokens.
fn goldens(family: &str) -> Vec<(String, Vec<u32>)> {
    let read = |extension: &str| {
        let file = folder().join(format!("ggml-vocab-{family}.gguf.{extension}"));
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    let (inputs, outputs) = (read("inp"), read("out"));
    let texts = inputs.split_terminator(SEPARATOR).map(str::to_owned);
    let ids = outputs.lines().map(|line| line.split_whitespace().map(|id| id.parse().expect("an id")).collect());
    assert_eq!(texts.clone().count(), ids.clone().count(), "{family} has tokens for every text");
    texts.zip(ids).collect()
}

#[test]
fn every_family_has_the_tokens_of_llama_cpp() {
    for family in FAMILIES {
        let tokenizer = open(family);
        let goldens = goldens(family);
        assert!(goldens.len() > 40, "{family} has {} texts", goldens.len());
        for (text, ids) in goldens {
            let found = tokenizer.encode_prompt(&text, SpecialTokens::None).expect("encodes");
            assert_eq!(found, ids, "{family}: {text:?}");
        }
    }
}

#[test]
fn no_text_becomes_a_control_token() {
    for family in FAMILIES {
        let tokenizer = open(family);
        for id in 0..u32::try_from(tokenizer.tokenizer.get_vocab_size(true)).expect("a vocabulary") {
            if tokenizer.pieces().is_special(id) {
                let text = String::from_utf8_lossy(tokenizer.pieces().bytes(id));
                let found = tokenizer.encode_prompt(&text, SpecialTokens::None).expect("encodes");
                assert!(!found.contains(&id), "{family}: {text:?} is {found:?}");
                assert!(
                    tokenizer.encode_prompt(&text, SpecialTokens::Within).expect("encodes").contains(&id),
                    "{family}: {text:?}"
                );
            }
        }
    }
}

fn any_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![any::<String>(), "[a-zA-Z ,.'0-9\\n]{0,40}", Just("</s><|im_end|>".into()), "[ \\t\\n]{0,9}"];
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

#[test]
fn the_bytes_of_the_tokens_are_the_text() {
    for family in ["falcon", "gpt-2", "llama-bpe", "llama-spm", "qwen2", "deepseek-llm"] {
        let tokenizer = open(family);
        let mut runner = TestRunner::new(Config::with_cases(500));
        let holds = runner.run(&any_text(), |text| {
            let ids = tokenizer.encode_prompt(&text, SpecialTokens::None).expect("encodes");
            let bytes: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.pieces().bytes(id)).copied().collect();
            // SentencePiece has the same mark for a space and for itself, and one more before a text.
            let spaced = if text.is_empty() { String::new() } else { format!(" {text}").replace('▁', " ") };
            let expected = if tokenizer.pieces().begins_with_space() { &spaced } else { &text };
            prop_assert_eq!(String::from_utf8_lossy(&bytes), expected.as_str());
            prop_assert_eq!(
                tokenizer.decode(&ids),
                if tokenizer.pieces().begins_with_space() { text.replace('▁', " ") } else { text }
            );
            Ok(())
        });
        holds.unwrap_or_else(|error| panic!("{family}: {error}"));
    }
}

#[test]
fn a_long_run_of_spaces_is_cut_as_a_short_one() {
    for family in ["gpt-2", "llama-bpe", "qwen2", "llama-spm"] {
        let tokenizer = open(family);
        let last = |spaces: usize| {
            let text = format!("{}end of it", " ".repeat(spaces));
            let ids = tokenizer.encode_prompt(&text, SpecialTokens::None).expect("encodes");
            ids[ids.len() - 3..].to_vec()
        };
        assert_eq!(last(500_000), last(20), "{family}");
    }
}
