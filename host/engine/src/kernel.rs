//! CPU kernels of the encoders: the linear layer, activations, layer normalisation and self-attention, in f32.
//!
//! - A kernel picks its instructions at run time ([`isa`]); the portable path gives the same bits and is the twin in tests.
//! - A row's result does not depend on the other rows, on the split of work or on the number of threads.
//! - Kernels run on the rayon pool they are called from: `pool.install` once around a forward pass, not around each kernel.
//! - Entry points assert slice lengths (`# Panics`); nothing here is reachable with a length that a guest chose unchecked.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod gemm;
mod isa;
mod math;
pub(crate) mod norm;
mod parallel;
