//! CPU kernels, in f32: linear layers over dense and block-quantised weights, activations, norms, rotary embeddings, attention
//! of encoders and of decoders over a cache.
//!
//! - A kernel picks its instructions at run time ([`isa`]); the portable path gives the same bits and is the twin in tests.
//! - A row's result does not depend on the other rows, on the split of work or on the number of threads.
//! - Kernels run on the rayon pool they are called from: `pool.install` once around a forward pass, not around each kernel.
//! - Entry points assert slice lengths (`# Panics`); nothing here is reachable with a length that a guest chose unchecked.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod block;
pub(crate) mod block_linear;
pub(crate) mod cache;
pub(crate) mod causal;
pub(crate) mod gemm;
mod isa;
mod math;
pub(crate) mod norm;
mod parallel;
pub(crate) mod pseudo_random;
pub(crate) mod rope;
mod simd;
