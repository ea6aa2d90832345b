//! `POST /kv/…`: one call of `tessera:kv` a route.

use serde::Deserialize;
use serde_json::{Value, json};
use tessera_sdk::kv::{self, Entry, Expected, Range};
use tessera_sdk::{Json, Response, Router, background, store};

use super::show;

pub(super) fn routes(router: Router) -> Router {
    router
        .post("/kv/get", async |Json(at): Json<At>| {
            show(kv::get(&at.store, &at.key).await.map(|found| json!(found.map(entry))))
        })
        .post("/kv/set", async |Json(set): Json<Set>| show(set.run().await))
        .post("/kv/delete", async |Json(at): Json<At>| show(kv::delete(&at.store, &at.key).await.map(Value::from)))
        .post("/kv/list", async |Json(list): Json<List>| show(list.run().await))
        .post("/kv/later", later)
}

#[derive(Deserialize)]
struct At {
    store: String,
    key: String,
}

#[derive(Deserialize)]
struct Set {
    store: String,
    key: String,
    #[serde(default)]
    value: String,
    /// So many bytes instead of the value.
    bytes: Option<usize>,
    /// What is expected: a revision, or 0 for nothing.
    expected: Option<u64>,
}

impl Set {
    async fn run(self) -> Result<Value, store::Error> {
        let value = self.bytes.map_or_else(|| self.value.into_bytes(), |bytes| vec![b'x'; bytes]);
        let expected = match self.expected {
            None => Expected::Anything,
            Some(0) => Expected::Nothing,
            Some(revision) => Expected::Revision(revision),
        };
        kv::set(&self.store, &self.key, value, expected).await.map(Value::from)
    }
}

#[derive(Deserialize)]
struct List {
    store: String,
    #[serde(default)]
    prefix: String,
    after: Option<String>,
    #[serde(default)]
    is_reversed: bool,
    entries_max: Option<u32>,
}

impl List {
    async fn run(self) -> Result<Value, store::Error> {
        let entries_max = self.entries_max.unwrap_or(u32::MAX);
        let range = Range { prefix: self.prefix, after: self.after, is_reversed: self.is_reversed, entries_max };
        let page = kv::list(&self.store, range).await?;
        let keys: Vec<String> = page.entries.into_iter().map(|entry| entry.key).collect();
        Ok(json!({"keys": keys, "has_more": page.has_more}))
    }
}

fn entry(entry: Entry) -> Value {
    json!({"value": String::from_utf8_lossy(&entry.value), "revision": entry.revision})
}

#[derive(Deserialize)]
struct Later {
    store: String,
    key: String,
    /// Values to write one after the other.
    writes: usize,
}

/// Answers 202, and then writes: the last value says what became of the one before.
async fn later(Json(later): Json<Later>) -> Response {
    background(async move {
        for write in 1..=later.writes {
            if kv::set(&later.store, &later.key, write.to_string(), Expected::Anything).await.is_err() {
                return;
            }
        }
    });
    Response::empty(202)
}
