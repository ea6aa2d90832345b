//! Generates and tokenizes, and shows what came back, codes included, so that tests see what a guest sees.

use futures::future;
use serde::Deserialize;
use serde_json::{Value, json};
use tessera_sdk::bindings::tessera::generate::generate as host;
use tessera_sdk::generate::{self, FinishReason, Generation, Logprob, Message, Options, Outcome, Prompt, Sampling, Token};
use tessera_sdk::inference::{self, ErrorCode};
use tessera_sdk::tokenize::{self, Input};
use tessera_sdk::{Error, IntoResponse, Json, Response, Router, service};

service!(router);

fn router() -> Router {
    Router::new()
        .get("/models", async || Json(generate::models()))
        .post("/generate", collect)
        .post("/generate-two", collect_two)
        .post("/stream", stream)
        .post("/first", first)
        .post("/unread", unread)
        .post("/leave", leave)
        .get("/tokenize/models", async || Json(tokenize::models()))
        .post("/tokenize", tokenize_one)
        .post("/count", count)
        .post("/count/each", count_each)
        .post("/detokenize", detokenize)
}

#[derive(Deserialize)]
struct Request {
    text: Option<String>,
    tokens: Option<Vec<u32>>,
    messages: Option<Vec<(String, String)>>,
    model: Option<String>,
    tokens_max: Option<u32>,
    #[serde(default)]
    stop: Vec<String>,
    logprobs: Option<u32>,
    #[serde(default)]
    biases: u32,
    /// Tokens that a text gets around it.
    #[serde(default)]
    whole: bool,
}

impl Request {
    fn messages(&self) -> Option<Vec<Message>> {
        let messages = self.messages.as_ref()?;
        Some(messages.iter().map(|(role, content)| Message::new(role, content)).collect())
    }

    fn prompt(&self) -> Prompt {
        match (self.messages(), &self.tokens) {
            (Some(messages), _) => messages.into(),
            (None, Some(tokens)) => tokens.clone().into(),
            (None, None) => self.text.clone().unwrap_or_default().into(),
        }
    }

    fn input(&self) -> Input {
        let text = self.text.clone().unwrap_or_default();
        self.messages().map_or_else(|| if self.whole { Input::WholeText(text) } else { Input::Text(text) }, Into::into)
    }

    fn options(&self) -> Options {
        let logit_bias = (0..self.biases).map(|id| (id, 0.0)).collect();
        Options {
            model: self.model.clone(),
            tokens_max: self.tokens_max,
            stop: self.stop.clone(),
            logprobs: self.logprobs,
            sampling: Sampling { logit_bias, ..Sampling::greedy() },
        }
    }

    async fn start(&self) -> Result<Generation, inference::Error> {
        generate::generate(self.prompt(), self.options()).await
    }
}

async fn collect(Json(request): Json<Request>) -> Response {
    show(whole(&request).await)
}

/// Two generations at the same time; the answer holds both results in an array.
async fn collect_two(Json((a, b)): Json<(Request, Request)>) -> Json<Value> {
    let (a, b) = future::join(whole(&a), whole(&b)).await;
    Json(json!([outcome_of(a), outcome_of(b)]))
}

async fn whole(request: &Request) -> Result<Value, inference::Error> {
    let completion = request.start().await?.collect().await?;
    Ok(json!({
        "model": completion.model,
        "text": completion.text,
        "tokens": completion.tokens.iter().map(token).collect::<Vec<_>>(),
        "outcome": outcome(&completion.outcome),
    }))
}

fn token(token: &Token) -> Value {
    let one = |one: &Logprob| json!([one.id, String::from_utf8_lossy(&one.bytes), one.logprob]);
    json!({"picked": one(&token.picked), "top": token.top.iter().map(one).collect::<Vec<_>>()})
}

fn outcome(outcome: &Outcome) -> Value {
    let reason = match outcome.reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    };
    json!({"reason": reason, "prompt_tokens": outcome.prompt_tokens, "generated_tokens": outcome.generated_tokens})
}

/// Sends each event's text in brackets as it comes; at the end `done`, or the code of the error.
async fn stream(Json(request): Json<Request>) -> Result<Response, Error> {
    let mut generation = request.start().await?;
    Ok(Response::stream(200, "text/plain", |mut writer| async move {
        let end = loop {
            match generation.next().await {
                Ok(Some(event)) => writer.write(format!("[{}]", event.text)).await?,
                Ok(None) => break "done",
                Err(error) => break code(error.code),
            }
        };
        writer.write(end).await?;
        writer.finish()
    }))
}

/// Reads one event and drops the generation; answers from the same instance after that.
async fn first(Json(request): Json<Request>) -> Result<String, Error> {
    let mut generation = request.start().await?;
    let event = generation.next().await?;
    drop(generation);
    Ok(event.map(|event| event.text).unwrap_or_default())
}

/// Waits for the end without reading any event.
async fn unread(Json(request): Json<Request>) -> Response {
    let run = async {
        let generation = host::generate(request.prompt(), request.options()).await?;
        let ended = generation.outcome.await;
        drop(generation.events);
        Ok(outcome(&ended?))
    };
    show(run.await)
}

/// Answers while its generation goes on, which it never drops.
async fn leave(Json(request): Json<Request>) -> Result<String, Error> {
    std::mem::forget(request.start().await?);
    Ok("left".to_owned())
}

async fn tokenize_one(Json(request): Json<Request>) -> Response {
    show(tokenize::tokenize(request.input(), request.model.as_deref()).await.map(|ids| json!(ids)))
}

async fn count(Json(request): Json<Request>) -> Response {
    show(tokenize::count(request.input(), request.model.as_deref()).await.map(|count| json!(count)))
}

/// Of each of many requests, by the model of the first.
async fn count_each(Json(requests): Json<Vec<Request>>) -> Response {
    let model = requests.first().and_then(|request| request.model.clone());
    let inputs = requests.iter().map(Request::input).collect();
    show(tokenize::count_each(inputs, model.as_deref()).await.map(|counts| json!(counts)))
}

async fn detokenize(Json(request): Json<Request>) -> Response {
    let tokens = request.tokens.clone().unwrap_or_default();
    show(tokenize::detokenize(tokens, request.model.as_deref()).await.map(|text| json!(text)))
}

/// 200 with the value, or the status of the error with its code as WIT has it.
fn show(result: Result<Value, inference::Error>) -> Response {
    let status = match &result {
        Ok(_) => 200,
        Err(error) => Error::from(error.clone()).status(),
    };
    Json(outcome_of(result)).into_response().with_status(status)
}

fn outcome_of(result: Result<Value, inference::Error>) -> Value {
    match result {
        Ok(value) => json!({"ok": value}),
        Err(error) => json!({"error": {"code": code(error.code), "message": error.message}}),
    }
}

fn code(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UnknownModel => "unknown-model",
        ErrorCode::Unsupported => "unsupported",
        ErrorCode::InvalidInput => "invalid-input",
        ErrorCode::TooLong => "too-long",
        ErrorCode::Overloaded => "overloaded",
        ErrorCode::Deadline => "deadline",
        ErrorCode::Internal => "internal",
        ErrorCode::Cancelled => "cancelled",
        ErrorCode::Quota => "quota",
    }
}
