//! Layer normalisation (Ba et al., 2016, arXiv:1607.06450) and RMS normalisation (Zhang and Sennrich, 2019, arXiv:1910.07467).

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

    /// # Shapes
    /// `[tokens, width]` → `[tokens, width]`
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let shape @ [_, width] = x.dims();
        if !device::is_cpu(&self.device) {
            return self.forward_anywhere(x, width);
        }
        let mut y = vec![0.0; shape.iter().product()];
        device::with_values(x, |x| norm::norm(x, self.kernel(), &mut y));
        device::tensor(y, shape, &self.device)
    }

    /// Normalises `x + residual`.
    ///
    /// # Shapes
    /// `[tokens, width]`, `[tokens, width]` → `[tokens, width]`
    pub(crate) fn forward_sum(&self, x: Tensor<2>, residual: Tensor<2>) -> Tensor<2> {
        let shape @ [_, width] = x.dims();
        if !device::is_cpu(&self.device) {
            return self.forward_anywhere(x + residual, width);
        }
        let mut x = device::values(x);
        device::with_values(residual, |residual| norm::add_layer_norm(&mut x, residual, self.kernel()));
        device::tensor(x, shape, &self.device)
    }

    fn kernel(&self) -> norm::LayerNorm<'_> {
        norm::LayerNorm { gamma: &self.gamma, beta: &self.beta, epsilon: self.epsilon }
    }

    fn forward_anywhere(&self, x: Tensor<2>, width: usize) -> Tensor<2> {
        let row = |values: &[f32]| device::tensor(values.to_vec(), [1, width], &self.device);
        let centred = x.clone() - x.mean_dim(1);
        let variance = centred.clone().powf_scalar(2.0).mean_dim(1);
        centred / (variance + self.epsilon).sqrt() * row(&self.gamma) + row(&self.beta)
    }
}

/// Scales each token's vector to a root mean square of 1, then by a learned gain.
#[derive(Debug)]
pub(crate) struct RmsNorm {
    gamma: Vec<f32>,
    epsilon: f32,
    device: Device,
}

impl RmsNorm {
    /// Reads `NAME.weight`.
    ///
    /// # Errors
    /// When it is missing or of another width.
    pub(crate) fn load(
        weights: &Weights,
        name: &str,
        width: usize,
        epsilon: f32,
        device: &Device,
    ) -> Result<RmsNorm, WeightsError> {
        let gamma = weights.values(&format!("{name}.weight"), &[width])?;
        Ok(RmsNorm { gamma, epsilon, device: device.clone() })
    }

    /// # Shapes
    /// `[tokens, width]` → `[tokens, width]`
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let shape @ [_, width] = x.dims();
        if !device::is_cpu(&self.device) {
            let gamma = device::tensor(self.gamma.clone(), [1, width], &self.device);
            let square = x.clone().powf_scalar(2.0).mean_dim(1);
            return x / (square + self.epsilon).sqrt() * gamma;
        }
        let mut y = vec![0.0; shape.iter().product()];
        device::with_values(x, |x| norm::norm(x, self.kernel(), &mut y));
        device::tensor(y, shape, &self.device)
    }

    /// Adds `residual` and normalises the sum.
    ///
    /// # Shapes
    /// `[tokens, width]`, `[tokens, width]` → the sum and its norm, both `[tokens, width]`
    pub(crate) fn forward_sum(&self, x: Tensor<2>, residual: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let shape = x.dims();
        if !device::is_cpu(&self.device) {
            let sum = x + residual;
            return (sum.clone(), self.forward(sum));
        }
        let mut sum = device::values(x);
        let mut y = vec![0.0; sum.len()];
        device::with_values(residual, |residual| norm::add_norm(&mut sum, residual, self.kernel(), &mut y));
        (device::tensor(sum, shape, &self.device), device::tensor(y, shape, &self.device))
    }

    /// Normalises the first heads of rows in main memory, each on its own, in place; a head is as wide as the norm.
    pub(super) fn apply_to_heads(&self, rows: &mut [f32], stride: usize, heads: usize) {
        norm::norm_heads(rows, stride, heads, self.kernel());
    }

    fn kernel(&self) -> norm::RmsNorm<'_> {
        norm::RmsNorm { gamma: &self.gamma, epsilon: self.epsilon }
    }
}
