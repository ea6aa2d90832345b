//! The decoder that Llama, Mistral and Qwen share: RMS norms before attention and before a gated feed-forward network, rotary
//! positions and grouped queries (Touvron et al., 2023, arXiv:2302.13971 and arXiv:2307.09288), as in transformers'
//! `modeling_llama.py`. A family says what of it varies.

use burn::tensor::{Device, Tensor};

use super::rope::RopeConfig;
use super::{LanguageModel, Loaded, ModelError, Shape};
use crate::batch::Batch;
use crate::nn::{
    Activation, Bias, CacheShape, CausalAttention, Embedding, Heads, KvCache, Linear, Part, RmsNorm, Rope, RopeStyle, gated,
};
use crate::weights::Weights;

/// What varies between the families.
pub(super) struct Config {
    pub(super) vocabulary: usize,
    pub(super) hidden: usize,
    pub(super) intermediate: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) tokens_max: usize,
    pub(super) epsilon: f32,
    pub(super) activation: Activation,
    /// Whether the output is computed with the embedding's own table.
    pub(super) is_tied: bool,
    pub(super) biases: Biases,
    /// Whether queries and keys are normalised head by head (Qwen3).
    pub(super) has_head_norms: bool,
    pub(super) rope: RopeConfig,
    pub(super) rope_style: RopeStyle,
    /// Tokens that each layer sees back, or all. One entry for each layer.
    pub(super) windows: Vec<Option<usize>>,
}

/// Which linear layers add a bias.
#[derive(Clone, Copy)]
pub(super) struct Biases {
    pub(super) qkv: Bias,
    pub(super) attention_out: Bias,
    pub(super) feed_forward: Bias,
}

/// The model.
struct Decoder {
    words: Embedding,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
    rope: Rope,
    cache: CacheShape,
    is_tied: bool,
}

struct Layer {
    attention_norm: RmsNorm,
    qkv: Linear,
    attention: CausalAttention,
    attention_out: Linear,
    norm: RmsNorm,
    gate_up: Linear,
    activation: Activation,
    down: Linear,
}

/// Builds the model.
///
/// # Errors
/// When sizes don't fit together, or the weights have not the tensors that the configuration says.
pub(super) fn load(config: &Config, weights: &Weights, device: &Device) -> Result<Loaded, ModelError> {
    config.check()?;
    let Config { vocabulary, hidden, .. } = *config;
    let layers = (0..config.windows.len()).map(|index| Layer::load(config, weights, index, device));
    let table = "model.embed_tokens";
    let head = if config.is_tied { table } else { "lm_head" };
    let decoder = Decoder {
        words: Embedding::load(weights, &format!("{table}.weight"), [vocabulary, hidden], device)?,
        layers: layers.collect::<Result<_, _>>()?,
        norm: RmsNorm::load(weights, "model.norm", hidden, config.epsilon, device)?,
        head: Linear::mapped(weights, &[Part::new(head, vocabulary, Bias::Absent)], hidden, device)?,
        rope: config.rope.layer(config.head_dim, weights)?,
        cache: CacheShape { layers: config.windows.len(), kv_heads: config.kv_heads, head_dim: config.head_dim },
        is_tied: config.is_tied,
    };
    Ok(Loaded::language(decoder, config.shape()))
}

impl Config {
    fn check(&self) -> Result<(), ModelError> {
        if self.heads.is_multiple_of(self.kv_heads) {
            return Ok(());
        }
        let Config { heads, kv_heads, .. } = self;
        Err(ModelError::Config(format!("num_attention_heads = {heads} must be a multiple of num_key_value_heads = {kv_heads}")))
    }

    fn shape(&self) -> Shape {
        Shape {
            hidden: self.hidden,
            layers: self.windows.len(),
            vocabulary: self.vocabulary,
            types: 1,
            tokens_max: self.tokens_max,
            classifier: None,
        }
    }
}

impl LanguageModel for Decoder {
    fn hidden(&self, batch: &Batch, caches: &mut [&mut KvCache]) -> Tensor<2> {
        let rotations = self.rope.table(batch);
        let mut x = self.words.forward(batch.ids.iter().copied()); // [tokens, hidden]
        for (index, layer) in self.layers.iter().enumerate() {
            let qkv = layer.qkv.forward(layer.attention_norm.forward(x.clone()));
            let seen = layer.attention.forward(qkv, batch, caches, index, Some(&rotations));
            let normed;
            (x, normed) = layer.norm.forward_sum(x, layer.attention_out.forward(seen));
            x = x + layer.down.forward(gated(layer.gate_up.forward(normed), layer.activation));
        }
        self.norm.forward(x)
    }

    fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.head.forward(hidden)
    }

    fn cache(&self) -> CacheShape {
        self.cache
    }

    fn idle_bytes(&self) -> usize {
        if self.is_tied { 0 } else { self.words.bytes() }
    }
}

impl Layer {
    fn load(config: &Config, weights: &Weights, index: usize, device: &Device) -> Result<Layer, ModelError> {
        let Config { hidden, intermediate, heads, kv_heads, head_dim, epsilon, biases, .. } = *config;
        let name = |part: &str| format!("model.layers.{index}.{part}");
        let linear = |parts: &[(&str, usize)], in_features: usize, bias: Bias| {
            let parts: Vec<Part> = parts.iter().map(|&(part, out)| Part::new(&name(part), out, bias)).collect();
            Linear::mapped(weights, &parts, in_features, device)
        };
        let norm = |part: &str, width: usize| RmsNorm::load(weights, &name(part), width, epsilon, device);
        let attention = CausalAttention {
            heads: Heads { heads, kv_heads, head_dim, rope: config.rope_style },
            head_norms: match config.has_head_norms {
                true => Some([norm("self_attn.q_norm", head_dim)?, norm("self_attn.k_norm", head_dim)?]),
                false => None,
            },
            window: config.windows[index],
            slopes: None,
        };
        let (queries, keys) = (heads * head_dim, kv_heads * head_dim);
        let qkv = [("self_attn.q_proj", queries), ("self_attn.k_proj", keys), ("self_attn.v_proj", keys)];
        Ok(Layer {
            attention_norm: norm("input_layernorm", hidden)?,
            qkv: linear(&qkv, hidden, biases.qkv)?,
            attention,
            attention_out: linear(&[("self_attn.o_proj", hidden)], queries, biases.attention_out)?,
            norm: norm("post_attention_layernorm", hidden)?,
            gate_up: linear(&[("mlp.gate_proj", intermediate), ("mlp.up_proj", intermediate)], hidden, biases.feed_forward)?,
            activation: config.activation,
            down: linear(&[("mlp.down_proj", hidden)], intermediate, biases.feed_forward)?,
        })
    }
}
