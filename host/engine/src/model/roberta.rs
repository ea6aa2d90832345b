//! RoBERTa (Liu et al., 2019, arXiv:1907.11692) and XLM-RoBERTa, as in transformers' `modeling_roberta.py`: BERT's body with
//! positions that begin after the padding id, and a classifier without a pooler.

use burn::tensor::{Device, Tensor};

use super::bert::{Body, Config};
use super::{Classified, Classifier, Encoder, Loaded, ModelError};
use crate::batch::Batch;
use crate::nn::{Activation, Linear};
use crate::weights::Weights;

struct Roberta {
    body: Body,
    head: Option<Head>,
}

enum Head {
    /// For texts: of the first token.
    Texts { dense: Linear, out: Linear },
    /// For every token.
    Tokens(Linear),
}

/// Builds the model. A checkpoint saved with a head has its body under `roberta.`.
pub(super) fn load(config: &serde_json::Value, weights: &Weights, device: &Device) -> Result<Loaded, ModelError> {
    let classifier = super::classifier(config, weights, ["classifier.out_proj", "classifier"]);
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
    let head = match classifier {
        Some(Classifier { labels, of: Classified::Texts }) => Some(Head::Texts {
            dense: layer("classifier.dense", [hidden, hidden], Activation::Tanh)?,
            out: layer("classifier.out_proj", [labels, hidden], Activation::None)?,
        }),
        Some(Classifier { labels, of: Classified::Tokens }) => {
            Some(Head::Tokens(layer("classifier", [labels, hidden], Activation::None)?))
        }
        None => None,
    };
    Ok(Loaded::encoder(Roberta { body, head }, config.shape(tokens_max, classifier)))
}

impl Encoder for Roberta {
    fn hidden(&self, batch: &Batch) -> Tensor<2> {
        self.body.forward(batch)
    }

    fn logits(&self, hidden: Tensor<2>) -> Option<Tensor<2>> {
        match self.head.as_ref()? {
            Head::Texts { dense, out } => Some(out.forward(dense.forward(hidden))),
            Head::Tokens(classifier) => Some(classifier.forward(hidden)),
        }
    }
}
