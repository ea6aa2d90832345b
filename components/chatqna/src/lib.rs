//! Answers questions from ingested documents: OPEA's `POST /v1/chatqna` and `POST /v1/retrievaltool`, and a page to chat with.
//!
//! A question goes: passages are retrieved (by the component `retriever`, in process); those that fit, counted in the model's
//! tokens, are numbered and put into a prompt (by `prompt-template`); the model answers from them, with citations `[n]`. Where
//! nothing that was found answers the question, it says so and no model is asked.

mod answer;
mod bindings;
mod citation;
mod decline;
mod generation;
mod opea;
mod page;
mod params;
mod passages;
mod question;
mod retrieval;
mod settings;

use tessera_sdk::{Error, Request, Response, Router, generate, json, service};

use crate::answer::Answer;
use crate::passages::Prompt;
use crate::question::Question;
use crate::settings::Settings;

service!(router);

fn router() -> Router {
    Router::new()
        .post("/v1/chatqna", chatqna)
        .post("/v1/retrievaltool", retrieval::tool)
        .get("/chat", page::html)
        .get("/chat/chat.js", page::script)
        .get("/chat/chat.css", page::style)
}

async fn chatqna(mut request: Request) -> Result<Response, Error> {
    let body = request.bytes().await?;
    let settings = Settings::read()?;
    let question: Question = json::parse(&body)?;
    let asked = question.check(&settings)?;
    let (stream, mut options) = params::read(&body, &settings)?;
    // A model that is granted and not there answers nobody; where none is there, the host says which one is missing.
    options.model = options.model.or_else(|| generate::models().into_iter().next());
    let mut found = passages::find(&asked, &settings).await?;
    let is_unanswered = decline::is_unanswered(&found.scores, &settings);
    if !is_unanswered {
        found.fit(&asked, &settings, options.model.as_deref()).await?;
    }
    let answer = Answer::new(found.sources, &settings);
    if is_unanswered {
        return Ok(answer.declined(stream));
    }
    let prompt = Prompt::new(asked, &answer.sources).await?;
    generation::answer(prompt, options, answer, stream).await
}
