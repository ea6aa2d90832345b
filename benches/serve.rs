//! The servers that this binary is itself: what `tessera` can't be, and what it is measured beside.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use engine::{
    ClassifyJob, EmbedJob, EmbedTokensJob, Embeddings, Entities, FinishReason, Forward, GenerateEvent, GenerateJob, Generation,
    GenerationSender, ModelCard, Outcome, Piece, RerankJob, Scores, Stats, TextLabels, TokenEmbeddings, TokenizeInput, Usage,
};
use futures::future::{BoxFuture, FutureExt};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use policy::{Classify, Embed, Generate, Nn, Permit, Rerank, Tokenize};
use runtime::{Inference, InferenceError};
use tests::{FakeInference, Setup, TestServer};
use tokio::net::TcpListener;

use crate::rag::instant;

/// Length of a vector of MiniLM: what an answer's JSON costs depends on it.
pub(crate) const DIMENSIONS: usize = 384;

/// Tokens of any text.
const TOKENS: u32 = 8;

/// Serves until it is killed. Prints its address as `tessera serve` does.
///
/// # Errors
/// When the kind is unknown or the server can't start.
pub(crate) fn run(kind: &str) -> anyhow::Result<()> {
    match kind {
        "hyper" => hyper(),
        "instant-engine" => instant_engine(),
        "hostile" => hostile(),
        _ => match instant::setup(kind)? {
            Some((setup, _folder)) => park(&setup.start()),
            None => anyhow::bail!("there is no server {kind}"),
        },
    }
}

fn say_ready(address: SocketAddr) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready on http://{address}")?;
    out.flush()
}

/// The limit: HTTP/1.1 on the same runtime, and a constant answer.
fn hyper() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        say_ready(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(hello)));
        }
    })
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"hello"))))
}

/// The platform with the `embeddings` component, and an engine that takes no time.
fn instant_engine() -> anyhow::Result<()> {
    park(&Setup::new(Arc::new(Instant::default())).bundled("embeddings").start())
}

/// The platform with a component that attacks it, under usual limits, and a harmless one beside it.
fn hostile() -> anyhow::Result<()> {
    let setup = Setup::new(Arc::new(Instant::default())).guest("echo").hostile();
    let server = setup.policy("echo", crate::hostile::NEIGHBOUR).policy("hostile", crate::hostile::ATTACKER).start();
    park(&server)
}

/// Serves until it is killed.
fn park(server: &TestServer) -> anyhow::Result<()> {
    anyhow::ensure!(server.failures.is_empty(), "{:?}", server.failures);
    say_ready(server.address)?;
    loop {
        std::thread::park();
    }
}

/// Answers at once with vectors of a real model's length.
pub(crate) struct Instant {
    fake: FakeInference,
    models: Vec<ModelCard>,
    /// What passes after each generated token; none: they come as fast as they are read.
    pause: Option<Duration>,
}

impl Default for Instant {
    fn default() -> Instant {
        let fake = FakeInference::default();
        Instant { models: fake.models(), fake, pause: None }
    }
}

impl Instant {
    /// One whose generated tokens come one by one.
    pub(crate) fn paced(pause: Duration) -> Instant {
        Instant { pause: Some(pause), ..Instant::default() }
    }
}

impl Inference for Instant {
    fn models(&self) -> Vec<ModelCard> {
        self.models.clone()
    }

    fn model(&self, name: &str) -> Option<ModelCard> {
        self.models.iter().find(|card| card.name == name).cloned()
    }

    fn stats(&self) -> Stats {
        self.fake.stats()
    }

    fn embed(&self, permit: Permit<Embed>, job: EmbedJob) -> BoxFuture<'_, Result<Embeddings, InferenceError>> {
        let (values, usage) = (vectors(job.inputs.len()), usage(job.inputs.len()));
        let model = permit.redeem().model.into();
        std::future::ready(Ok(Embeddings { model, dimensions: DIMENSIONS, values, usage })).boxed()
    }

    fn embed_tokens(
        &self,
        permit: Permit<Embed>,
        job: EmbedTokensJob,
    ) -> BoxFuture<'_, Result<TokenEmbeddings, InferenceError>> {
        let inputs = job.embed.inputs.len();
        let (values, pooled) = (vectors(TOKENS as usize * inputs), vectors(inputs));
        let model = permit.redeem().model.into();
        let embeddings = TokenEmbeddings { model, dimensions: DIMENSIONS, values, pooled, usage: usage(inputs) };
        std::future::ready(Ok(embeddings)).boxed()
    }

    fn rerank(&self, permit: Permit<Rerank>, job: RerankJob) -> BoxFuture<'_, Result<Scores, InferenceError>> {
        self.fake.rerank(permit, job)
    }

    fn classify(&self, permit: Permit<Classify>, job: ClassifyJob) -> BoxFuture<'_, Result<TextLabels, InferenceError>> {
        self.fake.classify(permit, job)
    }

    fn find_entities(&self, permit: Permit<Classify>, job: ClassifyJob) -> BoxFuture<'_, Result<Entities, InferenceError>> {
        self.fake.find_entities(permit, job)
    }

    /// As many tokens as are wanted.
    fn generate(&self, permit: Permit<Generate>, job: GenerateJob) -> BoxFuture<'_, Result<Generation, InferenceError>> {
        let tokens = job.tokens_max.unwrap_or(1);
        let (sender, generation) = Generation::channel(permit.redeem().model.into(), tokens.saturating_add(1));
        let generated_tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        let outcome = Outcome { reason: FinishReason::Length, prompt_tokens: TOKENS, generated_tokens };
        let pause = self.pause;
        async move {
            match pause {
                Some(_) => drop(tokio::spawn(write(sender, tokens, pause, outcome))),
                None => write(sender, tokens, pause, outcome).await,
            }
            Ok(generation)
        }
        .boxed()
    }

    fn tokenize(
        &self,
        _permit: Permit<Tokenize>,
        inputs: Vec<TokenizeInput>,
    ) -> BoxFuture<'_, Result<Vec<Vec<u32>>, InferenceError>> {
        std::future::ready(Ok(vec![vec![7; TOKENS as usize]; inputs.len()])).boxed()
    }

    fn detokenize(&self, permit: Permit<Tokenize>, ids: Vec<u32>) -> BoxFuture<'_, Result<String, InferenceError>> {
        self.fake.detokenize(permit, ids)
    }

    fn forward(&self, permit: Permit<Nn>, inputs: Vec<Vec<u32>>) -> BoxFuture<'_, Result<Forward, InferenceError>> {
        self.fake.forward(permit, inputs)
    }
}

/// A generation's tokens and its end. A reader that is gone misses nothing.
async fn write(sender: GenerationSender, tokens: usize, pause: Option<Duration>, outcome: Outcome) {
    for _ in 0..tokens {
        let piece = Piece { tokens: Vec::new(), text: " token".into() };
        drop(sender.send(Ok(GenerateEvent::Piece(piece))).await);
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
    }
    drop(sender.send(Ok(GenerateEvent::Done(outcome))).await);
}

/// As many vectors, each of length 0.7.
fn vectors(count: usize) -> Vec<f32> {
    static ONE: LazyLock<Vec<f32>> = LazyLock::new(|| (0..DIMENSIONS).map(|place| (place as f32).sin() * 0.05).collect());
    ONE.repeat(count)
}

fn usage(inputs: usize) -> Vec<Usage> {
    vec![Usage { tokens: TOKENS, truncated: false }; inputs]
}
