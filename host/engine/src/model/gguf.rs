//! GGUF metadata as a Hugging Face configuration, and GGUF tensor names as Hugging Face's: so that a family is written once.
//!
//! Keys: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>; names: `gguf-py/gguf/tensor_mapping.py` of llama.cpp.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::ModelError;
use super::falcon::QKV_APART;
use super::llama::ROPE_INTERLEAVED;
use crate::template::{ChatTemplate, SpecialTexts, TemplateError};
use crate::weights::{Metadata, Weights, WeightsError};

/// Keys of an architecture that change no number of a forward pass.
const WITHOUT_EFFECT: [&str; 3] = ["vocab_size", "tensor_data_layout", "rope.scaling.finetuned"];

/// Falcon's second norm, which only some of its files have.
const SECOND_NORM: &str = "blk.0.attn_norm_2.weight";

/// The keys of one architecture, remembering which were asked for.
struct Keys<'a> {
    metadata: &'a Metadata,
    weights: &'a Weights,
    architecture: &'a str,
    read: RefCell<BTreeSet<String>>,
}

/// What a file says, as if it came from a Hugging Face folder: the configuration, and the weights under the names there.
///
/// # Errors
/// When the architecture is not supported, or a key is missing or not understood.
pub(super) fn translate(weights: Weights, metadata: &Metadata) -> Result<(Value, Weights), ModelError> {
    let config = config(metadata, &weights)?;
    let architecture = metadata.text("general.architecture")?;
    let has_second_norm = weights.has(SECOND_NORM);
    let weights = weights.rename(|name| tensor_name(architecture, has_second_norm, name))?;
    Ok((config, weights))
}

fn config(metadata: &Metadata, weights: &Weights) -> Result<Value, ModelError> {
    let architecture = metadata.text("general.architecture")?;
    let keys = Keys { metadata, weights, architecture, read: RefCell::default() };
    let config = match architecture {
        "llama" | "qwen2" | "qwen3" => keys.decoder()?,
        "falcon" => keys.falcon()?,
        other => {
            let supported = "llama, qwen2, qwen3 and falcon";
            return Err(ModelError::Unsupported(format!("GGUF architecture `{other}`; supported are {supported}")));
        }
    };
    keys.finish()?;
    Ok(config)
}

/// The Hugging Face name of a GGUF tensor; none keeps the name as it is.
fn tensor_name(architecture: &str, has_second_norm: bool, name: &str) -> Option<String> {
    let is_falcon = architecture == "falcon";
    let (stem, kind) = name.rsplit_once('.')?;
    let renamed = match stem.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((layer, "attn_norm")) if has_second_norm => format!("transformer.h.{layer}.ln_mlp"),
        Some((layer, part)) if is_falcon => format!("transformer.h.{layer}.{}", falcon_part(part)?),
        Some((layer, part)) => format!("model.layers.{layer}.{}", decoder_part(part)?),
        None => outer_part(stem, is_falcon)?.into(),
    };
    Some(format!("{renamed}.{kind}"))
}

fn outer_part(stem: &str, is_falcon: bool) -> Option<&'static str> {
    Some(match (stem, is_falcon) {
        ("token_embd", false) => "model.embed_tokens",
        ("output_norm", false) => "model.norm",
        ("token_embd", true) => "transformer.word_embeddings",
        ("output_norm", true) => "transformer.ln_f",
        ("output", _) => "lm_head",
        _ => return None,
    })
}

fn decoder_part(part: &str) -> Option<&'static str> {
    Some(match part {
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "ffn_norm" => "post_attention_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    })
}

/// A layer of 7B has one norm, `attn_norm`; one of 40B has a second, and the first is then the feed-forward network's.
fn falcon_part(part: &str) -> Option<&'static str> {
    Some(match part {
        "attn_norm" => "input_layernorm",
        "attn_norm_2" => "ln_attn",
        "attn_qkv" => "self_attention.query_key_value",
        "attn_output" => "self_attention.dense",
        "ffn_up" => "mlp.dense_h_to_4h",
        "ffn_down" => "mlp.dense_4h_to_h",
        _ => return None,
    })
}

impl Keys<'_> {
    /// Looks a key of the architecture up, if it is there.
    fn optional<T>(&self, key: &str, read: fn(&Metadata, &str) -> Result<T, WeightsError>) -> Result<Option<T>, ModelError> {
        let full = format!("{}.{key}", self.architecture);
        let found = self.metadata.has(&full).then(|| read(self.metadata, &full)).transpose()?;
        self.read.borrow_mut().insert(full);
        Ok(found)
    }

    fn required<T>(&self, key: &str, read: fn(&Metadata, &str) -> Result<T, WeightsError>) -> Result<T, ModelError> {
        let missing = || ModelError::Config(format!("the key {}.{key} is missing", self.architecture));
        self.optional(key, read)?.ok_or_else(missing)
    }

    fn size(&self, key: &str) -> Result<u64, ModelError> {
        self.required(key, Metadata::unsigned)
    }

    /// What Llama, Qwen2 and Qwen3 share. Queries and keys of the architecture `llama` are stored for neighbouring pairs.
    fn decoder(&self) -> Result<Value, ModelError> {
        let mut config = self.sizes()?;
        let heads = self.size("attention.head_count")?;
        let head_dim = self.optional("attention.key_length", Metadata::unsigned)?;
        let values_dim = self.optional("attention.value_length", Metadata::unsigned)?.or(head_dim);
        let rotated = self.optional("rope.dimension_count", Metadata::unsigned)?;
        let expected = head_dim.unwrap_or(self.size("embedding_length")? / heads.max(1));
        for (key, dim) in [("attention.value_length", values_dim), ("rope.dimension_count", rotated)] {
            self.only(key, dim.unwrap_or(expected), expected)?;
        }
        self.only("expert_count", self.optional("expert_count", Metadata::unsigned)?.unwrap_or(0), 0)?;
        let window = self.optional("attention.sliding_window", Metadata::unsigned)?.filter(|&window| window > 0);
        config.extend(object(json!({
            "num_key_value_heads": self.optional("attention.head_count_kv", Metadata::unsigned)?.unwrap_or(heads),
            "head_dim": head_dim,
            "rms_norm_eps": self.required("attention.layer_norm_rms_epsilon", Metadata::float)?,
            "hidden_act": "silu",
            "intermediate_size": self.size("feed_forward_length")?,
        })));
        match (self.architecture, window) {
            ("llama", Some(window)) => config.extend(object(json!({"model_type": "mistral", "sliding_window": window}))),
            (_, Some(window)) => {
                config.extend(object(json!({"use_sliding_window": true, "sliding_window": window, "max_window_layers": 0})));
            }
            (_, None) => {}
        }
        if self.architecture == "llama" {
            config.insert(ROPE_INTERLEAVED.into(), true.into());
        }
        if !matches!(config["model_type"].as_str(), Some("qwen2" | "mistral")) {
            config.insert("attention_bias".into(), self.weights.has("blk.0.attn_q.bias").into());
        }
        Ok(config.into())
    }

    fn falcon(&self) -> Result<Value, ModelError> {
        let mut config = self.sizes()?;
        let heads = self.size("attention.head_count")?;
        let kv_heads = self.optional("attention.head_count_kv", Metadata::unsigned)?.unwrap_or(heads);
        config.extend(object(json!({
            "num_kv_heads": kv_heads,
            "layer_norm_epsilon": self.required("attention.layer_norm_epsilon", Metadata::float)?,
            "ffn_hidden_size": self.size("feed_forward_length")?,
            "multi_query": kv_heads == 1,
            "new_decoder_architecture": kv_heads != 1,
            "num_ln_in_parallel_attn": if self.weights.has(SECOND_NORM) { 2 } else { 1 },
            "parallel_attn": true,
            QKV_APART: true,
        })));
        Ok(config.into())
    }

    /// What every architecture has, rotary embeddings included.
    fn sizes(&self) -> Result<Map<String, Value>, ModelError> {
        let mut config = object(json!({
            "model_type": self.architecture,
            "hidden_size": self.size("embedding_length")?,
            "num_hidden_layers": self.size("block_count")?,
            "num_attention_heads": self.size("attention.head_count")?,
            "max_position_embeddings": self.size("context_length")?,
            "vocab_size": self.metadata.texts("tokenizer.ggml.tokens")?.len(),
            "tie_word_embeddings": !self.weights.has("output.weight"),
            "rope_theta": self.optional("rope.freq_base", Metadata::float)?.unwrap_or(10_000.0),
        }));
        let text = |metadata: &Metadata, key: &str| metadata.text(key).map(String::from);
        let kind = self.optional("rope.scaling.type", text)?;
        let factor = self.optional("rope.scaling.factor", Metadata::float)?;
        let factor = factor.or(self.optional("rope.scale_linear", Metadata::float)?).filter(|&factor| factor != 0.0);
        // A factor without a type is linear scaling.
        let kind = kind.unwrap_or_else(|| if factor.is_some() { "linear".into() } else { "none".into() });
        if kind != "none" {
            config.insert("rope_scaling".into(), json!({"type": kind, "factor": factor.unwrap_or(1.0)}));
        }
        Ok(config)
    }

    fn only(&self, key: &str, value: u64, supported: u64) -> Result<(), ModelError> {
        if value == supported {
            return Ok(());
        }
        let architecture = self.architecture;
        Err(ModelError::Unsupported(format!("{architecture}.{key} = {value}; supported is {supported}")))
    }

    /// Refuses keys of the architecture that nobody asked for.
    fn finish(self) -> Result<(), ModelError> {
        let read = self.read.into_inner();
        let left = self.metadata.keys().filter(|key| {
            let own = key.strip_prefix(self.architecture).and_then(|key| key.strip_prefix('.'));
            own.is_some_and(|own| !WITHOUT_EFFECT.contains(&own)) && !read.contains(*key)
        });
        let left: Vec<&str> = left.collect();
        if left.is_empty() { Ok(()) } else { Err(ModelError::Unsupported(format!("GGUF keys {}", left.join(", ")))) }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The chat template of a file, if it has one.
///
/// # Errors
/// When it is malformed.
pub(super) fn template(metadata: &Metadata) -> Result<Option<ChatTemplate>, TemplateError> {
    if !metadata.has("tokenizer.chat_template") {
        return Ok(None);
    }
    let token = |key: &str| {
        let id = usize::try_from(metadata.unsigned(key).ok()?).ok()?;
        metadata.texts("tokenizer.ggml.tokens").ok()?.get(id).cloned()
    };
    let names = [("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding")];
    let texts =
        names.into_iter().filter_map(|(name, key)| Some((name.into(), token(&format!("tokenizer.ggml.{key}_token_id"))?)));
    let source = metadata.text("tokenizer.chat_template").map_err(|error| TemplateError::Malformed(error.to_string()))?;
    ChatTemplate::new(source, SpecialTexts(texts.collect())).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Value as Entry;

    /// The configuration of a file of this architecture with a key more.
    fn config_of(architecture: &str, more: Option<(&str, Entry)>) -> Result<Value, ModelError> {
        let own = |key: &str| format!("{architecture}.{key}");
        let sizes = [
            ("block_count", 2),
            ("embedding_length", 8),
            ("attention.head_count", 2),
            ("context_length", 64),
            ("feed_forward_length", 16),
        ];
        let epsilon = if architecture == "falcon" { "layer_norm_epsilon" } else { "layer_norm_rms_epsilon" };
        let others = [
            (own(&format!("attention.{epsilon}")), Entry::Float(1e-5)),
            ("general.architecture".into(), Entry::Text(architecture.into())),
            ("tokenizer.ggml.tokens".into(), Entry::Texts(vec!["a".into(), "b".into()])),
        ];
        let sizes = sizes.map(|(key, size)| (own(key), Entry::Unsigned(size)));
        let more = more.map(|(key, value)| (key.to_owned(), value));
        let metadata: Metadata = sizes.into_iter().chain(others).chain(more).collect();
        config(&metadata, &Weights::random("f32").expect("f32 can be made"))
    }

    #[test]
    fn metadata_become_the_configuration_that_transformers_would_write() {
        let config = config_of("llama", None).expect("reads");
        assert_eq!((&config["model_type"], &config["vocab_size"]), (&json!("llama"), &json!(2)));
        assert_eq!((&config[ROPE_INTERLEAVED], &config["tie_word_embeddings"]), (&json!(true), &json!(true)));
        let window = ("llama.attention.sliding_window", Entry::Unsigned(32));
        assert_eq!(config_of("llama", Some(window)).expect("reads")["model_type"], "mistral");
        assert_eq!(config_of("falcon", None).expect("reads")[QKV_APART], true);
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_name() {
        for (architecture, key, value) in [
            ("mamba", "mamba.x", 1),
            ("llama", "llama.expert_count", 8),
            ("llama", "llama.rope.dimension_count", 2),
            ("qwen3", "qwen3.attention.value_length", 2),
            ("qwen2", "qwen2.logit_scale", 2),
        ] {
            let error = config_of(architecture, Some((key, Entry::Unsigned(value)))).expect_err("refused").to_string();
            assert!(error.contains(if architecture == "mamba" { "mamba" } else { key }), "{error}");
        }
    }

    #[test]
    fn falcons_first_norm_belongs_to_the_feed_forward_network_where_there_are_two() {
        let name = |has_second_norm: bool| tensor_name("falcon", has_second_norm, "blk.3.attn_norm.weight");
        assert_eq!(name(false).as_deref(), Some("transformer.h.3.input_layernorm.weight"));
        assert_eq!(name(true).as_deref(), Some("transformer.h.3.ln_mlp.weight"));
        assert_eq!(
            tensor_name("llama", false, "blk.0.attn_q.weight").as_deref(),
            Some("model.layers.0.self_attn.q_proj.weight")
        );
        assert_eq!(tensor_name("llama", false, "rope_freqs.weight"), None);
    }
}
