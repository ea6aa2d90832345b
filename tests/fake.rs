//! An engine that answers at once, or when it is told to, and counts what it was asked.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::{EmbedJob, Embeddings, JobError, ModelCard, ModelTask, RerankJob, Scores, Stats, Usage};
use futures::future::{BoxFuture, FutureExt};
use policy::{Embed, Permit, Rerank};
use runtime::{Inference, InferenceError};
use tokio::sync::Semaphore;

/// How long [`FakeInference::wait_for`] waits before it gives up: only a failing test takes as long.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Vectors of three numbers: the input's length, its place in the job, and 1. Scores are the documents' lengths.
#[derive(Debug, Default)]
pub struct FakeInference {
    failure: Option<JobError>,
    gate: Option<Semaphore>,
    counts: Mutex<Counts>,
    changed: Condvar,
}

/// What a fake engine has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs that reached the engine.
    pub jobs: usize,
    /// Jobs that wait for their answer now.
    pub inside: usize,
    /// Jobs that were dropped before their answer.
    pub dropped: usize,
}

impl FakeInference {
    /// One whose jobs wait until [`release`](Self::release).
    pub fn gated() -> Arc<FakeInference> {
        Arc::new(FakeInference { gate: Some(Semaphore::new(0)), ..FakeInference::default() })
    }

    /// One that answers every job with an error.
    pub fn failing(failure: JobError) -> Arc<FakeInference> {
        Arc::new(FakeInference { failure: Some(failure), ..FakeInference::default() })
    }

    /// Lets so many jobs finish.
    pub fn release(&self, jobs: usize) {
        self.gate.as_ref().expect("a gated fake").add_permits(jobs);
    }

    /// What it has seen until now.
    pub fn counts(&self) -> Counts {
        *self.lock()
    }

    /// Waits until the counts are as wanted.
    ///
    /// # Panics
    /// When they don't get there in [`WAIT_MAX`].
    pub fn wait_for(&self, wanted: impl Fn(&Counts) -> bool) {
        let waited = self.changed.wait_timeout_while(self.lock(), WAIT_MAX, |counts| !wanted(counts));
        let (counts, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "the fake engine never got there; it saw {:?}", *counts);
    }

    async fn work<T>(&self, answer: T) -> Result<T, InferenceError> {
        let mut job = Job::enter(self);
        if let Some(gate) = &self.gate {
            gate.acquire().await.expect("the gate is never closed").forget();
        }
        job.is_done = true;
        self.failure.clone().map_or(Ok(answer), Err)
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a job in, and out when it is dropped.
struct Job<'a> {
    fake: &'a FakeInference,
    is_done: bool,
}

impl<'a> Job<'a> {
    fn enter(fake: &'a FakeInference) -> Job<'a> {
        fake.change(|counts| {
            counts.jobs += 1;
            counts.inside += 1;
        });
        Job { fake, is_done: false }
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        self.fake.change(|counts| {
            counts.inside -= 1;
            counts.dropped += usize::from(!self.is_done);
        });
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
            chat: false,
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
