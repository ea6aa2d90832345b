//! Whether a text is about what the operator wants nothing said about: how near its vector is to those of examples.

/// Most examples.
pub(crate) const TOPICS_MAX: usize = 100;

/// The greatest cosine of the vectors of a text's windows with those of the examples, all of length 1. -1 where there are none.
///
/// # Shapes
/// Each vector is `[dimensions]`.
pub(crate) fn score(windows: &[Vec<f32>], topics: &[Vec<f32>]) -> f32 {
    let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let all = windows.iter().flat_map(|window| topics.iter().map(|topic| cosine(window, topic)));
    all.fold(-1.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_of_all_pairs_counts() {
        let (x, y, between) = (vec![1.0, 0.0], vec![0.0, 1.0], vec![0.6, 0.8]);
        assert_eq!(score(&[x.clone(), between], &[y]), 0.8);
        assert_eq!(score(&[x], &[]), -1.0);
    }
}
