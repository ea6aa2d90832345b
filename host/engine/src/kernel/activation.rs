//! Activation functions, fused into the end of a linear layer.

use super::gemm::tile::LANES;
use super::math::{erf, exp, tanh};

/// The function applied to each output of a linear layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Activation {
    /// x.
    #[default]
    None,
    /// x·Φ(x) with the exact normal distribution: `gelu` of Hugging Face configs (Hendrycks and Gimpel,
    /// arXiv:1606.08415). Absolute error below 1e-6.
    Gelu,
    /// The tanh approximation of GELU: `gelu_new` and `gelu_pytorch_tanh`.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// tanh(x).
    Tanh,
    /// x·σ(x), also called swish.
    Silu,
}

impl Activation {
    /// Applies it in place, inside a [`Kernel`](super::isa::Kernel); chosen once a slice, so that each loop is vectorised.
    #[inline(always)]
    pub(super) fn apply_inline(self, x: &mut [f32]) {
        match self {
            Activation::None => {}
            Activation::Gelu => map(x, gelu),
            Activation::GeluTanh => map(x, gelu_tanh),
            Activation::Relu => map(x, relu),
            Activation::Tanh => map(x, tanh),
            Activation::Silu => map(x, silu),
        }
    }
}

#[inline(always)]
fn map(x: &mut [f32], f: impl Fn(f32) -> f32) {
    let (lanes, rest) = x.as_chunks_mut::<LANES>();
    for lane in lanes {
        for x in lane {
            *x = f(*x);
        }
    }
    for x in rest {
        *x = f(*x);
    }
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    let half = 0.5 * x;
    half.mul_add(erf(x * std::f32::consts::FRAC_1_SQRT_2), half)
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    let half = 0.5 * x;
    let inner = SQRT_2_OVER_PI * x * (0.044_715 * x).mul_add(x, 1.0);
    half.mul_add(tanh(inner), half)
}

#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::isa::{Isa, Kernel};
    use crate::kernel::math::reference;
    use proptest::prelude::*;

    struct Apply<'a> {
        activation: Activation,
        x: &'a mut [f32],
    }

    impl Kernel for Apply<'_> {
        type Output = ();

        #[inline(always)]
        fn run(self) {
            self.activation.apply_inline(self.x);
        }
    }

    const ALL: [Activation; 6] =
        [Activation::None, Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Tanh, Activation::Silu];

    fn exact(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::None => x,
            Activation::Gelu => 0.5 * x * (1.0 + reference::erf(x / std::f64::consts::SQRT_2)),
            Activation::GeluTanh => {
                0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
            }
            Activation::Relu => x.max(0.0),
            Activation::Tanh => x.tanh(),
            Activation::Silu => x / (1.0 + (-x).exp()),
        }
    }

    #[test]
    fn each_activation_is_within_1e_6_of_f64() {
        for activation in ALL {
            let x: Vec<f32> = (-12_000_i16..=12_000).map(|i| f32::from(i) / 1000.0).collect();
            let mut y = x.clone();
            Isa::detected().run(Apply { activation, x: &mut y });
            for (x, y) in x.iter().zip(&y) {
                let error = (f64::from(*y) - exact(activation, f64::from(*x))).abs();
                let bound = 1e-6_f64.max(2e-7 * f64::from(x.abs()));
                assert!(error <= bound, "{activation:?}({x}) is off by {error:e}");
            }
        }
    }

    proptest! {
        #[test]
        fn vector_paths_equal_the_portable_twin_bit_for_bit(x in prop::collection::vec(-30.0_f32..30.0, 0..70)) {
            for activation in ALL {
                let mut twin = x.clone();
                Isa::PORTABLE.run(Apply { activation, x: &mut twin });
                for isa in Isa::available() {
                    let mut y = x.clone();
                    isa.run(Apply { activation, x: &mut y });
                    prop_assert_eq!(&y, &twin, "{:?} {:?}", activation, isa);
                }
            }
        }
    }
}
