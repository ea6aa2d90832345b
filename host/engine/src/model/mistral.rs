//! Mistral (Jiang et al., 2023, arXiv:2310.06825): Llama without biases, with a sliding window in the first versions, as in
//! transformers' `modeling_mistral.py`.

use burn::tensor::Device;
use serde_json::Value;

use super::decoder::{self, Biases};
use super::fields::Fields;
use super::{Loaded, ModelError, llama};
use crate::weights::Weights;

/// What transformers takes for a window that is not stated; null is none.
const WINDOW: usize = 4096;

/// Builds the model.
pub(super) fn load(config: &Value, weights: &Weights, device: &Device) -> Result<Loaded, ModelError> {
    let mut fields = Fields::new(config)?;
    let mut config = llama::read(&mut fields, Biases::NONE)?;
    let is_stated = fields.has("sliding_window");
    let window = fields.optional_size("sliding_window")?.or((!is_stated).then_some(WINDOW));
    fields.finish()?;
    config.windows.fill(window);
    decoder::load(&config, weights, device)
}
