//! The engine as capabilities see it. Every method takes a permit and acts on the model inside it.

use engine::{
    EmbedJob, Embeddings, Engine, Forward, ForwardJob, GenerateJob, Generation, JobError, ModelCard, RerankJob, Scores, Stats,
    TokenizeInput,
};
use futures::future::BoxFuture;
use policy::{Embed, Generate, Nn, Permit, Rerank, Tokenize};

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

    /// Generates with the model of the permit, whatever the job says. Dropping the generation drops its work as well.
    fn generate(&self, permit: Permit<Generate>, job: GenerateJob) -> BoxFuture<'_, Result<Generation, InferenceError>>;

    /// The ids of an input in the vocabulary of the permit's model.
    fn tokenize(&self, permit: Permit<Tokenize>, input: TokenizeInput) -> BoxFuture<'_, Result<Vec<u32>, InferenceError>>;

    /// The text of ids of the permit's model.
    fn detokenize(&self, permit: Permit<Tokenize>, ids: Vec<u32>) -> BoxFuture<'_, Result<String, InferenceError>>;

    /// Runs the model of the permit once on each input's token ids.
    fn forward(&self, permit: Permit<Nn>, inputs: Vec<Vec<u32>>) -> BoxFuture<'_, Result<Forward, InferenceError>>;
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

    fn generate(&self, permit: Permit<Generate>, job: GenerateJob) -> BoxFuture<'_, Result<Generation, InferenceError>> {
        let model = permit.redeem().model.into();
        Box::pin(Engine::generate(self, GenerateJob { model, ..job }))
    }

    fn tokenize(&self, permit: Permit<Tokenize>, input: TokenizeInput) -> BoxFuture<'_, Result<Vec<u32>, InferenceError>> {
        Box::pin(async move { Engine::tokenize(self, permit.redeem().model.as_str(), input).await })
    }

    fn detokenize(&self, permit: Permit<Tokenize>, ids: Vec<u32>) -> BoxFuture<'_, Result<String, InferenceError>> {
        Box::pin(async move { Engine::detokenize(self, permit.redeem().model.as_str(), ids).await })
    }

    fn forward(&self, permit: Permit<Nn>, inputs: Vec<Vec<u32>>) -> BoxFuture<'_, Result<Forward, InferenceError>> {
        let model = permit.redeem().model.into();
        Box::pin(Engine::forward(self, ForwardJob { model, inputs }))
    }
}
