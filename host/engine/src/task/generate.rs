//! Generation: text after a prompt, token by token, as a stream.

pub(crate) mod sampler;
pub(crate) mod text;

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use super::tokenize::{self, TokenizeInput};
use crate::account::Account;
use crate::batch::Tokens;
use crate::engine::JobError;
use crate::model::Model;
use crate::template::Message;
use crate::tokenizer::Tokenizer;
use crate::worker::{Reader, Sequence};
use sampler::{Sampler, Sampling, logprobs};
use text::{Pushed, TextStream};

/// What to go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GeneratePrompt {
    /// A text, in which the model's special tokens are only text. The tokens that the model wants at the start are added.
    Text(String),
    /// Token ids of the model's vocabulary, used as they are.
    Ids(Vec<u32>),
    /// A conversation, put into the model's own form by its chat template.
    Chat(Vec<Message>),
}

/// A wish for text.
#[derive(Debug, Clone)]
pub struct GenerateJob {
    /// Registry name of the model.
    pub model: String,
    /// What to go on from.
    pub prompt: GeneratePrompt,
    /// Most tokens to generate; none goes on to the end of the model's context.
    pub tokens_max: Option<usize>,
    /// Texts that end the generation; they are not part of the answer.
    pub stop: Vec<String>,
    /// How tokens are picked.
    pub sampling: Sampling,
    /// Tell the log-probability of each token, and of so many alternatives.
    pub logprobs: Option<usize>,
    /// Whose work it is; none is nobody's, and counted nowhere.
    pub account: Option<Arc<dyn Account>>,
}

/// One step of a generation.
#[derive(Debug, Clone, PartialEq)]
pub enum GenerateEvent {
    /// More text.
    Piece(Piece),
    /// The end; nothing comes after it.
    Done(Outcome),
}

/// Text that was generated since the last piece.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Piece {
    /// Whole characters; empty when the next one is not complete.
    pub text: String,
    /// The tokens, if their log-probabilities were asked for.
    pub tokens: Vec<TokenLogprobs>,
}

/// A token that was picked, and what else might have been.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// The one picked.
    pub token: Logprob,
    /// The likeliest ones, best first.
    pub top: Vec<Logprob>,
}

/// How likely a token was.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprob {
    /// Its id.
    pub id: u32,
    /// Its bytes, which need not be whole characters.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability before any sampling setting.
    pub logprob: f32,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended its text, or a stop text came.
    Stop,
    /// The most tokens were generated, or the context is full.
    Length,
}

/// What a generation was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens of the prompt, special tokens included.
    pub prompt_tokens: u32,
    /// Tokens generated, the one that ended it included.
    pub generated_tokens: u32,
}

/// A generation under way. Dropping it stops the work at the device's next step and frees its memory.
#[derive(Debug)]
pub struct Generation {
    /// Registry name of the model.
    pub model: String,
    events: mpsc::Receiver<Result<GenerateEvent, JobError>>,
}

/// The other end of a [`Generation`].
pub type GenerationSender = mpsc::Sender<Result<GenerateEvent, JobError>>;

impl Generation {
    /// A generation whose events come from the sender; it holds as many as `capacity` that nobody has read.
    pub fn channel(model: String, capacity: usize) -> (GenerationSender, Generation) {
        let (sender, events) = mpsc::channel(capacity.max(1));
        (sender, Generation { model, events })
    }

    /// The next event; none after the last. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the device failed, the owner's quota is used up or the engine stops; nothing comes after it. An end without
    /// [`GenerateEvent::Done`] is [`JobError::Stopped`].
    pub async fn next(&mut self) -> Option<Result<GenerateEvent, JobError>> {
        self.events.recv().await
    }

    /// The same for who polls.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<GenerateEvent, JobError>>> {
        self.events.poll_recv(cx)
    }
}

/// Stop texts of one generation: each is looked for at every step.
pub const STOPS_MAX: usize = 16;

/// Longest stop text, in bytes.
const STOP_BYTES_MAX: usize = 1024;

/// Alternatives told with each token.
pub const LOGPROBS_MAX: usize = 20;

/// Events that wait for their reader. While there is no room for what a token can bring, the sequence waits as well.
const EVENTS_MAX: usize = 64;

/// Events that one token can bring: its text, the text that was held back, and the end.
const EVENTS_PER_TOKEN: usize = 3;

/// Of all memory for caches, what a generation without a stated length may take: one part in so many.
const CACHE_SHARE: usize = 4;

/// Tokenizes and checks a job. Gives the sequence to be queued, and the stream that the caller reads.
///
/// # Errors
/// When the model generates nothing, the prompt does not fit its context, or a setting is out of range.
pub(crate) fn prepare(
    model: &Arc<Model>,
    job: GenerateJob,
    cache_bytes_max: usize,
) -> Result<(Sequence, Generation), JobError> {
    check(model, &job)?;
    let ids = prompt_ids(model, job.prompt)?;
    model.check(&Tokens::plain(ids.clone())).map_err(|reason| match ids.len() > model.card().tokens_max {
        true => overflow(model, ids.len(), job.tokens_max),
        false => JobError::InvalidInput(format!("the prompt {reason}")),
    })?;
    let overflows = || overflow(model, ids.len(), job.tokens_max);
    let room = model.card().tokens_max.checked_sub(ids.len()).ok_or_else(overflows)?;
    let tokens_max = match job.tokens_max {
        Some(wanted) if wanted > room => return Err(overflow(model, ids.len(), job.tokens_max)),
        Some(wanted) => wanted,
        None if room == 0 => return Err(overflow(model, ids.len(), None)),
        None => room.min(model.tokens_within(cache_bytes_max / CACHE_SHARE).saturating_sub(ids.len())).max(1),
    };
    let (sender, generation) = Generation::channel(job.model, EVENTS_MAX);
    let writer = Writer {
        model: model.clone(),
        sampler: Sampler::new(job.sampling, &ids),
        text: TextStream::new(job.stop),
        logprobs: job.logprobs,
        prompt_tokens: count(ids.len()),
        generated: 0,
        tokens_max,
        sender,
    };
    let capacity = ids.len() + tokens_max;
    Ok((Sequence::new(model.clone(), ids, capacity, job.account, Box::new(writer)), generation))
}

fn check(model: &Model, job: &GenerateJob) -> Result<(), JobError> {
    let refused = |reason: String| Err(JobError::InvalidInput(reason));
    if !model.is_language() {
        return Err(JobError::Unsupported("this model generates no text: it is no language model".into()));
    }
    if job.tokens_max == Some(0) {
        return refused("the most tokens to generate must be at least 1".into());
    }
    if job.stop.len() > STOPS_MAX || job.stop.iter().any(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX) {
        return refused(format!("there may be {STOPS_MAX} stop texts, each of 1 to {STOP_BYTES_MAX} bytes"));
    }
    if job.logprobs.is_some_and(|top| top > LOGPROBS_MAX) {
        return refused(format!("logprobs may be at most {LOGPROBS_MAX}"));
    }
    job.sampling.check(model.vocabulary()).map_err(JobError::InvalidInput)
}

fn prompt_ids(model: &Model, prompt: GeneratePrompt) -> Result<Vec<u32>, JobError> {
    let input = match prompt {
        GeneratePrompt::Ids(ids) => return Ok(ids),
        GeneratePrompt::Text(text) => TokenizeInput::Text { text, special: true },
        GeneratePrompt::Chat(messages) => TokenizeInput::Chat(messages),
    };
    tokenize::ids(model, &input)
}

fn overflow(model: &Model, prompt_tokens: usize, wanted: Option<usize>) -> JobError {
    JobError::ContextOverflow { prompt_tokens, wanted, tokens_max: model.card().tokens_max }
}

fn count(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

/// Picks the tokens of a generation and writes them into its stream.
struct Writer {
    model: Arc<Model>,
    sampler: Sampler,
    text: TextStream,
    logprobs: Option<usize>,
    prompt_tokens: u32,
    generated: usize,
    tokens_max: usize,
    sender: GenerationSender,
}

impl Writer {
    /// Sends an event. There is room, or the sequence would wait; a caller that is gone misses nothing.
    fn send(&self, event: GenerateEvent) {
        drop(self.sender.try_send(Ok(event)));
    }

    fn end(&mut self, reason: FinishReason) {
        let text = self.text.finish();
        if !text.is_empty() {
            self.send(GenerateEvent::Piece(Piece { text, tokens: Vec::new() }));
        }
        let outcome = Outcome { reason, prompt_tokens: self.prompt_tokens, generated_tokens: count(self.generated) };
        self.send(GenerateEvent::Done(outcome));
    }

    fn bytes(&self, id: u32) -> &[u8] {
        self.model.tokenizer.as_ref().map_or(&[], |tokenizer| tokenizer.pieces().bytes(id))
    }

    fn token_logprobs(&self, logits: &[f32], chosen: u32, top: usize) -> TokenLogprobs {
        let (logprob, top) = logprobs(logits, chosen, top);
        let told = |id: u32, logprob: f32| Logprob { id, bytes: self.bytes(id).to_vec(), logprob };
        TokenLogprobs { token: told(chosen, logprob), top: top.into_iter().map(|(id, logprob)| told(id, logprob)).collect() }
    }
}

impl Reader for Writer {
    fn is_generation(&self) -> bool {
        true
    }

    fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    fn is_ready(&self) -> bool {
        self.sender.capacity() >= EVENTS_PER_TOKEN
    }

    fn read(&mut self, logits: &[f32]) -> Option<u32> {
        let id = self.sampler.next(logits);
        self.generated += 1;
        if self.model.end_ids.contains(&id) {
            self.end(FinishReason::Stop);
            return None;
        }
        let tokens = self.logprobs.map(|top| self.token_logprobs(logits, id, top));
        // Special tokens are no text.
        let pieces = self.model.tokenizer.as_ref().map(Tokenizer::pieces).filter(|pieces| !pieces.is_special(id));
        let bytes = pieces.map_or(&[][..], |pieces| pieces.bytes(id));
        let Pushed { text, stopped } = self.text.push(bytes);
        if !text.is_empty() || tokens.is_some() {
            self.send(GenerateEvent::Piece(Piece { text, tokens: tokens.into_iter().collect() }));
        }
        if stopped || self.generated == self.tokens_max {
            self.end(if stopped { FinishReason::Stop } else { FinishReason::Length });
            return None;
        }
        Some(id)
    }

    fn fail(self: Box<Self>, error: JobError) {
        drop(self.sender.try_send(Err(error)));
    }
}
