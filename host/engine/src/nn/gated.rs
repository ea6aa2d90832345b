//! Gated activation (Shazeer, 2020, arXiv:2002.05202).

use burn::tensor::Tensor;

use super::linear::activate;
use crate::device;
use crate::kernel::activation::{self, Activation};

/// `activation(gate) · up`, number by number.
///
/// # Shapes
/// `[tokens, 2 · width]` (gate and up side by side) → `[tokens, width]`
pub(crate) fn gated(gate_up: Tensor<2>, activation: Activation) -> Tensor<2> {
    let ([tokens, both], device) = (gate_up.dims(), gate_up.device());
    let width = both / 2;
    if !device::is_cpu(&device) {
        let part = |from: usize| gate_up.clone().narrow(1, from, width);
        return activate(part(0), activation) * part(width);
    }
    let mut out = vec![0.0; tokens * width];
    device::with_values(gate_up, |gate_up| activation::gated(gate_up, width, activation, &mut out));
    device::tensor(out, [tokens, width], &device)
}
