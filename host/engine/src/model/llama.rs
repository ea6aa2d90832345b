//! Llama 2, 3, 3.1, 3.2, SmolLM, Falcon 3 and others that state `model_type = llama`, as in transformers' `modeling_llama.py`.

use burn::tensor::Device;
use serde_json::Value;

use super::decoder::{self, Biases, Config};
use super::fields::Fields;
use super::rope::RopeConfig;
use super::{Loaded, ModelError};
use crate::nn::{Bias, RopeStyle};
use crate::weights::Weights;

/// Set for GGUF files, whose queries and keys are stored for neighbouring pairs; no `config.json` has it.
pub(super) const ROPE_INTERLEAVED: &str = "gguf.rope_interleaved";

/// Builds the model.
pub(super) fn load(config: &Value, weights: &Weights, device: &Device) -> Result<Loaded, ModelError> {
    let mut fields = Fields::new(config)?;
    let attention = Bias::when(fields.optional("attention_bias")?.unwrap_or(false));
    let feed_forward = Bias::when(fields.optional("mlp_bias")?.unwrap_or(false));
    let biases = Biases { qkv: attention, attention_out: attention, feed_forward };
    let config = read(&mut fields, biases)?;
    fields.finish()?;
    decoder::load(&config, weights, device)
}

/// The fields that every family of this kind has. All layers see everything; a family with windows says so afterwards.
///
/// # Errors
/// When one is missing or not supported.
pub(super) fn read(fields: &mut Fields, biases: Biases) -> Result<Config, ModelError> {
    fields.only("rope_interleaved", false)?;
    let tokens_max = fields.size("max_position_embeddings")?;
    let (hidden, heads) = (fields.size("hidden_size")?, fields.size("num_attention_heads")?);
    let head_dim = match fields.optional_size("head_dim")? {
        Some(head_dim) => head_dim,
        None if hidden.is_multiple_of(heads) => hidden / heads,
        None => return Err(ModelError::Config("hidden_size must be a multiple of num_attention_heads".into())),
    };
    Ok(Config {
        vocabulary: fields.size("vocab_size")?,
        hidden,
        intermediate: fields.size("intermediate_size")?,
        heads,
        kv_heads: fields.optional_size("num_key_value_heads")?.unwrap_or(heads),
        head_dim,
        tokens_max,
        epsilon: fields.optional("rms_norm_eps")?.unwrap_or(1e-6),
        activation: super::activation("hidden_act", &fields.required::<String>("hidden_act")?)?,
        is_tied: fields.optional("tie_word_embeddings")?.unwrap_or(false),
        biases,
        has_head_norms: false,
        rope: RopeConfig::read(fields, tokens_max)?,
        rope_style: match fields.optional(ROPE_INTERLEAVED)?.unwrap_or(false) {
            true => RopeStyle::Interleaved,
            false => RopeStyle::Halves,
        },
        windows: vec![None; fields.size("num_hidden_layers")?],
    })
}

impl Biases {
    /// No layer has one.
    pub(super) const NONE: Biases = Biases { qkv: Bias::Absent, attention_out: Bias::Absent, feed_forward: Bias::Absent };
}
