//! Models that are made up: they need no files, answer at once, and give the same to the same input.

use std::collections::BTreeSet;
use std::pin::Pin;

use engine::{
    ClassifyJob, EmbedJob, EmbedTokensJob, Embeddings, Entities, Entity, FinishReason, Forward, GenerateEvent, GenerateJob,
    GeneratePrompt, Generation, Input, LabelScore, ModelCard, ModelTask, Outcome, Outputs, Piece, RerankJob, Scores, Stats,
    TextLabels, TokenEmbeddings, TokenizeInput, Usage,
};
use policy::{CAPABILITIES, Classify, Embed, Generate, Nn, Permit, PolicyFile, Rerank, Tokenize};
use runtime::{Inference, InferenceError};

/// Length of a vector.
const DIMENSIONS: usize = 64;
/// Tokens that a prompt may have.
const TOKENS_MAX: usize = 4096;
/// Pieces of a generation that wait to be read.
const PIECES_WAITING_MAX: usize = 16;

/// Vectors count the words of a text, hashed, so that texts that share words are near; scores are the part of the query's words
/// that a document has; a text is `long` or `short`, and its parts are the words that begin with a capital letter; what is generated is the last message, word by word; a token is a word.
#[derive(Debug)]
pub(crate) struct Fake {
    models: BTreeSet<String>,
}

impl Fake {
    /// One with all models that a policy names.
    pub(crate) fn of(policy: &PolicyFile) -> Fake {
        let grants = CAPABILITIES.iter().filter_map(|capability| policy.models(capability));
        Fake { models: grants.flat_map(|grant| &grant.models).map(|model| model.name.to_string()).collect() }
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, InferenceError>> + Send + 'a>>;

fn ready<'a, T: Send + 'a>(answer: T) -> Answer<'a, T> {
    Box::pin(std::future::ready(Ok(answer)))
}

impl Inference for Fake {
    fn models(&self) -> Vec<ModelCard> {
        let card = |name: &String| ModelCard {
            name: name.clone(),
            family: "fake".into(),
            task: ModelTask::Embed,
            dimensions: DIMENSIONS,
            layers: 1,
            vocabulary: 1 << 16,
            tokens_max: TOKENS_MAX,
            labels: 0,
            prompts: Vec::new(),
            chat: true,
            digest: "0".repeat(64),
            origin: None,
        };
        self.models.iter().map(card).collect()
    }

    fn stats(&self) -> Stats {
        Stats::default()
    }

    fn embed(&self, permit: Permit<Embed>, job: EmbedJob) -> Answer<'_, Embeddings> {
        let (Embed { model }, _) = permit.spend();
        let dimensions = job.dimensions.unwrap_or(DIMENSIONS).clamp(1, DIMENSIONS);
        let texts: Vec<String> = job.inputs.iter().map(text_of).collect();
        let values = texts.iter().flat_map(|text| vector(text, dimensions)).collect();
        let usage = texts.iter().map(|text| usage(text)).collect();
        ready(Embeddings { model: model.into(), dimensions, values, usage })
    }

    fn embed_tokens(&self, permit: Permit<Embed>, job: EmbedTokensJob) -> Answer<'_, TokenEmbeddings> {
        let (Embed { model }, _) = permit.spend();
        let texts: Vec<String> = job.embed.inputs.iter().map(text_of).collect();
        let values = texts.iter().flat_map(|text| words(text).flat_map(|word| vector(&word, DIMENSIONS))).collect();
        let pooled = texts.iter().flat_map(|text| vector(text, DIMENSIONS)).collect();
        let usage = texts.iter().map(|text| usage(text)).collect();
        ready(TokenEmbeddings { model: model.into(), dimensions: DIMENSIONS, values, pooled, usage })
    }

    fn rerank(&self, permit: Permit<Rerank>, job: RerankJob) -> Answer<'_, Scores> {
        let (Rerank { model }, _) = permit.spend();
        let query: BTreeSet<String> = words(&job.query).collect();
        let score = |document: &String| {
            let found = words(document).collect::<BTreeSet<_>>().intersection(&query).count();
            found as f32 / query.len().max(1) as f32
        };
        let values = job.documents.iter().map(score).collect();
        let usage = job.documents.iter().map(|document| usage(document)).collect();
        ready(Scores { model: model.into(), values, usage })
    }

    fn classify(&self, permit: Permit<Classify>, job: ClassifyJob) -> Answer<'_, TextLabels> {
        let (Classify { model }, _) = permit.spend();
        let labels = |text: &String| {
            let long = (count(text) as f32 / 100.0).min(1.0);
            let mut labels =
                [("long", long), ("short", 1.0 - long)].map(|(label, score)| LabelScore { label: label.into(), score });
            labels.sort_by(|a, b| b.score.total_cmp(&a.score));
            labels.into()
        };
        let (texts, usage) = job.texts.iter().map(|text| (labels(text), usage(text))).unzip();
        ready(TextLabels { model: model.into(), texts, usage })
    }

    fn find_entities(&self, permit: Permit<Classify>, job: ClassifyJob) -> Answer<'_, Entities> {
        let (Classify { model }, _) = permit.spend();
        let (texts, usage) = job.texts.iter().map(|text| (capitals(text), usage(text))).unzip();
        ready(Entities { model: model.into(), texts, usage })
    }

    fn generate(&self, permit: Permit<Generate>, job: GenerateJob) -> Answer<'_, Generation> {
        let (Generate { model }, _) = permit.spend();
        let prompt = match job.prompt {
            GeneratePrompt::Text(text) => text,
            GeneratePrompt::Ids(ids) => text_of(&Input::Ids(ids)),
            GeneratePrompt::Chat(messages) => messages.into_iter().next_back().map(|last| last.content).unwrap_or_default(),
        };
        let pieces: Vec<String> = prompt.split_inclusive(char::is_whitespace).map(String::from).collect();
        let generated = job.tokens_max.unwrap_or(TOKENS_MAX).min(pieces.len());
        let reason = if generated < pieces.len() { FinishReason::Length } else { FinishReason::Stop };
        let outcome = Outcome { reason, prompt_tokens: count(&prompt), generated_tokens: number(generated) };
        let (sender, generation) = Generation::channel(model.into(), PIECES_WAITING_MAX);
        tokio::spawn(async move {
            let pieces =
                pieces.into_iter().take(generated).map(|text| GenerateEvent::Piece(Piece { text, tokens: Vec::new() }));
            for event in pieces.chain([GenerateEvent::Done(outcome)]) {
                // Nobody reads any more: the work is over.
                if sender.send(Ok(event)).await.is_err() {
                    return;
                }
            }
        });
        ready(generation)
    }

    fn tokenize(&self, _: Permit<Tokenize>, inputs: Vec<TokenizeInput>) -> Answer<'_, Vec<Vec<u32>>> {
        let text = |input| match input {
            TokenizeInput::Text { text, .. } => text,
            TokenizeInput::Chat(messages) => messages.into_iter().map(|message| message.content + " ").collect(),
        };
        let ids = |input| words(&text(input)).map(|word| hash(&word) & 0xffff).collect();
        ready(inputs.into_iter().map(ids).collect())
    }

    fn detokenize(&self, _: Permit<Tokenize>, ids: Vec<u32>) -> Answer<'_, String> {
        ready(text_of(&Input::Ids(ids)))
    }

    fn forward(&self, _: Permit<Nn>, inputs: Vec<Vec<u32>>) -> Answer<'_, Forward> {
        let values = inputs.iter().map(|ids| ids.iter().map(|id| *id as f32).collect()).collect();
        ready(Forward { outputs: Outputs::Hidden, width: 1, values })
    }
}

/// The vector of a text, of length 1.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut vector = vec![0.0; dimensions];
    for word in words(text) {
        vector[hash(&word) as usize % dimensions] += 1.0;
    }
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter().map(|value| value / length.max(f32::MIN_POSITIVE)).collect()
}

/// The words of a text that begin with a capital letter.
fn capitals(text: &str) -> Vec<Entity> {
    let mut start = 0;
    let mut found = Vec::new();
    for part in text.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let word = part.trim_end_matches(|c: char| !c.is_alphanumeric());
        if word.starts_with(char::is_uppercase) {
            found.push(Entity { label: "CAPITAL".into(), bytes: start..start + word.len(), score: 1.0 });
        }
        start += part.len();
    }
    found
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// FNV-1a.
fn hash(word: &str) -> u32 {
    word.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn text_of(input: &Input) -> String {
    match input {
        Input::Text(text) => text.clone(),
        Input::Ids(ids) => ids.iter().map(|id| format!("{id} ")).collect(),
    }
}

fn usage(text: &str) -> Usage {
    Usage { tokens: count(text), truncated: false }
}

fn count(text: &str) -> u32 {
    number(words(text).count())
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_share_words_are_near() {
        let similarity =
            |a: &str, b: &str| -> f32 { vector(a, DIMENSIONS).iter().zip(vector(b, DIMENSIONS)).map(|(a, b)| a * b).sum() };
        assert!((similarity("cats eat fish", "Cats eat fish.") - 1.0).abs() < 1e-6);
        assert!(similarity("cats eat fish", "cats eat mice") > similarity("cats eat fish", "trains run late"));
    }

    #[test]
    fn the_models_are_those_that_the_policy_names() {
        let text = "schema = 1\n[embed]\nmodels = [\"a\"]\n[generate]\nmodels = [\"b\", \"a\"]\n";
        let policy = PolicyFile::parse(std::path::Path::new("policy.toml"), text).expect("a good policy");
        let names: Vec<String> = Fake::of(&policy).models().into_iter().map(|card| card.name).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
