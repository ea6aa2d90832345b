//! What ChatQnA itself costs: CPU time of the server process for one question and for one streamed token, with models and a store
//! that take no time, beside OPEA's own gateway with services that take none.

use std::io::Write;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::client::{self, Pace};
use crate::http::{Cost, Traffic};
use crate::process::{self, Says, Served, cache};
use crate::table::{Samples, Table, aim};

pub(crate) mod instant;

/// Tokens of a streamed answer.
const TOKENS: usize = 128;
const REQUEST_US_MAX: f64 = 100.0;
const TOKEN_US_MAX: f64 = 2.0;

/// One way to ask, of one server.
struct Case {
    name: &'static str,
    server: usize,
    request: Vec<u8>,
    cost: Cost,
}

/// The servers, by the kind that [`instant::serve`] knows.
const SERVERS: [&str; 5] = ["rag", "rag-fresh", "rag-guard-in", "rag-guard-both", "rag-store"];

/// Runs the bench.
///
/// # Errors
/// When a server can't be started or fails.
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
            case.cost.measure(&servers[case.server], &case.request, &Traffic::ALL[1])?;
        }
    }
    drop(servers);
    let opea = opea(rounds);
    if let Err(why) = &opea {
        writeln!(out, "OPEA's gateway is not measured: {why:#}")?;
    }
    print(&cases, opea.ok().as_ref(), out)
}

fn cases() -> Vec<Case> {
    let case = |name, server, request| Case { name, server, request, cost: Cost::default() };
    let ask = |name, server| case(name, server, question(1, false));
    let stream = |name, server| case(name, server, question(TOKENS, true));
    let number = json!({"of": 8});
    let prompt = json!({"data": {"x": "y"}, "user_prompt_template": "{x}"});
    vec![
        case("a component that says hello", 0, client::get("/c/echo/hello")),
        case("a typed function, called over HTTP", 0, client::post("/c/callee/stock/half", &number)),
        case("the same through another component: one hop more", 0, client::post("/c/caller/stock/half", &number)),
        case("prompt-template over HTTP", 0, client::post("/v1/prompt_template", &prompt)),
        case("retriever over HTTP", 0, client::post("/v1/retrieval", &json!({"input": QUESTION}))),
        ask("ChatQnA, whole, 1 token", 0),
        case("ChatQnA, streamed, 1 token", 0, question(1, true)),
        stream("ChatQnA, streamed, 128 tokens", 0),
        ask("ChatQnA, whole, fresh instances", 1),
        stream("ChatQnA, streamed, 128 tokens, fresh instances", 1),
        ask("ChatQnA, whole, a guard on the question", 2),
        ask("ChatQnA, whole, guards on question and answer", 3),
        stream("ChatQnA, streamed, 128 tokens, both guards", 3),
        ask("ChatQnA, whole, the embedded store with 1000 passages", 4),
    ]
}

const QUESTION: &str = "What is the revenue of Nike in 2023?";

fn question(tokens: usize, is_streamed: bool) -> Vec<u8> {
    client::post("/v1/chatqna", &json!({"messages": QUESTION, "max_tokens": tokens, "stream": is_streamed}))
}

/// What OPEA's gateway costs.
struct Opea {
    request_us: Samples,
    token_us: Samples,
}

/// Runs OPEA's orchestrator with services that answer at once, in processes of their own.
fn opea(rounds: usize) -> anyhow::Result<Opea> {
    let python = cache().join("peers-opea/bin/python");
    ensure!(python.is_file(), "`benches/peers/setup.sh opea` installs it");
    let script = tests::root().join("benches/peers/opea_chatqna.py");
    let output = Command::new(python).arg(script).args(["--rounds", &rounds.to_string()]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).context("what opea_chatqna.py printed")?;
    let samples = |key: &str| -> anyhow::Result<Samples> {
        let numbers = found[key].as_array().with_context(|| format!("opea_chatqna.py says no `{key}`"))?;
        Ok(numbers.iter().filter_map(Value::as_f64).collect())
    };
    Ok(Opea { request_us: samples("request_cpu_us")?, token_us: samples("token_cpu_us")? })
}

fn print(cases: &[Case], opea: Option<&Opea>, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut table = Table::new(["request", "CPU µs", "more than hello", "CPU µs a token", "OPEA's over it", "aim"]);
    let cpu_us =
        |name: &str| cases.iter().find(|case| case.name == name).map(|case| case.cost.cpu_us.clone()).unwrap_or_default();
    let (hello, one) = (cpu_us("a component that says hello"), cpu_us("ChatQnA, streamed, 1 token"));
    for case in cases {
        let cpu = &case.cost.cpu_us;
        let is_reused = case.name == "ChatQnA, streamed, 128 tokens";
        let token = is_reused.then(|| cpu.zip(&one, |many, one| (many - one) / (TOKENS - 1) as f64));
        let over = match (&token, opea) {
            (Some(token), Some(opea)) => format!("{:.0} a token", opea.token_us.median() / token.median()),
            (None, Some(opea)) if case.name == "ChatQnA, whole, 1 token" => {
                format!("{:.0}", opea.request_us.median() / cpu.median())
            }
            _ => String::new(),
        };
        let verdict = match case.name {
            "ChatQnA, whole, 1 token" => aim(cpu.median() <= REQUEST_US_MAX, "≤ 100 µs"),
            _ => token.as_ref().map_or_else(String::new, |token| aim(token.median() <= TOKEN_US_MAX, "≤ 2 µs a token")),
        };
        let more = cpu.zip(&hello, |with, without| with - without);
        let token = token.map_or_else(String::new, |token| format!("{token:.2}"));
        table.row([case.name.into(), cpu.to_string(), format!("{:.1}", more.median()), token, over, verdict]);
    }
    if let Some(Opea { request_us, token_us }) = opea {
        let empty = String::new;
        table.row(["OPEA's gateway, whole".into(), request_us.to_string(), empty(), empty(), "1".into(), empty()]);
        table.row(["OPEA's gateway, a streamed token".into(), empty(), empty(), token_us.to_string(), "1".into(), empty()]);
    }
    Ok(table.print("rag: CPU of the server process for one question, models and store that take no time", out)?)
}
