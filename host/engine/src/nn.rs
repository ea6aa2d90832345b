//! Layers that families are built of. Each takes and gives tensors; in main memory it runs one of our own kernels, on other
//! devices Burn's operations, and the numbers agree.

mod attention;
mod embedding;
mod linear;
mod norm;

pub(crate) use attention::self_attention;
pub(crate) use embedding::Embedding;
pub(crate) use linear::Linear;
pub(crate) use norm::LayerNorm;

pub(crate) use crate::kernel::activation::Activation;
