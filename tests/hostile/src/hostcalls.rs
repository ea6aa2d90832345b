//! Calling the host all the time. A size is in thousands of calls; each call is quick, all of them are not.

use std::hint::black_box;

use tessera_sdk::{config, log};

use crate::Report;

/// Every line is of a hundred bytes.
pub(crate) async fn log_flood(size: u64) -> Report {
    let line = "x".repeat(100);
    flood(size, || log::info(&line))
}

pub(crate) async fn clock_flood(size: u64) -> Report {
    flood(size, || {
        black_box(wasip2::clocks::monotonic_clock::now());
    })
}

pub(crate) async fn config_flood(size: u64) -> Report {
    flood(size, || {
        black_box(config::get("key"));
    })
}

/// Every call is for 64 bytes.
pub(crate) async fn random_flood(size: u64) -> Report {
    flood(size, || {
        black_box(wasip2::random::random::get_random_bytes(64));
    })
}

fn flood(thousands: u64, call: impl Fn()) -> Report {
    for _ in 0..thousands * 1000 {
        call();
    }
    Report::done(thousands)
}
