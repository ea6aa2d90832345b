//! Failing at the worst time.

use tessera_sdk::Response;

use crate::{Report, Size};

#[expect(clippy::panic, reason = "a guest that panics is what the tests want")]
fn trap() -> ! {
    panic!("a guest that panics");
}

/// Without any answer, but for a size of 0.
pub(crate) async fn at_once(size: u64) -> Report {
    if size > 0 {
        trap();
    }
    Report::done(size)
}

/// After so many chunks of the answer; all of them come before a size of 0 would have it trap.
pub(crate) async fn in_body(Size(size): Size) -> Response {
    Response::stream(200, "text/plain", move |mut writer| async move {
        writer.write("the first chunk\n").await?;
        for chunk in 1..size {
            writer.write(format!("chunk {chunk}\n")).await?;
        }
        if size > 0 {
            trap();
        }
        writer.finish()
    })
}

/// When the answer has been given.
pub(crate) async fn after_answer(size: u64) -> Report {
    wit_bindgen::spawn_local(async move {
        wit_bindgen::yield_async().await;
        if size > 0 {
            trap();
        }
    });
    Report::done(size)
}
