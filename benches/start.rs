//! How long it takes to start: an instance, and the whole server.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::client;
use crate::http::{Cost, Traffic, echoes};
use crate::process::{self, Says, Served, serve};
use crate::table::{Samples, Table};

/// Runs the bench.
///
/// # Errors
/// When a server can't be started or fails.
pub(crate) fn run(rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    instance(rounds, out)?;
    process(rounds, out)
}

/// What a request costs more for its own instance than for a warm one, on one connection.
fn instance(rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    let setup = echoes();
    let server = Served::start(serve(&setup, Path::new("no-models"), &setup.config.data)?, Says::Out)?;
    let guests = [
        ("handler", "/c/alone/hello", "/c/fresh/hello"),
        ("wasi:http 0.2", "/c/p2-alone/", "/c/p2-fresh/"),
        ("wasi:http 0.3", "/c/p3-shared/", "/c/p3-fresh/"),
    ];
    let mut costs: Vec<(Cost, Cost)> = guests.iter().map(|_| Default::default()).collect();
    for _ in 0..rounds {
        for ((_, warm, fresh), (warm_cost, fresh_cost)) in guests.iter().zip(&mut costs) {
            warm_cost.measure(&server, &client::get(warm), &Traffic::ONE)?;
            fresh_cost.measure(&server, &client::get(fresh), &Traffic::ONE)?;
        }
    }
    let mut table =
        Table::new(["guest", "CPU µs warm", "CPU µs fresh", "instantiation, CPU µs", "in latency, µs", "fresh over warm"]);
    for ((name, ..), (warm, fresh)) in guests.iter().zip(&costs) {
        let more = |fresh: &Samples, warm: &Samples| fresh.zip(warm, |fresh, warm| fresh - warm).to_string();
        table.row([
            (*name).into(),
            warm.cpu_us.to_string(),
            fresh.cpu_us.to_string(),
            more(&fresh.cpu_us, &warm.cpu_us),
            more(&fresh.latency_us, &warm.latency_us),
            format!("{:.2}", fresh.cpu_us.over(&warm.cpu_us)),
        ]);
    }
    Ok(table.print("start: an instance, one request at a time", out)?)
}

/// From the start of a process to its ready line.
fn process(rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    let (none, models) = (std::path::PathBuf::from("no-models"), tests::models());
    let warm_data = tempfile::tempdir()?;
    let cold = || -> anyhow::Result<f64> { ready_ms(&none, tempfile::tempdir()?.path()) };
    let cold_with_model = || -> anyhow::Result<f64> { ready_ms(&models, tempfile::tempdir()?.path()) };
    let warm = || ready_ms(&none, warm_data.path());
    let warm_with_model = || ready_ms(&models, warm_data.path());
    let cases: [(&str, &dyn Fn() -> anyhow::Result<f64>); 5] = [
        ("limit: `tessera --version`", &version_ms),
        ("warm cache, no model", &warm),
        ("warm cache, MiniLM", &warm_with_model),
        ("cold cache, no model", &cold),
        ("cold cache, MiniLM", &cold_with_model),
    ];
    let mut samples = cases.map(|_| Samples::default());
    warm()?;
    for _ in 0..rounds {
        for ((_, measure), samples) in cases.iter().zip(&mut samples) {
            samples.push(measure()?);
        }
    }
    let mut table = Table::new(["two bundled components", "ms to ready", "over the limit"]);
    for ((name, _), ms) in cases.iter().zip(&samples) {
        table.row([(*name).into(), ms.to_string(), format!("{:.1}", ms.over(&samples[0]))]);
    }
    Ok(table.print("start: from the start of the process to its ready line", out)?)
}

fn ready_ms(models: &Path, data: &Path) -> anyhow::Result<f64> {
    let mut command = Command::new(process::tessera()?);
    command.args(["serve", "--listen", "127.0.0.1:0", "--models"]).arg(models).arg("--data").arg(data);
    command.arg("--components").arg(tests::root().join("components"));
    command.arg("--policies").arg(tests::root().join("policies")).current_dir(data.parent().unwrap_or(data));
    Ok(Served::start(command, Says::Out)?.ready_after.as_secs_f64() * 1e3)
}

fn version_ms() -> anyhow::Result<f64> {
    let start = Instant::now();
    let output = Command::new(process::tessera()?).arg("--version").output()?;
    anyhow::ensure!(output.status.success(), "`tessera --version` fails");
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
