//! Classification: labels for texts, and for parts of texts, as `pipeline` of transformers computes them from the same files.

mod entities;

use std::sync::Arc;

pub use entities::Entity;

use super::{Prepared, Truncation, Usage, Want, admit, fits, usage};
use crate::account::Account;
use crate::batch::Tokens;
use crate::engine::JobError;
use crate::model::{Classified, Labels, Model};
use crate::tokenizer::Tokenizer;

/// A wish for labels.
#[derive(Debug, Clone)]
pub struct ClassifyJob {
    /// Registry name of the model.
    pub model: String,
    /// At least one text.
    pub texts: Vec<String>,
    /// What to do with long texts.
    pub truncation: Truncation,
    /// Bytes that the answer may take.
    pub answer_bytes_max: usize,
    /// Whose work it is; none is nobody's, and counted nowhere.
    pub account: Option<Arc<dyn Account>>,
}

/// How much a label fits.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelScore {
    /// As the model's files name it.
    pub label: String,
    /// From 0 to 1.
    pub score: f32,
}

/// Labels of whole texts.
#[derive(Debug, Clone, PartialEq)]
pub struct TextLabels {
    /// Registry name of the model.
    pub model: String,
    /// For each text all labels of the model, the best first.
    pub texts: Vec<Vec<LabelScore>>,
    /// One entry for each text.
    pub usage: Vec<Usage>,
}

/// Labels of parts of texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Entities {
    /// Registry name of the model.
    pub model: String,
    /// For each text its parts, in order and apart from each other.
    pub texts: Vec<Vec<Entity>>,
    /// One entry for each text.
    pub usage: Vec<Usage>,
}

/// Bytes of an item of an answer beside its label's text: where that is, a score and two places.
const ITEM_BYTES: usize = 20;

/// Tokenizes and checks a job for a model that classifies texts.
pub(crate) fn prepare(model: &Model, job: ClassifyJob) -> Result<Prepared<TextLabels>, JobError> {
    let (labels, tokenizer) = parts(model, Classified::Texts)?;
    let ClassifyJob { model: name, texts, truncation, answer_bytes_max, account } = job;
    let bytes: usize = labels.names.iter().map(|name| name.len() + ITEM_BYTES).sum();
    fits(bytes.saturating_mul(texts.len()), answer_bytes_max, "texts")?;
    let inputs = texts.iter().enumerate().map(|(index, text)| admit(model, index, tokenizer.encode(text), truncation));
    let inputs = inputs.collect::<Result<Vec<Tokens>, JobError>>()?;
    let usage = inputs.iter().map(usage).collect();
    let finish = move |outputs: Vec<Vec<f32>>| {
        let texts = outputs.iter().map(|logits| best_first(&labels, logits)).collect();
        TextLabels { model: name, texts, usage }
    };
    Ok(Prepared { account, want: Want::Logits, inputs, finish: Box::new(finish) })
}

/// Tokenizes and checks a job for a model that classifies tokens.
pub(crate) fn prepare_entities(model: &Model, job: ClassifyJob) -> Result<Prepared<Entities>, JobError> {
    let (labels, tokenizer) = parts(model, Classified::Tokens)?;
    let ClassifyJob { model: name, texts, truncation, answer_bytes_max, account } = job;
    let (mut inputs, mut places) = (Vec::with_capacity(texts.len()), Vec::with_capacity(texts.len()));
    for (index, text) in texts.iter().enumerate() {
        let (tokens, found) = match tokenizer.encode_with_places(text) {
            Ok((tokens, found)) => (Ok(tokens), found),
            Err(error) => (Err(error), Vec::new()),
        };
        inputs.push(admit(model, index, tokens, truncation)?);
        places.push(found);
    }
    let longest = labels.names.iter().map(String::len).max().unwrap_or(0);
    let tokens: usize = inputs.iter().map(|input| input.ids.len()).sum();
    fits(tokens.saturating_mul(longest + ITEM_BYTES), answer_bytes_max, "texts")?;
    let usage = inputs.iter().map(usage).collect();
    let finish = move |outputs: Vec<Vec<f32>>| {
        let parts = texts.iter().zip(&places).zip(&outputs);
        let texts = parts.map(|((text, places), logits)| entities::find(text, places, &labels, logits)).collect();
        Entities { model: name, texts, usage }
    };
    Ok(Prepared { account, want: Want::Logits, inputs, finish: Box::new(finish) })
}

/// The labels and the tokenizer of a model that classifies what is asked for.
fn parts(model: &Model, wanted: Classified) -> Result<(Arc<Labels>, &Tokenizer), JobError> {
    let unsupported = |text: &str| Err(JobError::Unsupported(text.into()));
    let labels = match (&model.labels, wanted) {
        (Some(labels), _) if labels.of == wanted => labels.clone(),
        (Some(_), Classified::Texts) => return unsupported("this model labels parts of texts: use `find-entities`"),
        (Some(_), Classified::Tokens) => return unsupported("this model labels whole texts: use `classify`"),
        (None, _) => return unsupported("this model has no labels: use a classifier"),
    };
    Ok((labels, model.tokenizer.as_ref().ok_or(JobError::NoTokenizer)?))
}

fn best_first(labels: &Labels, logits: &[f32]) -> Vec<LabelScore> {
    let scored = labels.names.iter().cloned().zip(labels.scores(logits));
    let mut scored: Vec<LabelScore> = scored.map(|(label, score)| LabelScore { label, score }).collect();
    scored.sort_by(|a, b| b.score.total_cmp(&a.score));
    scored
}
