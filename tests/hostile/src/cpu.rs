//! Running without end. A size is in millions of rounds, a few milliseconds each.

use std::hint::black_box;

use tessera_sdk::Response;

use crate::{Report, Size};

/// Calls within one round of mutual recursion: far from the end of any stack.
const CALLS: u64 = 1000;

/// Every round needs the one before it: a compiler neither drops nor joins any.
fn work(millions: u64) {
    let mut rounds = 0;
    while rounds < millions * 1_000_000 {
        rounds = black_box(rounds + 1);
    }
}

/// Never yields by itself.
pub(crate) async fn spin(size: u64) -> Report {
    work(size);
    Report::done(size)
}

/// Two functions that call each other, all over again.
pub(crate) async fn recursion_without_end(size: u64) -> Report {
    for _ in 0..size * (1_000_000 / CALLS) {
        black_box(even(CALLS));
    }
    Report::done(size)
}

fn even(calls: u64) -> bool {
    calls == 0 || black_box(odd(calls - 1))
}

fn odd(calls: u64) -> bool {
    calls != 0 && black_box(even(calls - 1))
}

/// Runs on when the client has its answer.
pub(crate) async fn after_answer(size: u64) -> Report {
    wit_bindgen::spawn_local(async move { work(size) });
    Report::done(0)
}

/// Yields to the host after every step, of which there are a thousand for each of its size.
pub(crate) async fn tiny_awaits(size: u64) -> Report {
    for _ in 0..size * 1000 {
        wit_bindgen::yield_async().await;
    }
    Report::done(size)
}

/// Runs when the body is at its end and all is let go.
struct Bomb(u64);

impl Drop for Bomb {
    fn drop(&mut self) {
        work(self.0);
    }
}

pub(crate) async fn in_destructor(Size(size): Size) -> Response {
    let bomb = Bomb(size);
    Response::stream(200, "text/plain", move |mut writer| async move {
        let _bomb = bomb;
        writer.write("all of it").await?;
        writer.finish()
    })
}
