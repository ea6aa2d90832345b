//! Attention of encoders: every token of a run sees all of that run and nothing of the others.

use std::ops::Range;

use burn::tensor::{Device, Tensor, activation};

use crate::device;
use crate::kernel::attention::{self, Heads};

/// Scaled dot-product attention (Vaswani et al., 2017, arXiv:1706.03762, section 3.2) within each run.
///
/// # Shapes
/// `[tokens, 3 · heads · head_dim]` (queries, keys and values side by side) → `[tokens, heads · head_dim]`
pub(crate) fn self_attention(qkv: Tensor<2>, runs: &[Range<usize>], heads: usize, device: &Device) -> Tensor<2> {
    let [tokens, width] = qkv.dims();
    let hidden = width / 3;
    if !device::is_cpu(device) {
        let parts = runs.iter().map(|run| run_attention(qkv.clone().narrow(0, run.start, run.len()), heads)).collect();
        return Tensor::cat(parts, 0);
    }
    let mut out = vec![0.0; tokens * hidden];
    device::with_values(qkv, |qkv| attention::attention(Heads { qkv, runs, heads, head_dim: hidden / heads }, &mut out));
    device::tensor(out, [tokens, hidden], device)
}

/// `[len, 3 · heads · head_dim]` → `[len, heads · head_dim]`
fn run_attention(qkv: Tensor<2>, heads: usize) -> Tensor<2> {
    let [len, width] = qkv.dims();
    let hidden = width / 3;
    let head_dim = hidden / heads;
    // [len, 3, heads, head_dim] → [3, heads, len, head_dim]
    let qkv = qkv.reshape([len, 3, heads, head_dim]).permute([1, 2, 0, 3]);
    let part = |i: usize| qkv.clone().narrow(0, i, 1).reshape([heads, len, head_dim]);
    let scores = part(0).matmul(part(1).transpose()) / (head_dim as f32).sqrt(); // [heads, len, len]
    activation::softmax(scores, 2).matmul(part(2)).swap_dims(0, 1).reshape([len, hidden])
}
