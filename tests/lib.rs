//! What tests and benches share: a server on a free port, a fake engine, and a client.

// A harness fails by panicking, as tests do.
#![allow(clippy::panic)]

mod fake;
mod server;
mod wire;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use fake::{Counts, FakeInference, GENERATION_BYTES, TOKEN_NS};
pub use server::{Reply, Setup, TestServer};
pub use wire::Wire;

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the root")
}

/// The folder with pulled models: what `TESSERA_MODELS` says, else `models/`.
pub fn models() -> PathBuf {
    std::env::var_os("TESSERA_MODELS").map_or_else(|| root().join("models"), PathBuf::from)
}

/// A folder of `tests/golden`.
pub fn golden(name: &str) -> PathBuf {
    root().join("tests/golden").join(name)
}

/// Asks until there is an answer: for what becomes true soon after its cause, with nothing that tells when.
///
/// # Panics
/// When there is none in 30 seconds.
pub fn eventually<T>(ask: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if let Some(answer) = ask() {
            return answer;
        }
    }
    panic!("it never became true");
}
