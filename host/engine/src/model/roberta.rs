//! RoBERTa (Liu et al., 2019, arXiv:1907.11692) and XLM-RoBERTa, as in transformers' `modeling_roberta.py`: BERT's body with
//! positions that begin after the padding id, and a classifier without a pooler.

use burn::tensor::{Device, Tensor};

use super::bert::{Body, Config};
use super::{Encoder, Loaded, ModelError};
use crate::batch::Batch;
use crate::nn::{Activation, Linear};
use crate::weights::Weights;

struct Roberta {
    body: Body,
    head: Option<Head>,
}

struct Head {
    dense: Linear,
    out: Linear,
}

/// Builds the model. A checkpoint saved with a head has its body under `roberta.`.
pub(super) fn load(config: &serde_json::Value, weights: &Weights, device: &Device) -> Result<Loaded, ModelError> {
    let labels = super::labels(config, weights, "classifier.out_proj");
    let config = Config::read(config)?;
    let prefix = if weights.has("roberta.embeddings.word_embeddings.weight") { "roberta." } else { "" };
    let position_offset = config.pad_token_id.unwrap_or(1).saturating_add(1);
    let tokens_max =
        usize::try_from(position_offset).ok().and_then(|offset| config.max_position_embeddings.checked_sub(offset));
    let tokens_max = tokens_max
        .filter(|&tokens| tokens > 0)
        .ok_or_else(|| ModelError::Config("max_position_embeddings leaves no position after pad_token_id".into()))?;
    let body = Body::load(&config, weights, prefix, position_offset, device)?;
    let hidden = config.hidden_size;
    let layer = |name: &str, shape, activation| Linear::load(weights, &[name.into()], shape, activation, device);
    let head = match labels {
        Some(labels) => Some(Head {
            dense: layer("classifier.dense", [hidden, hidden], Activation::Tanh)?,
            out: layer("classifier.out_proj", [labels, hidden], Activation::None)?,
        }),
        None => None,
    };
    Ok(Loaded::encoder(Roberta { body, head }, config.shape(tokens_max, labels)))
}

impl Encoder for Roberta {
    fn hidden(&self, batch: &Batch) -> Tensor<2> {
        self.body.forward(batch)
    }

    fn logits(&self, first: Tensor<2>) -> Option<Tensor<2>> {
        let head = self.head.as_ref()?;
        Some(head.out.forward(head.dense.forward(first)))
    }
}
