//! Answers a question from documents: finds the nearest by their embeddings, sorts those by how well they answer, and lets a
//! model write from the best.

use serde::{Deserialize, Serialize};
use tessera_sdk::generate::{self, Message};
use tessera_sdk::{Error, Json, Router, embed, rerank, service};

/// Documents that are sorted.
const NEAREST_MAX: usize = 8;
/// Documents that the model reads.
const SOURCES_MAX: usize = 2;

service!(router);

fn router() -> Router {
    Router::new().post("/answer", answer)
}

#[derive(Deserialize)]
struct Question {
    question: String,
    documents: Vec<String>,
}

#[derive(Serialize)]
struct Answer {
    answer: String,
    sources: Vec<Source>,
}

#[derive(Serialize)]
struct Source {
    /// Its place among the documents.
    index: usize,
    score: f32,
}

async fn answer(Json(asked): Json<Question>) -> Result<Json<Answer>, Error> {
    if asked.documents.is_empty() {
        return Err(Error::invalid("documents", "is empty: post at least one"));
    }
    let near = nearest(&asked).await?;
    let texts: Vec<String> = near.iter().map(|&index| asked.documents[index].clone()).collect();
    let scores = rerank::rerank(asked.question.as_str(), texts, rerank::Options::default()).await?;
    let best = scores.ranked().into_iter().take(SOURCES_MAX);
    let sources: Vec<Source> = best.map(|(place, score)| Source { index: near[place], score }).collect();
    let conversation = vec![Message { role: "user".into(), content: prompt(&asked, &sources) }];
    let options = generate::Options { tokens_max: Some(64), ..Default::default() };
    let answer = generate::generate(conversation, options).await?.collect().await?.text;
    Ok(Json(Answer { answer, sources }))
}

/// Places of the documents that are nearest to the question.
async fn nearest(asked: &Question) -> Result<Vec<usize>, Error> {
    let texts: Vec<&str> = std::iter::once(&asked.question).chain(&asked.documents).map(String::as_str).collect();
    let options = embed::Options { normalize: Some(true), ..Default::default() };
    let embeddings = embed::embed(texts, options).await?;
    let vectors: Vec<&[f32]> = embeddings.vectors().collect();
    let similarity = |index: usize| vectors[0].iter().zip(vectors[index + 1]).map(|(a, b)| a * b).sum::<f32>();
    let mut near: Vec<usize> = (0..asked.documents.len()).collect();
    near.sort_by(|&a, &b| similarity(b).total_cmp(&similarity(a)));
    near.truncate(NEAREST_MAX);
    Ok(near)
}

fn prompt(asked: &Question, sources: &[Source]) -> String {
    let texts: Vec<&str> = sources.iter().map(|source| asked.documents[source.index].as_str()).collect();
    format!("Answer from these texts alone.\n\n{}\n\nQuestion: {}", texts.join("\n"), asked.question)
}
