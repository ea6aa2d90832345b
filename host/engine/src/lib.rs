//! Tensors and models: devices, weights, tokenizers, model families, tasks and batching on Burn.
//!
//! [`Engine`] is the door: it takes jobs from any thread, puts many of them into one batch and runs the batch on a thread
//! that owns the device. [`Model`] is one model without the queue, for tools and tests.
//!
//! This crate knows no WebAssembly, no HTTP and no policy.

#![cfg_attr(feature = "wgpu", recursion_limit = "256")]

mod account;
mod batch;
mod device;
mod digest;
mod engine;
mod kernel;
mod model;
mod nn;
mod record;
mod registry;
mod schedule;
mod speed;
mod task;
mod template;
mod tokenizer;
mod weights;
mod worker;

pub use account::{Account, Charge};
pub use device::{DeviceError, DeviceSpec, Probe, probe};
pub use digest::{Content, Digest, DigestError, contents, digest};
pub use engine::{Engine, EngineConfig, JobError, LoadFailure, StartError, Stats};
pub use model::{Greedy, Model, ModelCard, ModelError, ModelTask, Pooled};
pub use record::{Origin, RECORD, Record, RecordError};
pub use registry::{Installed, installed};
pub use speed::{Speed, SpeedError, SpeedTest};
pub use task::classify::{ClassifyJob, Entities, Entity, LabelScore, TextLabels};
pub use task::embed::{EmbedJob, Embeddings, Input, Normalize, Prompt};
pub use task::embed_tokens::{EmbedTokensJob, TokenEmbeddings};
pub use task::forward::{Forward, ForwardJob, Outputs};
pub use task::generate::sampler::Sampling;
pub use task::generate::{
    FinishReason, GenerateEvent, GenerateJob, GeneratePrompt, Generation, GenerationSender, LOGPROBS_MAX, Logprob, Outcome,
    Piece, STOPS_MAX, TokenLogprobs,
};
pub use task::rerank::{RerankJob, Scores};
pub use task::tokenize::TokenizeInput;
pub use task::{Truncation, Usage};
pub use template::{Message, Prompting};
pub use tokenizer::TokenizerError;
pub use weights::{TensorSummary, WeightsError};
