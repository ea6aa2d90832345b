//! The engine as capabilities see it. Every method takes a permit and acts on the model inside it.

use std::sync::Arc;

use engine::{
    Account, Charge, ClassifyJob, EmbedJob, EmbedTokensJob, Embeddings, Engine, Entities, Forward, ForwardJob, GenerateJob,
    Generation, JobError, ModelCard, RerankJob, Scores, Stats, TextLabels, TokenEmbeddings, TokenizeInput,
};
use futures::future::BoxFuture;
use policy::{Classify, Embed, Generate, Nn, Permit, Rerank, Reservation, Tokenize};

/// Why the engine gave no answer.
pub type InferenceError = JobError;

/// Something that runs models: the engine, or a fake in tests and benches. Dropping a future drops its work.
pub trait Inference: Send + Sync + 'static {
    /// The models that can be used.
    fn models(&self) -> Vec<ModelCard>;

    /// The model of this name; none if it can't be used.
    fn model(&self, name: &str) -> Option<ModelCard> {
        self.models().into_iter().find(|card| card.name == name)
    }

    /// Counts for metrics.
    fn stats(&self) -> Stats;

    /// Embeds with the model of the permit, whatever the job says.
    fn embed(&self, permit: Permit<Embed>, job: EmbedJob) -> BoxFuture<'_, Result<Embeddings, InferenceError>>;

    /// Embeds tokens with the model of the permit, whatever the job says.
    fn embed_tokens(
        &self,
        permit: Permit<Embed>,
        job: EmbedTokensJob,
    ) -> BoxFuture<'_, Result<TokenEmbeddings, InferenceError>>;

    /// Reranks with the model of the permit, whatever the job says.
    fn rerank(&self, permit: Permit<Rerank>, job: RerankJob) -> BoxFuture<'_, Result<Scores, InferenceError>>;

    /// Labels texts with the model of the permit, whatever the job says.
    fn classify(&self, permit: Permit<Classify>, job: ClassifyJob) -> BoxFuture<'_, Result<TextLabels, InferenceError>>;

    /// Labels parts of texts with the model of the permit, whatever the job says.
    fn find_entities(&self, permit: Permit<Classify>, job: ClassifyJob) -> BoxFuture<'_, Result<Entities, InferenceError>>;

    /// Generates with the model of the permit, whatever the job says. Dropping the generation drops its work as well.
    fn generate(&self, permit: Permit<Generate>, job: GenerateJob) -> BoxFuture<'_, Result<Generation, InferenceError>>;

    /// The ids of each input in the vocabulary of the permit's model.
    fn tokenize(
        &self,
        permit: Permit<Tokenize>,
        inputs: Vec<TokenizeInput>,
    ) -> BoxFuture<'_, Result<Vec<Vec<u32>>, InferenceError>>;

    /// The text of ids of the permit's model.
    fn detokenize(&self, permit: Permit<Tokenize>, ids: Vec<u32>) -> BoxFuture<'_, Result<String, InferenceError>>;

    /// Runs the model of the permit once on each input's token ids.
    fn forward(&self, permit: Permit<Nn>, inputs: Vec<Vec<u32>>) -> BoxFuture<'_, Result<Forward, InferenceError>>;
}

/// What was set aside for an operation, as the engine sees it: the account of its job.
struct Book(Reservation);

fn account(reservation: Reservation) -> Option<Arc<dyn Account>> {
    Some(Arc::new(Book(reservation)))
}

impl Account for Book {
    fn hold(&self, bytes: usize) -> bool {
        self.0.hold(bytes as u64)
    }

    fn release(&self, bytes: usize) {
        self.0.release(bytes as u64);
    }

    fn charge(&self, Charge { input_tokens, output_tokens, device_ns }: Charge) -> bool {
        self.0.charge(input_tokens, output_tokens, device_ns)
    }
}

impl Inference for Engine {
    fn models(&self) -> Vec<ModelCard> {
        Engine::models(self).cloned().collect()
    }

    fn model(&self, name: &str) -> Option<ModelCard> {
        Engine::models(self).find(|card| card.name == name).cloned()
    }

    fn stats(&self) -> Stats {
        Engine::stats(self)
    }

    fn embed(&self, permit: Permit<Embed>, job: EmbedJob) -> BoxFuture<'_, Result<Embeddings, InferenceError>> {
        let (Embed { model }, book) = permit.spend();
        Box::pin(Engine::embed(self, EmbedJob { model: model.into(), account: account(book), ..job }))
    }

    fn embed_tokens(
        &self,
        permit: Permit<Embed>,
        job: EmbedTokensJob,
    ) -> BoxFuture<'_, Result<TokenEmbeddings, InferenceError>> {
        let (Embed { model }, book) = permit.spend();
        let embed = EmbedJob { model: model.into(), account: account(book), ..job.embed };
        Box::pin(Engine::embed_tokens(self, EmbedTokensJob { embed, ..job }))
    }

    fn rerank(&self, permit: Permit<Rerank>, job: RerankJob) -> BoxFuture<'_, Result<Scores, InferenceError>> {
        let (Rerank { model }, book) = permit.spend();
        Box::pin(Engine::rerank(self, RerankJob { model: model.into(), account: account(book), ..job }))
    }

    fn classify(&self, permit: Permit<Classify>, job: ClassifyJob) -> BoxFuture<'_, Result<TextLabels, InferenceError>> {
        let (Classify { model }, book) = permit.spend();
        Box::pin(Engine::classify(self, ClassifyJob { model: model.into(), account: account(book), ..job }))
    }

    fn find_entities(&self, permit: Permit<Classify>, job: ClassifyJob) -> BoxFuture<'_, Result<Entities, InferenceError>> {
        let (Classify { model }, book) = permit.spend();
        Box::pin(Engine::find_entities(self, ClassifyJob { model: model.into(), account: account(book), ..job }))
    }

    fn generate(&self, permit: Permit<Generate>, job: GenerateJob) -> BoxFuture<'_, Result<Generation, InferenceError>> {
        let (Generate { model }, book) = permit.spend();
        Box::pin(Engine::generate(self, GenerateJob { model: model.into(), account: account(book), ..job }))
    }

    fn tokenize(
        &self,
        permit: Permit<Tokenize>,
        inputs: Vec<TokenizeInput>,
    ) -> BoxFuture<'_, Result<Vec<Vec<u32>>, InferenceError>> {
        Box::pin(async move { Engine::tokenize(self, permit.redeem().model.as_str(), inputs).await })
    }

    fn detokenize(&self, permit: Permit<Tokenize>, ids: Vec<u32>) -> BoxFuture<'_, Result<String, InferenceError>> {
        Box::pin(async move { Engine::detokenize(self, permit.redeem().model.as_str(), ids).await })
    }

    fn forward(&self, permit: Permit<Nn>, inputs: Vec<Vec<u32>>) -> BoxFuture<'_, Result<Forward, InferenceError>> {
        let (Nn { model }, book) = permit.spend();
        Box::pin(Engine::forward(self, ForwardJob { model: model.into(), inputs, account: account(book) }))
    }
}
