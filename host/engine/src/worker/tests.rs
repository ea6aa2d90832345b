//! A queue without threads: each test runs the device's steps itself, so that nothing depends on time. What is told to an
//! account, and when memory is given back.

use std::path::Path;
use std::pin::pin;
use std::sync::Weak;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::device::DeviceSpec;
use crate::engine::{EngineConfig, thread_pool};
use crate::task::Truncation;
use crate::task::embed::{self, EmbedJob, Embeddings, Input, Normalize, Prompt};
use crate::task::forward::{self, ForwardJob};
use crate::task::generate::sampler::Sampling;
use crate::task::generate::{self, FinishReason, GenerateEvent, GenerateJob, GeneratePrompt, Generation, Outcome};

/// A small model of `tests/golden`.
fn open(name: &str) -> Model {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    Model::open(&golden.join(name), DeviceSpec::default()).expect("loads")
}

fn language() -> Arc<Model> {
    Arc::new(open("llama-gqa-tied"))
}

/// A queue, the threads for its steps, and the small steps that it takes.
struct Device {
    queue: Arc<Queue>,
    pool: rayon::ThreadPool,
}

impl Device {
    fn new(sequences_max: usize) -> Device {
        let limits = Limits { batch_tokens_max: 8, step_tokens_max: 4, queue_tokens_max: 1000 };
        let sequences = SequenceLimits { sequences_max, cache_bytes_max: 1 << 30 };
        let pool = thread_pool(&EngineConfig { threads: 1, ..EngineConfig::default() }).expect("a thread");
        Device { queue: Arc::new(Queue::new(limits, sequences)), pool }
    }

    fn book(&self, charges_max: usize, held_bytes_max: usize) -> Arc<Book> {
        let queue = Arc::downgrade(&self.queue);
        Arc::new(Book { queue, charges_max, held_bytes_max, pages: Mutex::default() })
    }

    fn generate(&self, model: &Arc<Model>, job: GenerateJob) -> Result<Generation, JobError> {
        let (sequence, generation) = generate::prepare(model, job, self.queue.cache_bytes_max())?;
        self.queue.push_sequence(sequence).map(|()| generation)
    }

    fn embed(&self, model: &Arc<Model>, book: &Arc<Book>, want: Want) -> Answer<Embeddings> {
        let job = EmbedJob {
            model: String::new(),
            inputs: [3, 3, 5].map(|tokens| Input::Ids(vec![7; tokens])).into(),
            prompt: Prompt::Standard,
            truncation: Truncation::Refuse,
            normalize: Normalize::AsModel,
            dimensions: None,
            account: Some(book.clone()),
        };
        let (reply, answer) = oneshot::channel();
        let prepared = embed::prepare(model, job).expect("in range");
        self.queue.push(Request::new(model.clone(), Prepared { want, ..prepared }, reply));
        answer
    }

    fn step(&self) {
        let step = self.queue.next_step().expect("something waits");
        self.queue.run_step(step, &self.pool);
    }

    fn run_all(&self) {
        let waits = |stats: Stats| stats.waiting_tokens > 0 || stats.sequences > 0;
        while waits(self.queue.stats()) {
            self.step();
        }
    }
}

type Answer<T> = oneshot::Receiver<Result<T, JobError>>;

/// An account that writes everything down, and allows so many charges and so many bytes.
struct Book {
    queue: Weak<Queue>,
    charges_max: usize,
    held_bytes_max: usize,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    charges: Vec<Charge>,
    holds: usize,
    held_bytes: usize,
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        let is_free = |queue: Arc<Queue>| queue.state.try_lock().is_ok();
        assert!(self.queue.upgrade().is_none_or(is_free), "no account is called under the queue's lock");
        self.pages.lock().expect("no test goes on after a panic")
    }

    fn holds(&self) -> usize {
        self.pages().holds
    }

    fn held_bytes(&self) -> usize {
        self.pages().held_bytes
    }

    fn charges(&self) -> Vec<Charge> {
        self.pages().charges.clone()
    }

    /// All charges together.
    fn total(&self) -> Charge {
        self.charges().iter().fold(Charge::default(), |total, charge| Charge {
            input_tokens: total.input_tokens + charge.input_tokens,
            output_tokens: total.output_tokens + charge.output_tokens,
            device_ns: total.device_ns + charge.device_ns,
        })
    }
}

impl Account for Book {
    fn hold(&self, bytes: usize) -> bool {
        let mut pages = self.pages();
        pages.holds += 1;
        let may = pages.held_bytes + bytes <= self.held_bytes_max;
        pages.held_bytes += if may { bytes } else { 0 };
        may
    }

    fn release(&self, bytes: usize) {
        let mut pages = self.pages();
        pages.held_bytes = pages.held_bytes.checked_sub(bytes).expect("no more is given back than was held");
    }

    fn charge(&self, charge: Charge) -> bool {
        let mut pages = self.pages();
        pages.charges.push(charge);
        pages.charges.len() < self.charges_max
    }
}

/// A generation of so many tokens; each is told as a piece.
fn job(book: &Arc<Book>, prompt_tokens: usize, tokens_max: usize) -> GenerateJob {
    GenerateJob {
        model: String::new(),
        prompt: GeneratePrompt::Ids((5..).take(prompt_tokens).collect()),
        tokens_max: Some(tokens_max),
        stop: Vec::new(),
        sampling: Sampling { temperature: 0.0, ..Sampling::default() },
        logprobs: Some(0),
        account: Some(book.clone()),
    }
}

/// The number of pieces that are in the stream now, what came after them, and whether the stream is at its end.
fn read(mut generation: Generation) -> (usize, Option<Result<Outcome, JobError>>, bool) {
    let (mut pieces, mut end) = (0, None);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match pin!(generation.next()).poll(&mut context) {
            Poll::Ready(Some(Ok(GenerateEvent::Piece(_)))) => pieces += 1,
            Poll::Ready(Some(Ok(GenerateEvent::Done(outcome)))) => end = Some(Ok(outcome)),
            Poll::Ready(Some(Err(error))) => end = Some(Err(error)),
            Poll::Ready(None) => return (pieces, end, true),
            Poll::Pending => return (pieces, end, false),
        }
    }
}

fn outcome(generation: Generation) -> Outcome {
    read(generation).1.expect("an end").expect("a good one")
}

#[test]
fn the_charges_of_a_generation_add_up_to_its_outcome() {
    let mut model = open("llama-gqa-tied");
    let prompt: Vec<u32> = (5..15).collect();
    let greedy = model.greedy(&[prompt], 3, usize::MAX).expect("runs").remove(0).greedy_ids;
    model.end_ids = vec![greedy[2]];
    let (model, device) = (Arc::new(model), Device::new(9));
    // The first is ended by the model's own token, the others by their length; prompts take several steps.
    let jobs = [(10, 20), (1, 7), (6, 1)].map(|(prompt_tokens, tokens_max)| {
        let book = device.book(usize::MAX, usize::MAX);
        (device.generate(&model, job(&book, prompt_tokens, tokens_max)).expect("room"), book)
    });
    device.run_all();
    let mut reasons = Vec::new();
    for (generation, book) in jobs {
        let (outcome, total) = (outcome(generation), book.total());
        assert_eq!(total.input_tokens, u64::from(outcome.prompt_tokens));
        assert_eq!(total.output_tokens, u64::from(outcome.generated_tokens));
        reasons.push(outcome.reason);
    }
    assert_eq!(reasons[0], FinishReason::Stop);
    assert!(reasons.contains(&FinishReason::Length));
}

#[test]
fn the_time_that_is_charged_is_the_time_that_the_device_worked() {
    let (model, encoder, device) = (language(), Arc::new(open("bert-encoder")), Device::new(9));
    let books = [1, 2, 3].map(|_| device.book(usize::MAX, usize::MAX));
    let generations = [device.generate(&model, job(&books[0], 7, 5)), device.generate(&model, job(&books[1], 2, 9))];
    let mut answer = device.embed(&encoder, &books[2], Want::Pooled);
    device.run_all();
    assert!(generations.into_iter().all(|generation| read(generation.expect("room")).2));
    assert!(answer.try_recv().expect("answered").is_ok());
    let charged_ns = books.iter().map(|book| book.total().device_ns);
    assert!(charged_ns.clone().all(|device_ns| device_ns > 0));
    assert_eq!(charged_ns.sum::<u64>(), device.queue.stats().busy_ns);
}

#[test]
fn an_account_that_is_used_up_ends_its_generation_and_no_other() {
    let (model, device) = (language(), Device::new(9));
    let (spent, rich) = (device.book(3, usize::MAX), device.book(usize::MAX, usize::MAX));
    let ended = device.generate(&model, job(&spent, 1, 20)).expect("room");
    let neighbour = device.generate(&model, job(&rich, 1, 20)).expect("room");
    (0..3).for_each(|_| device.step());
    assert_eq!(read(ended), (3, Some(Err(JobError::Quota)), true));
    assert_eq!((spent.held_bytes(), device.queue.stats().sequences), (0, 1));
    assert_eq!(device.queue.stats().cache_bytes, rich.held_bytes() as u64);
    device.run_all();
    assert_eq!(outcome(neighbour).generated_tokens, 20);
    assert_eq!((rich.held_bytes(), device.queue.stats().cache_bytes), (0, 0));
}

#[test]
fn an_account_that_is_used_up_ends_its_generation_within_the_prompt() {
    let (model, device) = (language(), Device::new(9));
    let (spent, rich) = (device.book(1, usize::MAX), device.book(usize::MAX, usize::MAX));
    let ended = device.generate(&model, job(&spent, 100, 1)).expect("room");
    device.step();
    assert_eq!(read(ended), (0, Some(Err(JobError::Quota)), true));
    let next = device.generate(&model, job(&rich, 1, 2)).expect("room");
    device.run_all();
    assert_eq!(outcome(next).generated_tokens, 2, "what was left of the prompt is in nobody's way");
    assert_eq!((spent.charges().len(), spent.held_bytes(), device.queue.stats().cache_bytes), (1, 0, 0));
}

#[test]
fn a_generation_that_ends_as_its_account_is_used_up_has_ended_well() {
    let (model, device) = (language(), Device::new(9));
    let book = device.book(2, usize::MAX);
    let generation = device.generate(&model, job(&book, 1, 2)).expect("room");
    device.run_all();
    assert_eq!(outcome(generation).generated_tokens, 2);
    assert_eq!((book.charges().len(), book.held_bytes()), (2, 0));
}

#[test]
fn a_generation_whose_memory_is_refused_is_not_queued() {
    let (model, device) = (language(), Device::new(9));
    let book = device.book(usize::MAX, model.cache_bytes(8));
    let error = device.generate(&model, job(&book, 40, 100)).expect_err("more than it may hold");
    assert_eq!(error, JobError::Quota);
    assert_eq!(error.to_string(), "the owner's quota is used up: try again later");
    let stats = device.queue.stats();
    assert_eq!((stats.sequences, stats.cache_bytes, stats.waiting_tokens, book.held_bytes()), (0, 0, 0, 0));
    assert!(device.generate(&model, job(&book, 4, 4)).is_ok(), "less is not refused");
}

#[test]
fn memory_is_held_from_the_queue_to_the_end_of_the_generation() {
    let (model, device) = (language(), Device::new(9));
    let book = device.book(usize::MAX, usize::MAX);
    let generation = device.generate(&model, job(&book, 3, 4)).expect("room");
    let bytes = model.cache_bytes(3 + 4);
    assert!(bytes > 0);
    assert_eq!(book.held_bytes(), bytes);
    device.step();
    assert_eq!((book.held_bytes(), device.queue.stats().cache_bytes), (bytes, bytes as u64));
    device.run_all();
    assert_eq!(outcome(generation).generated_tokens, 4);
    assert_eq!(book.held_bytes(), 0);
}

#[test]
fn a_generation_that_the_queue_has_no_room_for_gives_its_memory_back() {
    let (model, device) = (language(), Device::new(1));
    let (first, second) = (device.book(usize::MAX, usize::MAX), device.book(usize::MAX, usize::MAX));
    let generation = device.generate(&model, job(&first, 3, 4)).expect("room");
    assert_eq!(device.generate(&model, job(&second, 3, 4)).expect_err("one is under way"), JobError::Overloaded);
    assert_eq!((second.holds(), second.held_bytes()), (1, 0));
    device.run_all();
    assert!(device.generate(&model, job(&second, 3, 4)).is_ok());
    assert_eq!((outcome(generation).generated_tokens, second.holds()), (4, 2));
}

#[test]
fn an_abandoned_generation_gives_its_memory_back_at_the_next_step() {
    let (model, device) = (language(), Device::new(9));
    let [fresh, begun, other] = [1, 2, 3].map(|_| device.book(usize::MAX, usize::MAX));
    let generation = device.generate(&model, job(&begun, 1, 9)).expect("room");
    device.step();
    drop(generation);
    drop(device.generate(&model, job(&fresh, 1, 9)).expect("room"));
    let neighbour = device.generate(&model, job(&other, 1, 9)).expect("room");
    assert!(begun.held_bytes() > 0 && fresh.held_bytes() > 0);
    device.step();
    assert_eq!((begun.held_bytes(), fresh.held_bytes()), (0, 0));
    assert_eq!((begun.charges().len(), fresh.charges().len()), (1, 0), "what was not run is not charged");
    assert_eq!(device.queue.stats().cache_bytes, other.held_bytes() as u64);
    assert!(!read(neighbour).2, "it goes on");
}

#[test]
fn an_engine_that_stops_gives_memory_back() {
    let (model, device) = (language(), Device::new(9));
    let book = device.book(usize::MAX, usize::MAX);
    let generations = [device.generate(&model, job(&book, 1, 9)), device.generate(&model, job(&book, 20, 9))];
    device.step();
    device.queue.close();
    device.queue.run(&device.pool);
    for generation in generations {
        assert_eq!(read(generation.expect("room")).1, Some(Err(JobError::Stopped)));
    }
    assert_eq!((book.holds(), book.held_bytes()), (2, 0));
}

/// A generation that panics as it picks a token.
struct Panicking;

impl Reader for Panicking {
    fn is_generation(&self) -> bool {
        true
    }

    fn is_abandoned(&self) -> bool {
        false
    }

    fn read(&mut self, logits: &[f32]) -> Option<u32> {
        assert!(logits.is_empty(), "this reader always panics");
        None
    }

    fn fail(self: Box<Self>, _: JobError) {}
}

#[test]
fn a_step_that_fails_charges_its_time_and_gives_memory_back() {
    let (model, device) = (language(), Device::new(9));
    let (guilty, innocent) = (device.book(usize::MAX, usize::MAX), device.book(1, usize::MAX));
    let sequence = Sequence::new(model.clone(), vec![5, 6], 9, Some(guilty.clone()), Box::new(Panicking));
    device.queue.push_sequence(sequence).expect("room");
    let neighbour = device.generate(&model, job(&innocent, 2, 9)).expect("room");
    assert!(guilty.held_bytes() > 0);
    device.step();
    assert!(matches!(read(neighbour), (0, Some(Err(JobError::Failed(_))), true)));
    let stats = device.queue.stats();
    assert_eq!((stats.failed_batches, stats.sequences, stats.cache_bytes), (1, 0, 0));
    assert_eq!((guilty.held_bytes(), innocent.held_bytes()), (0, 0));
    assert_eq!(guilty.total().device_ns + innocent.total().device_ns, stats.busy_ns);
    assert_eq!(guilty.total().output_tokens + innocent.total().output_tokens, 0, "no token was picked");
}

#[test]
fn an_embedding_is_charged_once_for_each_step_and_answered_whatever_the_account_says() {
    let (model, device) = (Arc::new(open("bert-encoder")), Device::new(9));
    let book = device.book(0, 0);
    let mut answer = device.embed(&model, &book, Want::Pooled);
    device.run_all();
    let embeddings = answer.try_recv().expect("answered").expect("embeds");
    let steps: Vec<u64> = book.charges().iter().map(|charge| charge.input_tokens).collect();
    assert_eq!(steps, [3 + 3, 5]);
    let total = book.total();
    assert_eq!(total.input_tokens, embeddings.usage.iter().map(|usage| u64::from(usage.tokens)).sum::<u64>());
    assert_eq!((total.output_tokens, total.device_ns), (0, device.queue.stats().busy_ns));
    assert_eq!(book.holds(), 0);
}

#[test]
fn a_batch_that_fails_charges_its_time() {
    let (model, device) = (Arc::new(open("bert-encoder")), Device::new(9));
    let book = device.book(usize::MAX, usize::MAX);
    let mut answer = device.embed(&model, &book, Want::Logits); // it has no classifier
    device.step();
    assert!(matches!(answer.try_recv().expect("answered"), Err(JobError::Failed(_))));
    assert_eq!(book.total().device_ns, device.queue.stats().busy_ns);
    assert!(book.total().device_ns > 0);
}

#[test]
fn the_logits_of_a_language_model_are_charged_and_given_whatever_the_account_says() {
    let (model, device) = (language(), Device::new(9));
    let book = device.book(0, 0);
    let inputs = vec![vec![5; 6], vec![7]];
    let forward = ForwardJob { model: String::new(), inputs, account: Some(book.clone()) };
    let sequences = forward::sequences(&model, forward).expect("in range");
    let answers = sequences.into_iter().map(|(sequence, logits)| device.queue.push_sequence(sequence).map(|()| logits));
    let answers = answers.collect::<Result<Vec<_>, _>>().expect("room");
    device.run_all();
    for mut answer in answers {
        assert_eq!(answer.try_recv().expect("answered").expect("runs").len(), model.vocabulary());
    }
    let total = book.total();
    assert_eq!((total.input_tokens, total.output_tokens, book.holds()), (7, 0, 0));
    assert_eq!(total.device_ns, device.queue.stats().busy_ns);
}
