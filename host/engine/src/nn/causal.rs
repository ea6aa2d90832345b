//! Attention of decoders: every token sees itself and what came before it in its own sequence, out of the sequence's cache.

use std::ops::Range;

use burn::tensor::{Bool, Device, Tensor, TensorData, activation};

use super::cache::{KvCache, Layer};
use super::norm::RmsNorm;
use crate::batch::Batch;
use crate::device;
use crate::kernel::causal::{self, Causal, Run};
use crate::kernel::rope::{self, HeadRows, RopeStyle, RopeTable};

/// How a row of queries, keys and values is divided. Several query heads may share one key head (Ainslie et al., 2023,
/// arXiv:2305.13245).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) rope: RopeStyle,
}

/// Scaled dot-product attention over a cache.
pub(crate) struct CausalAttention {
    pub(crate) heads: Heads,
    /// Norms of each query head and of each key head.
    pub(crate) head_norms: Option<[RmsNorm; 2]>,
    /// Tokens that a token sees, itself included; none sees all before it.
    pub(crate) window: Option<usize>,
    /// For each head what a key's score gains a position, before it is scaled (ALiBi).
    pub(crate) slopes: Option<Vec<f32>>,
}

impl Heads {
    /// Numbers of all queries of a token.
    fn queries(self) -> usize {
        self.heads * self.head_dim
    }

    /// Numbers of all keys of a token, or of all values.
    fn keys(self) -> usize {
        self.kv_heads * self.head_dim
    }

    fn scale(self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }
}

impl CausalAttention {
    /// Writes the tokens' keys and values into their caches and attends to all that is there.
    ///
    /// # Shapes
    /// `[tokens, (heads + 2 · kv_heads) · head_dim]` (queries, keys and values side by side) → `[tokens, heads · head_dim]`
    pub(crate) fn forward(
        &self,
        qkv: Tensor<2>,
        batch: &Batch,
        caches: &mut [&mut KvCache],
        layer: usize,
        rotations: Option<&RopeTable>,
    ) -> Tensor<2> {
        let device = qkv.device();
        if device::is_cpu(&device) {
            let [tokens, width] = qkv.dims();
            let mut rows = device::values(qkv);
            self.prepare(&mut rows, width, rotations);
            let out = self.attend(&rows, batch, caches, layer);
            return device::tensor(out, [tokens, self.heads.queries()], &device);
        }
        let (queries, keys, values) = self.split_anywhere(qkv, rotations);
        let runs = batch.runs.iter().zip(&batch.starts).zip(caches).map(|((run, start), cache)| {
            let of_run = |x: &Tensor<3>| x.clone().narrow(0, run.start, run.len());
            let cached = cache.layer(layer).write(*start, [of_run(&keys), of_run(&values)]);
            self.attend_anywhere(of_run(&queries), cached, *start)
        });
        Tensor::cat(runs.collect(), 0)
    }

    /// Normalises and rotates queries and keys in place.
    fn prepare(&self, rows: &mut [f32], width: usize, rotations: Option<&RopeTable>) {
        let Heads { heads, kv_heads, head_dim, rope } = self.heads;
        if let Some([queries_norm, keys_norm]) = &self.head_norms {
            queries_norm.apply_to_heads(rows, width, heads);
            keys_norm.apply_to_heads(&mut rows[self.heads.queries()..], width, kv_heads);
        }
        if let Some(table) = rotations {
            let both = HeadRows { x: rows, stride: width, heads: heads + kv_heads, head_dim };
            rope::rope(both, table, rope);
        }
    }

    fn attend(&self, rows: &[f32], batch: &Batch, caches: &mut [&mut KvCache], layer: usize) -> Vec<f32> {
        let Heads { heads, kv_heads, head_dim, .. } = self.heads;
        let (queries, keys) = (self.heads.queries(), self.heads.keys());
        let width = queries + 2 * keys;
        let runs = batch.runs.iter().zip(&batch.starts).zip(caches);
        let runs: Vec<Run<'_>> = runs
            .map(|((run, &start), cache)| {
                let Layer::Packed(cache) = cache.layer(layer) else { unreachable!("a cache in main memory is packed") };
                let of_run = &rows[run.start * width..run.end * width];
                cache.write(start, &of_run[queries..], &of_run[queries + keys..], width);
                Run { tokens: run.clone(), start, cache }
            })
            .collect();
        let mut out = vec![0.0; batch.ids.len() * queries];
        let slopes = self.slopes.as_deref();
        let (scale, window) = (self.heads.scale(), self.window);
        causal::causal_attention(
            Causal { queries: rows, stride: width, runs: &runs, heads, kv_heads, head_dim, scale, window, slopes },
            &mut out,
        );
        out
    }

    /// Queries, keys and values of all tokens, normalised and rotated with Burn's operations.
    ///
    /// # Shapes
    /// `[tokens, (heads + 2 · kv_heads) · head_dim]` → `[tokens, heads, head_dim]`, twice `[tokens, kv_heads, head_dim]`
    fn split_anywhere(&self, qkv: Tensor<2>, rotations: Option<&RopeTable>) -> (Tensor<3>, Tensor<3>, Tensor<3>) {
        let Heads { heads, kv_heads, head_dim, rope } = self.heads;
        let [tokens, _] = qkv.dims();
        let part = |first: usize, count: usize| {
            qkv.clone().narrow(1, first * head_dim, count * head_dim).reshape([tokens, count, head_dim])
        };
        let norm = |x: Tensor<3>, norm: usize| match &self.head_norms {
            Some(norms) => {
                let shape @ [_, count, _] = x.dims();
                norms[norm].forward(x.reshape([tokens * count, head_dim])).reshape(shape)
            }
            None => x,
        };
        let rotate = |x: Tensor<3>| match rotations {
            Some(table) => rotate_anywhere(x, table, rope),
            None => x,
        };
        (rotate(norm(part(0, heads), 0)), rotate(norm(part(heads, kv_heads), 1)), part(heads + kv_heads, kv_heads))
    }

    /// Attention of one run with Burn's operations.
    ///
    /// # Shapes
    /// `[len, heads, head_dim]`, cached keys and values `[capacity, kv_heads, head_dim]` → `[len, heads · head_dim]`
    fn attend_anywhere(&self, queries: Tensor<3>, cached: [Tensor<3>; 2], start: usize) -> Tensor<2> {
        let Heads { heads, kv_heads, head_dim, .. } = self.heads;
        let ([len, _, _], device) = (queries.dims(), queries.device());
        let (end, group) = (start + len, heads / kv_heads);
        let [keys, values] = cached.map(|cached| cached.narrow(0, 0, end).swap_dims(0, 1)); // [kv_heads, end, head_dim]
        let queries = queries.swap_dims(0, 1).reshape([kv_heads, group * len, head_dim]);
        let scores = queries.matmul(keys.transpose()); // [kv_heads, group · len, end]
        let scores = (scores.reshape([heads, len, end]) + self.alibi(end, &device)) * self.heads.scale();
        let scores = scores.mask_fill(self.hidden(start..end, &device), f32::NEG_INFINITY);
        let weights = activation::softmax(scores, 2).reshape([kv_heads, group * len, end]);
        weights.matmul(values).reshape([heads, len, head_dim]).swap_dims(0, 1).reshape([len, heads * head_dim])
    }

    /// What scores gain by the key's position. Shape `[heads, 1, end]`.
    fn alibi(&self, end: usize, device: &Device) -> Tensor<3> {
        let heads = self.heads.heads;
        let slope = |head: usize| self.slopes.as_ref().map_or(0.0, |slopes| slopes[head]);
        let gains = (0..heads).flat_map(|head| (0..end).map(move |key| slope(head) * key as f32));
        device::tensor(gains.collect(), [heads, 1, end], device)
    }

    /// Which keys the tokens of these positions don't see. Shape `[1, positions, end]`.
    fn hidden(&self, positions: Range<usize>, device: &Device) -> Tensor<3, Bool> {
        let (len, end) = (positions.len(), positions.end);
        let is_seen = |query: usize, key: usize| key <= query && self.window.is_none_or(|window| key + window > query);
        let hidden: Vec<bool> = positions.flat_map(|query| (0..end).map(move |key| !is_seen(query, key))).collect();
        Tensor::from_data(TensorData::new(hidden, [1, len, end]), device)
    }
}

/// Rotary embeddings with Burn's operations. Shape `[tokens, heads, head_dim]`.
fn rotate_anywhere(x: Tensor<3>, table: &RopeTable, style: RopeStyle) -> Tensor<3> {
    let (shape @ [tokens, heads, head_dim], device) = (x.dims(), x.device());
    let pairs = head_dim / 2;
    let turns = device::tensor::<3>(table.turns().to_vec(), [tokens, 2, pairs], &device);
    let (cos, sin) = (turns.clone().narrow(1, 0, 1), turns.narrow(1, 1, 1)); // [tokens, 1, pairs]
    let x = match style {
        RopeStyle::Halves => x,
        RopeStyle::Interleaved => x.reshape([tokens, heads, pairs, 2]).swap_dims(2, 3).reshape(shape),
    };
    let (first, second) = (x.clone().narrow(2, 0, pairs), x.narrow(2, pairs, pairs));
    let turned = [first.clone() * cos.clone() - second.clone() * sin.clone(), second * cos + first * sin];
    let x = Tensor::cat(turned.into(), 2);
    match style {
        RopeStyle::Halves => x,
        RopeStyle::Interleaved => x.reshape([tokens, heads, 2, pairs]).swap_dims(2, 3).reshape(shape),
    }
}
