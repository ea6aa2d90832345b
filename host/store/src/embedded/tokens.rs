//! Vectors of tokens in 8 bits a number, and how near a chunk's are to a query's.

use numkong::Dot;

use super::dense::unit;

/// Bytes of a token's scale before its numbers.
const SCALE_BYTES: usize = 4;

/// Vectors of length 1, each in whole numbers from -127 to 127 and what they have to be multiplied with.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct TokenVectors {
    dimensions: usize,
    scales: Vec<f32>,
    numbers: Vec<i8>,
}

impl TokenVectors {
    /// Vectors one after the other, brought to length 1.
    pub(super) fn new(vectors: &[f32], dimensions: usize) -> TokenVectors {
        let mut tokens = TokenVectors { dimensions, ..TokenVectors::default() };
        for vector in vectors.chunks_exact(dimensions.max(1)) {
            let vector = unit(vector);
            let largest = vector.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
            let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
            tokens.scales.push(scale);
            tokens.numbers.extend(vector.iter().map(|number| (number / scale).round() as i8));
        }
        tokens
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let tokens = self.scales.iter().zip(self.numbers.chunks_exact(self.dimensions.max(1)));
        let bytes = |(scale, numbers): (&f32, &[i8])| {
            let mut bytes = scale.to_le_bytes().to_vec();
            bytes.extend(numbers.iter().map(|&number| number as u8));
            bytes
        };
        tokens.flat_map(bytes).collect()
    }

    pub(super) fn from_bytes(bytes: &[u8], dimensions: usize) -> TokenVectors {
        let mut tokens = TokenVectors { dimensions, ..TokenVectors::default() };
        for token in bytes.chunks_exact(SCALE_BYTES + dimensions) {
            let Some((scale, numbers)) = token.split_first_chunk() else { continue };
            tokens.scales.push(f32::from_le_bytes(*scale));
            tokens.numbers.extend(numbers.iter().map(|&number| number as i8));
        }
        tokens
    }

    /// MaxSim (Khattab and Zaharia, 2020), as a mean: over the tokens of this, the query, of the highest cosine with one of the
    /// chunk's.
    pub(super) fn similarity(&self, chunk: &TokenVectors) -> Option<f32> {
        if self.scales.is_empty() || chunk.scales.is_empty() || self.dimensions != chunk.dimensions {
            return None;
        }
        let best = |(scale, numbers): (&f32, &[i8])| {
            let chunk = chunk.scales.iter().zip(chunk.numbers.chunks_exact(self.dimensions));
            let cosines = chunk.map(|(other, theirs)| i8::dot(numbers, theirs).unwrap_or_default() as f32 * other);
            cosines.fold(f32::NEG_INFINITY, f32::max) * scale
        };
        let sum: f32 = self.scales.iter().zip(self.numbers.chunks_exact(self.dimensions)).map(best).sum();
        Some(sum / self.scales.len() as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_the_best_cosines_is_near_that_of_the_vectors_themselves() {
        let wave = |token: usize, step: f32| (0..32).map(move |i| ((i * (token + 2)) as f32 * step).sin());
        let query: Vec<f32> = (0..3).flat_map(|token| wave(token, 0.37)).collect();
        let chunk: Vec<f32> = (0..5).flat_map(|token| wave(token, 0.41)).collect();
        let cosine = |a: &[f32], b: &[f32]| super::super::dense::dot(&unit(a), &unit(b));
        let best = |a: &[f32]| chunk.chunks_exact(32).map(|b| cosine(a, b)).fold(f32::NEG_INFINITY, f32::max);
        let expected = query.chunks_exact(32).map(best).sum::<f32>() / 3.0;
        let stored = TokenVectors::from_bytes(&TokenVectors::new(&chunk, 32).to_bytes(), 32);
        let found = TokenVectors::new(&query, 32).similarity(&stored).expect("both have tokens");
        assert!((found - expected).abs() < 0.01, "{found} is not {expected}");
    }

    #[test]
    fn without_tokens_there_is_no_similarity() {
        let none = TokenVectors::new(&[], 2);
        assert_eq!(TokenVectors::new(&[1.0, 0.0], 2).similarity(&none), None);
    }
}
