//! Calls one capability a route and shows what came back, codes included, so that tests see what a guest sees.

use futures::future;
use serde::Deserialize;
use serde_json::{Value, json};
use tessera_sdk::inference::{self, Usage};
use tessera_sdk::{Error, IntoResponse, Json, Path, Response, Router, config, embed, log, rerank, service};

service!(router);

fn router() -> Router {
    Router::new()
        .post("/embed", embed_one)
        .post("/embed-two", embed_two)
        .post("/embed-tokens", embed_tokens)
        .get("/embed/models", async || Json(embed::models()))
        .post("/rerank", rerank_all)
        .get("/rerank/models", async || Json(rerank::models()))
        .get("/config", async || Json(config::all()))
        .get("/config/{key}", config_value)
        .post("/log", log_line)
}

#[derive(Deserialize)]
struct Embed {
    model: Option<String>,
    text: String,
    #[serde(default)]
    truncate: bool,
    normalize: Option<bool>,
    dimensions: Option<u32>,
    /// A name, or `query` or `document`, which every model takes.
    prompt: Option<String>,
}

async fn embed_one(Json(request): Json<Embed>) -> Response {
    show(run_embed(request).await)
}

/// `{"a": …, "b": …}`: both at the same time. The answer holds both results in an array.
async fn embed_two(Json(requests): Json<Two>) -> Json<Value> {
    let (a, b) = future::join(run_embed(requests.a), run_embed(requests.b)).await;
    Json(json!([outcome(a), outcome(b)]))
}

#[derive(Deserialize)]
struct Two {
    a: Embed,
    b: Embed,
}

async fn embed_tokens(Json(request): Json<Embed>) -> Response {
    let (text, options) = parts(request);
    let made = embed::embed_tokens([text], options).await;
    show(made.map(|made| {
        json!({
            "model": made.model,
            "dimensions": made.dimensions,
            "tokens": made.tokens,
            "values": made.values,
            "pooled": made.pooled,
            "usage": usage(&made.usage),
        })
    }))
}

async fn run_embed(request: Embed) -> Result<Value, inference::Error> {
    let (text, options) = parts(request);
    let embeddings = embed::embed([text], options).await?;
    Ok(json!({
        "model": embeddings.model,
        "dimensions": embeddings.dimensions,
        "values": embeddings.values,
        "usage": usage(&embeddings.usage),
    }))
}

fn parts(request: Embed) -> (String, embed::Options) {
    let prompt = match request.prompt.as_deref() {
        None => embed::Prompt::Standard,
        Some("query") => embed::Prompt::Query,
        Some("document") => embed::Prompt::Document,
        Some(name) => embed::Prompt::Named(name.to_owned()),
    };
    let options = embed::Options {
        model: request.model,
        prompt,
        truncate: request.truncate,
        normalize: request.normalize,
        dimensions: request.dimensions,
    };
    (request.text, options)
}

#[derive(Deserialize)]
struct Rerank {
    model: Option<String>,
    query: String,
    documents: Vec<String>,
    #[serde(default)]
    truncate: bool,
    #[serde(default)]
    raw_scores: bool,
}

async fn rerank_all(Json(request): Json<Rerank>) -> Response {
    let options = rerank::Options { model: request.model, truncate: request.truncate, raw_scores: request.raw_scores };
    let scores = rerank::rerank(request.query, request.documents, options).await;
    show(scores.map(|scores| json!({"model": scores.model, "values": scores.values, "usage": usage(&scores.usage)})))
}

/// 404 where the operator has not set the key.
async fn config_value(Path(key): Path) -> Result<Json<Value>, Error> {
    match config::get(&key) {
        Some(value) => Ok(Json(json!({"value": value}))),
        None => Err(Error::not_found(format!("`{key}` is not set"))),
    }
}

#[derive(Deserialize)]
struct Line {
    level: Level,
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

async fn log_line(Json(line): Json<Line>) {
    let write = match line.level {
        Level::Debug => log::debug,
        Level::Info => log::info,
        Level::Warn => log::warn,
        Level::Error => log::error,
    };
    write(&line.message);
}

/// 200 with the value, or the status of the error with its code as WIT has it.
fn show(result: Result<Value, inference::Error>) -> Response {
    let status = match &result {
        Ok(_) => 200,
        Err(error) => Error::from(error.clone()).status(),
    };
    Json(outcome(result)).into_response().with_status(status)
}

fn outcome(result: Result<Value, inference::Error>) -> Value {
    match result {
        Ok(value) => json!({"ok": value}),
        Err(error) => json!({"error": {"code": code(error.code), "message": error.message}}),
    }
}

fn code(code: inference::ErrorCode) -> &'static str {
    use inference::ErrorCode as Code;
    match code {
        Code::UnknownModel => "unknown-model",
        Code::Unsupported => "unsupported",
        Code::InvalidInput => "invalid-input",
        Code::TooLong => "too-long",
        Code::Overloaded => "overloaded",
        Code::Deadline => "deadline",
        Code::Internal => "internal",
        Code::Cancelled => "cancelled",
        Code::Quota => "quota",
    }
}

fn usage(usage: &[Usage]) -> Value {
    usage.iter().map(|usage| json!({"tokens": usage.tokens, "truncated": usage.truncated})).collect()
}
