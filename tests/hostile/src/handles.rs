//! Handles that are never dropped. A size counts them.

use tessera_sdk::bindings::wit_stream;
use tessera_sdk::generate::{self, Options, Sampling};
use tessera_sdk::{Response, http};

use crate::{Report, Size, Url};

/// Pollables of `wasi:io`, each of which waits for an hour.
pub(crate) async fn pollables(size: u64) -> Report {
    const HOUR_NS: u64 = 3_600_000_000_000;
    let held: Vec<_> = (0..size).map(|_| wasip2::clocks::monotonic_clock::subscribe_duration(HOUR_NS)).collect();
    Report::done(held.len() as u64)
}

/// Streams of the component model, both ends of each.
pub(crate) async fn streams(size: u64) -> Report {
    let held: Vec<_> = (0..size).map(|_| wit_stream::new::<u8>()).collect();
    Report::done(held.len() as u64)
}

/// Generations that nobody reads. They are longer than what waits for a reader, so none ends by itself.
pub(crate) async fn generations(size: u64) -> Report {
    let mut held = Vec::new();
    let prompt = "word ".repeat(24);
    for _ in 0..size {
        let options = Options { sampling: Sampling::greedy(), ..Options::default() };
        match generate::generate(prompt.as_str(), options).await {
            Ok(generation) => held.push(generation),
            Err(error) => return Report::stopped(held.len() as u64, crate::code(error.code)),
        }
    }
    Report::done(held.len() as u64)
}

/// Answers of another host whose bodies nobody reads.
pub(crate) async fn responses(Size(size): Size, Url(url): Url) -> Response {
    let mut held = Vec::new();
    let mut outcome = "done".to_owned();
    for _ in 0..size {
        match http::get(url.as_str()).send().await {
            Ok(response) => held.push(response),
            Err(error) => {
                outcome = crate::code(error.code);
                break;
            }
        }
    }
    Report::stopped(held.len() as u64, outcome).named("responses-held")
}
