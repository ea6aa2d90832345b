//! One check asked alone: `POST /v1/injection` and `POST /v1/toxicity`.

use serde::{Deserialize, Serialize};
use tessera_sdk::{Error, Json, Response};

use super::{Violation, bounded};
use crate::checks::{Check, Step};
use crate::current;
use crate::scan::{self, Stretch, Task, scan};

#[derive(Debug, Deserialize)]
pub(crate) struct TextDoc {
    text: String,
}

/// A text that may pass.
#[derive(Debug, Serialize)]
struct Passed<'a> {
    text: &'a str,
    score: f64,
}

pub(crate) async fn injection(Json(doc): Json<TextDoc>) -> Result<Response, Error> {
    bounded(&doc.text)?;
    let settings = current::settings()?;
    let score = scan::injection_score(&doc.text, &settings).await.inspect_err(current::tell)?;
    let blocked = (score >= settings.injection_threshold).then_some(Check::Injection);
    Ok(answer(&doc.text, blocked.as_slice(), f64::from(score)))
}

/// Whether a text is toxic by its words, or about one of the topics of the policy.
pub(crate) async fn toxicity(Json(doc): Json<TextDoc>) -> Result<Response, Error> {
    bounded(&doc.text)?;
    let settings = current::settings()?;
    let score = scan::toxicity_score(&doc.text);
    let mut blocked = Vec::new();
    if score >= settings.toxicity_threshold {
        blocked.push(Check::Toxicity);
    } else if !settings.topics.is_empty() {
        let task = Task { steps: &[Step::usual(Check::Topics)], settings: &settings, types: &[] };
        blocked = scan(&doc.text, Stretch::WHOLE, task).await.inspect_err(current::tell)?.blocked;
    }
    Ok(answer(&doc.text, &blocked, score))
}

fn answer(text: &str, blocked: &[Check], score: f64) -> Response {
    match blocked {
        [] => Response::json(200, &Passed { text, score }),
        blocked => Response::json(200, &Violation::of(blocked, Some(score))),
    }
}
