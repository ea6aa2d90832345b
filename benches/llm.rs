//! Tokens a second of language models, beside llama.cpp with the same weights and threads.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::process;
use crate::table::{Samples, Table, aim};

const MODELS: [&str; 2] = ["smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"];
const THREADS: [usize; 2] = [2, 1];
const PROMPT_TOKENS: usize = 512;
const GENERATED_TOKENS: usize = 128;
const LEAST_RATIO: f64 = 0.4;

/// Tokens a second of one engine, one number a round.
#[derive(Default)]
struct Speeds {
    prefill: Samples,
    decode: Samples,
}

/// Runs the bench.
///
/// # Errors
/// When either side fails.
pub(crate) fn run(rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    let llama = process::cache().join("peers/llama.cpp/build/bin/llama-bench");
    let llama = llama.is_file().then_some(llama);
    if llama.is_none() {
        writeln!(out, "llama.cpp is not measured: run benches/peers/setup.sh first")?;
    }
    for threads in THREADS {
        let title = format!("llm: tokens/s, prompt of {PROMPT_TOKENS}, {GENERATED_TOKENS} generated, {threads} thread(s)");
        let mut table = Table::new(["model", "phase", "tessera", "llama.cpp", "over llama.cpp", "aim"]);
        for model in MODELS {
            let weights = tests::models().join(model).join("model.gguf");
            if !weights.is_file() {
                writeln!(out, "{model} is not measured: run `tessera pull {model}` first")?;
                continue;
            }
            let (mut ours, mut theirs) = (Speeds::default(), Speeds::default());
            for _ in 0..rounds {
                ours.measure(&weights, threads)?;
                llama.iter().try_for_each(|llama| theirs.measure_llama(llama, &weights, threads))?;
            }
            rows(model, &ours, &theirs, &mut table);
        }
        table.print(&title, out)?;
    }
    Ok(())
}

fn rows(model: &str, ours: &Speeds, theirs: &Speeds, table: &mut Table<6>) {
    for (phase, ours, theirs) in [("prefill", &ours.prefill, &theirs.prefill), ("decode", &ours.decode, &theirs.decode)] {
        let ratio = ours.over(theirs);
        let met = aim(ratio.median() >= LEAST_RATIO, &format!("≥ {LEAST_RATIO}"));
        table.row([model.into(), phase.into(), ours.to_string(), theirs.to_string(), format!("{ratio:.2}"), met]);
    }
}

impl Speeds {
    /// Our own, by `tessera bench` in a process of its own, as the peer has one.
    fn measure(&mut self, weights: &Path, threads: usize) -> anyhow::Result<()> {
        let mut command = Command::new(process::tessera()?);
        // Of two rounds the better is told: the first one warms up.
        command.arg("bench").arg(weights).args(["--rounds", "2", "--json", "--threads", &threads.to_string()]);
        command.args(["--prompt", &PROMPT_TOKENS.to_string(), "--generate", &GENERATED_TOKENS.to_string()]);
        let speed = answer(command)?;
        self.push(speed["prefill_tokens_per_s"].as_f64(), speed["decode_tokens_per_s"].as_f64())
    }

    /// llama.cpp's, by its own bench: one test that reads a prompt and one that generates. The better of two, as for ours.
    fn measure_llama(&mut self, llama: &Path, weights: &Path, threads: usize) -> anyhow::Result<()> {
        let mut command = Command::new(llama);
        command.arg("-m").arg(weights).args(["-r", "2", "-o", "json", "-t", &threads.to_string()]);
        command.args(["-p", &PROMPT_TOKENS.to_string(), "-n", &GENERATED_TOKENS.to_string()]);
        let tests = answer(command)?;
        let best = |test: &Value| Some(test["samples_ts"].as_array()?.iter().filter_map(Value::as_f64).fold(0.0, f64::max));
        self.push(best(&tests[0]), best(&tests[1]))
    }

    fn push(&mut self, prefill: Option<f64>, decode: Option<f64>) -> anyhow::Result<()> {
        self.prefill.push(prefill.context("no speed of prefill")?);
        self.decode.push(decode.context("no speed of decoding")?);
        Ok(())
    }
}

/// The JSON that a command prints.
fn answer(mut command: Command) -> anyhow::Result<Value> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} fails: {}", complaint.trim());
    serde_json::from_slice(&output.stdout).with_context(|| format!("{command:?}"))
}
