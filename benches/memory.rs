//! Resident memory with one and with many different components.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tests::{FakeInference, Setup};

use crate::client::{self, Pace};
use crate::process::{Resident, Says, Served, serve};
use crate::table::{Samples, Table};

const COMPONENTS: usize = 100;

/// Memory of a server, in MiB, one entry a round.
#[derive(Default)]
struct Memory {
    total: Samples,
    anonymous: Samples,
}

impl Memory {
    fn push(&mut self, resident: &Resident) {
        self.total.push(resident.total_mib);
        self.anonymous.push(resident.anonymous_mib);
    }
}

/// Runs the bench.
///
/// # Errors
/// When a server can't be started or fails.
pub(crate) fn run(rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    let (one, many) = (setup(1)?, setup(COMPONENTS)?);
    let data = tempfile::tempdir()?;
    writeln!(out, "\nmemory: compiling {COMPONENTS} components once")?;
    out.flush()?;
    let mut measured: [Memory; 4] = Default::default();
    start(&many, data.path())?;
    for _ in 0..rounds {
        for (setup, names, [loaded, used]) in [(&one, 1, [0, 1]), (&many, COMPONENTS, [2, 3])] {
            let server = start(setup, data.path())?;
            measured[loaded].push(&server.resident()?);
            for index in 0..names {
                let request = client::get(&format!("/c/{}/hello", name(index)));
                client::drive(server.address, &request, 1, Pace::Closed, Duration::from_millis(1))?;
            }
            measured[used].push(&server.resident()?);
        }
    }
    let code = code_mib(data.path())? / COMPONENTS as f64;
    print(&measured, code, out)
}

/// Which copy it is.
pub(crate) fn name(index: usize) -> String {
    format!("echo-{index}")
}

/// Copies of one guest that are different code to the compiler and its cache.
pub(crate) fn setup(components: usize) -> anyhow::Result<Setup> {
    let mut setup = Setup::new(Arc::new(FakeInference::default()));
    for index in 0..components {
        let name = name(index);
        setup = setup.guest_as(&name, "echo", |manifest| manifest);
        let wasm = setup.component_folder(&name).join("component.wasm");
        let mut file = std::fs::File::options().append(true).open(wasm)?;
        // A custom section: id 0, length, name with its length, and the payload that makes it unique.
        let section = format!("\u{5}bench{index:08}");
        file.write_all(&[0, u8::try_from(section.len())?])?;
        file.write_all(section.as_bytes())?;
    }
    Ok(setup)
}

fn start(setup: &Setup, data: &Path) -> anyhow::Result<Served> {
    Served::start(serve(setup, Path::new("no-models"), data)?, Says::Out)
}

/// Compiled code on disk.
fn code_mib(data: &Path) -> anyhow::Result<f64> {
    let entries = std::fs::read_dir(data.join("compiled"))?.collect::<Result<Vec<_>, _>>()?;
    let sizes = entries.iter().map(|entry| Ok(entry.metadata()?.len())).collect::<anyhow::Result<Vec<u64>>>()?;
    Ok(sizes.iter().sum::<u64>() as f64 / f64::from(1 << 20))
}

fn print(measured: &[Memory; 4], code: f64, out: &mut dyn Write) -> anyhow::Result<()> {
    let [one, one_used, many, many_used] = measured;
    let mut table = Table::new(["loaded components", "RSS MiB", "of it anonymous", "over one component"]);
    for (what, memory) in [
        ("1, loaded".to_string(), one),
        ("1, after a request".to_string(), one_used),
        (format!("{COMPONENTS}, loaded"), many),
        (format!("{COMPONENTS}, after a request to each"), many_used),
    ] {
        let ratio = memory.total.over(&one.total);
        table.row([what, memory.total.to_string(), memory.anonymous.to_string(), format!("{ratio:.2}")]);
    }
    table.print("memory: resident set of the server, no model, compiled code cached", out)?;
    let mut table = Table::new(["each component more", "MiB", "over its compiled code on disk"]);
    for (what, many, one) in [("loaded", many, one), ("after a request", many_used, one_used)] {
        let each = many.total.zip(&one.total, |many, one| (many - one) / (COMPONENTS - 1) as f64);
        table.row([what.into(), format!("{each:.3}"), format!("{:.2}", each.median() / code)]);
    }
    table.row(["limit: its compiled code on disk".into(), format!("{code:.3}"), "1".into()]);
    Ok(table.print("memory: what each further component costs", out)?)
}
