//! Does what a guest must not: the host has to survive each route, answer it with an error and go on.

use std::cell::Cell;

use tessera_sdk::{Response, Router, log, service};

service!(router);

fn router() -> Router {
    Router::new()
        .get("/trap", trap)
        .get("/loop", spin)
        .get("/grow", grow)
        .get("/stream-then-trap", stream_then_trap)
        .get("/stream-unfinished", stream_unfinished)
        .get("/sleepless", sleepless)
        .get("/bad-status", async || Response::new(999, "text/plain", "no such status"))
        .get("/state", state)
}

#[expect(clippy::panic, reason = "a guest that panics is what the tests want")]
async fn trap() {
    panic!("a guest that panics");
}

/// Never yields: only the host's epoch ends it.
async fn spin() {
    loop {
        std::hint::black_box(());
    }
}

/// Takes memory, and writes to it, until the host gives no more; then it traps.
async fn grow() {
    const STEP_BYTES: usize = 1 << 20;
    let mut held = Vec::new();
    loop {
        held.push(std::hint::black_box(vec![1_u8; STEP_BYTES]));
    }
}

#[expect(clippy::panic, reason = "a guest that panics is what the tests want")]
async fn stream_then_trap() -> Response {
    Response::stream(200, "text/plain", |mut writer| async move {
        writer.write("the first chunk\n").await?;
        panic!("a guest that panics in the middle of its answer");
    })
}

/// Drops the writer without finishing: the client must not see a clean end.
async fn stream_unfinished() -> Response {
    Response::stream(200, "text/plain", |mut writer| async move { writer.write("the first chunk\n").await })
}

/// A million log lines: more than the log's limits let through.
async fn sleepless() -> &'static str {
    for i in 0..1_000_000 {
        log::info(&format!("line {i} of a million"));
    }
    "logged a million lines"
}

/// How many requests this instance has seen, this one included.
async fn state() -> String {
    thread_local! {
        static SEEN: Cell<u32> = const { Cell::new(0) };
    }
    let seen = SEEN.get() + 1;
    SEEN.set(seen);
    seen.to_string()
}
