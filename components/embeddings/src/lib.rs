//! Texts to vectors over HTTP: OpenAI's `POST /v1/embeddings`, which is OPEA's too, and `POST /embed` of Hugging Face's
//! Text Embeddings Inference.

mod inputs;
mod openai;
mod tei;

use tessera_sdk::{Error, Json, Request, Response, Router, embed, service};

service!(router);

fn router() -> Router {
    Router::new().post("/v1/embeddings", openai_embeddings).post("/embed", tei_embed)
}

async fn openai_embeddings(Json(request): Json<openai::EmbeddingRequest>) -> Result<Response, Error> {
    let call = request.into_call()?;
    let embeddings = embed::embed(call.inputs, call.options).await.inspect_err(|error| error.log_if_internal("embed"))?;
    Ok(openai::reply(&embeddings, call.encoding))
}

async fn tei_embed(mut request: Request) -> Result<Response, tei::Error> {
    let request: tei::EmbedRequest = request.json().await?;
    let (inputs, options) = request.into_call()?;
    let embeddings = embed::embed(inputs, options).await.inspect_err(|error| error.log_if_internal("embed"))?;
    Ok(tei::reply(&embeddings))
}
