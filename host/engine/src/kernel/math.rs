//! Elementary functions without branches, so that a loop over them becomes vector code under any [`super::isa::Isa`].
//!
//! All keep NaN, and give the same bits scalar and vectorised, since each multiply-add is a fused one.

/// eˣ, relative error below 2e-7; below -87.3 it stays at 1.2e-38, above 88.7 at 3.3e38.
///
/// Range reduction and polynomial of Cephes `expf` (Moshier, 1992); rounding to the nearest power of two by the
/// constant 1.5·2²³, whose low mantissa bits then hold the exponent.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = clamp(x, -87.3, 88.7);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let power = shifted - ROUND;
    let r = power.mul_add(-LN2_LOW, power.mul_add(-LN2_HIGH, x));
    let mut p = 1.987_569_1e-4_f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    p = p.mul_add(r * r, r + 1.0);
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// erf(x), absolute error below 4e-7.
///
/// Rational minimax approximation on [-4, 4] of Eigen, `generic_fast_erf_float` in `SpecialFunctionsImpl.h` (3.3).
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let x = clamp(x, -4.0, 4.0);
    let s = x * x;
    let mut p = -2.726_142_3e-10_f32;
    p = p.mul_add(s, 2.770_681_4e-8);
    p = p.mul_add(s, -2.101_024_1e-6);
    p = p.mul_add(s, -5.692_506_4e-5);
    p = p.mul_add(s, -7.349_906_3e-4);
    p = p.mul_add(s, -2.954_6e-3);
    p = p.mul_add(s, -1.609_603_3e-2);
    let mut q = -1.456_607_2e-5_f32;
    q = q.mul_add(s, -2.133_740_6e-4);
    q = q.mul_add(s, -1.682_826_9e-3);
    q = q.mul_add(s, -7.373_329_2e-3);
    q = q.mul_add(s, -1.426_473_9e-2);
    x * p / q
}

/// tanh(x), absolute error below 4e-7.
///
/// Rational minimax approximation on [-9, 9] of Eigen, `generic_fast_tanh_float` in `MathFunctionsImpl.h` (3.3).
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let x = clamp(x, -9.0, 9.0);
    let s = x * x;
    let mut p = -2.760_768_5e-16_f32;
    p = p.mul_add(s, 2.000_188e-13);
    p = p.mul_add(s, -8.604_672e-11);
    p = p.mul_add(s, 5.122_297e-8);
    p = p.mul_add(s, 1.485_722_4e-5);
    p = p.mul_add(s, 6.372_619e-4);
    p = p.mul_add(s, 4.893_524_6e-3);
    let mut q = 1.198_258_4e-6_f32;
    q = q.mul_add(s, 1.185_347_1e-4);
    q = q.mul_add(s, 2.268_434_6e-3);
    q = q.mul_add(s, 4.893_525e-3);
    x * p / q
}

/// `x` held in `[low, high]`; unlike `f32::clamp` and `max` it is one vector instruction a side, and keeps NaN.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// Σ f(x): 32 sums side by side, to hide the latency of an addition, then halved until one is left.
#[inline(always)]
pub(super) fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    fold(x, 0.0, |sum, x| sum + f(x), |low, high| low + high)
}

/// The largest number, or -∞ of none; NaN may be passed over.
#[inline(always)]
pub(super) fn max(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    fold(x, f32::NEG_INFINITY, larger, larger)
}

/// 32 parts: more of them are no longer kept in registers.
#[inline(always)]
fn fold(x: &[f32], start: f32, take: impl Fn(f32, f32) -> f32, merge: impl Fn(f32, f32) -> f32) -> f32 {
    let mut parts = [start; 32];
    let (chunks, rest) = x.as_chunks::<32>();
    for chunk in chunks {
        for (part, &x) in parts.iter_mut().zip(chunk) {
            *part = take(*part, x);
        }
    }
    for (part, &x) in parts.iter_mut().zip(rest) {
        *part = take(*part, x);
    }
    for half in [16, 8, 4, 2, 1] {
        let (low, high) = parts.split_at_mut(half);
        for (low, &mut high) in low.iter_mut().zip(high) {
            *low = merge(*low, high);
        }
    }
    parts[0]
}

#[cfg(test)]
pub(super) mod reference {
    //! The same functions in f64.

    /// erf by the series 2/√π · e^(-x²) · Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!!, all terms of one sign (Abramowitz and Stegun 7.1.6).
    pub(crate) fn erf(x: f64) -> f64 {
        if x.abs() > 6.0 {
            return x.signum();
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..400 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(low: f32, high: f32) -> impl Iterator<Item = f32> {
        (0_u16..=50_000).map(move |i| low + (high - low) * f32::from(i) / 50_000.0)
    }

    #[test]
    fn erf_is_within_its_error_of_the_series() {
        let worst = grid(-7.0, 7.0).map(|x| (f64::from(erf(x)) - reference::erf(f64::from(x))).abs()).fold(0.0, f64::max);
        assert!(worst < 4e-7, "worst error {worst:e}");
    }

    #[test]
    fn tanh_is_within_its_error_of_f64() {
        let worst = grid(-12.0, 12.0).map(|x| (f64::from(tanh(x)) - f64::from(x).tanh()).abs()).fold(0.0, f64::max);
        assert!(worst < 4e-7, "worst error {worst:e}");
    }

    #[test]
    fn exp_is_within_its_relative_error_of_f64() {
        let worst = grid(-87.2, 88.6).map(|x| (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs()).fold(0.0, f64::max);
        assert!(worst < 2e-7, "worst relative error {worst:e}");
    }

    #[test]
    fn infinities_saturate_and_nan_stays() {
        assert!(exp(f32::NEG_INFINITY) < 1.3e-38 && exp(f32::INFINITY) > 3e38 && exp(f32::NAN).is_nan());
        assert!(erf(f32::INFINITY) > 0.999_999 && erf(f32::NEG_INFINITY) < -0.999_999 && erf(f32::NAN).is_nan());
        assert!(tanh(f32::INFINITY) > 0.999_999 && tanh(f32::NEG_INFINITY) < -0.999_999 && tanh(f32::NAN).is_nan());
    }
}
