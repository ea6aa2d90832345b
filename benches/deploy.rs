//! How long a file that was put into the folder takes to be served, and what a hundred replacements leave behind.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use runtime::ServerConfig;
use tests::{FakeInference, Setup, versioned};

use crate::client::{self, Pace};
use crate::process::{self, Says, Served, serve};
use crate::table::{Samples, Table, aim};

/// What a dropped file may take on a machine with nothing else to do, in milliseconds.
const SERVED_MS_MAX: f64 = 1000.0;
const REPLACEMENTS: u64 = 100;
const CLIENTS: u32 = 8;
const PATH: &str = "/c/versioned/";
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Runs the bench.
///
/// # Errors
/// When a server can't be started or fails.
pub(crate) fn run(rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("versioned");
    let setup = setup.policy("versioned", "schema = 1\n[quota]\nrequests_per_min_max = 100000000\n");
    let (file, data) = (setup.component_folder("versioned").join("component.wasm"), tempfile::tempdir()?);
    let server = Served::start(serve(&setup, Path::new("no-models"), data.path())?, Says::Out)?;
    let mut number = 0;
    let (mut compile, mut idle) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        number += 1;
        compile.push(compile_ms(&versioned(number))?);
        idle.push(replace(&server, &file, number)?);
    }
    let before = server.resident()?.total_mib;
    let (loaded, asked) = under_load(&server, &file, &mut number)?;
    std::thread::sleep(Duration::from_secs(2)); // instances of older versions end
    let after = server.resident()?.total_mib;
    let mut table = Table::new(["a Rust component of 200 KB", "ms", "over the limit"]);
    for (name, ms) in [
        ("limit: compiled in a process of its own", &compile),
        ("from the file in its place to its first answer, idle", &idle),
        ("the same while 8 clients ask", &loaded),
    ] {
        table.row([name.into(), ms.to_string(), format!("{:.2}", ms.over(&compile))]);
    }
    table.print("deploy: files that are replaced while the server runs", out)?;
    writeln!(out, "{asked} requests during {REPLACEMENTS} replacements, none failed")?;
    writeln!(out, "resident before {before:.1} MiB, after {after:.1} MiB: {:.2}", after / before)?;
    let text = format!("served {SERVED_MS_MAX} ms after the file is there, on an idle machine");
    Ok(writeln!(out, "{}", aim(idle.median() <= SERVED_MS_MAX, &text))?)
}

/// The least that it can take: the compiler alone, as the server starts it.
fn compile_ms(code: &[u8]) -> anyhow::Result<f64> {
    let config = ServerConfig::default();
    let limits =
        [config.stack_bytes_max as u64, config.component_bytes_max, config.compile_ms_max].map(|limit| limit.to_string());
    let arguments =
        ["compile", "--stack-bytes-max", &limits[0], "--component-bytes-max", &limits[1], "--compile-ms-max", &limits[2]];
    let start = Instant::now();
    let mut compiler = Command::new(process::tessera()?);
    let mut compiler = compiler.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    compiler.stdin.take().context("it was piped")?.write_all(code)?;
    ensure!(compiler.wait_with_output()?.status.success(), "the compiler fails");
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Puts a version into the folder; gives the milliseconds until it answers.
fn replace(server: &Served, file: &Path, number: u64) -> anyhow::Result<f64> {
    let draft = file.with_file_name(".draft");
    std::fs::write(&draft, versioned(number))?;
    std::fs::rename(draft, file)?;
    let (start, wanted) = (Instant::now(), format!("version {number:04}"));
    while start.elapsed() < WAIT_MAX {
        let mut connection = TcpStream::connect(server.address)?;
        write!(connection, "GET {PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "a request failed: {answer}");
        if answer.ends_with(&wanted) {
            return Ok(start.elapsed().as_secs_f64() * 1e3);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    anyhow::bail!("version {number} is not served")
}

/// Replaces while clients ask; gives the times, and how many requests there were. A request that fails ends the bench.
fn under_load(server: &Served, file: &Path, number: &mut u64) -> anyhow::Result<(Samples, u64)> {
    let (is_over, asked, address) = (AtomicBool::new(false), AtomicU64::new(0), server.address);
    let mut samples = Samples::default();
    std::thread::scope(|scope| {
        let (is_over, asked) = (&is_over, &asked);
        let load = scope.spawn(move || -> anyhow::Result<()> {
            while !is_over.load(Ordering::Acquire) {
                let pace = Pace::Every(Duration::from_millis(4));
                let load = client::drive(address, &client::get(PATH), CLIENTS, pace, Duration::from_millis(500))?;
                asked.fetch_add(load.requests, Ordering::Relaxed);
            }
            Ok(())
        });
        let replaced = (0..REPLACEMENTS).try_for_each(|_| {
            *number += 1;
            samples.push(replace(server, file, *number)?);
            anyhow::Ok(())
        });
        is_over.store(true, Ordering::Release);
        load.join().ok().context("the clients failed")??;
        replaced
    })?;
    Ok((samples, asked.into_inner()))
}
