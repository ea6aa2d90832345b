//! Numbers that look random and are the same everywhere: for weights that only have a shape, and for tests.

/// Numbers in [-1, 1) that repeat only after 2³² of them (a linear congruence of Numerical Recipes).
pub(crate) fn numbers(count: usize, mut seed: u32) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from((seed >> 16) as u16) / 32_768.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
