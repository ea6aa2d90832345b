//! CPU time of the server process for one small request, beside bare hyper and `wasmtime serve`.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tests::{FakeInference, Setup};

use crate::client::{self, Pace};
use crate::process::{self, Says, Served};
use crate::table::{Samples, Table, aim};

const ROUND: Duration = Duration::from_secs(1);
pub(crate) const WARM_UP: Duration = Duration::from_millis(500);
const HANDLER_OVER_HYPER_MAX: f64 = 1.7;
const EMBEDDINGS_US_MAX: f64 = 100.0;

/// How requests come in.
pub(crate) struct Traffic {
    pub(crate) name: &'static str,
    connections: u32,
    pace: Pace,
}

impl Traffic {
    /// One request at a time.
    pub(crate) const ONE: Traffic = Traffic { name: "one at a time", connections: 1, pace: Pace::Closed };

    /// What servers are compared under.
    pub(crate) const ALL: [Traffic; 2] = [
        // The server sleeps between requests, and pays for waking up.
        Traffic { name: "2000 requests/s over 8 connections", connections: 8, pace: Pace::Every(Duration::from_millis(4)) },
        // The faster server has more to do each time it wakes, and a client that never sleeps: both make it look better.
        Traffic { name: "as many as 8 connections get answered", connections: 8, pace: Pace::Closed },
    ];
}

/// One kind of request to one of the servers.
struct Case {
    name: &'static str,
    server: usize,
    request: Vec<u8>,
    /// The case of `wasmtime serve` that does the same.
    peer: Option<&'static str>,
    costs: [Cost; Traffic::ALL.len()],
}

/// What requests cost, one entry a round.
#[derive(Default)]
pub(crate) struct Cost {
    /// CPU time of the server for a request, in microseconds.
    pub(crate) cpu_us: Samples,
    /// Time from request to answer, in microseconds, where connections don't pause.
    pub(crate) latency_us: Samples,
    rate: Samples,
}

impl Cost {
    /// Sends requests for a round and counts what they cost.
    ///
    /// # Errors
    /// When the server fails.
    pub(crate) fn measure(&mut self, server: &Served, request: &[u8], traffic: &Traffic) -> anyhow::Result<()> {
        let before = server.cpu_us()?;
        let load = client::drive(server.address, request, traffic.connections, traffic.pace, ROUND)?;
        let requests = load.requests as f64;
        self.cpu_us.push((server.cpu_us()? - before) / requests);
        self.latency_us.push(load.wall.as_secs_f64() * 1e6 * f64::from(traffic.connections) / requests);
        self.rate.push(load.rate());
        Ok(())
    }
}

/// Runs the bench.
///
/// # Errors
/// When a server can't be started or fails.
pub(crate) fn run(rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    let setup = echoes();
    let mut servers = vec![
        Served::start(process::own("hyper")?, Says::Out)?,
        Served::start(process::serve(&setup, Path::new("no-models"), &setup.config.data)?, Says::Out)?,
        Served::start(process::own("instant-engine")?, Says::Out)?,
    ];
    let mut cases = own_cases();
    match process::wasmtime() {
        Ok(wasmtime) => add_wasmtime(&wasmtime, &mut servers, &mut cases)?,
        Err(how_to_get_it) => writeln!(out, "{how_to_get_it}")?,
    }
    for case in &cases {
        client::drive(servers[case.server].address, &case.request, 8, Pace::Closed, WARM_UP)?;
    }
    for _ in 0..rounds {
        for (index, traffic) in Traffic::ALL.iter().enumerate() {
            for case in &mut cases {
                case.costs[index].measure(&servers[case.server], &case.request, traffic)?;
            }
        }
    }
    (0..Traffic::ALL.len()).try_for_each(|traffic| Ok(print(traffic, &cases, out)?))
}

/// Test guests under several ways to live.
pub(crate) fn echoes() -> Setup {
    let fresh = |manifest: String| instance(&manifest, 1, 1);
    let alone = |manifest: String| instance(&manifest, 1_000_000, 1);
    let shared = |manifest: String| instance(&manifest, 1_000_000, 16);
    const NAMES: [&str; 7] = ["fresh", "alone", "shared", "p2-fresh", "p2-alone", "p3-fresh", "p3-shared"];
    // A closed loop asks more than the quota of a component that nobody has looked at.
    let setup = Setup::new(Arc::new(FakeInference::default()));
    let setup = NAMES.iter().fold(setup, |setup, name| setup.policy(name, crate::hostile::NEIGHBOUR));
    setup
        .guest_as("fresh", "echo", fresh)
        .guest_as("alone", "echo", alone)
        .guest_as("shared", "echo", shared)
        .guest_as("p2-fresh", "wasi-http-02", fresh)
        .guest_as("p2-alone", "wasi-http-02", alone)
        .guest_as("p3-fresh", "wasi-http-03", fresh)
        .guest_as("p3-shared", "wasi-http-03", shared)
}

/// A manifest with another `[instance]` section.
fn instance(manifest: &str, requests_max: u32, concurrency_max: u32) -> String {
    let head = manifest.split("[instance]").next().unwrap_or_default();
    let keys = format!("requests_max = {requests_max}\nconcurrency_max = {concurrency_max}\nidle_ms_max = 600000");
    format!("{head}\n[instance]\n{keys}\n")
}

fn own_cases() -> Vec<Case> {
    let case = |name, server, request| Case { name, server, request, peer: None, costs: Default::default() };
    let hello = |name, path| case(name, 1, client::get(path));
    let wasi = |name, path, peer| Case { peer: Some(peer), ..case(name, 1, client::get(path)) };
    let body = |format| json!({"model": "all-minilm-l6-v2", "input": "What is a tessera?", "encoding_format": format});
    let embeddings = |name, format| case(name, 2, client::post("/v1/embeddings", &body(format)));
    vec![
        case("bare hyper", 0, client::get("/")),
        hello("host route /health", "/health"),
        hello("handler, warm, 1 at a time", "/c/alone/hello"),
        hello("handler, warm, up to 16 at a time", "/c/shared/hello"),
        hello("handler, fresh", "/c/fresh/hello"),
        wasi("wasi:http 0.2, fresh", "/c/p2-fresh/", "wasmtime serve 0.2, fresh"),
        wasi("wasi:http 0.2, warm, 1 at a time", "/c/p2-alone/", "wasmtime serve 0.2, warm, 1 at a time"),
        wasi("wasi:http 0.3, fresh", "/c/p3-fresh/", "wasmtime serve 0.3, fresh"),
        wasi("wasi:http 0.3, warm, up to 16 at a time", "/c/p3-shared/", "wasmtime serve 0.3, warm, up to 16 at a time"),
        embeddings("embeddings, instant engine, base64", "base64"),
        embeddings("embeddings, instant engine, float", "float"),
    ]
}

/// `wasmtime serve` with the same guests, living as ours do.
fn add_wasmtime(wasmtime: &Path, servers: &mut Vec<Served>, cases: &mut Vec<Case>) -> anyhow::Result<()> {
    for (name, guest, requests, concurrency) in [
        ("wasmtime serve 0.2, fresh", "wasi-http-02", "1", "1"),
        ("wasmtime serve 0.2, warm, 1 at a time", "wasi-http-02", "1000000", "1"),
        ("wasmtime serve 0.3, fresh", "wasi-http-03", "1", "1"),
        ("wasmtime serve 0.3, warm, up to 16 at a time", "wasi-http-03", "1000000", "16"),
    ] {
        let mut command = serve_with(wasmtime, guest);
        command.args(["--max-instance-reuse-count", requests, "--max-instance-concurrent-reuse-count", concurrency]);
        servers.push(Served::start(command, Says::Error)?);
        let server = servers.len() - 1;
        let case = Case { name, server, request: client::get("/"), peer: None, costs: Default::default() };
        // Right after ours, so that both see the same noise.
        let ours = cases.iter().position(|ours| ours.peer == Some(name)).unwrap_or_default();
        cases.insert(ours + 1, case);
    }
    Ok(())
}

fn serve_with(wasmtime: &Path, guest: &str) -> Command {
    let mut command = Command::new(wasmtime);
    command.args(["serve", "--addr", "127.0.0.1:0", "-Scli", "-Sp3", "-Wcomponent-model-async"]);
    command.arg(tests::root().join("tests/guests").join(guest).join("component.wasm"));
    command
}

fn print(traffic: usize, cases: &[Case], out: &mut dyn Write) -> std::io::Result<()> {
    let title = format!("http: CPU of the server process for one request, {}", Traffic::ALL[traffic].name);
    let mut table = Table::new(["server", "CPU µs", "requests/s", "over hyper", "over wasmtime serve", "aim"]);
    let cpu_us = |case: &Case| case.costs[traffic].cpu_us.clone();
    for case in cases {
        let over_hyper = cpu_us(case).over(&cpu_us(&cases[0]));
        let peer = case.peer.and_then(|peer| cases.iter().find(|case| case.name == peer));
        let over_peer = peer.map(|peer| cpu_us(case).over(&cpu_us(peer)));
        table.row([
            case.name.into(),
            cpu_us(case).to_string(),
            format!("{:.0}", case.costs[traffic].rate.median()),
            format!("{over_hyper:.2}"),
            over_peer.as_ref().map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            verdict(case.name, cpu_us(case).median(), &over_hyper, over_peer.as_ref()),
        ]);
    }
    table.print(&title, out)
}

fn verdict(name: &str, cpu_us: f64, over_hyper: &Samples, over_peer: Option<&Samples>) -> String {
    if let Some(ratio) = over_peer {
        return aim(ratio.median() <= 1.0, "≤ 1 × wasmtime");
    }
    if name.starts_with("handler, warm") {
        return aim(over_hyper.median() <= HANDLER_OVER_HYPER_MAX, "≤ 1.7 × hyper");
    }
    if name.starts_with("embeddings") {
        return aim(cpu_us <= EMBEDDINGS_US_MAX, "≤ 100 µs");
    }
    String::new()
}
