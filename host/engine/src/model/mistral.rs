//! Mistral (Jiang et al., 2023, arXiv:2310.06825): Llama without biases, with a sliding window in the first versions, as in
//! transformers' `modeling_mistral.py`.

use burn::tensor::Device;
use serde_json::Value;

use super::decoder::{self, Biases};
use super::fields::Fields;
use super::{Loaded, ModelError, llama};
use crate::weights::Weights;

/// Builds the model.
pub(super) fn load(config: &Value, weights: &Weights, device: &Device) -> Result<Loaded, ModelError> {
    let mut fields = Fields::new(config)?;
    let mut config = llama::read(&mut fields, Biases::NONE)?;
    let window = fields.optional_size("sliding_window")?;
    fields.finish()?;
    config.windows.fill(window);
    decoder::load(&config, weights, device)
}
