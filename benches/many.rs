//! A thousand components beside ten: how long the server takes to start, what it holds, and what a request costs.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::client;
use crate::http::{Cost, Traffic};
use crate::memory::{name, setup};
use crate::process::{Says, Served, serve};
use crate::table::{Samples, Table};

const FEW: usize = 10;
const MANY: usize = 1000;

/// What a server with so many components is like.
#[derive(Default)]
struct Measured {
    components: usize,
    cold_ms: f64,
    warm_ms: Samples,
    resident_mib: Samples,
    cost: Cost,
}

/// Runs the bench.
///
/// # Errors
/// When a server can't be started or fails.
pub(crate) fn run(rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut measured = Vec::new();
    for components in [FEW, MANY] {
        writeln!(out, "\nmany: compiling {components} components, each with code of its own")?;
        out.flush()?;
        measured.push(measure(components, rounds)?);
    }
    let mut table = Table::new([
        "components",
        "cold start, ms",
        "warm start, ms",
        "warm start, ms each",
        "resident MiB",
        "CPU µs a request",
        "latency µs",
    ]);
    for of in &measured {
        let each = of.warm_ms.median() / of.components as f64;
        table.row([
            of.components.to_string(),
            format!("{:.0}", of.cold_ms),
            of.warm_ms.to_string(),
            format!("{each:.2}"),
            of.resident_mib.to_string(),
            of.cost.cpu_us.to_string(),
            of.cost.latency_us.to_string(),
        ]);
    }
    let over = |of: fn(&Measured) -> &Samples| format!("{:.2}", of(&measured[1]).over(of(&measured[0])));
    table.row([
        format!("{MANY} over {FEW}"),
        format!("{:.2}", measured[1].cold_ms / measured[0].cold_ms),
        over(|of| &of.warm_ms),
        "-".into(),
        over(|of| &of.resident_mib),
        over(|of| &of.cost.cpu_us),
        over(|of| &of.cost.latency_us),
    ]);
    Ok(table.print("many: components with distinct digests, one of them asked", out)?)
}

fn measure(components: usize, rounds: usize) -> anyhow::Result<Measured> {
    let (setup, data) = (setup(components)?, tempfile::tempdir()?);
    let start = || -> anyhow::Result<Served> { Served::start(serve(&setup, Path::new("no-models"), data.path())?, Says::Out) };
    let compiling = Instant::now();
    drop(start()?);
    let mut measured = Measured { components, cold_ms: compiling.elapsed().as_secs_f64() * 1e3, ..Measured::default() };
    let request = client::get(&format!("/c/{}/hello", name(components / 2)));
    for _ in 0..rounds {
        let server = start()?;
        measured.warm_ms.push(server.ready_after.as_secs_f64() * 1e3);
        measured.resident_mib.push(server.resident()?.total_mib);
        client::drive(server.address, &request, 1, client::Pace::Closed, crate::http::WARM_UP)?;
        measured.cost.measure(&server, &request, &Traffic::ONE)?;
    }
    Ok(measured)
}
