//! An engine that answers at once, or when it is told to, and counts what it was asked.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::{
    ClassifyJob, EmbedJob, EmbedTokensJob, Embeddings, Entities, FinishReason, Forward, GenerateEvent, GenerateJob,
    GeneratePrompt, Generation, GenerationSender, JobError, LabelScore, Logprob, ModelCard, ModelTask, Outcome, Outputs, Piece,
    RerankJob, Scores, Stats, TextLabels, TokenEmbeddings, TokenLogprobs, TokenizeInput, Usage,
};
use futures::future::{BoxFuture, FutureExt};
use policy::{Classify, Embed, Generate, Nn, Permit, Rerank, Reservation, Tokenize};
use runtime::{Inference, InferenceError};
use tokio::sync::Semaphore;

/// How long [`FakeInference::wait_for`] waits before it gives up: only a failing test takes as long.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Vectors of three numbers: the input's length, its place in the job, and 1. The vectors of its tokens lie along one axis
/// after the other. Scores are the documents' lengths. A text is `long` by the part of
/// 10 bytes that it has, or else `short`; its parts are its words in capital letters. Generated text
/// is the script's pieces, or else the prompt word by word. A token is a byte. A forward pass gives each token's id, its
/// place and 1; of the model `other`, which is a language model, the sum of ids and their count.
#[derive(Debug, Default)]
pub struct FakeInference {
    failure: Option<JobError>,
    script: Option<Vec<String>>,
    /// What happens after the pieces instead of an end.
    breakdown: Option<JobError>,
    shared: Arc<Shared>,
}

/// What jobs hold that outlive their call.
#[derive(Debug, Default)]
struct Shared {
    gate: Option<Semaphore>,
    counts: Mutex<Counts>,
    changed: Condvar,
}

/// Pieces that a generation holds that nobody has read.
const PIECES_WAITING_MAX: usize = 4;

/// Device memory that a generation holds, in bytes.
pub const GENERATION_BYTES: u64 = 1 << 20;

/// Tokens of every prompt.
const PROMPT_TOKENS: u32 = 5;

/// Time that the device works for a token, in nanoseconds, as the fake tells it.
pub const TOKEN_NS: u64 = 1_000_000;

/// What a fake engine has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs that reached the engine.
    pub jobs: usize,
    /// Jobs that wait for their answer now.
    pub inside: usize,
    /// Jobs that were dropped before their answer, and generations before their end.
    pub dropped: usize,
    /// Pieces of text that were generated.
    pub pieces: usize,
}

impl FakeInference {
    /// One whose jobs, and every piece and the end of a generation, wait until [`release`](Self::release).
    pub fn gated() -> Arc<FakeInference> {
        Arc::new(FakeInference::default().behind_a_gate())
    }

    /// One that generates these pieces.
    pub fn scripted<S: Into<String>>(pieces: impl IntoIterator<Item = S>) -> FakeInference {
        FakeInference { script: Some(pieces.into_iter().map(Into::into).collect()), ..FakeInference::default() }
    }

    /// The same, behind a gate as [`gated`](Self::gated).
    pub fn behind_a_gate(self) -> FakeInference {
        FakeInference { shared: Arc::new(Shared { gate: Some(Semaphore::new(0)), ..Shared::default() }), ..self }
    }

    /// The same, but its generations fail after their pieces.
    pub fn breaking(self, failure: JobError) -> FakeInference {
        FakeInference { breakdown: Some(failure), ..self }
    }

    /// One that answers every job with an error.
    pub fn failing(failure: JobError) -> Arc<FakeInference> {
        Arc::new(FakeInference { failure: Some(failure), ..FakeInference::default() })
    }

    /// The digest that its model of this name has.
    pub fn digest(model: &str) -> String {
        model.bytes().cycle().take(32).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Lets so many jobs finish, or a generation make so many pieces; its end counts as one.
    pub fn release(&self, jobs: usize) {
        self.shared.gate.as_ref().expect("a gated fake").add_permits(jobs);
    }

    /// What it has seen until now.
    pub fn counts(&self) -> Counts {
        *self.shared.lock()
    }

    /// Waits until the counts are as wanted.
    ///
    /// # Panics
    /// When they don't get there in [`WAIT_MAX`].
    pub fn wait_for(&self, wanted: impl Fn(&Counts) -> bool) {
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), WAIT_MAX, |counts| !wanted(counts));
        let (counts, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "the fake engine never got there; it saw {:?}", *counts);
    }

    async fn work<T>(&self, answer: T) -> Result<T, InferenceError> {
        let mut job = Job::enter(self.shared.clone());
        self.shared.pass().await;
        job.is_done = true;
        self.failure.clone().map_or(Ok(answer), Err)
    }

    fn pieces(&self, job: &GenerateJob) -> Vec<Piece> {
        let prompt = match &job.prompt {
            GeneratePrompt::Text(text) => text.clone(),
            GeneratePrompt::Ids(ids) => ids.iter().map(|id| format!("{id} ")).collect(),
            GeneratePrompt::Chat(messages) => messages.last().map(|last| last.content.clone()).unwrap_or_default(),
        };
        let words = || prompt.split_inclusive(' ').map(String::from).collect();
        let texts = self.script.clone().unwrap_or_else(words);
        texts.into_iter().take(job.tokens_max.unwrap_or(usize::MAX)).map(|text| piece(text, job.logprobs)).collect()
    }
}

/// A piece of one token, with so many alternatives.
fn piece(text: String, alternatives: Option<usize>) -> Piece {
    let logprob = |text: &str, place: usize| Logprob { id: 7, bytes: text.into(), logprob: -0.5 - place as f32 };
    let token = |top: usize| TokenLogprobs {
        token: logprob(&text, 0),
        top: (0..top).map(|place| logprob(&format!("{text}{place}"), place)).collect(),
    };
    Piece { tokens: alternatives.map(token).into_iter().collect(), text }
}

impl Shared {
    async fn pass(&self) {
        if let Some(gate) = &self.gate {
            gate.acquire().await.expect("the gate is never closed").forget();
        }
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the device does for a generation: piece after piece, until nobody reads any more.
    async fn generate(
        self: Arc<Self>,
        pieces: Vec<Piece>,
        end: Result<GenerateEvent, JobError>,
        sender: GenerationSender,
        book: Held,
    ) {
        let mut job = Job::enter(self.clone());
        let work = async {
            for piece in pieces {
                self.pass().await;
                if sender.send(Ok(GenerateEvent::Piece(piece))).await.is_err() {
                    return false;
                }
                self.change(|counts| counts.pieces += 1);
                if !book.0.charge(0, 1, TOKEN_NS) {
                    return sender.send(Err(JobError::Quota)).await.is_ok();
                }
            }
            self.pass().await;
            sender.send(end).await.is_ok()
        };
        job.is_done = tokio::select! {
            is_done = work => is_done,
            () = sender.closed() => false,
        };
    }
}

/// Device memory that a generation holds until it is dropped.
struct Held(Reservation);

impl Held {
    fn new(book: Reservation) -> Result<Held, JobError> {
        if book.hold(GENERATION_BYTES) { Ok(Held(book)) } else { Err(JobError::Quota) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.release(GENERATION_BYTES);
    }
}

/// Counts a job in, and out when it is dropped.
struct Job {
    shared: Arc<Shared>,
    is_done: bool,
}

impl Job {
    fn enter(shared: Arc<Shared>) -> Job {
        shared.change(|counts| {
            counts.jobs += 1;
            counts.inside += 1;
        });
        Job { shared, is_done: false }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.shared.change(|counts| {
            counts.inside -= 1;
            counts.dropped += usize::from(!self.is_done);
        });
    }
}

fn length(input: &engine::Input) -> usize {
    match input {
        engine::Input::Text(text) => text.len(),
        engine::Input::Ids(ids) => ids.len(),
    }
}

fn vectors(inputs: &[engine::Input]) -> Vec<f32> {
    let vector = |(place, input)| [length(input) as f32, place as f32, 1.0];
    inputs.iter().enumerate().flat_map(vector).collect()
}

/// The vector of the token at a place: along one of three axes in turn.
fn axis(place: usize) -> [f32; 3] {
    [0, 1, 2].map(|axis| if place % 3 == axis { 1.0 } else { 0.0 })
}

/// The words of a text that are all capital letters.
fn capitals(text: &str) -> Vec<engine::Entity> {
    let words = text.split(' ').filter(|word| !word.is_empty() && word.chars().all(char::is_uppercase));
    let entity = |word: &str| {
        let start = word.as_ptr().addr() - text.as_ptr().addr();
        engine::Entity { label: "CAPITALS".into(), bytes: start..start + word.len(), score: 0.5 }
    };
    words.map(entity).collect()
}

/// A token for each input.
fn charge(book: &Reservation, inputs: usize) {
    book.charge(inputs as u64, 0, inputs as u64 * TOKEN_NS);
}

fn usage(count: usize) -> Vec<Usage> {
    vec![Usage { tokens: 1, truncated: false }; count]
}

impl Inference for FakeInference {
    fn models(&self) -> Vec<ModelCard> {
        let card = |name: &str, task, vocabulary| ModelCard {
            name: name.into(),
            family: "fake".into(),
            task,
            dimensions: 3,
            layers: 1,
            vocabulary,
            tokens_max: 256,
            labels: 0,
            prompts: Vec::new(),
            chat: true,
            digest: FakeInference::digest(name),
            origin: None,
        };
        vec![card("fake", ModelTask::Embed, 100), card("other", ModelTask::Generate, 2)]
    }

    fn stats(&self) -> Stats {
        Stats::default()
    }

    fn embed(&self, permit: Permit<Embed>, job: EmbedJob) -> BoxFuture<'_, Result<Embeddings, InferenceError>> {
        let values = vectors(&job.inputs);
        let usage = usage(job.inputs.len());
        let (Embed { model }, book) = permit.spend();
        charge(&book, job.inputs.len());
        self.work(Embeddings { model: model.into(), dimensions: 3, values, usage }).boxed()
    }

    fn embed_tokens(
        &self,
        permit: Permit<Embed>,
        job: EmbedTokensJob,
    ) -> BoxFuture<'_, Result<TokenEmbeddings, InferenceError>> {
        let EmbedTokensJob { embed: EmbedJob { inputs, .. }, answer_bytes_max } = job;
        let (Embed { model }, book) = permit.spend();
        charge(&book, inputs.len());
        let tokens: Vec<usize> = inputs.iter().map(length).collect();
        let values: Vec<f32> = tokens.iter().flat_map(|&tokens| (0..tokens).flat_map(axis)).collect();
        let usage = tokens.into_iter().map(|tokens| Usage { tokens: tokens as u32, truncated: false }).collect();
        let answer = TokenEmbeddings { model: model.into(), dimensions: 3, pooled: vectors(&inputs), usage, values };
        let bytes = (answer.values.len() + answer.pooled.len()) * size_of::<f32>();
        if bytes > answer_bytes_max {
            let reason = format!("the answer would take {bytes} bytes");
            return std::future::ready(Err(JobError::InvalidInput(reason))).boxed();
        }
        self.work(answer).boxed()
    }

    fn rerank(&self, permit: Permit<Rerank>, job: RerankJob) -> BoxFuture<'_, Result<Scores, InferenceError>> {
        let values = job.documents.iter().map(|document| document.len() as f32).collect();
        let usage = usage(job.documents.len());
        let (Rerank { model }, book) = permit.spend();
        charge(&book, job.documents.len());
        self.work(Scores { model: model.into(), values, usage }).boxed()
    }

    fn classify(&self, permit: Permit<Classify>, job: ClassifyJob) -> BoxFuture<'_, Result<TextLabels, InferenceError>> {
        let labels = |text: &String| {
            let long = (text.len() as f32 / 10.0).min(1.0);
            let mut labels =
                [("long", long), ("short", 1.0 - long)].map(|(label, score)| LabelScore { label: label.into(), score });
            labels.sort_by(|a, b| b.score.total_cmp(&a.score));
            labels.into()
        };
        let texts = job.texts.iter().map(labels).collect();
        let usage = usage(job.texts.len());
        let (Classify { model }, book) = permit.spend();
        charge(&book, job.texts.len());
        self.work(TextLabels { model: model.into(), texts, usage }).boxed()
    }

    fn find_entities(&self, permit: Permit<Classify>, job: ClassifyJob) -> BoxFuture<'_, Result<Entities, InferenceError>> {
        let texts = job.texts.iter().map(|text| capitals(text)).collect();
        let usage = usage(job.texts.len());
        let (Classify { model }, book) = permit.spend();
        charge(&book, job.texts.len());
        self.work(Entities { model: model.into(), texts, usage }).boxed()
    }

    fn generate(&self, permit: Permit<Generate>, job: GenerateJob) -> BoxFuture<'_, Result<Generation, InferenceError>> {
        let pieces = self.pieces(&job);
        let reason = match job.tokens_max {
            Some(tokens_max) if pieces.len() == tokens_max => FinishReason::Length,
            _ => FinishReason::Stop,
        };
        let generated_tokens = u32::try_from(pieces.len()).expect("a short script");
        let outcome = Outcome { reason, prompt_tokens: PROMPT_TOKENS, generated_tokens };
        let end = self.breakdown.clone().map_or(Ok(GenerateEvent::Done(outcome)), Err);
        async move {
            self.failure.clone().map_or(Ok(()), Err)?;
            let (Generate { model }, book) = permit.spend();
            let book = Held::new(book)?;
            book.0.charge(PROMPT_TOKENS.into(), 0, 0);
            let (sender, generation) = Generation::channel(model.into(), PIECES_WAITING_MAX);
            tokio::spawn(self.shared.clone().generate(pieces, end, sender, book));
            Ok(generation)
        }
        .boxed()
    }

    fn tokenize(
        &self,
        _permit: Permit<Tokenize>,
        inputs: Vec<TokenizeInput>,
    ) -> BoxFuture<'_, Result<Vec<Vec<u32>>, InferenceError>> {
        let bytes = |text: &str| text.bytes().map(u32::from).collect::<Vec<u32>>();
        let ids = |input| match input {
            TokenizeInput::Text { text, special: false } => bytes(&text),
            TokenizeInput::Text { text, special: true } => [vec![1], bytes(&text), vec![2]].concat(),
            TokenizeInput::Chat(messages) => {
                messages.iter().flat_map(|message| bytes(&format!("<{}>{}", message.role, message.content))).collect()
            }
        };
        self.work(inputs.into_iter().map(ids).collect()).boxed()
    }

    fn detokenize(&self, _permit: Permit<Tokenize>, ids: Vec<u32>) -> BoxFuture<'_, Result<String, InferenceError>> {
        let bytes: Vec<u8> = ids.iter().map(|id| u8::try_from(*id).unwrap_or(b'?')).collect();
        self.work(String::from_utf8_lossy(&bytes).into_owned()).boxed()
    }

    fn forward(&self, permit: Permit<Nn>, inputs: Vec<Vec<u32>>) -> BoxFuture<'_, Result<Forward, InferenceError>> {
        let is_language_model = permit.redeem().model.as_str() == "other";
        let values = |ids: &Vec<u32>| match is_language_model {
            true => vec![ids.iter().sum::<u32>() as f32, ids.len() as f32],
            false => ids.iter().enumerate().flat_map(|(place, id)| [*id as f32, place as f32, 1.0]).collect(),
        };
        let (outputs, width) = if is_language_model { (Outputs::Logits, 2) } else { (Outputs::Hidden, 3) };
        self.work(Forward { outputs, width, values: inputs.iter().map(values).collect() }).boxed()
    }
}
