//! Bodies and streams that don't end, or that nobody reads. A size is in milliseconds where nothing else is said.

use tessera_sdk::generate::{self, Options, Sampling};
use tessera_sdk::{Request, Response};

use crate::{Report, Size};

/// Bytes of one piece.
const PIECE_BYTES: usize = 1024;

async fn wait_ms(ms: u64) {
    wasip3::clocks::monotonic_clock::wait_for(ms * 1_000_000).await;
}

/// A response's body that has begun and whose end is a long time coming.
pub(crate) async fn unfinished(Size(size): Size) -> Response {
    Response::stream(200, "text/plain", move |mut writer| async move {
        writer.write("the first chunk\n").await?;
        wait_ms(size).await;
        writer.finish()
    })
}

/// So many kibibytes, as fast as they are taken.
pub(crate) async fn endless(Size(size): Size) -> Response {
    Response::stream(200, "text/plain", move |mut writer| async move {
        for _ in 0..size {
            writer.write(vec![b'x'; PIECE_BYTES]).await?;
        }
        writer.finish()
    })
}

/// So many bytes, one in every tenth of a second.
pub(crate) async fn dribble(Size(size): Size) -> Response {
    Response::stream(200, "text/plain", move |mut writer| async move {
        for _ in 0..size {
            writer.write("x").await?;
            wait_ms(100).await;
        }
        writer.finish()
    })
}

/// Holds the request's body and reads nothing of it.
pub(crate) async fn request_unread(Size(size): Size, mut request: Request) -> Response {
    let body = request.take_body();
    wait_ms(size).await;
    drop(body);
    Report::done(size).named("request-unread")
}

/// Holds a generation and reads nothing of it.
pub(crate) async fn generation_unread(size: u64) -> Report {
    let options = Options { sampling: Sampling::greedy(), ..Options::default() };
    match generate::generate("one two three four five six seven eight", options).await {
        Ok(generation) => {
            wait_ms(size).await;
            drop(generation);
            Report::done(size)
        }
        Err(error) => Report::stopped(0, crate::code(error.code)),
    }
}
