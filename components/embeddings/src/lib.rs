//! Texts to vectors over HTTP: OpenAI's `POST /v1/embeddings`, which is OPEA's too, and `POST /embed` of Hugging Face's
//! Text Embeddings Inference.

mod inputs;
mod openai;
mod tei;

use tessera_sdk::{Error, Json, Request, Response, Router, embed, inference, log, service};

service!(router);

fn router() -> Router {
    Router::new().post("/v1/embeddings", openai_embeddings).post("/embed", tei_embed)
}

async fn openai_embeddings(Json(request): Json<openai::EmbeddingRequest>) -> Result<Response, Error> {
    let call = request.into_call()?;
    let embeddings = embed::embed(call.inputs, call.options).await.inspect_err(log_if_internal)?;
    Ok(openai::reply(&embeddings, call.encoding))
}

async fn tei_embed(mut request: Request) -> Result<Response, tei::Error> {
    let request: tei::EmbedRequest = request.json().await?;
    let (inputs, options) = request.into_call()?;
    let embeddings = embed::embed(inputs, options).await.inspect_err(log_if_internal)?;
    Ok(tei::reply(&embeddings))
}

/// Mistakes of a client are the client's to read; what the device did is the operator's.
fn log_if_internal(error: &inference::Error) {
    if error.code == inference::ErrorCode::Internal {
        log::warn(&format!("embed failed: {}", error.message));
    }
}
