//! What comes bit by bit.

use wit_bindgen::{FutureReader, StreamReader, spawn_local};

use super::Component;
use super::bindings::exports::acme::types::streams::Guest as Streams;
use super::bindings::{wit_future, wit_stream};

/// Numbers that are written at once.
const BATCH: u32 = 1000;

fn count(until: u32) -> StreamReader<u32> {
    let (mut writer, reader) = wit_stream::new();
    spawn_local(async move {
        let mut next = 1;
        while next <= until {
            let last = until.min(next.saturating_add(BATCH - 1));
            if !writer.write_all((next..=last).collect()).await.is_empty() {
                return; // nobody reads on
            }
            next = last.saturating_add(1);
        }
    });
    reader
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(String::from).collect()
}

impl Streams for Component {
    async fn count(until: u32) -> StreamReader<u32> {
        count(until)
    }

    async fn words(text: String) -> StreamReader<String> {
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move {
            for word in words(&text) {
                if writer.write_one(word).await.is_some() {
                    return; // nobody reads on
                }
            }
        });
        reader
    }

    async fn lists(count: u32, length: u32) -> StreamReader<Vec<u8>> {
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move {
            for _ in 0..count {
                if writer.write_one(vec![7; length as usize]).await.is_some() {
                    return; // nobody reads on
                }
            }
        });
        reader
    }

    async fn bytes(text: String) -> StreamReader<u8> {
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move { drop(writer.write_all(text.into_bytes()).await) });
        reader
    }

    async fn story(text: String, fails: bool) -> (StreamReader<String>, FutureReader<Result<u32, String>>) {
        let (mut writer, reader) = wit_stream::new();
        let (end, ended) = wit_future::new(|| Err("dropped".into()));
        spawn_local(async move {
            let words = words(&text);
            let count = u32::try_from(words.len()).unwrap_or(u32::MAX);
            writer.write_all(words).await;
            drop(writer);
            drop(end.write(if fails { Err("the end is lost".into()) } else { Ok(count) }).await);
        });
        (reader, ended)
    }

    async fn attempt(until: u32) -> Result<StreamReader<u32>, String> {
        if until == 0 { Err("there is nothing to count".into()) } else { Ok(count(until)) }
    }

    async fn fall(after: u32) -> StreamReader<u32> {
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move {
            writer.write_all((1..=after).collect()).await;
            std::process::abort();
        });
        reader
    }
}
