//! Arguments and results of host calls that are too large. A size is in bytes, or counts a list's items.

use std::hint::black_box;

use tessera_sdk::embed::{self, Input, Options};
use tessera_sdk::log;

use crate::Report;

fn text(bytes: u64) -> String {
    "x".repeat(usize::try_from(bytes).unwrap_or(usize::MAX))
}

pub(crate) async fn log_line(size: u64) -> Report {
    log::info(&text(size));
    Report::done(size)
}

/// One text.
pub(crate) async fn embed_text(size: u64) -> Report {
    embedded(size, vec![text(size).into()]).await
}

/// Many texts of one letter.
pub(crate) async fn embed_many(size: u64) -> Report {
    embedded(size, (0..size).map(|_| Input::Text("x".to_owned())).collect()).await
}

async fn embedded(size: u64, inputs: Vec<Input>) -> Report {
    match embed::embed(inputs, Options::default()).await {
        Ok(_) => Report::done(size),
        Err(error) => Report::stopped(0, crate::code(error.code)),
    }
}

/// Random bytes in one call.
pub(crate) async fn random(size: u64) -> Report {
    let bytes = black_box(wasip2::random::random::get_random_bytes(size));
    Report::done(bytes.len() as u64)
}
