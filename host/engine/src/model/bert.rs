//! BERT (Devlin et al., 2018, arXiv:1810.04805), as in transformers' `modeling_bert.py`, and the encoder that RoBERTa shares.

use burn::tensor::{Device, Tensor};
use serde::Deserialize;

use super::{Classified, Classifier, Encoder, Loaded, ModelError, Shape};
use crate::batch::Batch;
use crate::nn::{Activation, Embedding, LayerNorm, Linear, self_attention};
use crate::weights::Weights;

/// The fields of `config.json` that decide what is computed.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Config {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    pub(super) hidden_act: String,
    pub(super) max_position_embeddings: usize,
    pub(super) type_vocab_size: usize,
    #[serde(default = "default_epsilon")]
    pub(super) layer_norm_eps: f32,
    #[serde(default)]
    pub(super) pad_token_id: Option<u32>,
    #[serde(default)]
    pub(super) position_embedding_type: Option<String>,
    #[serde(default)]
    pub(super) is_decoder: bool,
}

fn default_epsilon() -> f32 {
    1e-12
}

/// Embeddings and layers; the same for BERT and RoBERTa but for where positions begin.
pub(super) struct Body {
    words: Embedding,
    positions: Embedding,
    types: Embedding,
    norm: LayerNorm,
    layers: Vec<Layer>,
    position_offset: u32,
    device: Device,
}

struct Layer {
    qkv: Linear,
    attention_out: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    norm: LayerNorm,
    heads: usize,
}

/// BERT, with a pooler and classifier where the checkpoint has them.
struct Bert {
    body: Body,
    head: Option<Head>,
}

enum Head {
    /// For texts: of the first token, through the pooler.
    Texts { pooler: Linear, classifier: Linear },
    /// For every token.
    Tokens(Linear),
}

/// Builds the model. A checkpoint saved with a head has its body under `bert.`.
pub(super) fn load(config: &serde_json::Value, weights: &Weights, device: &Device) -> Result<Loaded, ModelError> {
    let classifier = super::classifier(config, weights, ["classifier", "classifier"]);
    let config = Config::read(config)?;
    let prefix = if weights.has("bert.embeddings.word_embeddings.weight") { "bert." } else { "" };
    let body = Body::load(&config, weights, prefix, 0, device)?;
    let hidden = config.hidden_size;
    let layer = |name: String, shape, activation| Linear::load(weights, &[name], shape, activation, device);
    let head = match classifier {
        Some(Classifier { labels, of: Classified::Texts }) => Some(Head::Texts {
            pooler: layer(format!("{prefix}pooler.dense"), [hidden, hidden], Activation::Tanh)?,
            classifier: layer("classifier".into(), [labels, hidden], Activation::None)?,
        }),
        Some(Classifier { labels, of: Classified::Tokens }) => {
            Some(Head::Tokens(layer("classifier".into(), [labels, hidden], Activation::None)?))
        }
        None => None,
    };
    let shape = config.shape(config.max_position_embeddings, classifier);
    Ok(Loaded::encoder(Bert { body, head }, shape))
}

impl Encoder for Bert {
    fn hidden(&self, batch: &Batch) -> Tensor<2> {
        self.body.forward(batch)
    }

    fn logits(&self, hidden: Tensor<2>) -> Option<Tensor<2>> {
        match self.head.as_ref()? {
            Head::Texts { pooler, classifier } => Some(classifier.forward(pooler.forward(hidden))),
            Head::Tokens(classifier) => Some(classifier.forward(hidden)),
        }
    }
}

impl Config {
    /// Takes the configuration and refuses what would change the numbers and isn't implemented.
    pub(super) fn read(config: &serde_json::Value) -> Result<Config, ModelError> {
        let config: Config = serde_json::from_value(config.clone()).map_err(|error| ModelError::Config(error.to_string()))?;
        let unsupported = |field: &str, value: &str| Err(ModelError::Unsupported(format!("{field} = {value}")));
        if let Some(other) = config.position_embedding_type.as_deref().filter(|kind| *kind != "absolute") {
            return unsupported("position_embedding_type", other);
        }
        if config.is_decoder {
            return unsupported("is_decoder", "true");
        }
        let positive = [config.hidden_size, config.num_attention_heads, config.vocab_size, config.max_position_embeddings];
        if positive.contains(&0) || !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            return Err(ModelError::Config("hidden_size must be a positive multiple of num_attention_heads".into()));
        }
        config.activation()?;
        Ok(config)
    }

    fn activation(&self) -> Result<Activation, ModelError> {
        super::activation("hidden_act", &self.hidden_act)
    }

    /// What the engine needs to know of the model; `tokens_max` is the longest input it has positions for.
    pub(super) fn shape(&self, tokens_max: usize, classifier: Option<Classifier>) -> Shape {
        Shape {
            hidden: self.hidden_size,
            layers: self.num_hidden_layers,
            vocabulary: self.vocab_size,
            types: self.type_vocab_size,
            tokens_max,
            classifier,
        }
    }
}

impl Body {
    /// Reads the tensors under `prefix`. The first position is row `position_offset` of the position table.
    pub(super) fn load(
        config: &Config,
        weights: &Weights,
        prefix: &str,
        position_offset: u32,
        device: &Device,
    ) -> Result<Body, ModelError> {
        let hidden = config.hidden_size;
        let table =
            |name: &str, rows| Embedding::load(weights, &format!("{prefix}embeddings.{name}.weight"), [rows, hidden], device);
        let layer = |index| Layer::load(config, weights, &format!("{prefix}encoder.layer.{index}"), device);
        Ok(Body {
            words: table("word_embeddings", config.vocab_size)?,
            positions: table("position_embeddings", config.max_position_embeddings)?,
            types: table("token_type_embeddings", config.type_vocab_size)?,
            norm: LayerNorm::load(weights, &format!("{prefix}embeddings.LayerNorm"), hidden, config.layer_norm_eps, device)?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_, _>>()?,
            position_offset,
            device: device.clone(),
        })
    }

    /// # Shapes
    /// → `[tokens, hidden]`
    pub(super) fn forward(&self, batch: &Batch) -> Tensor<2> {
        let offset = self.position_offset;
        let places = batch.positions().map(|place| u32::try_from(place).expect("a run's length was checked") + offset);
        let positions = self.positions.forward(places);
        let words = self.words.forward(batch.ids.iter().copied());
        let types = self.types.forward(batch.type_ids.iter().copied());
        let x = self.norm.forward_sum(words + types, positions);
        self.layers.iter().fold(x, |x, layer| layer.forward(x, batch, &self.device))
    }
}

impl Layer {
    fn load(config: &Config, weights: &Weights, prefix: &str, device: &Device) -> Result<Layer, ModelError> {
        let (hidden, wide) = (config.hidden_size, config.intermediate_size);
        let linear = |names: &[&str], shape, activation| {
            let names: Vec<String> = names.iter().map(|name| format!("{prefix}.{name}")).collect();
            Linear::load(weights, &names, shape, activation, device)
        };
        let norm = |name: &str| LayerNorm::load(weights, &format!("{prefix}.{name}"), hidden, config.layer_norm_eps, device);
        let qkv = ["attention.self.query", "attention.self.key", "attention.self.value"];
        Ok(Layer {
            qkv: linear(&qkv, [hidden, hidden], Activation::None)?,
            attention_out: linear(&["attention.output.dense"], [hidden, hidden], Activation::None)?,
            attention_norm: norm("attention.output.LayerNorm")?,
            up: linear(&["intermediate.dense"], [wide, hidden], config.activation()?)?,
            down: linear(&["output.dense"], [hidden, wide], Activation::None)?,
            norm: norm("output.LayerNorm")?,
            heads: config.num_attention_heads,
        })
    }

    /// # Shapes
    /// `[tokens, hidden]` → `[tokens, hidden]`
    fn forward(&self, x: Tensor<2>, batch: &Batch, device: &Device) -> Tensor<2> {
        let qkv = self.qkv.forward(x.clone()); // [tokens, 3 · hidden]
        let mixed = self_attention(qkv, &batch.runs, self.heads, device); // [tokens, hidden]
        let x = self.attention_norm.forward_sum(self.attention_out.forward(mixed), x);
        let wide = self.up.forward(x.clone()); // [tokens, intermediate]
        self.norm.forward_sum(self.down.forward(wide), x)
    }
}
