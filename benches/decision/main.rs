//! What a decision costs: time and allocations of an allowed and a denied check, and with a rule that applies. A binary of its own,
//! because it counts allocations.

mod record;

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use policy::{
    Authority, Caller, ComponentName, Cost, Denied, Facts, Ledger, ModelName, Policies, SecretSource, Snapshot, Witness,
};
use url::Url;

/// What a check may cost.
const AIM: Duration = Duration::from_micros(1);
/// Checks that are timed together, so that reading the clock costs nothing beside them.
const BATCH: u32 = 50;
const BATCHES: usize = 4000;

const POLICY: &str = r#"schema = 1
[embed]
models = ["a", "b", "c", "d", "all-minilm-l6-v2"]
[generate]
models = ["smollm2"]
[http]
allow = [{ host = "*.internal" }, { host = "api.example.com", methods = ["GET", "POST"], paths = ["/v1/"] }]
[quota]
requests_per_min_max = 1000000000000
input_tokens_per_min_max = 1000000000000
egress_bytes_per_min_max = 1000000000000
"#;

/// Concerns `generate` alone.
const RULE: &str = r#"forbid (principal, action == Action::"generate", resource) when { principal.labels.contains("pii") };"#;

/// A server with nothing on it.
struct Nothing;

impl Facts for Nothing {
    fn device(&self) -> &str {
        "flex"
    }

    fn model_digest(&self, _: &ModelName) -> Option<String> {
        None
    }

    fn secret(&self, _: &SecretSource) -> Option<String> {
        None
    }

    fn token(&self, _: &ComponentName, _: &str) -> String {
        String::new()
    }
}

/// Somebody who is told and does nothing.
struct Silent;

impl Witness for Silent {
    fn denied(&self, denied: &Denied<'_>) {
        black_box(denied.reason);
    }
}

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("c.toml"), POLICY)?;
    std::fs::write(folder.path().join("rules.cedar"), RULE)?;
    let wanted = ["embed", "generate", "http"].map(String::from);
    let policy: Snapshot = Policies::read(folder.path())?.snapshot(&"c".parse()?, &wanted, &Nothing)?;
    let (ledger, caller) = (Arc::<Ledger>::default(), Caller::local());
    ledger.set(policy.quota(), u64::MAX, true);
    let authority = Authority { policy: &policy, ledger: &ledger, caller: &caller, now: None, witness: &Silent };
    let (allowed, denied) = (Url::parse("https://api.example.com/v1/x")?, Url::parse("https://evil.example.com/v1/x")?);
    let get = http::Method::GET;
    let mut out = std::io::stdout();
    writeln!(out, "a decision, of an aim of {AIM:?} and no allocation; {BATCHES} batches of {BATCH}")?;
    writeln!(out, "{:<44} {:>9} {:>9} {:>12} {:>12}", "", "p50 ns", "p95 ns", "p95 / aim", "allocations")?;
    let cost = Cost::of_text(100);
    let mut row = |name: &str, check: &dyn Fn() -> bool| -> anyhow::Result<()> {
        let Timed { p50, p95, allocations } = time(check);
        let of_aim = p95 / AIM.as_nanos() as f64;
        Ok(writeln!(out, "{name:<44} {p50:>9.0} {p95:>9.0} {of_aim:>12.2} {allocations:>12}")?)
    };
    row("embed, granted", &|| authority.embed(Some("all-minilm-l6-v2"), cost).is_ok())?;
    row("embed, denied", &|| authority.embed(Some("another-model"), cost).is_err())?;
    row("secret, denied: no section", &|| authority.secret("KEY").is_err())?;
    row("generate, granted, one rule evaluated", &|| authority.generate(Some("smollm2"), cost).is_ok())?;
    row("http, denied", &|| authority.http(&get, &denied, 100).is_err())?;
    row("http, granted (its permit holds the URL)", &|| authority.http(&get, &allowed, 100).is_ok())?;
    let (p50, p95) = record::nanoseconds()?;
    writeln!(out, "{:<44} {p50:>9.0} {p95:>9.0}", "a record of the audit log, without the disk")?;
    Ok(())
}

struct Timed {
    p50: f64,
    p95: f64,
    allocations: u64,
}

fn time(check: &dyn Fn() -> bool) -> Timed {
    assert!((0..1000).all(|_| check()), "a check that decides otherwise is not the one to measure");
    let batch = |_| {
        let start = Instant::now();
        for _ in 0..BATCH {
            black_box(check());
        }
        start.elapsed().as_nanos() as f64 / f64::from(BATCH)
    };
    let mut times: Vec<f64> = (0..BATCHES).map(batch).collect();
    times.sort_by(f64::total_cmp);
    let allocations = measure(|| {
        black_box(check());
    });
    Timed { p50: times[BATCHES / 2], p95: times[BATCHES * 95 / 100], allocations: allocations.count_total }
}
