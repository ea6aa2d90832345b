//! Search by vector in the embedded store: 100,000 clustered vectors by HNSW, against exact search and beside hnswlib
//! and usearch.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use store::vector::{Chunk, Document, Query, Reader};
use store::{Embedded, EmbeddedConfig, Name, Place, Vectors};
use tokio::runtime::Runtime;

use crate::process::cache;
use crate::table::{Samples, Table, aim};

const VECTORS: usize = 100_000;
const QUERIES: usize = 1000;
/// As MiniLM's.
const DIMENSIONS: usize = 384;
const CLUSTERS: usize = 1000;
const K: usize = 10;
/// Chunks of a document; as many go into the store at once.
const CHUNKS: usize = 500;
const RECALL_MIN: f64 = 0.98;
/// How long the index may take to be built once all is ingested.
const BUILT_WITHIN: Duration = Duration::from_secs(600);

/// What one index is like.
struct Found {
    name: String,
    build_s: f64,
    recall: f64,
    rate: Samples,
    p50_us: Samples,
    p99_us: Samples,
}

/// Runs the bench.
///
/// # Errors
/// When the store or a peer fails, or our index finds too little.
pub(crate) fn run(rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    let (vectors, queries) = (clustered(VECTORS, 1), clustered(QUERIES, 2));
    writeln!(out, "\nvector: searching {VECTORS} vectors one by one, to know what is right")?;
    out.flush()?;
    let exact: Vec<Vec<u32>> = queries.iter().map(|query| nearest(query, &vectors)).collect();
    let mut found = vec![ours(&vectors, &queries, &exact, rounds)?];
    let python = cache().join("peers/bin/python");
    if python.is_file() {
        found.extend(peers(&python, &vectors, &queries, &exact, rounds)?);
    } else {
        writeln!(out, "hnswlib and usearch are not measured: `make peers` installs them")?;
    }
    print(&found, out)?;
    let recall = found[0].recall;
    ensure!(recall >= RECALL_MIN, "our index finds {recall:.4} of the nearest {K}, and {RECALL_MIN} is the least");
    Ok(())
}

/// Vectors of length 1 around common centres. The same seed gives the same ones.
fn clustered(count: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut centres = Random(7);
    let centres: Vec<Vec<f32>> = (0..CLUSTERS).map(|_| (0..DIMENSIONS).map(|_| centres.next()).collect()).collect();
    let mut random = Random(seed);
    let vector = |place: usize| {
        let vector = centres[place % CLUSTERS].iter().map(|centre| centre + 0.5 * random.next());
        unit(vector.collect())
    };
    (0..count).map(vector).collect()
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}

/// SplitMix64 (Steele, Lea and Flood, 2014), from -1 to 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((mixed ^ (mixed >> 31)) >> 40) as f32 / (1_u64 << 23) as f32) - 1.0
    }
}

/// The places of the nearest vectors.
fn nearest(query: &[f32], vectors: &[Vec<f32>]) -> Vec<u32> {
    let cosine = |vector: &Vec<f32>| -> f32 { query.iter().zip(vector).map(|(a, b)| a * b).sum() };
    let mut scored: Vec<(f32, u32)> = (0..).zip(vectors).map(|(place, vector)| (cosine(vector), place)).collect();
    scored.select_nth_unstable_by(K - 1, |a, b| b.0.total_cmp(&a.0));
    scored[..K].iter().map(|(_, place)| *place).collect()
}

fn ours(vectors: &[Vec<f32>], queries: &[Vec<f32>], exact: &[Vec<u32>], rounds: usize) -> anyhow::Result<Found> {
    let folder = tempfile::tempdir()?;
    let config = EmbeddedConfig::new(folder.path());
    let runtime = Runtime::new()?;
    let store = Embedded::open(config)?;
    let place = Place { tenant: "bench".parse()?, name: "vectors".parse()?, owner: None, bytes_max: u64::MAX };
    let start = Instant::now();
    runtime.block_on(ingest(&store, &place, vectors))?;
    store.settle();
    runtime.block_on(built(&store, &place.tenant))?;
    let mut found = Found::new("ours: HNSW in the embedded store, durable, with its texts", start.elapsed().as_secs_f64());
    for round in 0..rounds {
        let (mut times_us, mut right) = (Vec::with_capacity(queries.len()), 0);
        for (query, exact) in queries.iter().zip(exact) {
            let query = Query { vector: Some(query.clone()), k: K, ..Query::default() };
            let start = Instant::now();
            let hits = runtime.block_on(store.find(&place, query, &Reader::Everything))?;
            times_us.push(start.elapsed().as_secs_f64() * 1e6);
            let places = hits.iter().map(|hit| hit.piece.text.parse::<u32>());
            right += places.filter(|place| place.as_ref().is_ok_and(|place| exact.contains(place))).count();
        }
        found.round(times_us);
        if round == 0 {
            found.recall = right as f64 / (K * queries.len()) as f64;
        }
    }
    Ok(found)
}

async fn ingest(store: &Embedded, place: &Place, vectors: &[Vec<f32>]) -> anyhow::Result<()> {
    for (document, vectors) in vectors.chunks(CHUNKS).enumerate() {
        let begin = Document { id: format!("{document}"), ..Document::default() };
        let mut draft = store.begin(place, begin, None, &Reader::Everything).await?;
        let chunk = |(index, vector): (usize, &Vec<f32>)| Chunk {
            text: (document * CHUNKS + index).to_string(),
            vector: vector.clone(),
            ..Chunk::default()
        };
        draft.append(vectors.iter().enumerate().map(chunk).collect()).await?;
        draft.commit().await?;
    }
    Ok(())
}

/// Waits until the collection is searched by its index.
async fn built(store: &Embedded, tenant: &Name) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        let collections = store.collections(tenant).await?;
        if collections.iter().all(|collection| collection.index == "hnsw") {
            return Ok(());
        }
        ensure!(start.elapsed() < BUILT_WITHIN, "the index was not built in {BUILT_WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Found {
    fn new(name: &str, build_s: f64) -> Found {
        let (rate, p50_us, p99_us) = Default::default();
        Found { name: name.into(), build_s, recall: f64::NAN, rate, p50_us, p99_us }
    }

    fn round(&mut self, mut times_us: Vec<f64>) {
        self.rate.push(times_us.len() as f64 / times_us.iter().sum::<f64>() * 1e6);
        times_us.sort_by(f64::total_cmp);
        self.p50_us.push(times_us[times_us.len() / 2]);
        self.p99_us.push(times_us[times_us.len() * 99 / 100]);
    }
}

/// The same by libraries that people use from Python, one query at a time and on one thread; none where they are not installed.
fn peers(
    python: &Path,
    vectors: &[Vec<f32>],
    queries: &[Vec<f32>],
    exact: &[Vec<u32>],
    rounds: usize,
) -> anyhow::Result<Vec<Found>> {
    let folder = tempfile::tempdir()?;
    write(&folder.path().join("vectors.f32"), vectors, |x: &f32| x.to_le_bytes())?;
    write(&folder.path().join("queries.f32"), queries, |x: &f32| x.to_le_bytes())?;
    write(&folder.path().join("exact.u32"), exact, |x: &u32| x.to_le_bytes())?;
    let script = tests::root().join("benches/peers/hnsw.py");
    let rounds = rounds.to_string();
    let mut command = Command::new(python);
    command.arg(script).arg(folder.path()).args(["--dimensions", &DIMENSIONS.to_string(), "--rounds", &rounds]);
    let output = command.stderr(Stdio::inherit()).output()?; // it says there what is missing
    ensure!(output.status.success(), "{command:?} failed: {}", output.status);
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).context("what hnsw.py printed")?;
    found.iter().map(peer).collect()
}

fn peer(found: &Value) -> anyhow::Result<Found> {
    let number = |key: &str| found[key].as_f64().with_context(|| format!("hnsw.py says no `{key}`"));
    let samples = |key: &str| -> anyhow::Result<Samples> {
        let numbers = found[key].as_array().with_context(|| format!("hnsw.py says no `{key}`"))?;
        Ok(numbers.iter().filter_map(Value::as_f64).collect())
    };
    let mut of = Found::new(found["name"].as_str().unwrap_or("a peer"), number("build_s")?);
    (of.recall, of.rate, of.p50_us, of.p99_us) = (number("recall")?, samples("rate")?, samples("p50_us")?, samples("p99_us")?);
    Ok(of)
}

fn write<T>(file: &Path, rows: &[Vec<T>], bytes: impl Fn(&T) -> [u8; 4]) -> std::io::Result<()> {
    let bytes: Vec<u8> = rows.iter().flatten().flat_map(bytes).collect();
    std::fs::write(file, bytes)
}

fn print(found: &[Found], out: &mut dyn Write) -> anyhow::Result<()> {
    let mut table =
        Table::new(["index", "recall@10", "queries/s", "p50 µs", "p99 µs", "queries/s, ours over it", "ingest s", "aim"]);
    for (index, of) in found.iter().enumerate() {
        let over = found[0].rate.over(&of.rate);
        let is_ours = index == 0;
        let verdict = if is_ours { aim(of.recall >= RECALL_MIN, &format!("recall ≥ {RECALL_MIN}")) } else { String::new() };
        table.row([
            of.name.clone(),
            format!("{:.4}", of.recall),
            format!("{:.0}", of.rate),
            format!("{:.0}", of.p50_us),
            format!("{:.0}", of.p99_us),
            format!("{over:.2}"),
            format!("{:.1}", of.build_s),
            verdict,
        ]);
    }
    let title =
        format!("vector: the nearest {K} of {VECTORS} clustered vectors of {DIMENSIONS} numbers, {QUERIES} queries a round");
    Ok(table.print(&title, out)?)
}
