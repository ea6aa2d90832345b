//! What a record of the audit log costs the CPU: JSON, the hash, the chain, and the copy to the system; no disk.

use std::collections::BTreeMap;
use std::io;
use std::time::{Instant, SystemTime};

use policy::audit::{Decision, Files, Kind, Log, Record, Storage, Usage};

/// Records between two checkpoints, as at a busy server.
const BATCH: u32 = 1000;
const BATCHES: usize = 200;

/// A storage that keeps keys and heads and forgets lines.
#[derive(Default)]
struct Forgetful(BTreeMap<String, Vec<u8>>);

impl Files for Forgetful {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(name).cloned())
    }
}

impl Storage for Forgetful {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        std::hint::black_box(bytes.to_vec());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn rotate(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn create(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.replace(name, bytes)
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.insert(name.into(), bytes.into());
        Ok(())
    }
}

/// A request's record, with all that one has.
fn record() -> Record {
    let digest = || Some("0123456789abcdef".repeat(4).into());
    Record {
        request: Some("65a1b2c3-1f4".into()),
        tenant: Some("acme".into()),
        caller: Some("k_0123abcd".into()),
        client: Some("192.0.2.17".into()),
        component: Some("embeddings".into()),
        digest: digest(),
        policy: digest(),
        action: Some("POST".into()),
        target: Some("/v1/embeddings".into()),
        decision: Some(Decision::Allow),
        status: Some(200),
        args: Some(format!("hmac-sha256:{}", "0123456789abcdef".repeat(4)).into()),
        usage: Some(Usage { input_tokens: 128, device_ns: 900_000, cpu_ns: 40_000, took_us: 1200, ..Usage::default() }),
        ..Record::new(Kind::Request)
    }
}

/// Nanoseconds of one record, at the median and the 95th percentile of batches, its part of a checkpoint included.
pub(crate) fn nanoseconds() -> anyhow::Result<(f64, f64)> {
    let mut log = Log::open(Box::<Forgetful>::default(), u64::MAX, SystemTime::now())?;
    let record = record();
    let mut times = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let start = Instant::now();
        for _ in 0..BATCH {
            log.append(SystemTime::now(), &record);
        }
        log.checkpoint(SystemTime::now())?;
        times.push(start.elapsed().as_nanos() as f64 / f64::from(BATCH));
    }
    times.sort_by(f64::total_cmp);
    Ok((times[BATCHES / 2], times[BATCHES * 95 / 100]))
}
