//! Labels texts and parts of them and shows what came back, codes included, so that tests see what a guest sees.

use serde::Deserialize;
use serde_json::{Value, json};
use tessera_sdk::inference::{self, Usage};
use tessera_sdk::{Error, IntoResponse, Json, Response, Router, classify, service};

service!(router);

fn router() -> Router {
    Router::new()
        .post("/classify", label_texts)
        .post("/find-entities", label_parts)
        .get("/models", async || Json(classify::models()))
}

#[derive(Deserialize)]
struct Classify {
    model: Option<String>,
    texts: Vec<String>,
    #[serde(default)]
    truncate: bool,
}

async fn label_texts(Json(request): Json<Classify>) -> Response {
    let options = classify::Options { model: request.model, truncate: request.truncate };
    show(classify::classify(request.texts, options).await.map(|made| {
        let label = |score: &classify::Score| json!([score.label, score.score]);
        let texts: Vec<Vec<Value>> = made.texts.iter().map(|labels| labels.iter().map(label).collect()).collect();
        json!({"model": made.model, "texts": texts, "usage": usage(&made.usage)})
    }))
}

async fn label_parts(Json(request): Json<Classify>) -> Response {
    let options = classify::Options { model: request.model, truncate: request.truncate };
    show(classify::find_entities(request.texts, options).await.map(|made| {
        let part = |entity: &classify::Entity| json!([entity.label, entity.start, entity.end, entity.score]);
        let texts: Vec<Vec<Value>> = made.texts.iter().map(|parts| parts.iter().map(part).collect()).collect();
        json!({"model": made.model, "texts": texts, "usage": usage(&made.usage)})
    }))
}

/// 200 with the value, or the status of the error with its words.
fn show(result: Result<Value, inference::Error>) -> Response {
    match result {
        Ok(value) => Json(json!({"ok": value})).into_response(),
        Err(error) => {
            let status = Error::from(error.clone()).status();
            let told = json!({"error": {"code": format!("{:?}", error.code), "message": error.message}});
            Json(told).into_response().with_status(status)
        }
    }
}

fn usage(usage: &[Usage]) -> Value {
    usage.iter().map(|usage| json!({"tokens": usage.tokens, "truncated": usage.truncated})).collect()
}
