//! Two chats, long prompts and embeddings on one device: what each gets of the speed that it has alone.

use std::cell::Cell;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use engine::{
    EmbedJob, Engine, EngineConfig, GenerateEvent, GenerateJob, GeneratePrompt, Input, Message, Normalize, Prompt, Sampling,
    Truncation,
};
use futures::future::{LocalBoxFuture, join_all};

use crate::table::{Samples, Table, aim};

const CHAT_MODEL: &str = "smollm2-135m-instruct";
const EMBED_MODEL: &str = "all-minilm-l6-v2";
const PROMPT_TOKENS: u32 = 1000;
const EMBED_TOKENS: u32 = 128;
const WINDOW: Duration = Duration::from_secs(5);
/// No load may be starved: of four, each gets this part of its own speed at least.
const LEAST_SHARE: f64 = 0.02;

/// Something that asks for one thing after another.
#[derive(Clone, Copy)]
enum Load {
    Chat(&'static str),
    Prefill,
    Embeddings,
}

const LOADS: [(&str, Load); 4] = [
    ("a chat: tokens generated", Load::Chat("Tell me a long story about a ship.")),
    ("another chat: tokens generated", Load::Chat("Explain how bread is made, step by step.")),
    ("prompts of 1000: tokens read", Load::Prefill),
    ("embeddings of 128: tokens read", Load::Embeddings),
];

/// Runs the bench.
///
/// # Errors
/// When a model is missing or the engine fails.
pub(crate) fn run(rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    let engine = Engine::start(&EngineConfig { models: tests::models(), ..EngineConfig::default() })?;
    for model in [CHAT_MODEL, EMBED_MODEL] {
        ensure!(engine.models().any(|card| card.name == model), "{model} is not there: run `make models` first");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut alone: [Samples; LOADS.len()] = Default::default();
    let mut together: [Samples; LOADS.len()] = Default::default();
    for _ in 0..rounds {
        for ((_, load), samples) in LOADS.iter().zip(&mut alone) {
            samples.push(runtime.block_on(measure(&engine, &[*load]))?[0]);
        }
        let speeds = runtime.block_on(measure(&engine, &LOADS.map(|(_, load)| load)))?;
        speeds.into_iter().zip(&mut together).for_each(|(speed, samples)| samples.push(speed));
    }
    let mut table = Table::new(["load", "alone, tokens/s", "all at once, tokens/s", "share of its own speed", "aim"]);
    for (((name, _), alone), together) in LOADS.iter().zip(&alone).zip(&together) {
        let share = together.over(alone);
        let met = aim(share.median() >= LEAST_SHARE, &format!("≥ {LEAST_SHARE}"));
        table.row([(*name).into(), alone.to_string(), together.to_string(), format!("{share:.2}"), met]);
    }
    table.print("share: one device for all", out)?;
    Ok(())
}

/// Tokens a second of each load, all running at once.
async fn measure(engine: &Engine, loads: &[Load]) -> anyhow::Result<Vec<f64>> {
    let end = Instant::now() + WINDOW;
    let counts: Vec<Cell<u32>> = loads.iter().map(|_| Cell::new(0)).collect();
    let running = loads.iter().zip(&counts).map(|(load, count)| load.run(engine, count, end));
    for ended in join_all(running).await {
        ended?;
    }
    Ok(counts.iter().map(|count| f64::from(count.get()) / WINDOW.as_secs_f64()).collect())
}

impl Load {
    /// Works until the end, and counts what was done by then.
    fn run<'a>(self, engine: &'a Engine, count: &'a Cell<u32>, end: Instant) -> LocalBoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move {
            while Instant::now() < end {
                match self {
                    Load::Chat(text) => chat(engine, text, count, end).await?,
                    Load::Prefill => prefill(engine, count, end).await?,
                    Load::Embeddings => embed(engine, count, end).await?,
                }
            }
            Ok(())
        })
    }
}

async fn chat(engine: &Engine, text: &str, count: &Cell<u32>, end: Instant) -> anyhow::Result<()> {
    let message = Message { role: "user".into(), content: text.into() };
    let job = GenerateJob { logprobs: Some(0), ..job(GeneratePrompt::Chat(vec![message]), 400) };
    let mut generation = engine.generate(job).await?;
    while let GenerateEvent::Piece(piece) = generation.next().await.context("the engine stopped")?? {
        if Instant::now() >= end {
            break;
        }
        count.set(count.get() + u32::try_from(piece.tokens.len())?);
    }
    Ok(())
}

async fn prefill(engine: &Engine, count: &Cell<u32>, end: Instant) -> anyhow::Result<()> {
    let ids = (0..PROMPT_TOKENS).map(|i| 1000 + i * 37 % 40_000).collect();
    let mut generation = engine.generate(job(GeneratePrompt::Ids(ids), 1)).await?;
    while let GenerateEvent::Piece(_) = generation.next().await.context("the engine stopped")?? {}
    if Instant::now() < end {
        count.set(count.get() + PROMPT_TOKENS);
    }
    Ok(())
}

async fn embed(engine: &Engine, count: &Cell<u32>, end: Instant) -> anyhow::Result<()> {
    let job = EmbedJob {
        model: EMBED_MODEL.into(),
        inputs: vec![Input::Ids(vec![2023; EMBED_TOKENS as usize])],
        prompt: Prompt::Standard,
        truncation: Truncation::Refuse,
        normalize: Normalize::AsModel,
        dimensions: None,
        account: None,
    };
    engine.embed(job).await?;
    if Instant::now() < end {
        count.set(count.get() + EMBED_TOKENS);
    }
    Ok(())
}

fn job(prompt: GeneratePrompt, tokens_max: usize) -> GenerateJob {
    let sampling = Sampling { temperature: 1.0, seed: Some(1), ..Sampling::default() };
    GenerateJob {
        model: CHAT_MODEL.into(),
        prompt,
        tokens_max: Some(tokens_max),
        stop: Vec::new(),
        sampling,
        logprobs: None,
        account: None,
    }
}
