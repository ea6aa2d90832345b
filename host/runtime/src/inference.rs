//! The engine as capabilities see it. Every method takes a permit and acts on the model inside it.

use engine::{EmbedJob, Embeddings, Engine, JobError, ModelCard, RerankJob, Scores, Stats};
use futures::future::BoxFuture;
use policy::{Embed, Permit, Rerank};

/// Why the engine gave no answer.
pub type InferenceError = JobError;

/// Something that runs models: the engine, or a fake in tests and benches. Dropping a future drops its work.
pub trait Inference: Send + Sync + 'static {
    /// The models that can be used.
    fn models(&self) -> Vec<ModelCard>;

    /// Counts for metrics.
    fn stats(&self) -> Stats;

    /// Embeds with the model of the permit, whatever the job says.
    fn embed(&self, permit: Permit<Embed>, job: EmbedJob) -> BoxFuture<'_, Result<Embeddings, InferenceError>>;

    /// Reranks with the model of the permit, whatever the job says.
    fn rerank(&self, permit: Permit<Rerank>, job: RerankJob) -> BoxFuture<'_, Result<Scores, InferenceError>>;
}

impl Inference for Engine {
    fn models(&self) -> Vec<ModelCard> {
        Engine::models(self).cloned().collect()
    }

    fn stats(&self) -> Stats {
        Engine::stats(self)
    }

    fn embed(&self, permit: Permit<Embed>, job: EmbedJob) -> BoxFuture<'_, Result<Embeddings, InferenceError>> {
        let model = permit.redeem().model.into();
        Box::pin(Engine::embed(self, EmbedJob { model, ..job }))
    }

    fn rerank(&self, permit: Permit<Rerank>, job: RerankJob) -> BoxFuture<'_, Result<Scores, InferenceError>> {
        let model = permit.redeem().model.into();
        Box::pin(Engine::rerank(self, RerankJob { model, ..job }))
    }
}
