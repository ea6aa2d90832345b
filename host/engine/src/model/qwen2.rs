//! Qwen2 and Qwen2.5 (Yang et al., 2024, arXiv:2407.10671 and arXiv:2412.15115): Llama with biases on queries, keys and values,
//! as in transformers' `modeling_qwen2.py`.

use burn::tensor::Device;
use serde_json::Value;

use super::decoder::{self, Biases};
use super::fields::Fields;
use super::{Loaded, ModelError, llama};
use crate::nn::Bias;
use crate::weights::Weights;

/// What transformers takes for fields that are not stated.
const WINDOW: usize = 4096;
const FIRST_WINDOW_LAYER: usize = 28;

/// Builds the model.
pub(super) fn load(config: &Value, weights: &Weights, device: &Device) -> Result<Loaded, ModelError> {
    let mut fields = Fields::new(config)?;
    let mut config = llama::read(&mut fields, Biases { qkv: Bias::Present, ..Biases::NONE })?;
    config.windows = windows(&mut fields, config.windows.len())?;
    fields.finish()?;
    decoder::load(&config, weights, device)
}

/// The window of each layer: where `layer_types` says so, else from layer `max_window_layers` on if windows are used at all.
///
/// # Errors
/// When the fields contradict each other.
pub(super) fn windows(fields: &mut Fields, layers: usize) -> Result<Vec<Option<usize>>, ModelError> {
    let uses_windows: bool = fields.optional("use_sliding_window")?.unwrap_or(false);
    let is_stated = fields.has("sliding_window");
    let window = fields.optional_size("sliding_window")?.or((!is_stated).then_some(WINDOW)).filter(|_| uses_windows);
    let first: usize = fields.optional("max_window_layers")?.unwrap_or(FIRST_WINDOW_LAYER);
    fields.only("use_mrope", false)?;
    let Some(types) = fields.optional::<Vec<String>>("layer_types")? else {
        return Ok((0..layers).map(|layer| window.filter(|_| layer >= first)).collect());
    };
    if types.len() != layers {
        return Err(ModelError::Config(format!("layer_types has {} entries; there are {layers} layers", types.len())));
    }
    let of_type = |kind: &String| match (kind.as_str(), window) {
        ("full_attention", _) => Ok(None),
        ("sliding_attention", Some(window)) => Ok(Some(window)),
        ("sliding_attention", None) => Err(ModelError::Config("layer_types asks for a sliding_window that is not set".into())),
        (other, _) => Err(ModelError::Unsupported(format!("layer_types: {other}"))),
    };
    types.iter().map(of_type).collect()
}
