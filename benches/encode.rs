//! Embeddings a second of MiniLM, beside ONNX Runtime and torch with the same threads.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use engine::{EmbedJob, Engine, EngineConfig, Input, Normalize, Prompt, Truncation};
use serde_json::{Value, json};

use crate::process;
use crate::table::{Samples, Table, aim};

const MODEL: &str = "all-minilm-l6-v2";
const TOKENS: usize = 128;
const BATCHES: [usize; 3] = [1, 8, 32];
const THREADS: [usize; 2] = [2, 1];
const PEERS: [&str; 2] = ["onnxruntime", "torch"];
const ROUND: Duration = Duration::from_secs(1);
/// Threads of the one measured before may spin for a while after their last job.
const PAUSE: Duration = Duration::from_millis(300);
/// Multiply-adds of one token in the six layers' matrices, times two.
const FLOP_PER_TOKEN: f64 = 2.0 * 6.0 * (4.0 * 384.0 * 384.0 + 2.0 * 384.0 * 1536.0);

/// Numbers of one batch size, one a round.
#[derive(Default)]
struct Row {
    ours: Samples,
    peers: [Samples; PEERS.len()],
    /// Percent of the time in which no batch was on the device.
    outside: Samples,
    /// CPU seconds a second.
    cores: Samples,
}

/// Runs the bench.
///
/// # Errors
/// When the model is missing, or an engine or a peer fails.
pub(crate) fn run(rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    for threads in THREADS {
        let config = EngineConfig { models: tests::models(), threads, ..EngineConfig::default() };
        let engine = Engine::start(&config)?;
        ensure!(engine.models().any(|card| card.name == MODEL), "{MODEL} is not there: run `make models` first");
        let mut peers = start_peers(threads, out)?;
        let mut rows: [Row; BATCHES.len()] = Default::default();
        for _ in 0..rounds {
            for (row, batch) in rows.iter_mut().zip(BATCHES) {
                row.round(&engine, &mut peers, batch)?;
            }
        }
        print(threads, &rows, out)?;
    }
    Ok(())
}

impl Row {
    fn round(&mut self, engine: &Engine, peers: &mut [Peer], batch: usize) -> anyhow::Result<()> {
        std::thread::sleep(PAUSE);
        self.measure(engine, batch)?;
        for (peer, samples) in peers.iter_mut().zip(&mut self.peers) {
            std::thread::sleep(PAUSE);
            samples.push(peer.measure(batch)?);
        }
        Ok(())
    }

    /// Our own: jobs one after the other, through the queue.
    fn measure(&mut self, engine: &Engine, batch: usize) -> anyhow::Result<()> {
        let waiting = tokio::runtime::Builder::new_current_thread().build()?;
        let job = job(batch);
        for _ in 0..3 {
            waiting.block_on(engine.embed(job.clone()))?;
        }
        let (mut seconds, busy, cpu) = (Vec::new(), engine.stats().busy_ns, process::cpu_us("self")?);
        let start = Instant::now();
        while start.elapsed() < ROUND {
            let job = job.clone();
            let start = Instant::now();
            waiting.block_on(engine.embed(job))?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        let wall: f64 = seconds.iter().sum();
        let busy = (engine.stats().busy_ns - busy) as f64 / 1e9;
        let cpu = process::cpu_us("self")? - cpu;
        self.outside.push(100.0 * (1.0 - busy / wall));
        self.cores.push(cpu / 1e6 / wall);
        self.ours.push(batch as f64 / Samples::from_iter(seconds).median());
        Ok(())
    }
}

/// Rows of exactly `TOKENS` ids: `[CLS]`, ordinary word pieces, `[SEP]`, as encode.py makes them.
fn job(batch: usize) -> EmbedJob {
    let piece = |place: usize| 1000 + (place.wrapping_mul(7919) % 28_000) as u32;
    let row = |index: usize| {
        let pieces = (1..TOKENS - 1).map(|place| piece(index * TOKENS + place));
        Input::Ids([101].into_iter().chain(pieces).chain([102]).collect())
    };
    EmbedJob {
        model: MODEL.into(),
        inputs: (0..batch).map(row).collect(),
        prompt: Prompt::Standard,
        truncation: Truncation::Refuse,
        normalize: Normalize::AsModel,
        dimensions: None,
        account: None,
    }
}

/// encode.py, which measures another engine on request.
struct Peer {
    child: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

fn start_peers(threads: usize, out: &mut dyn Write) -> anyhow::Result<Vec<Peer>> {
    let python = process::cache().join("peers/bin/python");
    if !python.is_file() {
        writeln!(out, "onnxruntime and torch are not measured: run benches/peers/setup.sh first")?;
        return Ok(Vec::new());
    }
    let start = |engine: &&str| {
        let mut command = Command::new(&python);
        command.arg(tests::root().join("benches/peers/encode.py")).args(["--engine", engine, "--serve-loop"]);
        command.arg("--model").arg(tests::models().join(MODEL)).args(["--threads", &threads.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let ask = child.stdin.take().context("it was piped")?;
        let answer = BufReader::new(child.stdout.take().context("it was piped")?);
        Ok(Peer { child, ask, answer })
    };
    PEERS.iter().map(start).collect()
}

impl Peer {
    /// Embeddings a second.
    fn measure(&mut self, batch: usize) -> anyhow::Result<f64> {
        writeln!(self.ask, "{}", json!({"batch": batch, "tokens": TOKENS, "seconds": ROUND.as_secs_f64()}))?;
        let mut line = String::new();
        self.answer.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line).context("a peer gave no answer: try encode.py by hand")?;
        answer["sentences_per_s_median"].as_f64().with_context(|| answer.to_string())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop((self.child.kill(), self.child.wait()));
    }
}

fn print(threads: usize, rows: &[Row], out: &mut dyn Write) -> anyhow::Result<()> {
    let title = format!("encode: embeddings/s of {MODEL}, {TOKENS} tokens each, {threads} thread(s)");
    let heads = ["batch", "tessera", "onnxruntime", "torch", "over onnxruntime", "over torch", "aim"];
    let mut table = Table::new(heads);
    for (row, batch) in rows.iter().zip(BATCHES) {
        let ratios = row.peers.each_ref().map(|peer| row.ours.over(peer));
        let worst = ratios.iter().map(Samples::median).fold(f64::INFINITY, f64::min);
        let [onnxruntime, torch] = &row.peers;
        table.row([
            batch.to_string(),
            row.ours.to_string(),
            onnxruntime.to_string(),
            torch.to_string(),
            format!("{:.2}", ratios[0]),
            format!("{:.2}", ratios[1]),
            format!("{}, {}", aim(worst >= 0.5, "≥ 0.5"), aim(worst >= 1.0, "≥ 1")),
        ]);
    }
    table.print(&title, out)?;
    let mut table = Table::new(["batch", "ms a batch", "% outside the device thread", "cores busy", "GFLOP/s in matrices"]);
    for (row, batch) in rows.iter().zip(BATCHES) {
        let rate = row.ours.median();
        table.row([
            batch.to_string(),
            format!("{:.2}", 1000.0 * batch as f64 / rate),
            row.outside.to_string(),
            format!("{:.2}", row.cores),
            format!("{:.0}", rate * TOKENS as f64 * FLOP_PER_TOKEN / 1e9),
        ]);
    }
    table.print(&format!("encode: where the time goes, {threads} thread(s)"), out)?;
    Ok(())
}
