//! The benches: what Tessera costs, beside a peer or a limit measured in the same run. README.md says what each prints.

mod client;
mod deploy;
mod encode;
mod governance;
mod hostile;
mod http;
mod llm;
mod many;
mod memory;
mod process;
mod rag;
mod serve;
mod share;
mod start;
mod table;
mod vector;

use std::io::Write;
use std::time::Duration;

/// As in `tessera`, so that servers that run in this binary are measured with the same one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: bench [--rounds N] [encode] [llm] [share] [http] [governance] [hostile] [start] [memory] [deploy] [many] [vector] [rag]   (none: all)
       bench load HOST:PORT PATH SECONDS CONNECTIONS MS   requests to profile a server under, each MS a connection (0: no pause)";

/// One bench: it measures everything once a round.
type Bench = fn(rounds: usize, out: &mut dyn Write) -> anyhow::Result<()>;

const BENCHES: [(&str, Bench); 12] = [
    ("encode", encode::run),
    ("llm", llm::run),
    ("share", share::run),
    ("http", http::run),
    ("governance", governance::run),
    ("hostile", hostile::run),
    ("start", start::run),
    ("memory", memory::run),
    ("deploy", deploy::run),
    ("many", many::run),
    ("vector", vector::run),
    ("rag", rag::run),
];

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut out = std::io::stdout().lock();
    match args.as_slice() {
        // This binary is also the servers that it measures beside `tessera`.
        ["serve", kind] => serve::run(kind),
        ["load", address, path, seconds, connections, period_ms] => {
            let time = Duration::from_secs(seconds.parse()?);
            let pace = match period_ms.parse()? {
                0 => client::Pace::Closed,
                ms => client::Pace::Every(Duration::from_millis(ms)),
            };
            let load = client::drive(address.parse()?, &client::get(path), connections.parse()?, pace, time)?;
            Ok(writeln!(out, "{:.0} requests/s", load.rate())?)
        }
        ["--rounds", rounds, names @ ..] => run(names, rounds.parse()?, &mut out),
        names => run(names, 5, &mut out),
    }
}

fn run(names: &[&str], rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    let is_known = |name: &&str| BENCHES.iter().any(|(known, _)| known == name);
    anyhow::ensure!(rounds > 0 && names.iter().all(is_known), USAGE);
    for (_, bench) in BENCHES.iter().filter(|(name, _)| names.is_empty() || names.contains(name)) {
        bench(rounds, out)?;
    }
    Ok(())
}
