//! CPU time of the server process for one small request, beside bare hyper and `wasmtime serve`.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tests::{FakeInference, Setup};

use crate::client;
use crate::process::{self, Cpu, Says, Served};
use crate::table::{Samples, Table, aim};

/// Open at the same time, each with one request under way.
const CONNECTIONS: usize = 8;
const WARM_UP: Duration = Duration::from_millis(500);
/// Long enough that the system's clock of 10 ms says little wrong.
const ROUND: Duration = Duration::from_millis(1500);
const HANDLER_OVER_HYPER_MAX: f64 = 1.7;
const EMBEDDINGS_US_MAX: f64 = 100.0;

/// One kind of request to one of the servers.
struct Case {
    name: &'static str,
    server: usize,
    request: Vec<u8>,
    /// The case of `wasmtime serve` that does the same.
    peer: Option<&'static str>,
    cost: Cost,
}

/// What requests cost the server, one entry a round.
#[derive(Default)]
pub(crate) struct Cost {
    /// CPU time of a request, in microseconds.
    pub(crate) cpu_us: Samples,
    /// The kernel's share of it.
    system_us: Samples,
    /// Requests a second.
    rate: Samples,
    /// Time from request to answer, in microseconds.
    pub(crate) latency_us: Samples,
}

impl Cost {
    /// Sends requests for a round and counts what they cost.
    ///
    /// # Errors
    /// When the server fails.
    pub(crate) fn measure(&mut self, server: &Served, request: &[u8], connections: usize) -> anyhow::Result<()> {
        let before = server.cpu()?;
        let load = client::drive(server.address, request, connections, ROUND)?;
        let Cpu { user_us, system_us } = server.cpu()?;
        let each = |us: f64| us / load.requests as f64;
        self.cpu_us.push(each(user_us + system_us - before.user_us - before.system_us));
        self.system_us.push(each(system_us - before.system_us));
        self.rate.push(load.rate());
        self.latency_us.push(each(load.wall.as_secs_f64() * 1e6 * connections as f64));
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
        client::drive(servers[case.server].address, &case.request, CONNECTIONS, WARM_UP)?;
    }
    for _ in 0..rounds {
        for case in &mut cases {
            case.cost.measure(&servers[case.server], &case.request, CONNECTIONS)?;
        }
    }
    print(&cases, out)?;
    Ok(())
}

/// Test guests under several ways to live.
pub(crate) fn echoes() -> Setup {
    let fresh = |manifest: String| instance(&manifest, 1, 1);
    let alone = |manifest: String| instance(&manifest, 1_000_000, 1);
    let shared = |manifest: String| instance(&manifest, 1_000_000, 16);
    Setup::new(Arc::new(FakeInference::default()))
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
    let case = |name, server, request| Case { name, server, request, peer: None, cost: Cost::default() };
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
        cases.push(Case { name, server, request: client::get("/"), peer: None, cost: Cost::default() });
    }
    Ok(())
}

fn serve_with(wasmtime: &Path, guest: &str) -> Command {
    let mut command = Command::new(wasmtime);
    command.args(["serve", "--addr", "127.0.0.1:0", "-Scli", "-Sp3", "-Wcomponent-model-async"]);
    command.arg(tests::root().join("tests/guests").join(guest).join("component.wasm"));
    command
}

fn print(cases: &[Case], out: &mut dyn Write) -> std::io::Result<()> {
    let title = format!("http: CPU of the server process for one request, {CONNECTIONS} keep-alive connections");
    let mut table = Table::new(["server", "CPU µs", "of it kernel", "requests/s", "over hyper", "over wasmtime serve", "aim"]);
    let hyper = &cases[0].cost;
    for case in cases {
        let over_hyper = case.cost.cpu_us.over(&hyper.cpu_us);
        let peer = case.peer.and_then(|peer| cases.iter().find(|case| case.name == peer));
        let over_peer = peer.map(|peer| case.cost.cpu_us.over(&peer.cost.cpu_us));
        table.row([
            case.name.into(),
            format!("{:.1}", case.cost.cpu_us),
            format!("{:.1}", case.cost.system_us.median()),
            format!("{:.0}", case.cost.rate.median()),
            format!("{over_hyper:.2}"),
            over_peer.as_ref().map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            verdict(case, &over_hyper, over_peer.as_ref()),
        ]);
    }
    table.print(&title, out)
}

fn verdict(case: &Case, over_hyper: &Samples, over_peer: Option<&Samples>) -> String {
    if let Some(ratio) = over_peer {
        return aim(ratio.median() <= 1.0, "≤ 1 × wasmtime");
    }
    if case.name.starts_with("handler, warm") {
        return aim(over_hyper.median() <= HANDLER_OVER_HYPER_MAX, "≤ 1.7 × hyper");
    }
    if case.name.starts_with("embeddings") {
        return aim(case.cost.cpu_us.median() <= EMBEDDINGS_US_MAX, "≤ 100 µs");
    }
    String::new()
}
