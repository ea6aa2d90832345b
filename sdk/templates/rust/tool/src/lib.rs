//! The functions of `wit/tool.wit`: the host makes an HTTP endpoint and an MCP tool of each.

use bindings::exports::local::{{name_snake}}::texts::{Guest, Statistics};
use tessera_sdk::embed;

mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "tool" });
}

struct Tool;

impl Guest for Tool {
    fn count(text: String) -> Statistics {
        Statistics { words: length(text.split_whitespace().count()), characters: length(text.chars().count()) }
    }

    async fn similarity(a: String, b: String) -> Result<f32, String> {
        let options = embed::Options { normalize: Some(true), ..Default::default() };
        let embeddings = embed::embed([a, b], options).await.map_err(|error| error.message)?;
        let vectors: Vec<&[f32]> = embeddings.vectors().collect();
        Ok(vectors[0].iter().zip(vectors[1]).map(|(a, b)| a * b).sum())
    }
}

fn length(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

bindings::export!(Tool with_types_in bindings);
