//! A component that others call, and that ends in every way there is.

mod bindings;

use bindings::exports::acme::shop::stock::{Guest, Item, Problem};
use bindings::{wit_future, wit_stream};
use wit_bindgen::{FutureReader, StreamReader};

/// Items that are written at once.
const BATCH: u32 = 100;

struct Stock;

impl Guest for Stock {
    async fn echo(item: Item) -> Result<Item, String> {
        Ok(item)
    }

    async fn end(how: String) -> Result<u32, Problem> {
        match how.as_str() {
            "error" => Err(Problem::Wrong("as was asked".into())),
            "trap" => std::process::abort(),
            "forever" => {
                // Something to wait for: who waits for nothing at all is stopped at once.
                let (_writer, mut reader) = wit_stream::new::<u8>();
                reader.next().await;
                std::process::abort()
            }
            _ => Ok(7),
        }
    }

    fn half(of: u32) -> u32 {
        if of == 0 { std::process::abort() } else { of / 2 }
    }

    async fn count(to: u32, how: String) -> Result<(StreamReader<u32>, FutureReader<Result<u64, String>>), String> {
        if how == "refused" {
            return Err("as was asked".into());
        }
        let (mut items, read) = wit_stream::new();
        let (end, told) = wit_future::new(|| Err("the counting stopped".into()));
        wit_bindgen::spawn_local(async move {
            for start in (0..to).step_by(BATCH as usize) {
                if !items.write_all((start..to.min(start.saturating_add(BATCH))).collect()).await.is_empty() {
                    return; // nobody reads any more
                }
            }
            drop(items);
            let ended = match how.as_str() {
                "error" => Err("as was asked".into()),
                "trap" => std::process::abort(),
                _ => Ok(u64::from(to)),
            };
            drop(end.write(ended).await); // nobody may wait for it
        });
        Ok((read, told))
    }

    async fn bytes(length: u32, how: String) -> Result<StreamReader<u8>, String> {
        let (mut items, read) = wit_stream::new();
        wit_bindgen::spawn_local(async move {
            let unread = items.write_all((0..length).map(|at| at.to_le_bytes()[0]).collect()).await;
            if how == "trap" && unread.is_empty() {
                std::process::abort();
            }
        });
        Ok(read)
    }
}
