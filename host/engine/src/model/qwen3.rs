//! Qwen3 (Yang et al., 2025, arXiv:2505.09388): Llama with queries and keys normalised head by head, as in transformers'
//! `modeling_qwen3.py`.

use burn::tensor::Device;
use serde_json::Value;

use super::decoder::{self, Biases};
use super::fields::Fields;
use super::{Loaded, ModelError, llama, qwen2};
use crate::nn::Bias;
use crate::weights::Weights;

/// Builds the model.
pub(super) fn load(config: &Value, weights: &Weights, device: &Device) -> Result<Loaded, ModelError> {
    let mut fields = Fields::new(config)?;
    let attention = Bias::when(fields.optional("attention_bias")?.unwrap_or(false));
    let mut config = llama::read(&mut fields, Biases { qkv: attention, attention_out: attention, ..Biases::NONE })?;
    config.windows = qwen2::windows(&mut fields, config.windows.len())?;
    config.has_head_norms = true;
    fields.finish()?;
    decoder::load(&config, weights, device)
}
