//! What models answered in a case, written down to be given again where the models are not.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use engine::{
    ClassifyJob, EmbedJob, EmbedTokensJob, Embeddings, Entities, Entity, FinishReason, Forward, GenerateEvent, GenerateJob,
    Generation, JobError, LabelScore, ModelCard, Outcome, Piece, RerankJob, Scores, Stats, TextLabels, TokenEmbeddings,
    TokenizeInput, Usage,
};
use policy::{Classify, Embed, Generate, Nn, Permit, Rerank, Tokenize};
use runtime::{Inference, InferenceError};
use serde::{Deserialize, Serialize};

/// Pieces of a generation that wait to be read.
const PIECES_WAITING_MAX: usize = 16;

/// Models whose answers are written down, or given from what was.
#[derive(Clone)]
pub(crate) struct Recorder {
    models: Arc<dyn Inference>,
    tape: Arc<Mutex<Tape>>,
}

/// What becomes of the questions to models.
#[derive(Default)]
enum Tape {
    /// The models answer.
    #[default]
    Off,
    /// The models answer, and it is written down.
    Records(Vec<Entry>),
    /// What was written down is the answer.
    Plays(Vec<Entry>),
}

/// `model.json` is a list of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    question: String,
    answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Answer {
    Embed { dimensions: usize, values: Vec<f32>, tokens: Vec<u32> },
    EmbedTokens { dimensions: usize, values: Vec<f32>, pooled: Vec<f32>, tokens: Vec<u32> },
    Rerank { values: Vec<f32>, tokens: Vec<u32> },
    Classify { texts: Vec<Vec<(String, f32)>>, tokens: Vec<u32> },
    FindEntities { texts: Vec<Vec<Part>>, tokens: Vec<u32> },
    Generate { pieces: Vec<String>, is_whole: bool, prompt_tokens: u32, generated_tokens: u32 },
}

/// An entity: its label, where it begins and ends, and its score.
type Part = (String, usize, usize, f32);

impl Recorder {
    /// One that lets the models answer.
    pub(crate) fn new(models: Arc<dyn Inference>) -> Recorder {
        Recorder { models, tape: Arc::default() }
    }

    /// Writes down what is answered from now on.
    pub(crate) fn record(&self) {
        *self.tape() = Tape::Records(Vec::new());
    }

    /// Gives what is written in a file, if it is there; else the models answer.
    ///
    /// # Errors
    /// When the file is malformed.
    pub(crate) fn play(&self, file: &Path) -> anyhow::Result<()> {
        *self.tape() = Tape::Off;
        if file.is_file() {
            let text = std::fs::read(file).with_context(|| format!("{} can't be read", file.display()))?;
            *self.tape() = Tape::Plays(serde_json::from_slice(&text).with_context(|| file.display().to_string())?);
        }
        Ok(())
    }

    /// Writes what was recorded into a file; nothing where no model was asked.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn save(&self, file: &Path) -> anyhow::Result<()> {
        match std::mem::take(&mut *self.tape()) {
            Tape::Records(entries) if !entries.is_empty() => {
                let text = serde_json::to_string_pretty(&entries)? + "\n";
                std::fs::write(file, text).with_context(|| format!("{} can't be written", file.display()))
            }
            _ => Ok(()),
        }
    }

    /// The recorded answer to a question; none where the models are to give it.
    fn recorded(&self, question: &str) -> Option<Result<Answer, JobError>> {
        let tape = self.tape();
        let Tape::Plays(entries) = &*tape else { return None };
        let found = entries.iter().find(|entry| entry.question == question).map(|entry| entry.answer.clone());
        Some(found.ok_or_else(unrecorded))
    }

    fn note(&self, question: String, answer: Answer) {
        if let Tape::Records(entries) = &mut *self.tape() {
            entries.push(Entry { question, answer });
        }
    }

    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a generation on, and writes it down when it comes to a good end.
    fn overheard(&self, question: String, mut generation: Generation) -> Generation {
        let (sender, passed) = Generation::channel(generation.model.clone(), PIECES_WAITING_MAX);
        let recorder = self.clone();
        tokio::spawn(async move {
            let mut pieces = Vec::new();
            while let Some(event) = generation.next().await {
                match &event {
                    Ok(GenerateEvent::Piece(piece)) => pieces.push(piece.text.clone()),
                    Ok(GenerateEvent::Done(Outcome { reason, prompt_tokens, generated_tokens })) => {
                        let is_whole = *reason == FinishReason::Stop;
                        let (prompt_tokens, generated_tokens) = (*prompt_tokens, *generated_tokens);
                        let pieces = std::mem::take(&mut pieces);
                        let answer = Answer::Generate { pieces, is_whole, prompt_tokens, generated_tokens };
                        recorder.note(question.clone(), answer);
                    }
                    Err(_) => {}
                }
                if sender.send(event).await.is_err() {
                    return; // nobody reads any more
                }
            }
        });
        passed
    }
}

fn unrecorded() -> JobError {
    JobError::InvalidInput("model.json has no answer to this: record it by `tessera test --record --models DIR`".into())
}

/// A generation of pieces that are there already.
fn played(model: String, pieces: Vec<String>, outcome: Outcome) -> Generation {
    let (sender, generation) = Generation::channel(model, PIECES_WAITING_MAX);
    tokio::spawn(async move {
        let pieces = pieces.into_iter().map(|text| GenerateEvent::Piece(Piece { text, tokens: Vec::new() }));
        for event in pieces.chain([GenerateEvent::Done(outcome)]) {
            if sender.send(Ok(event)).await.is_err() {
                return; // nobody reads any more
            }
        }
    });
    generation
}

fn usage(tokens: Vec<u32>) -> Vec<Usage> {
    tokens.into_iter().map(|tokens| Usage { tokens, truncated: false }).collect()
}

fn tokens(usage: &[Usage]) -> Vec<u32> {
    usage.iter().map(|usage| usage.tokens).collect()
}

type Answered<'a, T> = Pin<Box<dyn Future<Output = Result<T, InferenceError>> + Send + 'a>>;

impl Inference for Recorder {
    fn models(&self) -> Vec<ModelCard> {
        self.models.models()
    }

    fn stats(&self) -> Stats {
        self.models.stats()
    }

    fn embed(&self, permit: Permit<Embed>, job: EmbedJob) -> Answered<'_, Embeddings> {
        let question = format!("embed {:?} {:?} {:?} {:?}", job.inputs, job.prompt, job.normalize, job.dimensions);
        Box::pin(async move {
            if let Some(recorded) = self.recorded(&question) {
                let (Embed { model }, _) = permit.spend();
                let Answer::Embed { dimensions, values, tokens } = recorded? else { return Err(unrecorded()) };
                return Ok(Embeddings { model: model.into(), dimensions, values, usage: usage(tokens) });
            }
            let made = self.models.embed(permit, job).await?;
            let (dimensions, values, tokens) = (made.dimensions, made.values.clone(), tokens(&made.usage));
            self.note(question, Answer::Embed { dimensions, values, tokens });
            Ok(made)
        })
    }

    fn embed_tokens(&self, permit: Permit<Embed>, job: EmbedTokensJob) -> Answered<'_, TokenEmbeddings> {
        let question = format!("embed-tokens {:?} {:?} {:?}", job.embed.inputs, job.embed.prompt, job.embed.normalize);
        Box::pin(async move {
            if let Some(recorded) = self.recorded(&question) {
                let (Embed { model }, _) = permit.spend();
                let Answer::EmbedTokens { dimensions, values, pooled, tokens } = recorded? else { return Err(unrecorded()) };
                return Ok(TokenEmbeddings { model: model.into(), dimensions, values, pooled, usage: usage(tokens) });
            }
            let made = self.models.embed_tokens(permit, job).await?;
            let (values, pooled) = (made.values.clone(), made.pooled.clone());
            let answer = Answer::EmbedTokens { dimensions: made.dimensions, values, pooled, tokens: tokens(&made.usage) };
            self.note(question, answer);
            Ok(made)
        })
    }

    fn rerank(&self, permit: Permit<Rerank>, job: RerankJob) -> Answered<'_, Scores> {
        let question = format!("rerank {:?} {:?} {}", job.query, job.documents, job.raw_scores);
        Box::pin(async move {
            if let Some(recorded) = self.recorded(&question) {
                let (Rerank { model }, _) = permit.spend();
                let Answer::Rerank { values, tokens } = recorded? else { return Err(unrecorded()) };
                return Ok(Scores { model: model.into(), values, usage: usage(tokens) });
            }
            let made = self.models.rerank(permit, job).await?;
            self.note(question, Answer::Rerank { values: made.values.clone(), tokens: tokens(&made.usage) });
            Ok(made)
        })
    }

    fn classify(&self, permit: Permit<Classify>, job: ClassifyJob) -> Answered<'_, TextLabels> {
        let question = format!("classify {:?}", job.texts);
        Box::pin(async move {
            if let Some(recorded) = self.recorded(&question) {
                let (Classify { model }, _) = permit.spend();
                let Answer::Classify { texts, tokens } = recorded? else { return Err(unrecorded()) };
                let score = |(label, score)| LabelScore { label, score };
                let texts = texts.into_iter().map(|labels| labels.into_iter().map(score).collect()).collect();
                return Ok(TextLabels { model: model.into(), texts, usage: usage(tokens) });
            }
            let made = self.models.classify(permit, job).await?;
            let pair = |LabelScore { label, score }: &LabelScore| (label.clone(), *score);
            let texts = made.texts.iter().map(|labels| labels.iter().map(pair).collect()).collect();
            self.note(question, Answer::Classify { texts, tokens: tokens(&made.usage) });
            Ok(made)
        })
    }

    fn find_entities(&self, permit: Permit<Classify>, job: ClassifyJob) -> Answered<'_, Entities> {
        let question = format!("find-entities {:?}", job.texts);
        Box::pin(async move {
            if let Some(recorded) = self.recorded(&question) {
                let (Classify { model }, _) = permit.spend();
                let Answer::FindEntities { texts, tokens } = recorded? else { return Err(unrecorded()) };
                let entity = |(label, start, end, score)| Entity { label, bytes: start..end, score };
                let texts = texts.into_iter().map(|parts| parts.into_iter().map(entity).collect()).collect();
                return Ok(Entities { model: model.into(), texts, usage: usage(tokens) });
            }
            let made = self.models.find_entities(permit, job).await?;
            let part = |entity: &Entity| (entity.label.clone(), entity.bytes.start, entity.bytes.end, entity.score);
            let texts = made.texts.iter().map(|parts| parts.iter().map(part).collect()).collect();
            self.note(question, Answer::FindEntities { texts, tokens: tokens(&made.usage) });
            Ok(made)
        })
    }

    fn generate(&self, permit: Permit<Generate>, job: GenerateJob) -> Answered<'_, Generation> {
        let question = format!("generate {:?} {:?} {:?}", job.prompt, job.tokens_max, job.stop);
        Box::pin(async move {
            let Some(recorded) = self.recorded(&question) else {
                let generation = self.models.generate(permit, job).await?;
                return Ok(self.overheard(question, generation));
            };
            let (Generate { model }, _) = permit.spend();
            match recorded? {
                Answer::Generate { pieces, is_whole, prompt_tokens, generated_tokens } => {
                    let reason = if is_whole { FinishReason::Stop } else { FinishReason::Length };
                    Ok(played(model.into(), pieces, Outcome { reason, prompt_tokens, generated_tokens }))
                }
                _ => Err(unrecorded()),
            }
        })
    }

    fn tokenize(&self, permit: Permit<Tokenize>, inputs: Vec<TokenizeInput>) -> Answered<'_, Vec<Vec<u32>>> {
        self.models.tokenize(permit, inputs)
    }

    fn detokenize(&self, permit: Permit<Tokenize>, ids: Vec<u32>) -> Answered<'_, String> {
        self.models.detokenize(permit, ids)
    }

    fn forward(&self, permit: Permit<Nn>, inputs: Vec<Vec<u32>>) -> Answered<'_, Forward> {
        self.models.forward(permit, inputs)
    }
}

#[cfg(test)]
mod tests {
    use policy::PolicyFile;

    use super::super::fake::Fake;
    use super::*;

    #[test]
    fn what_was_recorded_is_given_again_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("model.json");
        let policy = PolicyFile::parse(Path::new("policy.toml"), "schema = 1\n").expect("a policy");
        let recorder = Recorder::new(Arc::new(Fake::of(&policy)));
        recorder.record();
        let answer = Answer::Rerank { values: vec![0.5, -1.0], tokens: vec![3, 4] };
        recorder.note("a".into(), answer.clone());
        recorder.save(&file).expect("writes");
        assert!(recorder.recorded("a").is_none(), "after it is saved the models answer");
        recorder.play(&file).expect("reads");
        assert!(matches!(recorder.recorded("a"), Some(Ok(given)) if given == answer));
        assert!(matches!(recorder.recorded("b"), Some(Err(JobError::InvalidInput(text))) if text.contains("--record")));
        recorder.play(&folder.path().join("none.json")).expect("there is none");
        assert!(recorder.recorded("a").is_none());
    }
}
