//! Using what is counted by the minute.

use tessera_sdk::generate::{self, Options, Sampling};
use tessera_sdk::{Response, embed, http};

use crate::{Report, Size, Url};

/// Bytes of one text or body.
const BYTES: usize = 1024;

/// So many texts, one after the other.
pub(crate) async fn embed_flood(size: u64) -> Report {
    for done in 0..size {
        if let Err(error) = embed::embed(["x".repeat(BYTES)], embed::Options::default()).await {
            return Report::stopped(done, crate::code(error.code));
        }
    }
    Report::done(size)
}

/// A text of so many tokens, from a prompt of as many words.
pub(crate) async fn generate(size: u64) -> Report {
    let tokens_max = u32::try_from(size).unwrap_or(u32::MAX);
    let options = Options { tokens_max: Some(tokens_max), sampling: Sampling::greedy(), ..Options::default() };
    let prompt = "word ".repeat(tokens_max as usize);
    let mut generation = match generate::generate(prompt, options).await {
        Ok(generation) => generation,
        Err(error) => return Report::stopped(0, crate::code(error.code)),
    };
    let mut events = 0;
    loop {
        match generation.next().await {
            Ok(Some(_)) => events += 1,
            Ok(None) => break,
            Err(error) => return Report::stopped(events, crate::code(error.code)),
        }
    }
    let tokens = generation.outcome().map_or(0, |outcome| u64::from(outcome.generated_tokens));
    if tokens == size { Report::done(tokens) } else { Report::stopped(tokens, "short") }
}

/// So many requests to another host, each with a body.
pub(crate) async fn egress_flood(Size(size): Size, Url(url): Url) -> Response {
    let mut outcome = "done".to_owned();
    let mut sent = 0;
    while sent < size {
        if let Err(error) = http::post(url.as_str()).body(vec![b'x'; BYTES]).send().await {
            outcome = crate::code(error.code);
            break;
        }
        sent += 1;
    }
    Report::stopped(sent, outcome).named("egress-flood")
}

/// One request whose body is of so many kibibytes, sent as fast as they are taken.
pub(crate) async fn egress_endless(Size(size): Size, Url(url): Url) -> Response {
    let request = http::post(url).stream(move |mut writer| async move {
        for _ in 0..size {
            writer.write(vec![b'x'; BYTES]).await?;
        }
        writer.finish()
    });
    let report = match request.send().await {
        Ok(_) => Report::done(size),
        Err(error) => Report::stopped(0, crate::code(error.code)),
    };
    report.named("egress-endless")
}
