//! `tessera bench`: how fast a language model reads a prompt and generates here, and how near that is to the memory's limit.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use engine::{DeviceSpec, EngineConfig, Model, Speed, SpeedTest};
use serde_json::json;

use super::model::find;

/// What to measure, and how.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A name in the models folder, or a model's folder, or its weights file.
    #[arg(required_unless_present = "shape")]
    model: Option<String>,
    /// The models folder.
    #[arg(long, value_name = "DIR", env = "TESSERA_MODELS", default_value = "models")]
    models: PathBuf,
    /// Device for tensors: flex (CPU), wgpu, cuda or rocm, with :INDEX where there are several.
    #[arg(long, value_name = "DEVICE", default_value = "flex")]
    device: DeviceSpec,
    /// Measure a model of a known shape instead, as llama-3.2-1b; a wrong name lists them.
    #[arg(long, value_name = "SHAPE", requires = "random_weights", conflicts_with = "model")]
    shape: Option<String>,
    /// Give the shape random weights: the speed is the same, what it says is noise.
    #[arg(long)]
    random_weights: bool,
    /// How random weights are stored: f32, f16, bf16, q8_0 or q4_0.
    #[arg(long, value_name = "TYPE", default_value = "q8_0")]
    dtype: String,
    /// Threads for tensor work on the CPU; 0 takes one for each core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Tokens of the prompt.
    #[arg(long, value_name = "N", default_value_t = 512)]
    prompt: usize,
    /// Tokens to generate.
    #[arg(long, value_name = "N", default_value_t = 128)]
    generate: usize,
    /// Measure so many times; the middle one is told.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Bytes to read for the memory's speed: far more than any cache holds.
const READ_BYTES: usize = 1 << 30;

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let model = args.open()?;
    let config = EngineConfig { device: args.device, threads: args.threads, ..EngineConfig::default() };
    let test = SpeedTest { prompt_tokens: args.prompt, generate_tokens: args.generate, read_bytes: READ_BYTES };
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        if !args.json {
            writeln!(std::io::stderr(), "round {round} of {}", args.rounds)?;
        }
        rounds.push(model.speed(&config, test)?);
    }
    report(&args, &middle(&rounds))
}

/// The middle of each number.
fn middle(rounds: &[Speed]) -> Speed {
    let of = |number: fn(&Speed) -> f64| {
        let mut numbers: Vec<f64> = rounds.iter().map(number).collect();
        numbers.sort_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    };
    Speed {
        prefill_tokens_per_s: of(|speed| speed.prefill_tokens_per_s),
        decode_tokens_per_s: of(|speed| speed.decode_tokens_per_s),
        memory_bytes_per_s: of(|speed| speed.memory_bytes_per_s),
        ..rounds[0]
    }
}

fn report(args: &Args, speed: &Speed) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        let mut told = serde_json::to_value(speed)?;
        told["memory_fraction"] = json!(speed.memory_fraction());
        return Ok(writeln!(out, "{told}")?);
    }
    let giga = |bytes: f64| bytes / 1e9;
    writeln!(out, "prefill  {:8.1} tokens/s  ({} tokens)", speed.prefill_tokens_per_s, speed.prompt_tokens)?;
    writeln!(out, "decode   {:8.1} tokens/s  ({} tokens)", speed.decode_tokens_per_s, speed.generated_tokens)?;
    writeln!(
        out,
        "memory   {:8.1} GB/s read by all threads; decoding reads {:.3} GB a token, which is {:.0} % of that",
        giga(speed.memory_bytes_per_s),
        giga(speed.weight_bytes as f64),
        100.0 * speed.memory_fraction()
    )?;
    Ok(())
}

impl Args {
    fn open(&self) -> anyhow::Result<Model> {
        if let Some(shape) = &self.shape {
            return Ok(Model::random(shape, &self.dtype, self.device)?);
        }
        let model = self.model.as_deref().context("name a model")?;
        Ok(Model::open(&find(model, &self.models)?, self.device)?)
    }
}
