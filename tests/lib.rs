//! What tests and benches share: a server on a free port, a fake engine, and a client.

// A harness fails by panicking, as tests do.
#![allow(clippy::panic)]

mod fake;
mod fake_store;
mod server;
mod wire;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use fake::{Counts, FakeInference, GENERATION_BYTES, TOKEN_NS};
pub use fake_store::{FakeStore, StoreCounts};
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

/// The code of the guest `versioned`, with another number in it.
///
/// # Panics
/// When the guest is not built.
pub fn versioned(number: u64) -> Vec<u8> {
    let file = root().join("tests/guests/versioned/component.wasm");
    let mut code = std::fs::read(file).expect("run `make guests` first");
    let (mark, text) = (b"version 0000", format!("version {number:04}"));
    let is_mark = |place: &usize| code[*place..].starts_with(mark);
    let places: Vec<usize> = (0..code.len()).filter(is_mark).collect();
    assert!(!places.is_empty(), "the number is in the code");
    for place in places {
        code[place..place + mark.len()].copy_from_slice(text.as_bytes());
    }
    code
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
