//! What ChatQnA itself costs: CPU time of the server process for one question and for one streamed token, with models and a store
//! that take no time, beside OPEA's own gateway with services that take none.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::client::{self, Pace};
use crate::http::{Cost, Traffic};
use crate::process::{self, Says, Served, cache};
use crate::table::{Samples, Table, aim};

pub(crate) mod instant;

/// Tokens of a long answer.
const TOKENS: usize = 128;
/// As many as 8 connections get answered, of OPEA's gateway as well.
const TRAFFIC: &Traffic = &Traffic::ALL[1];
const CONNECTIONS: &str = "8";
const REQUEST_US_MAX: f64 = 100.0;
const TOKEN_US_MAX: f64 = 2.0;

const HELLO: &str = "a component that says hello";
const SHORT: &str = "ChatQnA, whole, 1 token";
const LONG: &str = "ChatQnA, whole, 128 tokens";
const STREAM_1: &str = "ChatQnA, streamed, 1 token";
/// Tokens come as fast as they are read, so many of them go into one event.
const BATCHED: &str = "ChatQnA, streamed, 128 tokens, batched";
const PACED_1: &str = "ChatQnA, streamed, 1 token, then 2 ms";
/// As from a real model: each token is an event.
const PACED: &str = "ChatQnA, streamed, 128 tokens, one each 2 ms";

/// One way to ask, of one server.
struct Case {
    name: &'static str,
    server: usize,
    request: Vec<u8>,
    cost: Cost,
}

/// The servers, by the kind that [`instant::setup`] knows.
const SERVERS: [&str; 6] = ["rag", "rag-fresh", "rag-guard-in", "rag-guard-both", "rag-store", "rag-paced"];

/// Runs the bench.
///
/// # Errors
/// When a server can't be started or fails, or OPEA's gateway is installed and fails.
pub(crate) fn run(rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    let start = |kind: &&str| Served::start(process::own(kind)?, Says::Out);
    let servers = SERVERS.iter().map(start).collect::<anyhow::Result<Vec<Served>>>()?;
    let mut cases = cases();
    for case in &cases {
        client::drive(servers[case.server].address, &case.request, 8, Pace::Closed, crate::http::WARM_UP)
            .with_context(|| case.name)?;
    }
    for _ in 0..rounds {
        for case in &mut cases {
            case.cost.measure(&servers[case.server], &case.request, TRAFFIC)?;
        }
    }
    drop(servers);
    let python = cache().join("peers-opea/bin/python");
    let opea = if python.is_file() { Some(opea(&python, rounds)?) } else { None };
    if opea.is_none() {
        writeln!(out, "OPEA's gateway is not measured: `benches/peers/setup.sh opea` installs it")?;
    }
    Ok(print(&cases, opea.as_ref(), out)?)
}

fn cases() -> Vec<Case> {
    let case = |name, server, request| Case { name, server, request, cost: Cost::default() };
    let ask = |name, server| case(name, server, question(1, false));
    let stream = |name, server| case(name, server, question(TOKENS, true));
    let number = json!({"of": 8});
    let prompt = json!({"data": {"x": "y"}, "user_prompt_template": "{x}"});
    vec![
        case(HELLO, 0, client::get("/c/echo/hello")),
        case("a typed function, called over HTTP", 0, client::post("/c/callee/stock/half", &number)),
        case("the same through another component: one hop more", 0, client::post("/c/caller/stock/half", &number)),
        case("prompt-template over HTTP", 0, client::post("/v1/prompt_template", &prompt)),
        case("retriever over HTTP", 0, client::post("/v1/retrieval", &json!({"input": QUESTION}))),
        ask(SHORT, 0),
        case(LONG, 0, question(TOKENS, false)),
        case(STREAM_1, 0, question(1, true)),
        stream(BATCHED, 0),
        case(PACED_1, 5, question(1, true)),
        stream(PACED, 5),
        ask("ChatQnA, whole, fresh instances", 1),
        stream("ChatQnA, streamed, 128 tokens, batched, fresh instances", 1),
        ask("ChatQnA, whole, the tests' guard on the question", 2),
        ask("ChatQnA, whole, the tests' guard on question and answer", 3),
        stream("ChatQnA, streamed, 128 tokens, batched, the tests' guard on both", 3),
        ask("ChatQnA, whole, the embedded store with 1000 passages", 4),
    ]
}

const QUESTION: &str = "What is the revenue of Nike in 2023?";

fn question(tokens: usize, is_streamed: bool) -> Vec<u8> {
    client::post("/v1/chatqna", &json!({"messages": QUESTION, "max_tokens": tokens, "stream": is_streamed}))
}

/// What OPEA's gateway costs: an answer of [`TOKENS`] that is whole, and a token of one that is streamed.
struct Opea {
    request_us: Samples,
    token_us: Samples,
}

/// Runs OPEA's orchestrator with services that answer at once, in processes of their own.
fn opea(python: &Path, rounds: usize) -> anyhow::Result<Opea> {
    let mut command = Command::new(python);
    command.arg(tests::root().join("benches/peers/opea_chatqna.py")).args(["--rounds", &rounds.to_string()]);
    command.args(["--tokens", &TOKENS.to_string(), "--connections", CONNECTIONS]);
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{command:?} failed: {}", output.status);
    let found: Value = serde_json::from_slice(&output.stdout).context("what opea_chatqna.py printed")?;
    let samples = |key: &str| -> anyhow::Result<Samples> {
        let numbers = found[key].as_array().with_context(|| format!("opea_chatqna.py says no `{key}`"))?;
        Ok(numbers.iter().filter_map(Value::as_f64).collect())
    };
    Ok(Opea { request_us: samples("request_cpu_us")?, token_us: samples("token_cpu_us")? })
}

fn print(cases: &[Case], opea: Option<&Opea>, out: &mut dyn Write) -> std::io::Result<()> {
    let mut table = Table::new(["request", "CPU µs", "more than hello", "CPU µs a token", "OPEA's over it", "aim"]);
    let cpu_us =
        |name: &str| cases.iter().find(|case| case.name == name).map(|case| case.cost.cpu_us.clone()).unwrap_or_default();
    for Case { name, cost, .. } in cases {
        let cpu = &cost.cpu_us;
        let more = cpu.zip(&cpu_us(HELLO), |with, without| with - without);
        let token = match *name {
            BATCHED => Some(a_token(cpu, &cpu_us(STREAM_1))),
            PACED => Some(a_token(cpu, &cpu_us(PACED_1))),
            _ => None,
        };
        let over = match (*name, &token, opea) {
            (LONG, _, Some(opea)) => format!("{:.0}", opea.request_us.median() / cpu.median()),
            (PACED, Some(token), Some(opea)) => format!("{:.0} a token", opea.token_us.median() / token.median()),
            _ => String::new(),
        };
        let verdict = match (*name, &token) {
            (SHORT, _) => aim(cpu.median() <= REQUEST_US_MAX, "≤ 100 µs"),
            (BATCHED, Some(token)) => aim(token.median() <= TOKEN_US_MAX, "≤ 2 µs a token"),
            _ => String::new(),
        };
        let token = token.map_or_else(String::new, |token| format!("{token:.2}"));
        table.row([(*name).into(), cpu.to_string(), format!("{:.1}", more.median()), token, over, verdict]);
    }
    if let Some(Opea { request_us, token_us }) = opea {
        let (name, empty) = (|what: &str| format!("OPEA's gateway, {what}"), String::new);
        table.row([name("whole, 128 tokens"), request_us.to_string(), empty(), empty(), "1".into(), empty()]);
        table.row([name("streamed, one each 2 ms"), empty(), empty(), token_us.to_string(), "1".into(), empty()]);
    }
    table.print("rag: CPU of the server process for one question, models and store that take no time", out)
}

/// What each token costs after the first.
fn a_token(many: &Samples, one: &Samples) -> Samples {
    many.zip(one, |many, one| (many - one) / (TOKENS - 1) as f64)
}
