//! Activation functions, fused into the end of a linear layer or with the gate of a feed-forward network.

use rayon::prelude::*;

use super::gemm::tile::LANES;
use super::isa::{Isa, Kernel};
use super::math::{erf, exp, tanh};
use super::parallel::threads_for;

/// Numbers of a gated output that make one more thread worth its wake-up.
const NUMBERS_PER_THREAD: usize = 24 * 1024;

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

/// out = activation(gate) · up (Shazeer, arXiv:2002.05202), on the current rayon pool when that pays.
///
/// # Shapes
/// `gate_up`: `[rows, 2, width]`, the gate first, as one linear layer gives both; `out`: `[rows, width]`, whatever it held
/// before.
///
/// # Panics
/// If a length does not fit these shapes.
pub(crate) fn gated(gate_up: &[f32], width: usize, activation: Activation, out: &mut [f32]) {
    gated_on(Isa::detected(), gate_up, width, activation, out);
}

fn gated_on(isa: Isa, gate_up: &[f32], width: usize, activation: Activation, out: &mut [f32]) {
    assert!(width > 0 && out.len().is_multiple_of(width), "out is [rows, width]");
    assert_eq!(gate_up.len(), 2 * out.len(), "gate_up is [rows, 2, width]");
    let rows = out.len() / width;
    let part = match threads_for(out.len(), NUMBERS_PER_THREAD) {
        1 => rows.max(1),
        threads => rows.div_ceil(threads * 4),
    };
    let parts = out.par_chunks_mut(part * width).zip(gate_up.par_chunks(part * 2 * width));
    parts.for_each(|(out, gate_up)| isa.run(Gated { gate_up, width, activation, out }));
}

struct Gated<'a> {
    gate_up: &'a [f32],
    width: usize,
    activation: Activation,
    out: &'a mut [f32],
}

impl Kernel for Gated<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let rows = self.out.chunks_exact_mut(self.width).zip(self.gate_up.chunks_exact(2 * self.width));
        for (out, gate_up) in rows {
            let (gate, up) = gate_up.split_at(self.width);
            out.copy_from_slice(gate);
            self.activation.apply_inline(out);
            for (out, up) in out.iter_mut().zip(up) {
                *out *= up;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn a_gated_row_alone_equals_its_row_in_a_batch_split_over_threads() {
        let gate_up: Vec<f32> = (0..1001 * 200).map(|i| 3.0 * (i as f32 * 0.37).sin()).collect();
        let mut batch = vec![f32::NAN; 1001 * 100];
        gated(&gate_up, 100, Activation::Silu, &mut batch);
        for (gate_up, batch) in gate_up.chunks(200).zip(batch.chunks(100)) {
            let mut alone = vec![f32::NAN; 100];
            gated(gate_up, 100, Activation::Silu, &mut alone);
            assert_eq!(alone, batch);
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

        #[test]
        fn gated_paths_equal_the_portable_twin_bit_for_bit_and_f64_closely(
            rows in 1_usize..4, width in 1_usize..70, step in 0.3_f32..0.9,
        ) {
            let gate_up: Vec<f32> = (0..2 * rows * width).map(|i| 5.0 * (i as f32 * step).sin()).collect();
            for activation in ALL {
                let mut twin = vec![f32::NAN; rows * width];
                gated_on(Isa::PORTABLE, &gate_up, width, activation, &mut twin);
                for (i, y) in twin.iter().enumerate() {
                    let (gate, up) = (i / width * 2 * width + i % width, (i / width * 2 + 1) * width + i % width);
                    let exact = exact(activation, f64::from(gate_up[gate])) * f64::from(gate_up[up]);
                    prop_assert!((f64::from(*y) - exact).abs() < 1e-5, "{:?}: {} is not {}", activation, y, exact);
                }
                for isa in Isa::available() {
                    let mut y = vec![f32::NAN; rows * width];
                    gated_on(isa, &gate_up, width, activation, &mut y);
                    prop_assert_eq!(&y, &twin, "{:?} {:?}", activation, isa);
                }
            }
        }
    }
}
