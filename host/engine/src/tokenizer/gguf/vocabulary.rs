//! The tokens that a GGUF file lists, and which of them are special.

use std::collections::HashSet;

use tokenizers::AddedToken;
use tokenizers::models::bpe::Vocab;

use super::{TokenizerError, contradiction, optional};
use crate::weights::Metadata;

/// What a token is for; `llama_token_type` of `llama.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Part of texts, or of a kind that makes no difference.
    Normal,
    /// Stands for what can't be encoded.
    Unknown,
    /// Steers the model and is never part of a text.
    Control,
    /// Found in texts before anything else.
    UserDefined,
    /// One byte, written `<0xXX>`.
    Byte,
}

/// Texts that end a generation, whatever the file says of them.
const ENDS: [&str; 26] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<｜end▁of▁sentence｜>",
    // After code that was to be filled in, padding or another file follows.
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
    "[PAD]",
];
/// Ends a generation, too, but in some vocabularies is a normal token.
const CLOSING: &str = "</s>";
/// Keys of ids that end a generation.
const END_KEYS: [&str; 3] = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

/// Whether a token of this text ends a generation.
pub(in crate::tokenizer) fn is_end(text: &str) -> bool {
    ENDS.contains(&text)
}

/// All tokens, by id.
pub(super) struct Vocabulary {
    /// No two alike.
    pub(super) texts: Vec<String>,
    /// As many as texts.
    pub(super) kinds: Vec<Kind>,
}

impl Vocabulary {
    pub(super) fn read(metadata: &Metadata) -> Result<Vocabulary, TokenizerError> {
        let listed = metadata.texts("tokenizer.ggml.tokens")?;
        let name = |(id, text): (usize, &String)| if text.is_empty() { format!("[EMPTY_{id}]") } else { text.clone() };
        let texts: Vec<String> = listed.iter().enumerate().map(name).collect();
        if u32::try_from(texts.len()).is_err() {
            return Err(contradiction("there are too many tokens"));
        }
        let mut seen = HashSet::with_capacity(texts.len());
        if let Some(twice) = texts.iter().find(|text| !seen.insert(text.as_str())) {
            return Err(contradiction(format!("token `{twice}` is there twice")));
        }
        let types = optional(metadata, "tokenizer.ggml.token_type", Metadata::numbers)?;
        let kinds = match types {
            Some(types) if types.len() < texts.len() => return Err(contradiction("there are fewer token types than tokens")),
            Some(types) => types.iter().zip(&texts).map(|(ty, text)| Kind::of(*ty, text)).collect(),
            None => texts.iter().map(|text| Kind::of(1.0, text)).collect(),
        };
        Ok(Vocabulary { texts, kinds })
    }

    /// The ids by text.
    pub(super) fn ids(&self) -> Vocab {
        (0u32..).zip(&self.texts).map(|(id, text)| (text.clone(), id)).collect()
    }

    /// The id that a key of the metadata holds.
    pub(super) fn id(&self, metadata: &Metadata, key: &str) -> Result<Option<u32>, TokenizerError> {
        let Some(id) = optional(metadata, key, Metadata::unsigned)? else { return Ok(None) };
        let known = u32::try_from(id).ok().filter(|_| id < self.texts.len() as u64);
        known.map(Some).ok_or_else(|| contradiction(format!("`{key}` is {id}, beyond the {} tokens", self.texts.len())))
    }

    /// The id that a key of the metadata holds, or one that is meant without the key.
    pub(super) fn needed(&self, metadata: &Metadata, key: &str, default: Option<u32>) -> Result<u32, TokenizerError> {
        let default = default.filter(|&id| (id as usize) < self.texts.len());
        self.id(metadata, key)?.or(default).ok_or_else(|| contradiction(format!("`{key}` is missing")))
    }

    /// The text of an id that is known to be one.
    pub(super) fn text(&self, id: u32) -> &str {
        &self.texts[id as usize]
    }

    /// Tokens that are looked for in a text before it is cut into words. The special ones only where they are wanted.
    pub(super) fn added(&self) -> Vec<AddedToken> {
        let added = |(text, kind): (&String, &Kind)| {
            let special = match kind {
                Kind::Control | Kind::Unknown => true,
                Kind::UserDefined => false,
                Kind::Normal | Kind::Byte => return None,
            };
            Some(AddedToken::from(text.clone(), special).normalized(false))
        };
        self.texts.iter().zip(&self.kinds).filter_map(added).collect()
    }

    /// The tokens that end a generation: by key, or by text as in `llama-vocab.cpp`.
    pub(super) fn ends(&self, metadata: &Metadata) -> Result<Vec<u32>, TokenizerError> {
        let mut ends = Vec::new();
        for key in END_KEYS {
            ends.extend(self.id(metadata, key)?);
        }
        let is_end = |text: &str, kind: Kind| is_end(text) || (text == CLOSING && kind == Kind::Control);
        let tokens = (0u32..).zip(self.texts.iter().zip(&self.kinds));
        ends.extend(tokens.filter(|(_, (text, kind))| is_end(text, **kind)).map(|(id, _)| id));
        ends.sort_unstable();
        ends.dedup();
        Ok(ends)
    }
}

impl Kind {
    /// A number of `token_type`; a token that looks like one that ends a generation is a control token whatever it says.
    fn of(ty: f64, text: &str) -> Kind {
        match ty as u32 {
            _ if is_end(text) => Kind::Control,
            2 => Kind::Unknown,
            3 => Kind::Control,
            4 if text == CLOSING => Kind::Control,
            4 => Kind::UserDefined,
            6 => Kind::Byte,
            _ => Kind::Normal,
        }
    }
}
