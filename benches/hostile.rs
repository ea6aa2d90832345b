//! What a component's attacks do to its neighbour: the neighbour's latency beside what it is alone, in the same run.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::client::{self, Load, Pace};
use crate::process::{self, Says, Served};
use crate::table::Samples;

/// The policy of the component that is measured.
pub(crate) const NEIGHBOUR: &str = "schema = 1\n[log]\n[quota]\nrequests_per_min_max = 100000000\n";

/// That of the one that attacks: every right that its attacks need, limits as they are by default, and short requests, so that it
/// attacks again and again.
pub(crate) const ATTACKER: &str = "\
schema = 1
config.key = \"value\"
embed.models = [\"fake\"]
generate.models = [\"fake\"]
http.allow = []
log.bytes_per_min_max = 65536
limits.cpu_ms_max = 500
limits.wall_ms_max = 2000
quota.requests_per_min_max = 100000000";

/// What is tried, with its size.
const ATTACKS: [&str; 18] = [
    "loop?size=1000000000000",
    "recursion-without-end?size=1000000000",
    "loop-after-answer?size=1000000000000",
    "tiny-awaits?size=100000000",
    "memory-until-trap?size=10000",
    "memory-until-refused?size=10000",
    "stack?size=100000000",
    "tasks?size=100000",
    "log-flood?size=1000000",
    "clock-flood?size=100000000",
    "config-flood?size=100000000",
    "random-flood?size=100000000",
    "log-line?size=64000000",
    "embed-text?size=100000000",
    "embed-many?size=1000000",
    "generations?size=2000",
    "headers-many?size=100000",
    "trap?size=1",
];

/// Clients that attack at one time, one table for each number.
const ATTACKERS: [usize; 2] = [1, 2];
/// How long the neighbour is measured in a round.
const ROUND: Duration = Duration::from_millis(1500);
/// The neighbour's requests: 200 a second over two connections.
const PACE: Pace = Pace::Every(Duration::from_millis(10));
const CONNECTIONS: u32 = 2;
/// Two epochs, in microseconds.
const TWO_TICKS_US: f64 = 20_000.0;
const P50_RATIO_MAX: f64 = 2.0;

/// Runs the bench.
///
/// # Errors
/// When the server can't be started, or the neighbour fails.
pub(crate) fn run(rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    let server = Served::start(process::own("hostile")?, Says::Out)?;
    measure(server.address)?; // warm-up
    ATTACKERS.iter().try_for_each(|attackers| table(server.address, *attackers, rounds, out))
}

fn table(address: SocketAddr, attackers: usize, rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut attacks: Vec<Attack> = ATTACKS.iter().map(|path| Attack { path, ..Attack::default() }).collect();
    for _ in 0..rounds {
        for attack in &mut attacks {
            attack.alone.push(&measure(address)?);
            let attackers = Attackers::start(address, attack.path, attackers);
            std::thread::sleep(ROUND / 10);
            attack.attacked.push(&measure(address)?);
            drop(attackers);
        }
    }
    writeln!(out, "\na neighbour of 200 requests/s beside attacks by {attackers} at once, medians of {rounds} rounds")?;
    writeln!(
        out,
        "{:<24} {:>9} {:>9} {:>14} {:>9} {:>9} {:>22}",
        "", "p50 us", "alone", "ratio (aim 2)", "p99 us", "alone", "over in ticks (aim 2)"
    )?;
    for Attack { path, alone, attacked } in &attacks {
        let name = path.split('?').next().unwrap_or(path);
        let [p50, p50_alone, p99, p99_alone] = [&attacked.p50, &alone.p50, &attacked.p99, &alone.p99].map(Samples::median);
        let ratio = attacked.p50.over(&alone.p50).median();
        let over = attacked.p99.zip(&alone.p99, |attacked, alone| attacked - alone).median();
        let missed = if ratio > P50_RATIO_MAX || over > TWO_TICKS_US { "  missed" } else { "" };
        let ticks = over / (TWO_TICKS_US / 2.0);
        writeln!(
            out,
            "{name:<24} {p50:>9.0} {p50_alone:>9.0} {ratio:>14.2} {p99:>9.0} {p99_alone:>9.0} {ticks:>22.2}{missed}"
        )?;
    }
    Ok(())
}

fn measure(address: SocketAddr) -> anyhow::Result<Load> {
    client::drive(address, &client::get("/c/echo/hello"), CONNECTIONS, PACE, ROUND)
}

/// One attack, and what the neighbour was like without it and beside it.
#[derive(Default)]
struct Attack {
    path: &'static str,
    alone: Latency,
    attacked: Latency,
}

/// In microseconds, one entry a round.
#[derive(Default)]
struct Latency {
    p50: Samples,
    p99: Samples,
}

impl Latency {
    fn push(&mut self, load: &Load) {
        self.p50.push(load.quantile_us(0.50));
        self.p99.push(load.quantile_us(0.99));
    }
}

/// Threads that attack again and again, until they are dropped.
struct Attackers {
    is_over: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Attackers {
    fn start(address: SocketAddr, path: &str, attackers: usize) -> Attackers {
        let is_over = Arc::<AtomicBool>::default();
        let request = format!("GET /c/hostile/{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let attack = |_| {
            let (is_over, request) = (is_over.clone(), request.clone());
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    attack(address, &request).unwrap_or_default(); // how it is refused is not the question
                }
            })
        };
        let threads = (0..attackers).map(attack).collect();
        Attackers { is_over, threads }
    }
}

fn attack(address: SocketAddr, request: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request.as_bytes())?;
    std::io::copy(&mut (&mut stream).take(1 << 20), &mut std::io::sink()).map(drop)
}

impl Drop for Attackers {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap_or_default();
        }
    }
}
