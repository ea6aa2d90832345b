//! What tests and benches share: a server on a free port, a fake engine, and a client.

// A harness fails by panicking, as tests do.
#![allow(clippy::panic)]

mod fake;
mod server;
mod wire;

use std::path::{Path, PathBuf};

pub use fake::{Counts, FakeInference};
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
