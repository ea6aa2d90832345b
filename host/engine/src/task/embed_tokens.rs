//! Vectors of an input's tokens, for late interaction (Khattab and Zaharia, 2020, arXiv:2004.12832), and of the input as a
//! whole, by one forward pass.

use super::embed::{self, EmbedJob, unit};
use super::{Prepared, Usage, Want, fits};
use crate::engine::JobError;
use crate::model::Model;

/// A wish for the vectors of tokens.
#[derive(Debug, Clone)]
pub struct EmbedTokensJob {
    /// What to embed, and how. Vectors have all the model's dimensions: `dimensions` has to be none.
    pub embed: EmbedJob,
    /// Bytes that the numbers of the answer may take.
    pub answer_bytes_max: usize,
}

/// The vectors of a job's tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenEmbeddings {
    /// Registry name of the model.
    pub model: String,
    /// Length of one vector.
    pub dimensions: usize,
    /// All vectors, each of length 1, token by token and input by input, special tokens included. Shape `[tokens, dimensions]`.
    pub values: Vec<f32>,
    /// Vectors of the whole inputs, as [`Embeddings`](crate::Embeddings) has them. Shape `[inputs, dimensions]`.
    pub pooled: Vec<f32>,
    /// One entry for each input, with the number of its tokens.
    pub usage: Vec<Usage>,
}

/// Tokenizes and checks a job.
pub(crate) fn prepare(model: &Model, job: EmbedTokensJob) -> Result<Prepared<TokenEmbeddings>, JobError> {
    let EmbedTokensJob { embed: job, answer_bytes_max } = job;
    if job.dimensions.is_some() {
        return Err(JobError::InvalidInput("the vectors of tokens have all dimensions: leave `dimensions` out".into()));
    }
    let Prepared { account, inputs, finish: pooled, .. } = embed::prepare(model, job)?;
    let dimensions = model.card().dimensions;
    let tokens: usize = inputs.iter().map(|input| input.ids.len()).sum();
    fits((tokens + inputs.len()) * dimensions * size_of::<f32>(), answer_bytes_max, "inputs")?;
    let pooling = model.embed.pooling;
    let finish = move |outputs: Vec<Vec<f32>>| {
        let whole = outputs.iter().map(|tokens| pooling.pool(tokens, dimensions)).collect();
        let values = outputs.iter().flat_map(|tokens| unit_rows(tokens, dimensions)).collect();
        let embed::Embeddings { model, values: pooled, usage, .. } = pooled(whole);
        TokenEmbeddings { model, dimensions, values, pooled, usage }
    };
    Ok(Prepared { account, want: Want::Tokens, inputs, finish: Box::new(finish) })
}

/// Rows scaled to length 1.
///
/// # Shapes
/// `[tokens, width]` → `[tokens, width]`
pub(super) fn unit_rows(tokens: &[f32], width: usize) -> impl Iterator<Item = f32> {
    tokens.chunks_exact(width).flat_map(|row| unit(row.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::device::DeviceSpec;
    use crate::task::Truncation;
    use crate::task::embed::{Input, Normalize, Prompt};

    fn model() -> Model {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/bert-encoder");
        Model::open(&golden, DeviceSpec::default()).expect("loads")
    }

    fn job(answer_bytes_max: usize) -> EmbedTokensJob {
        let embed = EmbedJob {
            model: "m".into(),
            inputs: vec![Input::Ids(vec![5, 6, 7]), Input::Ids(vec![9])],
            prompt: Prompt::Standard,
            truncation: Truncation::Refuse,
            normalize: Normalize::Never,
            dimensions: None,
            account: None,
        };
        EmbedTokensJob { embed, answer_bytes_max }
    }

    fn run<T>(model: &Model, prepared: Prepared<T>) -> T {
        let outputs = model.run(prepared.want, prepared.inputs.iter());
        (prepared.finish)(outputs)
    }

    #[test]
    fn tokens_have_length_1_and_the_whole_is_what_embed_gives() {
        let model = model();
        let width = model.card().dimensions;
        let done = run(&model, prepare(&model, job(usize::MAX)).expect("in range"));
        assert_eq!((done.dimensions, done.values.len()), (width, 4 * width));
        assert_eq!(done.usage.iter().map(|usage| usage.tokens).collect::<Vec<_>>(), [3, 1]);
        for row in done.values.chunks_exact(width) {
            assert!((row.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
        }
        let whole = run(&model, embed::prepare(&model, job(0).embed).expect("in range"));
        assert!(done.pooled.iter().zip(&whole.values).all(|(a, b)| (a - b).abs() < 1e-6));
        assert_eq!(done.pooled.len(), whole.values.len());
    }

    #[test]
    fn an_answer_that_would_be_too_large_is_refused_before_any_work() {
        let model = model();
        let bytes = (4 + 2) * model.card().dimensions * 4;
        assert!(prepare(&model, job(bytes)).is_ok());
        let error = prepare(&model, job(bytes - 1)).err().expect("refused").to_string();
        assert!(error.contains(&format!("{bytes} bytes")) && error.contains("fewer inputs"), "{error}");
    }

    #[test]
    fn fewer_dimensions_are_refused() {
        let mut job = job(usize::MAX);
        job.embed.dimensions = Some(8);
        assert!(matches!(prepare(&model(), job), Err(JobError::InvalidInput(reason)) if reason.contains("dimensions")));
    }
}
