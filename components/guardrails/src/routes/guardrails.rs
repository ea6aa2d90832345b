//! `POST /v1/guardrails`: OPEA's documents pass, or say what they violate.

use serde_json::{Map, Value, json};
use tessera_sdk::{Error, Json, Response};

use super::params::{self, Side};
use super::{Violation, bounded};
use crate::checks::Check;
use crate::current;
use crate::part::replace;
use crate::scan::{Stretch, Task, scan};
use crate::settings::Settings;

/// Checks a document, and gives it back as it came but for what is redacted.
pub(crate) async fn guardrails(Json(mut document): Json<Map<String, Value>>) -> Result<Response, Error> {
    let mut settings = (*current::settings()?).clone();
    let is_input = params::add(&mut document, Side::Input, &mut settings)?;
    let is_output = params::add(&mut document, Side::Output, &mut settings)?;
    for (field, side) in fields(&document)? {
        let blocked = check(&mut document, field, side, &settings).await?;
        if !blocked.is_empty() {
            return Ok(if is_input || is_output { refusal(&blocked, &settings) } else { violation(&blocked) });
        }
    }
    Ok(Response::json(200, &document))
}

/// The texts of a document: of TextDoc `text`, of LLMParamsDoc `query`, of GeneratedDoc `prompt` and the answer `text`.
fn fields(document: &Map<String, Value>) -> Result<Vec<(&'static str, Side)>, Error> {
    let has = |field: &str| document.get(field).is_some_and(|value| !value.is_null());
    let fields = match (has("text"), has("prompt"), has("query")) {
        (true, true, _) => vec![("prompt", Side::Input), ("text", Side::Output)],
        (true, false, true) => vec![("query", Side::Input), ("text", Side::Input)],
        (true, false, false) => vec![("text", Side::Input)],
        (false, _, true) => vec![("query", Side::Input)],
        (false, _, false) => return Err(Error::missing_one_of(&["text", "query"])),
    };
    match fields.iter().find(|(field, _)| !document.get(*field).is_some_and(Value::is_string)) {
        Some((field, _)) => Err(Error::invalid(field, "must be a text")),
        None => Ok(fields),
    }
}

/// Checks one text of a document and replaces what is redacted; what blocks it.
async fn check(document: &mut Map<String, Value>, field: &str, side: Side, settings: &Settings) -> Result<Vec<Check>, Error> {
    let Some(Value::String(text)) = document.get_mut(field) else { return Ok(Vec::new()) };
    bounded(text)?;
    let (steps, types) = match side {
        Side::Input => (&settings.input, &settings.pii.input_types),
        Side::Output => (&settings.output, &settings.pii.output_types),
    };
    let findings = scan(text, Stretch::WHOLE, Task { steps, settings, types }).await.inspect_err(current::tell)?;
    *text = replace(text, &findings.parts);
    Ok(findings.blocked)
}

fn violation(blocked: &[Check]) -> Response {
    Response::json(200, &Violation::of(blocked, None))
}

/// The answer to those who asked for scanners in the request: an error.
fn refusal(blocked: &[Check], settings: &Settings) -> Response {
    use tessera_sdk::IntoResponse;

    if settings.is_opea {
        return Response::json(466, &json!({"detail": "I'm sorry, I cannot assist you with your prompt."}));
    }
    let reasons: Vec<&str> = blocked.iter().map(|check| check.reason()).collect();
    let message = format!("The service cannot assist you with your prompt: {}.", reasons.join(", "));
    Error::new(400, "content_blocked", message).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(document: Value) -> Result<Vec<(&'static str, Side)>, Error> {
        fields(document.as_object().expect("an object"))
    }

    #[test]
    fn each_document_has_its_texts() {
        assert_eq!(names(json!({"text": "a"})), Ok(vec![("text", Side::Input)]));
        assert_eq!(names(json!({"query": "a", "text": null})), Ok(vec![("query", Side::Input)]));
        assert_eq!(names(json!({"prompt": "a", "text": "b"})), Ok(vec![("prompt", Side::Input), ("text", Side::Output)]));
        assert_eq!(names(json!({"query": "a", "text": "b"})), Ok(vec![("query", Side::Input), ("text", Side::Input)]));
    }

    #[test]
    fn other_documents_are_refused() {
        assert_eq!(names(json!({})).expect_err("nothing").code(), "missing_required_parameter");
        assert_eq!(names(json!({"text": ["a"]})).expect_err("no text").param(), Some("text"));
    }

    #[test]
    fn a_refusal_has_the_status_that_the_policy_asks_for() {
        let mut settings = Settings::default();
        let status = |settings: &Settings| refusal(&[Check::Words], settings).status();
        assert_eq!(status(&settings), 400);
        settings.is_opea = true;
        assert_eq!(status(&settings), 466);
    }
}
