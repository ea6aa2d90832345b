//! The linear layer.

use burn::tensor::{Device, Tensor, activation};

use crate::device;
use crate::kernel::activation::Activation;
use crate::kernel::block_linear::{self, BlockMatrix};
use crate::kernel::gemm::{self, PackedWeight};
use crate::weights::{Stored, Weights, WeightsError};

/// `y = activation(x · Wᵀ + b)`.
pub(crate) struct Linear {
    weight: Weight,
    activation: Activation,
    device: Device,
}

enum Weight {
    /// In main memory: repacked once for our own product.
    Packed { weight: PackedWeight, bias: Vec<f32> },
    /// In main memory as in the file: plain numbers or blocks. The outputs of the parts lie side by side.
    Stored(Vec<StoredPart>),
    /// Elsewhere: the weight as Burn likes it, transposed, and the bias. Shapes `[in, out]` and `[1, out]`.
    Plain(Box<[Tensor<2>; 2]>),
}

struct StoredPart {
    weight: Stored,
    bias: Option<Vec<f32>>,
}

impl StoredPart {
    fn part(&self) -> block_linear::Part<'_> {
        let Stored { ty, shape, .. } = &self.weight;
        let matrix = BlockMatrix { ty: *ty, bytes: self.weight.bytes(), out_features: shape[0], in_features: shape[1] };
        block_linear::Part { matrix, bias: self.bias.as_deref() }
    }
}

/// Whether a layer adds a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bias {
    Present,
    Absent,
}

impl Bias {
    /// As a configuration says it.
    pub(crate) fn when(is_present: bool) -> Bias {
        if is_present { Bias::Present } else { Bias::Absent }
    }
}

/// One of several layers that have the same input and are computed as one.
pub(crate) struct Part {
    name: String,
    out_features: usize,
    bias: Bias,
    rows: Option<Vec<usize>>,
}

impl Part {
    /// The layer of this name.
    pub(crate) fn new(name: &str, out_features: usize, bias: Bias) -> Part {
        Part { name: name.into(), out_features, bias, rows: None }
    }

    /// Takes the rows of the weight, and of the bias, in another order.
    pub(crate) fn with_rows(self, rows: Option<Vec<usize>>) -> Part {
        Part { rows, ..self }
    }

    fn weight(&self, weights: &Weights, in_features: usize) -> Result<Stored, WeightsError> {
        let weight = weights.stored(&format!("{}.weight", self.name), &[self.out_features, in_features])?;
        Ok(match &self.rows {
            Some(rows) => weight.with_rows(rows),
            None => weight,
        })
    }

    fn bias(&self, weights: &Weights) -> Result<Option<Vec<f32>>, WeightsError> {
        let name = format!("{}.bias", self.name);
        if self.bias == Bias::Absent {
            return if weights.has(&name) { Err(WeightsError::Unexpected(name)) } else { Ok(None) };
        }
        let bias = weights.values(&name, &[self.out_features])?;
        Ok(Some(match &self.rows {
            Some(rows) => rows.iter().map(|&row| bias[row]).collect(),
            None => bias,
        }))
    }
}

impl Linear {
    /// Reads layers that have the same input, as one layer whose outputs lie side by side. In main memory their weights stay
    /// as they are in the file, mapped and never copied.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape, or there is a bias where there should be none.
    pub(crate) fn mapped(
        weights: &Weights,
        parts: &[Part],
        in_features: usize,
        device: &Device,
    ) -> Result<Linear, WeightsError> {
        let stored =
            parts.iter().map(|part| Ok(StoredPart { weight: part.weight(weights, in_features)?, bias: part.bias(weights)? }));
        let stored = stored.collect::<Result<Vec<_>, WeightsError>>()?;
        let weight = if device::is_cpu(device) {
            Weight::Stored(stored)
        } else {
            let out_features = parts.iter().map(|part| part.out_features).sum();
            let weight = stored.iter().flat_map(|part| part.weight.values()).collect();
            let weight = device::tensor(weight, [out_features, in_features], device).transpose();
            let zeros = |part: &StoredPart| vec![0.0; part.weight.shape[0]];
            let bias = stored.iter().flat_map(|part| part.bias.clone().unwrap_or_else(|| zeros(part))).collect();
            Weight::Plain(Box::new([weight, device::tensor(bias, [1, out_features], device)]))
        };
        Ok(Linear { weight, activation: Activation::None, device: device.clone() })
    }

    /// The same layer with an activation after it.
    pub(crate) fn with_activation(self, activation: Activation) -> Linear {
        Linear { activation, ..self }
    }

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
            Weight::Stored(parts) => {
                let [tokens, _] = x.dims();
                let parts: Vec<_> = parts.iter().map(StoredPart::part).collect();
                let out_features: usize = parts.iter().map(|part| part.matrix.out_features).sum();
                let mut y = vec![0.0; tokens * out_features];
                device::with_values(x, |x| block_linear::linear(x, &parts, self.activation, &mut y));
                device::tensor(y, [tokens, out_features], &self.device)
            }
            Weight::Plain(plain) => {
                let [weight, bias] = (**plain).clone();
                activate(x.matmul(weight) + bias, self.activation)
            }
        }
    }
}

/// An activation with Burn's operations.
pub(super) fn activate(x: Tensor<2>, activation: Activation) -> Tensor<2> {
    match activation {
        Activation::None => x,
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => activation::gelu_approximate(x),
        Activation::Relu => activation::relu(x),
        Activation::Tanh => x.tanh(),
        Activation::Silu => activation::silu(x),
    }
}
