//! The linear layer.

use burn::tensor::{Device, Tensor, activation};

use crate::device;
use crate::kernel::activation::Activation;
use crate::kernel::gemm::{self, PackedWeight};
use crate::weights::{Weights, WeightsError};

/// `y = activation(x · Wᵀ + b)`.
pub(crate) struct Linear {
    weight: Weight,
    activation: Activation,
    device: Device,
}

enum Weight {
    /// In main memory: repacked once for our own product.
    Packed { weight: PackedWeight, bias: Vec<f32> },
    /// Elsewhere: the weight as Burn likes it, transposed, and the bias. Shapes `[in, out]` and `[1, out]`.
    Plain(Box<[Tensor<2>; 2]>),
}

impl Linear {
    /// Reads `NAME.weight` (shape `[out, in]`) and `NAME.bias` of several layers that have the same input, as one layer
    /// whose outputs lie side by side.
    ///
    /// # Errors
    /// When one of the tensors is missing or of another shape.
    pub(crate) fn load(
        weights: &Weights,
        names: &[String],
        [out_features, in_features]: [usize; 2],
        activation: Activation,
        device: &Device,
    ) -> Result<Linear, WeightsError> {
        let mut weight = Vec::with_capacity(names.len() * out_features * in_features);
        let mut bias = Vec::with_capacity(names.len() * out_features);
        for name in names {
            weight.extend(weights.values(&format!("{name}.weight"), &[out_features, in_features])?);
            bias.extend(weights.values(&format!("{name}.bias"), &[out_features])?);
        }
        let out_features = names.len() * out_features;
        let weight = if device::is_cpu(device) {
            Weight::Packed { weight: PackedWeight::pack(&weight, out_features, in_features), bias }
        } else {
            let weight = device::tensor(weight, [out_features, in_features], device).transpose();
            Weight::Plain(Box::new([weight, device::tensor(bias, [1, out_features], device)]))
        };
        Ok(Linear { weight, activation, device: device.clone() })
    }

    /// # Shapes
    /// `[tokens, in]` → `[tokens, out]`
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.weight {
            Weight::Packed { weight, bias } => {
                let [tokens, _] = x.dims();
                let mut y = vec![0.0; tokens * weight.out_features()];
                device::with_values(x, |x| gemm::linear(x, weight, Some(bias), self.activation, &mut y));
                device::tensor(y, [tokens, weight.out_features()], &self.device)
            }
            Weight::Plain(plain) => {
                let [weight, bias] = (**plain).clone();
                activate(x.matmul(weight) + bias, self.activation)
            }
        }
    }
}

fn activate(x: Tensor<2>, activation: Activation) -> Tensor<2> {
    match activation {
        Activation::None => x,
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => activation::gelu_approximate(x),
        Activation::Relu => activation::relu(x),
        Activation::Tanh => x.tanh(),
        Activation::Silu => activation::silu(x),
    }
}
