//! How well documents answer a query, on the host's device.
//!
//! Needs `[rerank]` in the component's policy; only the models listed there exist for the component.
//!
//! ```no_run
//! # async fn example() -> Result<(), tessera_sdk::Error> {
//! use tessera_sdk::rerank::{self, Options};
//!
//! let scores = rerank::rerank("What is Deep Learning?", ["It is ...", "It is not ..."], Options::default()).await?;
//! let (best, score) = scores.ranked()[0];
//! # Ok(())
//! # }
//! ```

use crate::bindings::tessera::rerank::rerank as host;
use crate::inference;

pub use host::{Options, Scores, models};

/// Scores every document against the query, in the order given.
///
/// # Errors
/// Those of the host; see [`inference::ErrorCode`]. No documents at all is `invalid-input`.
pub async fn rerank<D>(query: impl Into<String>, documents: D, options: Options) -> Result<Scores, inference::Error>
where
    D: IntoIterator,
    D::Item: Into<String>,
{
    let documents = documents.into_iter().map(Into::into).collect();
    host::rerank(query.into(), documents, options).await
}

impl Scores {
    /// Index and score of each document, best first. Equal scores keep their order; one that is no number comes last.
    pub fn ranked(&self) -> Vec<(usize, f32)> {
        let mut ranked: Vec<_> = self.values.iter().copied().enumerate().collect();
        let key = |score: f32| if score.is_nan() { f32::NEG_INFINITY } else { score };
        ranked.sort_by(|(_, a), (_, b)| key(*b).total_cmp(&key(*a)));
        ranked
    }
}

impl Default for Options {
    /// The policy's first model, scores from 0 to 1; too long a document is an error.
    fn default() -> Self {
        Self { model: None, truncate: false, raw_scores: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(values: &[f32]) -> Vec<usize> {
        let scores = Scores { model: "m".into(), values: values.to_vec(), usage: Vec::new() };
        scores.ranked().into_iter().map(|(index, _)| index).collect()
    }

    #[test]
    fn ranked_puts_the_best_first() {
        assert_eq!(order(&[0.1, 0.9, 0.5]), [1, 2, 0]);
    }

    #[test]
    fn ranked_keeps_the_order_of_equals() {
        assert_eq!(order(&[0.5, 0.5, 0.7, 0.5]), [2, 0, 1, 3]);
    }

    #[test]
    fn ranked_puts_what_is_no_number_last() {
        assert_eq!(order(&[f32::NAN, -f32::NAN, -3.0]), [2, 0, 1]);
    }
}
