//! Conversations and completions over HTTP, whole and streamed: OpenAI's `POST /v1/chat/completions`, `POST /v1/completions`
//! and `GET /v1/models`.

mod answer;
mod chat;
mod completions;
mod models;
mod refused;
mod stream;

use tessera_sdk::generate::{self, Defaults, Options, Params, Prompt, Stream};
use tessera_sdk::{Error, IntoResponse, Json, Path, Request, Response, Router, embed, inference, rerank, service};

use answer::{Format, Head};

service!(router);

fn router() -> Router {
    Router::new()
        .post("/v1/chat/completions", chat_completions)
        .post("/v1/completions", text_completions)
        .get("/v1/models", list_models)
        .get("/v1/models/{id}", show_model)
}

/// What the host is asked to do, and how the answer is written.
struct Call<F> {
    prompt: Prompt,
    options: Options,
    stream: Stream,
    format: F,
}

async fn chat_completions(mut request: Request) -> Result<Response, Error> {
    let body = request.bytes().await?;
    refused::check(&body)?;
    let params: Params = tessera_sdk::json::parse(&body)?;
    let chat: chat::ChatRequest = tessera_sdk::json::parse(&body)?;
    let stream = params.stream(&Defaults::default())?;
    let options = Options { logprobs: chat.logprobs()?, ..params.into_options(&Defaults::default())? };
    let logprobs = options.logprobs.is_some();
    match chat.into_prompt()? {
        // As OPEA answers a text in the place of messages.
        prompt @ Prompt::Text(_) => answer(Call { prompt, options, stream, format: completions::Text::new(logprobs) }).await,
        prompt => answer(Call { prompt, options, stream, format: chat::Chat { logprobs } }).await,
    }
}

async fn text_completions(mut request: Request) -> Result<Response, Error> {
    let body = request.bytes().await?;
    refused::check(&body)?;
    let params: Params = tessera_sdk::json::parse(&body)?;
    let completion: completions::CompletionRequest = tessera_sdk::json::parse(&body)?;
    let stream = params.stream(&Defaults::default())?;
    let options = Options { logprobs: completion.logprobs()?, ..params.into_options(&Defaults::default())? };
    let format = completions::Text::new(options.logprobs.is_some());
    answer(Call { prompt: completion.into_prompt(), options, stream, format }).await
}

/// Whole, or as a stream. Until the first event every failure is an error with a status.
async fn answer<F: Format + 'static>(call: Call<F>) -> Result<Response, Error> {
    let Call { prompt, options, stream, mut format } = call;
    let mut generation = generate::generate(prompt, options).await.inspect_err(log_if_internal)?;
    let head = Head::new(F::PREFIX, generation.model());
    if stream == Stream::Whole {
        let completion = generation.collect().await.inspect_err(log_if_internal)?;
        return Ok(Json(format.whole(&head, &completion)).into_response());
    }
    let first = generation.next().await.inspect_err(log_if_internal)?;
    let begun = stream::Begun { generation, first };
    Ok(Response::sse(move |events| stream::send(events, stream, head, format, begun)))
}

async fn list_models() -> Json<models::List> {
    Json(models::List::new(&granted()))
}

async fn show_model(Path(id): Path) -> Result<Json<models::Model>, Error> {
    models::find(&granted(), &id).map(Json)
}

/// Names of the models that the policy grants for anything, those for generation first.
fn granted() -> Vec<String> {
    [generate::models(), embed::models(), rerank::models()].concat()
}

fn log_if_internal(error: &inference::Error) {
    error.log_if_internal("generate");
}
