//! Layer normalisation (Ba et al., 2016, arXiv:1607.06450).

use burn::tensor::{Device, Tensor};

use crate::device;
use crate::kernel::norm;
use crate::weights::{Weights, WeightsError};

/// Scales each token's vector to mean 0 and variance 1, then by a learned gain and shift.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    gamma: Vec<f32>,
    beta: Vec<f32>,
    epsilon: f32,
    device: Device,
}

impl LayerNorm {
    /// Reads `NAME.weight` and `NAME.bias`.
    ///
    /// # Errors
    /// When one of them is missing or of another width.
    pub(crate) fn load(
        weights: &Weights,
        name: &str,
        width: usize,
        epsilon: f32,
        device: &Device,
    ) -> Result<LayerNorm, WeightsError> {
        let read = |part: &str| weights.values(&format!("{name}.{part}"), &[width]);
        Ok(LayerNorm { gamma: read("weight")?, beta: read("bias")?, epsilon, device: device.clone() })
    }

    /// Normalises `x + residual`.
    ///
    /// # Shapes
    /// `[tokens, width]`, `[tokens, width]` → `[tokens, width]`
    pub(crate) fn forward(&self, x: Tensor<2>, residual: Tensor<2>) -> Tensor<2> {
        let shape @ [_, width] = x.dims();
        if !device::is_cpu(&self.device) {
            return self.forward_anywhere(x + residual, width);
        }
        let mut x = device::values(x);
        device::with_values(residual, |residual| {
            let norm = norm::LayerNorm { gamma: &self.gamma, beta: &self.beta, epsilon: self.epsilon };
            norm::add_layer_norm(&mut x, residual, norm);
        });
        device::tensor(x, shape, &self.device)
    }

    fn forward_anywhere(&self, x: Tensor<2>, width: usize) -> Tensor<2> {
        let row = |values: &[f32]| device::tensor(values.to_vec(), [1, width], &self.device);
        let centred = x.clone() - x.mean_dim(1);
        let variance = centred.clone().powf_scalar(2.0).mean_dim(1);
        centred / (variance + self.epsilon).sqrt() * row(&self.gamma) + row(&self.beta)
    }
}
