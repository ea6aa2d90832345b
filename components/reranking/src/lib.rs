//! Orders documents by how well they answer a query, over HTTP: OPEA's `POST /v1/reranking`, and `POST /rerank` as Text
//! Embeddings Inference (`texts`) and as Jina and Cohere (`documents`) have it.

mod documents;
mod jina;
mod opea;
mod tei;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tessera_sdk::rerank::{Options, Scores};
use tessera_sdk::{Error, IntoResponse, Request, Response, Router, inference, json, rerank, service};

service!(router);

fn router() -> Router {
    Router::new().post("/v1/reranking", opea_reranking).post("/rerank", tei_or_jina_rerank)
}

async fn opea_reranking(mut request: Request) -> Result<Response, Error> {
    let call = opea::Call::parse(&request.bytes().await?)?;
    let scores = score(&call.query, &call.documents, call.options()).await?;
    Ok(call.into_reply(&scores))
}

async fn tei_or_jina_rerank(mut request: Request) -> Result<Response, Error> {
    let body = request.bytes().await?;
    match Shape::of(&body)? {
        Shape::Tei => Ok(tei_rerank(&body).await.into_response()),
        Shape::Jina => jina_rerank(&body).await,
    }
}

async fn tei_rerank(body: &[u8]) -> Result<Response, tei::Error> {
    let request = tei::RerankRequest::parse(body)?;
    let scores = score(&request.query, &request.texts, request.options()).await?;
    Ok(request.into_reply(&scores))
}

async fn jina_rerank(body: &[u8]) -> Result<Response, Error> {
    let request = jina::RerankRequest::parse(body)?;
    let scores = score(request.query(), request.documents(), request.options()).await?;
    Ok(request.into_reply(&scores))
}

/// Whose request it is that came to `/rerank`.
#[derive(Debug, PartialEq, Eq)]
enum Shape {
    Tei,
    Jina,
}

impl Shape {
    fn of(body: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Keys {
            texts: Option<IgnoredAny>,
            documents: Option<IgnoredAny>,
        }
        let keys: Keys = json::parse(body)?;
        match (keys.texts, keys.documents) {
            (Some(_), None) => Ok(Self::Tei),
            (None, Some(_)) => Ok(Self::Jina),
            (None, None) => Err(Error::new(
                400,
                "missing_required_parameter",
                "missing required parameter `documents` (as Jina and Cohere) or `texts` (as TEI)",
            )
            .with_param("documents")),
            (Some(_), Some(_)) => Err(Error::bad_request("give either `documents` or `texts`, not both")),
        }
    }
}

/// Asks the host, unless there is nothing to score.
async fn score(query: &str, documents: &[String], options: Options) -> Result<Scores, inference::Error> {
    if documents.is_empty() {
        return Ok(Scores { model: String::new(), values: Vec::new(), usage: Vec::new() });
    }
    rerank::rerank(query, documents, options).await.inspect_err(|error| error.log_if_internal("rerank"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_known_by_its_key() {
        assert_eq!(Shape::of(br#"{"query": "q", "texts": []}"#), Ok(Shape::Tei));
        assert_eq!(Shape::of(br#"{"query": "q", "documents": [], "texts": null}"#), Ok(Shape::Jina));
    }

    #[test]
    fn neither_or_both_keys_are_refused() {
        for body in [r#"{"query": "q"}"#, r#"{"texts": [], "documents": []}"#, "[]", "oops"] {
            assert_eq!(Shape::of(body.as_bytes()).expect_err(body).status(), 400);
        }
    }
}
