//! Layers that families are built of. Each takes and gives tensors; in main memory it runs one of our own kernels, on other
//! devices Burn's operations, and the numbers agree.

mod attention;
mod cache;
mod causal;
mod embedding;
mod gated;
mod linear;
mod norm;
mod rope;

pub(crate) use attention::self_attention;
pub(crate) use cache::{CacheShape, KvCache};
pub(crate) use causal::{CausalAttention, Heads};
pub(crate) use embedding::Embedding;
pub(crate) use gated::gated;
pub(crate) use linear::{Bias, Linear, Part};
pub(crate) use norm::{LayerNorm, RmsNorm};
pub(crate) use rope::Rope;

pub(crate) use crate::kernel::activation::Activation;
pub(crate) use crate::kernel::rope::RopeStyle;
