//! Classifiers: how many labels a checkpoint has and what of, what they are called, and how likely each is.

use serde_json::Value;

use super::ModelError;
use crate::weights::Weights;

/// What the labels of a classifier are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Classified {
    /// Whole texts, or pairs of them.
    Texts,
    /// Every token of a text.
    Tokens,
}

/// The classifier of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Classifier {
    pub(super) labels: usize,
    pub(super) of: Classified,
}

/// Finds the classifier that a configuration names, and its size in the weights.
///
/// `layers` are the names of the last layer of a classifier of texts and of one of tokens.
pub(super) fn classifier(config: &Value, weights: &Weights, layers: [&str; 2]) -> Option<Classifier> {
    let names = config["architectures"].as_array()?;
    let is_named = |ending: &str| names.iter().filter_map(Value::as_str).any(|name| name.ends_with(ending));
    let kinds = [("ForSequenceClassification", Classified::Texts), ("ForTokenClassification", Classified::Tokens)];
    let ((_, of), layer) = kinds.into_iter().zip(layers).find(|((ending, _), _)| is_named(ending))?;
    let labels = *weights.shape(&format!("{layer}.weight"))?.first()?;
    Some(Classifier { labels, of })
}

/// How scores come from logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scoring {
    /// One label fits: scores add up to 1.
    Softmax,
    /// Any number of labels fit: each has a score of its own.
    Sigmoid,
}

/// What the labels of a model are called and how they are scored, as `pipeline` of transformers does it.
#[derive(Debug)]
pub(crate) struct Labels {
    pub(crate) names: Vec<String>,
    pub(crate) of: Classified,
    scoring: Scoring,
}

impl Labels {
    /// Reads `id2label` and `problem_type`. Labels without names are `LABEL_0`, `LABEL_1` and so on.
    ///
    /// # Errors
    /// When there are not as many names as labels, or scores are no probabilities.
    pub(super) fn read(config: &Value, Classifier { labels, of }: Classifier) -> Result<Labels, ModelError> {
        if labels == 0 {
            return Err(ModelError::Config("the classifier has no labels".into()));
        }
        let named = &config["id2label"];
        let names: Option<Vec<String>> = (0..labels).map(|id| Some(named[id.to_string()].as_str()?.to_owned())).collect();
        let count = named.as_object().map_or(0, serde_json::Map::len);
        let names = match names.filter(|_| count == labels) {
            Some(names) => names,
            None if labels == 1 || count == 0 => (0..labels).map(|id| format!("LABEL_{id}")).collect(),
            None => {
                let reason = format!("id2label names {count} labels; the classifier has {labels}, counted from 0");
                return Err(ModelError::Config(reason));
            }
        };
        let scoring = match config["problem_type"].as_str() {
            _ if of == Classified::Tokens => Scoring::Softmax,
            _ if labels == 1 => Scoring::Sigmoid,
            None | Some("single_label_classification") => Scoring::Softmax,
            Some("multi_label_classification") => Scoring::Sigmoid,
            Some(other) => return Err(ModelError::Unsupported(format!("problem_type = {other}"))),
        };
        Ok(Labels { names, of, scoring })
    }

    /// How well each label fits, from 0 to 1.
    ///
    /// # Shapes
    /// `[labels]` → `[labels]`
    pub(crate) fn scores(&self, logits: &[f32]) -> Vec<f32> {
        match self.scoring {
            Scoring::Sigmoid => logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
            Scoring::Softmax => {
                let largest = logits.iter().copied().fold(f32::MIN, f32::max);
                let powers: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
                let sum: f32 = powers.iter().sum();
                powers.iter().map(|power| power / sum).collect()
            }
        }
    }
}

#[cfg(test)]
impl Labels {
    /// The labels of a classifier of tokens.
    pub(crate) fn of_tokens(config: &Value, labels: usize) -> Labels {
        Labels::read(config, Classifier { labels, of: Classified::Tokens }).expect("good labels")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(config: &Value, labels: usize, of: Classified) -> Result<Labels, ModelError> {
        Labels::read(config, Classifier { labels, of })
    }

    #[test]
    fn names_come_from_the_configuration_or_are_counted() {
        let names = |config: &Value, labels| read(config, labels, Classified::Texts).map(|labels| labels.names);
        assert_eq!(names(&json!({"id2label": {"1": "b", "0": "a"}}), 2).expect("named"), ["a", "b"]);
        assert_eq!(names(&json!({}), 2).expect("counted"), ["LABEL_0", "LABEL_1"]);
        for wrong in [json!({"id2label": {"0": "a"}}), json!({"id2label": {"1": "a", "2": "b"}})] {
            assert!(names(&wrong, 2).expect_err("refused").to_string().contains("id2label"), "{wrong}");
        }
        assert!(names(&json!({}), 0).is_err());
    }

    #[test]
    fn scores_of_one_label_among_many_add_up_to_1() {
        let labels = read(&json!({}), 3, Classified::Tokens).expect("reads");
        let scores = labels.scores(&[1000.0, 1000.0, -1000.0]);
        assert_eq!(scores, [0.5, 0.5, 0.0]);
    }

    #[test]
    fn labels_that_fit_together_have_scores_of_their_own() {
        let config = json!({"problem_type": "multi_label_classification"});
        assert_eq!(read(&config, 2, Classified::Texts).expect("reads").scores(&[0.0, 100.0]), [0.5, 1.0]);
        assert_eq!(read(&json!({}), 1, Classified::Texts).expect("reads").scores(&[0.0]), [0.5]);
        let error = read(&json!({"problem_type": "regression"}), 2, Classified::Texts).expect_err("refused");
        assert!(error.to_string().contains("regression"), "{error}");
    }
}
