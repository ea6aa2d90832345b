//! The door to the engine: jobs in, answers out, from any thread.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::device::{self, DeviceError, DeviceSpec};
use crate::model::{Model, ModelCard, ModelError};
use crate::registry;
use crate::schedule::Limits;
use crate::task::Prepared;
use crate::task::classify::{self, ClassifyJob, Entities, TextLabels};
use crate::task::embed::{self, EmbedJob, Embeddings};
use crate::task::embed_tokens::{self, EmbedTokensJob, TokenEmbeddings};
use crate::task::forward::{self, Forward, ForwardJob, Outputs};
use crate::task::generate::{self, GenerateJob, Generation};
use crate::task::rerank::{self, RerankJob, Scores};
use crate::task::tokenize::{self, TokenizeInput};
use crate::worker::{Queue, Request, SequenceLimits};

/// How to start an engine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Where tensors live.
    pub device: DeviceSpec,
    /// Every folder in here that holds a `config.json` or a GGUF file is a model, named as the folder.
    pub models: PathBuf,
    /// Load only models with a record of where they came from.
    pub models_recorded: bool,
    /// Threads for tensor work on the CPU; 0 takes one for each core.
    pub threads: usize,
    /// Keep each of those threads on a core of its own, where there is a core for each. Threads that wander can end up on one
    /// core while another idles; turn it off where two servers share a machine.
    pub pin_threads: bool,
    /// Threads that turn texts into tokens.
    pub tokenizer_threads: usize,
    /// Jobs that may wait to be tokenized.
    pub queue_jobs_max: usize,
    /// Tokens that may wait for the device.
    pub queue_tokens_max: usize,
    /// Tokens of one batch; 0 takes what suits the device: enough to keep it busy, few enough that others wait a moment only.
    pub batch_tokens_max: usize,
    /// The same while text is generated, and tokens of prompts that a step takes while others wait; 0 takes what suits the
    /// device.
    pub step_tokens_max: usize,
    /// Generations under way at a time.
    pub generations_max: usize,
    /// Bytes that the caches of all generations may grow to.
    pub cache_bytes_max: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            device: DeviceSpec::default(),
            models: "models".into(),
            models_recorded: false,
            threads: 0,
            pin_threads: true,
            tokenizer_threads: 2,
            queue_jobs_max: 1024,
            queue_tokens_max: 1 << 20,
            batch_tokens_max: 0,
            step_tokens_max: 0,
            generations_max: 64,
            cache_bytes_max: 4 << 30,
        }
    }
}

/// Why an engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The device can't be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The models folder can't be listed.
    #[error("the models folder {folder} can't be read: {cause}")]
    Models {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The system gives no more threads.
    #[error("no thread for the engine: {0}")]
    Thread(String),
}

/// A model that is in the folder and can't be used.
#[derive(Debug)]
pub struct LoadFailure {
    /// Its folder's name.
    pub name: String,
    /// Why not.
    pub error: ModelError,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// There is no such model.
    #[error("there is no model `{0}`")]
    UnknownModel(String),
    /// The model can't do this.
    #[error("{0}")]
    Unsupported(String),
    /// The model has no tokenizer.
    #[error("this model has no tokenizer.json: give token ids instead of text")]
    NoTokenizer,
    /// Something in the job is out of range.
    #[error("{0}")]
    InvalidInput(String),
    /// An input is too long and was not to be cut.
    #[error("input {index} has more than {tokens_max} tokens, the most this model reads: shorten it, or allow truncation")]
    TooLong {
        /// Which input, from 0.
        index: usize,
        /// The model's length.
        tokens_max: usize,
    },
    /// A prompt and what is to be generated don't fit into the model's context.
    #[error(
        "this model's maximum context length is {tokens_max} tokens; the prompt has {prompt_tokens} and {} were to be generated: \
         shorten the prompt, or ask for fewer",
        wanted.map_or("more".into(), |wanted| wanted.to_string())
    )]
    ContextOverflow {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens that were to be generated, if a number was given.
        wanted: Option<usize>,
        /// The model's length.
        tokens_max: usize,
    },
    /// Too much is waiting.
    #[error("the engine's queue is full: try again later")]
    Overloaded,
    /// The job's owner has used up what it may.
    #[error("the owner's quota is used up: try again later")]
    Quota,
    /// The batch failed on the device.
    #[error("the device failed on this batch: {0}")]
    Failed(String),
    /// The engine is shutting down.
    #[error("the engine is shutting down")]
    Stopped,
}

/// Counts since the start, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches run.
    pub batches: u64,
    /// Inputs in those batches.
    pub inputs: u64,
    /// Tokens in those batches.
    pub tokens: u64,
    /// Batches that panicked.
    pub failed_batches: u64,
    /// Time that the device worked, in nanoseconds.
    pub busy_ns: u64,
    /// Tokens that wait now.
    pub waiting_tokens: u64,
    /// Generations under way now.
    pub sequences: u64,
    /// Bytes that their caches may grow to.
    pub cache_bytes: u64,
}

/// A running engine. Cheap to share behind an `Arc`; dropping it stops its threads when what is queued is done.
pub struct Engine {
    models: Vec<Arc<Model>>,
    failures: Vec<LoadFailure>,
    jobs: Option<mpsc::Sender<Job>>,
    queue: Arc<Queue>,
    device: Option<JoinHandle<()>>,
    tokenizers: Vec<JoinHandle<()>>,
}

/// A job on its way to be tokenized: it runs on a tokenizer thread and ends up in the queue.
type Job = Box<dyn FnOnce(&Queue) + Send>;

impl Engine {
    /// Opens the device, loads every model in the folder and starts the threads. A model that can't be loaded is left out
    /// and told by [`failures`](Self::failures); a folder that isn't there holds no models.
    ///
    /// # Errors
    /// When the device can't be used, or the folder can't be listed.
    pub fn start(config: &EngineConfig) -> Result<Engine, StartError> {
        let device = device::open(config.device)?;
        let pool = thread_pool(config)?;
        let (models, failures) = pool.install(|| registry::load(config, &device))?;
        Engine::with(config, pool, models, failures)
    }

    /// Starts the threads for one model that is loaded already, whatever the folder holds.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn with_model(config: &EngineConfig, model: Model) -> Result<Engine, StartError> {
        Engine::with(config, thread_pool(config)?, vec![Arc::new(model)], Vec::new())
    }

    fn with(
        config: &EngineConfig,
        pool: rayon::ThreadPool,
        models: Vec<Arc<Model>>,
        failures: Vec<LoadFailure>,
    ) -> Result<Engine, StartError> {
        let queue = Arc::new(queue(config));
        let (jobs, waiting) = mpsc::channel(config.queue_jobs_max.max(1));
        let mut engine = Engine { models, failures, jobs: Some(jobs), queue, device: None, tokenizers: Vec::new() };
        let worker = engine.queue.clone();
        engine.device = Some(spawn("device", move || worker.run(&pool))?);
        let waiting = Arc::new(std::sync::Mutex::new(waiting));
        for index in 0..config.tokenizer_threads.max(1) {
            let (waiting, queue) = (waiting.clone(), engine.queue.clone());
            engine.tokenizers.push(spawn(&format!("tokenizer-{index}"), move || tokenize(&waiting, &queue))?);
        }
        Ok(engine)
    }

    /// The models that can be used.
    pub fn models(&self) -> impl Iterator<Item = &ModelCard> {
        self.models.iter().map(|model| model.card())
    }

    /// The models that could not be loaded.
    pub fn failures(&self) -> &[LoadFailure] {
        &self.failures
    }

    /// Counts since the start.
    pub fn stats(&self) -> Stats {
        self.queue.stats()
    }

    /// Embeds. Dropping the future drops the inputs that have not been in a batch.
    ///
    /// # Errors
    /// As [`JobError`] says.
    pub async fn embed(&self, job: EmbedJob) -> Result<Embeddings, JobError> {
        if job.inputs.is_empty() {
            return Err(JobError::InvalidInput("there is nothing to embed: give at least one input".into()));
        }
        let model = self.model(&job.model)?;
        self.run(model, move |model| embed::prepare(model, job)).await
    }

    /// Embeds each token of the inputs, and the inputs as a whole. Dropping the future drops the inputs that have not been in a
    /// batch.
    ///
    /// # Errors
    /// As [`JobError`] says.
    pub async fn embed_tokens(&self, job: EmbedTokensJob) -> Result<TokenEmbeddings, JobError> {
        if job.embed.inputs.is_empty() {
            return Err(JobError::InvalidInput("there is nothing to embed: give at least one input".into()));
        }
        let model = self.model(&job.embed.model)?;
        self.run(model, move |model| embed_tokens::prepare(model, job)).await
    }

    /// Scores documents against a query. Dropping the future drops the inputs that have not been in a batch.
    ///
    /// # Errors
    /// As [`JobError`] says.
    pub async fn rerank(&self, job: RerankJob) -> Result<Scores, JobError> {
        if job.documents.is_empty() {
            return Err(JobError::InvalidInput("there is nothing to rank: give at least one document".into()));
        }
        let model = self.model(&job.model)?;
        self.run(model, move |model| rerank::prepare(model, job)).await
    }

    /// Labels whole texts. Dropping the future drops the texts that have not been in a batch.
    ///
    /// # Errors
    /// As [`JobError`] says.
    pub async fn classify(&self, job: ClassifyJob) -> Result<TextLabels, JobError> {
        let model = self.classifier(&job)?;
        self.run(model, move |model| classify::prepare(model, job)).await
    }

    /// Labels parts of texts. Dropping the future drops the texts that have not been in a batch.
    ///
    /// # Errors
    /// As [`JobError`] says.
    pub async fn find_entities(&self, job: ClassifyJob) -> Result<Entities, JobError> {
        let model = self.classifier(&job)?;
        self.run(model, move |model| classify::prepare_entities(model, job)).await
    }

    /// Generates text. Gives the stream of it when the prompt is tokenized and there is room for it; dropping the stream stops
    /// the work at the device's next step.
    ///
    /// # Errors
    /// As [`JobError`] says.
    pub async fn generate(&self, job: GenerateJob) -> Result<Generation, JobError> {
        let model = self.model(&job.model)?;
        self.off_thread(move |queue| {
            let (sequence, generation) = generate::prepare(&model, job, queue.cache_bytes_max())?;
            queue.push_sequence(sequence)?;
            Ok(generation)
        })
        .await
    }

    /// The token ids of each input, a text or a conversation.
    ///
    /// # Errors
    /// As [`JobError`] says.
    pub async fn tokenize(&self, model: &str, inputs: Vec<TokenizeInput>) -> Result<Vec<Vec<u32>>, JobError> {
        let model = self.model(model)?;
        self.off_thread(move |_| inputs.iter().map(|input| tokenize::ids(&model, input)).collect()).await
    }

    /// The text of token ids, without special tokens.
    ///
    /// # Errors
    /// As [`JobError`] says.
    pub async fn detokenize(&self, model: &str, ids: Vec<u32>) -> Result<String, JobError> {
        let model = self.model(model)?;
        self.off_thread(move |_| tokenize::text(&model, &ids)).await
    }

    /// What a model itself puts out for token ids. Dropping the future drops the inputs that have not been in a batch.
    ///
    /// # Errors
    /// As [`JobError`] says.
    pub async fn forward(&self, job: ForwardJob) -> Result<Forward, JobError> {
        if job.inputs.is_empty() {
            return Err(JobError::InvalidInput("there is nothing to run: give at least one input".into()));
        }
        let model = self.model(&job.model)?;
        if !model.is_language() {
            return self.run(model, move |model| forward::prepare(model, job)).await;
        }
        let width = model.vocabulary();
        let push = move |queue: &Queue| {
            let (inputs, inputs_max) = (job.inputs.len(), queue.sequences_max());
            if inputs > inputs_max {
                let reason = format!("there are {inputs} inputs; a language model takes {inputs_max} at once");
                return Err(JobError::InvalidInput(reason));
            }
            let sequences = forward::sequences(&model, job)?.into_iter();
            sequences.map(|(sequence, logits)| queue.push_sequence(sequence).map(|()| logits)).collect::<Result<Vec<_>, _>>()
        };
        let mut values = Vec::new();
        for logits in self.off_thread(push).await? {
            values.push(logits.await.unwrap_or(Err(JobError::Stopped))?);
        }
        Ok(Forward { outputs: Outputs::Logits, width, values })
    }

    fn model(&self, name: &str) -> Result<Arc<Model>, JobError> {
        let found = self.models.iter().find(|model| model.card().name == name);
        found.cloned().ok_or_else(|| JobError::UnknownModel(name.chars().take(128).collect()))
    }

    fn classifier(&self, job: &ClassifyJob) -> Result<Arc<Model>, JobError> {
        match job.texts.is_empty() {
            true => Err(JobError::InvalidInput("there is nothing to classify: give at least one text".into())),
            false => self.model(&job.model),
        }
    }

    /// Prepares a job of inputs off the caller's thread, queues it and waits for its answer.
    async fn run<Answer: Send + 'static>(
        &self,
        model: Arc<Model>,
        prepare: impl FnOnce(&Model) -> Result<Prepared<Answer>, JobError> + Send + 'static,
    ) -> Result<Answer, JobError> {
        let (reply, answer) = oneshot::channel();
        self.submit(Box::new(move |queue| {
            if reply.is_closed() {
                return;
            }
            match caught(|| prepare(&model)) {
                Ok(prepared) => queue.push(Request::new(model, prepared, reply)),
                Err(error) => drop(reply.send(Err(error))),
            }
        }))?;
        answer.await.unwrap_or(Err(JobError::Stopped))
    }

    /// Does something on a tokenizer thread.
    async fn off_thread<Answer: Send + 'static>(
        &self,
        work: impl FnOnce(&Queue) -> Result<Answer, JobError> + Send + 'static,
    ) -> Result<Answer, JobError> {
        let (reply, answer) = oneshot::channel();
        self.submit(Box::new(move |queue| {
            if !reply.is_closed() {
                drop(reply.send(caught(|| work(queue)))); // its owner may be gone by now
            }
        }))?;
        answer.await.unwrap_or(Err(JobError::Stopped))
    }

    fn submit(&self, job: Job) -> Result<(), JobError> {
        let jobs = self.jobs.as_ref().ok_or(JobError::Stopped)?;
        jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => JobError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => JobError::Stopped,
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.jobs = None;
        // Tokenizers end when the jobs are done, and only then is the queue complete.
        for thread in self.tokenizers.drain(..) {
            drop(thread.join());
        }
        self.queue.close();
        drop(self.device.take().map(JoinHandle::join));
    }
}

/// Runs something on other people's input: a panic is its failure and nobody else's.
fn caught<T>(work: impl FnOnce() -> Result<T, JobError>) -> Result<T, JobError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
        tracing::error!("a job panicked before it reached the queue");
        Err(JobError::Failed("it could not be prepared".into()))
    })
}

/// The queue, with what suits the device where the configuration leaves it open.
fn queue(config: &EngineConfig) -> Queue {
    let is_cpu = config.device.is_cpu();
    let or = |set: usize, cpu: usize, gpu: usize| match set {
        0 if is_cpu => cpu,
        0 => gpu,
        tokens => tokens,
    };
    let limits = Limits {
        batch_tokens_max: or(config.batch_tokens_max, 2048, 16_384),
        step_tokens_max: or(config.step_tokens_max, 64, 512),
        queue_tokens_max: config.queue_tokens_max,
    };
    let sequences = SequenceLimits { sequences_max: config.generations_max, cache_bytes_max: config.cache_bytes_max };
    Queue::new(limits, sequences)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(work);
    thread.map_err(|error| StartError::Thread(error.to_string()))
}

/// The threads for tensor work on the CPU.
pub(crate) fn thread_pool(config: &EngineConfig) -> Result<rayon::ThreadPool, StartError> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    // What the system allows, which may be less than there are cores.
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if config.threads == 0 { allowed } else { config.threads };
    let is_pinned = config.pin_threads && threads == cores.len();
    let pin = move |index: usize| {
        if let Some(core) = cores.get(index).filter(|_| is_pinned) {
            core_affinity::set_for_current(*core); // only costs speed if refused
        }
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("tensor-{index}"));
    pool.start_handler(pin).build().map_err(|error| StartError::Thread(error.to_string()))
}

fn tokenize(jobs: &std::sync::Mutex<mpsc::Receiver<Job>>, queue: &Queue) {
    loop {
        let job = jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).blocking_recv();
        let Some(job) = job else { return };
        // A job that panics drops its reply, which its owner sees as `Stopped`; the thread goes on.
        let run = std::panic::AssertUnwindSafe(|| job(queue));
        if std::panic::catch_unwind(run).is_err() {
            tracing::error!("a tokenizer panicked; its job is lost");
        }
    }
}

/// Numbers for [`Stats`] that threads add to.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) batches: AtomicU64,
    pub(crate) inputs: AtomicU64,
    pub(crate) tokens: AtomicU64,
    pub(crate) failed_batches: AtomicU64,
    pub(crate) busy_ns: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            batches: read(&self.batches),
            inputs: read(&self.inputs),
            tokens: read(&self.tokens),
            failed_batches: read(&self.failed_batches),
            busy_ns: read(&self.busy_ns),
            ..Stats::default()
        }
    }
}
