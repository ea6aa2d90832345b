//! Asking the component `retriever`, and OPEA's `POST /v1/retrievaltool`, which does that and nothing else.

use serde::Serialize;
use tessera_sdk::{Error, Json, Request, json, log};

use crate::bindings::rag::retriever::retrieve::{self, Code, Found};
use crate::passages::Source;
use crate::question::Question;
use crate::settings::Settings;

/// What was retrieved: the texts, as OPEA has them, and where they are from.
#[derive(Debug, Serialize)]
pub(crate) struct Retrieved {
    query: String,
    documents: Vec<String>,
    reranked_docs: Vec<Reranked>,
    sources: Vec<Source>,
}

#[derive(Debug, Serialize)]
struct Reranked {
    text: String,
    score: f32,
}

/// Answers with the best of what was found, whatever its scores are.
pub(crate) async fn tool(mut request: Request) -> Result<Json<Retrieved>, Error> {
    let body = request.bytes().await?;
    let question: Question = json::parse(&body)?;
    let asked = question.check(&Settings::read()?)?;
    let found = retrieve(asked.search).await?.passages;
    Ok(Json(Retrieved {
        query: asked.text,
        documents: found.iter().map(|passage| passage.text.clone()).collect(),
        reranked_docs: found.iter().map(|passage| Reranked { text: passage.text.clone(), score: passage.score }).collect(),
        sources: (1..).zip(found).map(|(n, passage)| Source::new(n, passage)).collect(),
    }))
}

/// The passages that answer a question best.
pub(crate) async fn retrieve(question: retrieve::Question) -> Result<Found, Error> {
    retrieve::retrieve(question).await.map_err(|retrieve::Error { code, message }| match code {
        Code::Invalid => Error::bad_request(message),
        Code::Busy | Code::Quota => Error::new(429, "overloaded", message).with_header("retry-after", "1"),
        Code::Deadline => Error::new(504, "timeout", "the documents could not be searched in time"),
        Code::Unavailable => Error::new(503, "unavailable", "the documents can't be searched now: try again later"),
        Code::Denied => Error::new(403, "denied", "this service may not search these documents for you"),
        Code::Cancelled | Code::Internal => {
            log::warn(&format!("the retriever failed: {message}"));
            Error::internal("the documents could not be searched")
        }
    })
}
