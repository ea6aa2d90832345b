//! An engine that answers at once and counts what it was asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engine::{EmbedJob, Embeddings, JobError, ModelCard, ModelTask, RerankJob, Scores, Stats, Usage};
use futures::future::{BoxFuture, FutureExt};
use policy::{Embed, Permit, Rerank};
use runtime::{Inference, InferenceError};

/// Vectors of three numbers: the input's length, its place in the job, and 1. Scores are the documents' lengths.
#[derive(Debug, Default)]
pub struct FakeInference {
    /// Jobs that reached the engine.
    pub jobs: AtomicUsize,
    /// Jobs that reached the engine and were dropped before their answer.
    pub dropped: AtomicUsize,
    /// How long each job takes.
    pub delay: Duration,
    /// What every job gets instead of an answer.
    pub failure: Option<JobError>,
}

impl FakeInference {
    async fn work<T>(&self, answer: T) -> Result<T, InferenceError> {
        self.jobs.fetch_add(1, Ordering::SeqCst);
        let mut guard = CountDropped(Some(&self.dropped));
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        guard.0 = None;
        self.failure.clone().map_or(Ok(answer), Err)
    }
}

struct CountDropped<'a>(Option<&'a AtomicUsize>);

impl Drop for CountDropped<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn usage(count: usize) -> Vec<Usage> {
    vec![Usage { tokens: 1, truncated: false }; count]
}

impl Inference for FakeInference {
    fn models(&self) -> Vec<ModelCard> {
        let card = |name: &str| ModelCard {
            name: name.into(),
            family: "fake".into(),
            task: ModelTask::Embed,
            dimensions: 3,
            layers: 1,
            vocabulary: 100,
            tokens_max: 256,
            labels: 0,
            prompts: Vec::new(),
        };
        vec![card("fake"), card("other")]
    }

    fn stats(&self) -> Stats {
        Stats::default()
    }

    fn embed(&self, permit: Permit<Embed>, job: EmbedJob) -> BoxFuture<'_, Result<Embeddings, InferenceError>> {
        let length = |input: &engine::Input| match input {
            engine::Input::Text(text) => text.len(),
            engine::Input::Ids(ids) => ids.len(),
        };
        let vector = |(place, input)| [length(input) as f32, place as f32, 1.0];
        let values = job.inputs.iter().enumerate().flat_map(vector).collect();
        let usage = usage(job.inputs.len());
        self.work(Embeddings { model: permit.redeem().model.into(), dimensions: 3, values, usage }).boxed()
    }

    fn rerank(&self, permit: Permit<Rerank>, job: RerankJob) -> BoxFuture<'_, Result<Scores, InferenceError>> {
        let values = job.documents.iter().map(|document| document.len() as f32).collect();
        let usage = usage(job.documents.len());
        self.work(Scores { model: permit.redeem().model.into(), values, usage }).boxed()
    }
}
