//! Answers questions as they are written, and tells how alike two texts are.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tessera_sdk::generate::{self, Generation, Message};
use tessera_sdk::sse::Event;
use tessera_sdk::{Error, Json, Response, Router, embed, log, service};

service!(router);

fn router() -> Router {
    Router::new().post("/ask", ask).post("/similarity", similarity)
}

#[derive(Deserialize)]
struct Question {
    question: String,
}

/// The answer as server-sent events. What is refused is told before the first of them.
async fn ask(Json(asked): Json<Question>) -> Result<Response, Error> {
    let conversation = vec![Message { role: "user".into(), content: asked.question }];
    let options = generate::Options { tokens_max: Some(64), ..Default::default() };
    let generation = generate::generate(conversation, options).await?;
    log::info(&format!("{} answers", generation.model()));
    Ok(Response::sse(|events| send(generation, events)))
}

async fn send(mut generation: Generation, mut events: tessera_sdk::sse::Events) -> Result<(), tessera_sdk::handler::Closed> {
    loop {
        match generation.next().await {
            Ok(Some(event)) => events.send(Event::json(&json!({ "text": event.text }))).await?,
            Ok(None) => {
                let tokens = generation.outcome().map(|outcome| outcome.generated_tokens);
                events.send(Event::json(&json!({ "done": { "tokens": tokens } }))).await?;
                return events.finish();
            }
            // Without `finish` the client sees that the answer broke off.
            Err(error) => return events.send(Event::error(&error.into())).await,
        }
    }
}

#[derive(Deserialize)]
struct Pair {
    a: String,
    b: String,
}

#[derive(Serialize)]
struct Similarity {
    similarity: f32,
}

/// The cosine of the two embeddings.
async fn similarity(Json(pair): Json<Pair>) -> Result<Json<Similarity>, Error> {
    let options = embed::Options { normalize: Some(true), ..Default::default() };
    let embeddings = embed::embed([pair.a, pair.b], options).await?;
    let vectors: Vec<&[f32]> = embeddings.vectors().collect();
    let similarity = vectors[0].iter().zip(vectors[1]).map(|(a, b)| a * b).sum();
    Ok(Json(Similarity { similarity }))
}
