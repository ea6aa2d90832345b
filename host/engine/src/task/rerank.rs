//! Reranking: how well documents answer a query. A cross-encoder reads query and document together (Nogueira and Cho, 2019,
//! arXiv:1901.04085); any other encoder scores by late interaction, ColBERT's MaxSim (Khattab and Zaharia, 2020,
//! arXiv:2004.12832), as the mean over query tokens so that scores don't grow with the query.

use std::sync::Arc;

use super::embed_tokens::unit_rows;
use super::{Prepared, Truncation, Usage, Want, admit, usage};
use crate::account::Account;
use crate::batch::Tokens;
use crate::engine::JobError;
use crate::kernel::activation::Activation;
use crate::kernel::gemm::{self, PackedWeight};
use crate::model::{Model, ModelTask};

/// A wish for scores.
#[derive(Debug, Clone)]
pub struct RerankJob {
    /// Registry name of the model.
    pub model: String,
    /// What is looked for.
    pub query: String,
    /// At least one text.
    pub documents: Vec<String>,
    /// What to do with long texts.
    pub truncation: Truncation,
    /// Give a cross-encoder's output as it is, not through the logistic function.
    pub raw_scores: bool,
    /// Whose work it is; none is nobody's, and counted nowhere.
    pub account: Option<Arc<dyn Account>>,
}

/// The scores of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Registry name of the model.
    pub model: String,
    /// One score for each document, in input order; higher is better.
    pub values: Vec<f32>,
    /// What each document cost: for a cross-encoder the pair, otherwise the document (the first with the query's tokens).
    pub usage: Vec<Usage>,
}

/// Tokenizes and checks a job.
pub(crate) fn prepare(model: &Model, job: RerankJob) -> Result<Prepared<Scores>, JobError> {
    match model.card().task {
        ModelTask::Rerank => prepare_cross_encoder(model, job),
        ModelTask::Embed => prepare_late_interaction(model, job),
        ModelTask::Generate => {
            Err(JobError::Unsupported("this is a language model; a reranker is a cross-encoder or an embedding model".into()))
        }
        ModelTask::Classify | ModelTask::ClassifyTokens => {
            let labels = model.card().labels;
            Err(JobError::Unsupported(format!("this model has {labels} labels; a reranker has one, or is an embedding model")))
        }
    }
}

fn prepare_cross_encoder(model: &Model, job: RerankJob) -> Result<Prepared<Scores>, JobError> {
    let RerankJob { model: name, query, documents, truncation, raw_scores, account } = job;
    let tokenizer = model.tokenizer.as_ref().ok_or(JobError::NoTokenizer)?;
    let pairs = documents.iter().enumerate();
    let pairs = pairs.map(|(index, document)| admit(model, index, tokenizer.encode_pair(&query, document), truncation));
    let inputs = pairs.collect::<Result<Vec<Tokens>, JobError>>()?;
    let usage = inputs.iter().map(usage).collect();
    let score = move |logits: Vec<f32>| if raw_scores { logits[0] } else { 1.0 / (1.0 + (-logits[0]).exp()) };
    let finish = move |outputs: Vec<Vec<f32>>| Scores { model: name, values: outputs.into_iter().map(score).collect(), usage };
    Ok(Prepared { account, want: Want::Logits, inputs, finish: Box::new(finish) })
}

fn prepare_late_interaction(model: &Model, job: RerankJob) -> Result<Prepared<Scores>, JobError> {
    let tokenizer = model.tokenizer.as_ref().ok_or(JobError::NoTokenizer)?;
    let width = model.card().dimensions;
    let texts = std::iter::once(&job.query).chain(&job.documents).enumerate();
    let inputs = texts.map(|(index, text)| {
        // Counted from the first document; the query is refused in the same words as document 0.
        admit(model, index.saturating_sub(1), tokenizer.encode(text.trim()), job.truncation)
    });
    let inputs = inputs.collect::<Result<Vec<Tokens>, JobError>>()?;
    let mut usage: Vec<Usage> = inputs[1..].iter().map(usage).collect();
    if let Some(first) = usage.first_mut() {
        first.tokens = first.tokens.saturating_add(super::usage(&inputs[0]).tokens);
    }
    let finish = move |outputs: Vec<Vec<f32>>| {
        let mut outputs = outputs.into_iter().map(|tokens| unit_rows(&tokens, width).collect::<Vec<f32>>());
        let query = outputs.next().unwrap_or_default();
        let values = outputs.map(|document| max_sim(&query, &document, width)).collect();
        Scores { model: job.model, values, usage }
    };
    Ok(Prepared { account: job.account, want: Want::Tokens, inputs, finish: Box::new(finish) })
}

/// The mean over query tokens of the best cosine with a document token; rows have length 1.
///
/// # Shapes
/// `[query tokens, width]`, `[document tokens, width]`
fn max_sim(query: &[f32], document: &[f32], width: usize) -> f32 {
    let (query_tokens, document_tokens) = (query.len() / width, document.len() / width);
    let document = PackedWeight::pack(document, document_tokens, width);
    let mut cosines = vec![0.0; query_tokens * document_tokens]; // [query tokens, document tokens]
    gemm::linear(query, &document, None, Activation::None, &mut cosines);
    let best = cosines.chunks_exact(document_tokens).map(|row| row.iter().copied().fold(f32::MIN, f32::max));
    best.sum::<f32>() / query_tokens as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_sim_takes_the_best_document_token_for_each_query_token() {
        let query = unit_rows(&[1.0, 0.0, 0.0, 2.0], 2).collect::<Vec<_>>();
        let document = unit_rows(&[3.0, 0.0, 1.0, 1.0], 2).collect::<Vec<_>>();
        let half = std::f32::consts::FRAC_1_SQRT_2;
        assert!((max_sim(&query, &document, 2) - f32::midpoint(1.0, half)).abs() < 1e-6);
    }
}
