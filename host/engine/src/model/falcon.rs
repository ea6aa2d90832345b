//! Falcon (Almazrouei et al., 2023, arXiv:2311.16867): attention and feed-forward network side by side with one or two norms
//! before them (7B, 11B, 40B), or one after the other with ALiBi (RW), as in transformers' `modeling_falcon.py`.

use burn::tensor::{Device, Tensor};
use serde_json::Value;

use super::fields::Fields;
use super::rope::RopeConfig;
use super::{LanguageModel, Loaded, ModelError, Shape};
use crate::batch::Batch;
use crate::nn::{
    Activation, Bias, CacheShape, CausalAttention, Embedding, Heads, KvCache, LayerNorm, Linear, Part, Rope, RopeStyle,
};
use crate::weights::Weights;

/// Set for GGUF files, which hold queries, keys and values apart; no `config.json` has it.
pub(super) const QKV_APART: &str = "gguf.qkv_apart";

/// The fields of the configuration.
struct Config {
    vocabulary: usize,
    hidden: usize,
    intermediate: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    tokens_max: usize,
    epsilon: f32,
    bias: Bias,
    is_tied: bool,
    activation: Activation,
    order: QkvOrder,
    block: Block,
    /// None uses ALiBi.
    rope: Option<RopeConfig>,
}

/// How a row of the fused projection is laid out.
enum QkvOrder {
    /// All queries, all keys, all values: 7B, and every GGUF file.
    Apart,
    /// For each key head its queries, its key and its value: 40B, and RW with one query each.
    Grouped,
}

/// How a layer is wired.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    /// Attention, then the feed-forward network, each with its norm.
    Sequential,
    /// Both from one norm.
    ParallelOneNorm,
    /// Both at once, each with its norm.
    ParallelTwoNorms,
}

struct Falcon {
    words: Embedding,
    layers: Vec<Layer>,
    norm: LayerNorm,
    head: Linear,
    rope: Option<Rope>,
    cache: CacheShape,
    block: Block,
    is_tied: bool,
}

struct Layer {
    attention_norm: LayerNorm,
    /// None shares the attention's.
    norm: Option<LayerNorm>,
    qkv: Linear,
    attention: CausalAttention,
    attention_out: Linear,
    up: Linear,
    down: Linear,
}

/// Builds the model.
pub(super) fn load(config: &Value, weights: &Weights, device: &Device) -> Result<Loaded, ModelError> {
    let mut fields = Fields::new(config)?;
    let config = Config::read(&mut fields)?;
    fields.finish()?;
    let Config { vocabulary, hidden, layers, kv_heads, epsilon, .. } = config;
    let head_dim = config.head_dim();
    let table = "transformer.word_embeddings";
    let head = if config.is_tied { table } else { "lm_head" };
    let falcon = Falcon {
        words: Embedding::load(weights, &format!("{table}.weight"), [vocabulary, hidden], device)?,
        layers: (0..layers).map(|index| Layer::load(&config, weights, index, device)).collect::<Result<_, _>>()?,
        norm: LayerNorm::load(weights, "transformer.ln_f", hidden, epsilon, device)?,
        head: Linear::mapped(weights, &[Part::new(head, vocabulary, Bias::Absent)], hidden, device)?,
        rope: config.rope.as_ref().map(|rope| rope.layer(head_dim, weights)).transpose()?,
        cache: CacheShape { layers, kv_heads, head_dim },
        block: config.block,
        is_tied: config.is_tied,
    };
    let tokens_max = config.tokens_max;
    Ok(Loaded::language(falcon, Shape { hidden, layers, vocabulary, types: 1, tokens_max, classifier: None }))
}

impl Config {
    fn read(fields: &mut Fields) -> Result<Config, ModelError> {
        let (hidden, heads) = (fields.size("hidden_size")?, fields.size("num_attention_heads")?);
        if !hidden.is_multiple_of(heads) {
            return Err(ModelError::Config("hidden_size must be a multiple of num_attention_heads".into()));
        }
        let is_new = fields.optional("new_decoder_architecture")?.unwrap_or(false);
        let shares_keys: bool = fields.optional("multi_query")?.unwrap_or(true);
        let kv_heads = fields.optional_size("num_kv_heads")?;
        let (kv_heads, order) = match (is_new, shares_keys) {
            (true, _) => (kv_heads.unwrap_or(heads), QkvOrder::Grouped),
            (false, true) => (1, QkvOrder::Apart),
            (false, false) => (heads, QkvOrder::Grouped),
        };
        let order = if fields.optional(QKV_APART)?.unwrap_or(false) { QkvOrder::Apart } else { order };
        if !heads.is_multiple_of(kv_heads) {
            return Err(ModelError::Config("num_attention_heads must be a multiple of num_kv_heads".into()));
        }
        fields.only("apply_residual_connection_post_layernorm", false)?;
        let is_parallel: bool = fields.optional("parallel_attn")?.unwrap_or(true);
        let norms = fields.optional_size("num_ln_in_parallel_attn")?.unwrap_or(if is_new { 2 } else { 1 });
        let tokens_max = fields.optional_size("max_position_embeddings")?.unwrap_or(2048);
        let rope = RopeConfig::read(fields, tokens_max)?;
        Ok(Config {
            vocabulary: fields.size("vocab_size")?,
            hidden,
            intermediate: fields.optional_size("ffn_hidden_size")?.unwrap_or(4 * hidden),
            layers: fields.size("num_hidden_layers")?,
            heads,
            kv_heads,
            tokens_max,
            epsilon: fields.optional("layer_norm_epsilon")?.unwrap_or(1e-5),
            bias: Bias::when(fields.optional("bias")?.unwrap_or(false)),
            is_tied: fields.optional("tie_word_embeddings")?.unwrap_or(true),
            activation: super::activation(
                "activation",
                &fields.optional::<String>("activation")?.unwrap_or_else(|| "gelu".into()),
            )?,
            order,
            block: match (is_new || is_parallel, is_new && norms == 2) {
                (true, true) => Block::ParallelTwoNorms,
                (true, false) => Block::ParallelOneNorm,
                (false, _) => Block::Sequential,
            },
            rope: (!fields.optional("alibi")?.unwrap_or(false)).then_some(rope),
        })
    }

    fn head_dim(&self) -> usize {
        self.hidden / self.heads
    }

    /// Rows of the fused projection in the order queries, keys, values; none if they lie so already.
    fn qkv_rows(&self) -> Option<Vec<usize>> {
        let QkvOrder::Grouped = self.order else { return None };
        let (dim, queries) = (self.head_dim(), self.heads / self.kv_heads);
        let group = (queries + 2) * dim;
        let part = |from: usize, len: usize| {
            (0..self.kv_heads).flat_map(move |kv| kv * group + from * dim..kv * group + (from + len) * dim)
        };
        Some(part(0, queries).chain(part(queries, 1)).chain(part(queries + 1, 1)).collect())
    }
}

impl LanguageModel for Falcon {
    fn hidden(&self, batch: &Batch, caches: &mut [&mut KvCache]) -> Tensor<2> {
        let rotations = self.rope.as_ref().map(|rope| rope.table(batch));
        let mut x = self.words.forward(batch.ids.iter().copied()); // [tokens, hidden]
        for (index, layer) in self.layers.iter().enumerate() {
            let normed = layer.attention_norm.forward(x.clone());
            let qkv = layer.qkv.forward(normed.clone());
            let seen = layer.attention.forward(qkv, batch, caches, index, rotations.as_ref());
            let attended = layer.attention_out.forward(seen);
            if self.block == Block::Sequential {
                x = x + attended;
                x = x.clone() + layer.feed_forward(layer.normed_again(x, normed));
            } else {
                let normed = layer.normed_again(x.clone(), normed);
                x = x + attended + layer.feed_forward(normed);
            }
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
        let Config { hidden, intermediate, heads, kv_heads, epsilon, bias, .. } = *config;
        let head_dim = config.head_dim();
        let name = |part: &str| format!("transformer.h.{index}.{part}");
        let norm = |part: &str| LayerNorm::load(weights, &name(part), hidden, epsilon, device);
        let part = |part: &str, out_features: usize| Part::new(&name(part), out_features, bias);
        let linear = |part: Part, in_features: usize| Linear::mapped(weights, &[part], in_features, device);
        let qkv = part("self_attention.query_key_value", (heads + 2 * kv_heads) * head_dim).with_rows(config.qkv_rows());
        let (attention_norm, norm) = match config.block {
            Block::Sequential => (norm("input_layernorm")?, Some(norm("post_attention_layernorm")?)),
            Block::ParallelOneNorm => (norm("input_layernorm")?, None),
            Block::ParallelTwoNorms => (norm("ln_attn")?, Some(norm("ln_mlp")?)),
        };
        Ok(Layer {
            attention_norm,
            norm,
            qkv: linear(qkv, hidden)?,
            attention: CausalAttention {
                heads: Heads { heads, kv_heads, head_dim, rope: RopeStyle::Halves },
                head_norms: None,
                window: None,
                slopes: config.rope.is_none().then(|| alibi_slopes(heads)),
            },
            attention_out: linear(part("self_attention.dense", hidden), hidden)?,
            up: linear(part("mlp.dense_h_to_4h", intermediate), hidden)?.with_activation(config.activation),
            down: linear(part("mlp.dense_4h_to_h", hidden), intermediate)?,
        })
    }

    /// What the feed-forward network reads: by its own norm, or by the attention's.
    fn normed_again(&self, x: Tensor<2>, normed: Tensor<2>) -> Tensor<2> {
        self.norm.as_ref().map_or(normed, |norm| norm.forward(x))
    }

    fn feed_forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.down.forward(self.up.forward(x))
    }
}

/// The slope of each head (Press et al., 2021, arXiv:2108.12409). transformers rounds the products of slope and position to
/// bf16, which is not followed: it would make far positions alike.
fn alibi_slopes(heads: usize) -> Vec<f32> {
    let floor = 1 << heads.ilog2(); // the power of two at or below
    let slope = |base: usize, step: usize| 2f64.powf(-8.0 / base as f64 * step as f64);
    let first = (1..=floor).map(|step| slope(floor, step));
    let rest = (0..heads - floor).map(|extra| slope(2 * floor, 2 * extra + 1));
    first.chain(rest).map(|slope| slope as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_halve_for_eight_heads_and_interleave_beyond_a_power_of_two() {
        assert_eq!(alibi_slopes(8)[..3], [0.5, 0.25, 0.125]);
        let twelve = alibi_slopes(12);
        assert_eq!((twelve.len(), twelve[7]), (12, 1.0 / 256.0));
        assert!((twelve[8] - 2f32.powf(-0.5)).abs() < 1e-6 && (twelve[9] - 2f32.powf(-1.5)).abs() < 1e-6);
    }
}
