//! What knowing the caller and writing the audit log cost a small request, beside the same server without them.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use tempfile::TempDir;
use tests::Setup;

use crate::client::{self, Pace};
use crate::http::{Cost, Traffic, echoes};
use crate::process::{self, Says, Served};
use crate::table::{Table, aim};

const OVERHEAD_US_MAX: f64 = 10.0;
const PATH: &str = "/c/shared/hello";
const ALL_OFF: &str = "access = \"off\"\ndeny = \"off\"\nuse = \"off\"\nadmin = \"off\"";
const CLOSED: &str = "access = \"closed\"\ndeny = \"closed\"\nuse = \"closed\"";

/// A server with one more of the two than the one before it.
struct Case {
    name: &'static str,
    server: Served,
    request: Vec<u8>,
    costs: [Cost; Traffic::ALL.len()],
    /// Kept while the server runs.
    _folders: (Setup, TempDir),
}

/// Runs the bench.
///
/// # Errors
/// When a server can't be started or fails.
pub(crate) fn run(rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut cases = [
        case("neither", false, ALL_OFF)?,
        case("keys", true, ALL_OFF)?,
        case("the audit log, open", false, "")?,
        case("keys and the audit log, open", true, "")?,
        case("keys and the audit log, closed", true, CLOSED)?,
    ];
    for case in &cases {
        client::drive(case.server.address, &case.request, 8, Pace::Closed, crate::http::WARM_UP)?;
    }
    for _ in 0..rounds {
        for (index, traffic) in Traffic::ALL.iter().enumerate() {
            for case in &mut cases {
                case.costs[index].measure(&case.server, &case.request, traffic)?;
            }
        }
    }
    (0..Traffic::ALL.len()).try_for_each(|traffic| Ok(print(traffic, &cases, out)?))
}

/// Starts a server with keys or without, and with settings of its audit log.
fn case(name: &'static str, has_keys: bool, audit: &str) -> anyhow::Result<Case> {
    let setup = echoes();
    let data = tempfile::tempdir()?;
    let mode = if has_keys { "required" } else { "off" };
    let settings = data.path().join("tessera.toml");
    std::fs::write(&settings, format!("[auth]\nmode = \"{mode}\"\n[audit]\n{audit}\n"))?;
    let mut request = client::get(PATH);
    if has_keys {
        let header = format!("authorization: Bearer {}\r\n\r\n", key(data.path())?);
        request.truncate(request.len() - 2);
        request.extend(header.as_bytes());
    }
    let mut command = process::serve(&setup, Path::new("no-models"), data.path())?;
    command.arg("--config").arg(settings);
    let server = Served::start(command, Says::Out)?;
    Ok(Case { name, server, request, costs: Default::default(), _folders: (setup, data) })
}

fn key(data: &Path) -> anyhow::Result<String> {
    let output = Command::new(process::tessera()?).args(["key", "create", "--tenant", "bench", "--data"]).arg(data).output()?;
    ensure!(output.status.success(), "no key: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().last().context("a key")?.trim().into())
}

fn print(traffic: usize, cases: &[Case], out: &mut dyn Write) -> std::io::Result<()> {
    let title = format!("governance: CPU of the server process for one hello, {}", Traffic::ALL[traffic].name);
    let mut table = Table::new(["server with", "CPU µs", "more than with neither", "over neither", "latency µs", "aim"]);
    let cpu_us = |case: &Case| case.costs[traffic].cpu_us.clone();
    for case in cases {
        let more = cpu_us(case).zip(&cpu_us(&cases[0]), |with, without| with - without);
        table.row([
            case.name.into(),
            cpu_us(case).to_string(),
            more.to_string(),
            format!("{:.2}", cpu_us(case).over(&cpu_us(&cases[0]))),
            case.costs[traffic].latency_us.to_string(),
            verdict(case.name, more.median()),
        ]);
    }
    table.print(&title, out)
}

fn verdict(name: &str, more_us: f64) -> String {
    match name {
        "keys and the audit log, open" => aim(more_us <= OVERHEAD_US_MAX, "<= 10 µs more"),
        _ => String::new(),
    }
}
