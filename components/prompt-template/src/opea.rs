//! `POST /v1/prompt_template` as OPEA has it: PromptTemplateInput in, LLMParamsDoc out (GenAIComps, `comps/prompt_template`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use tessera_sdk::opea::LlmParamsDoc;
use tessera_sdk::{Error, Response, id, json};

use crate::template::Template;

/// What is asked for without templates: the fields are those of OPEA's own.
const SYSTEM: &str = "\
### You are a helpful, respectful and honest assistant. Answer the question from the search results below, and from the \
conversation history where it bears on the question. Leave aside what does not. If you don't know the answer, say so.
### Search results: {reranked_docs}
### Conversation history: {conversation_history}";
const USER: &str = "### Question: {user_prompt}\n### Answer:";

/// How much of a conversation is put into a prompt, as OPEA does.
const TURNS_MAX: usize = 3;

/// Keys of `data` that hold the question, the first that is there.
const QUESTIONS: [&str; 4] = ["user_prompt", "initial_query", "question", "query"];

/// What the client sends.
#[derive(Debug, Deserialize)]
pub(crate) struct PromptTemplateInput {
    data: Map<String, Value>,
    #[serde(default)]
    conversation_history: Option<Vec<Turn>>,
    conversation_history_parse_type: Option<String>,
    system_prompt_template: Option<String>,
    user_prompt_template: Option<String>,
}

/// OPEA's PrevQuestionDetails.
#[derive(Debug, Deserialize)]
struct Turn {
    #[serde(default)]
    question: String,
    #[serde(default)]
    answer: String,
}

impl PromptTemplateInput {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Error> {
        let input: Self = json::parse(body)?;
        match input.conversation_history_parse_type.as_deref() {
            None => Ok(input),
            Some(kind) if kind.eq_ignore_ascii_case("naive") => Ok(input),
            Some(_) => {
                let param = "conversation_history_parse_type";
                Err(Error::bad_request(format!("`{param}` must be \"naive\"")).with_param(param))
            }
        }
    }

    /// The response: both templates filled in, and the question.
    ///
    /// # Errors
    /// 400 that names the field at fault: a template with a name of which there is no text.
    pub(crate) fn into_reply(self) -> Result<Response, Error> {
        let mut texts = BTreeMap::new();
        for (name, value) in &self.data {
            let text = if name == "reranked_docs" { documents(value) } else { text_of(value) };
            texts.insert(name.as_str(), text);
        }
        texts
            .entry("conversation_history")
            .or_insert_with(|| history(self.conversation_history.as_deref().unwrap_or_default()));
        let given = |template: &Option<String>| template.clone().filter(|template| !template.trim().is_empty());
        let (system, user) = (given(&self.system_prompt_template), given(&self.user_prompt_template));
        // With templates of ours it is the data that lacks something.
        let (params, system, user) = match (system, user) {
            (None, None) => (["data"; 2], SYSTEM.to_owned(), USER.to_owned()),
            (system, user) => {
                let params = ["system_prompt_template", "user_prompt_template"];
                (params, system.unwrap_or_default(), user.unwrap_or_default())
            }
        };
        let fill = |template: &str, param: &str| {
            let filled =
                Template::parse(template).and_then(|template| template.fill(|name| texts.get(name).map(String::as_str)));
            filled.map_err(|message| Error::bad_request(format!("`{param}`: {message}")).with_param(param))
        };
        let (system, user) = (fill(&system, params[0])?, fill(&user, params[1])?);
        let question = QUESTIONS.iter().find_map(|name| texts.get(name).cloned());
        let question = question.unwrap_or_else(|| asked(&user).to_owned());
        let parts = [system.trim(), user.trim()];
        let prompt = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n");
        let chat_template = Some(prompt);
        Ok(Response::json(200, &LlmParamsDoc { id: Some(id::new()), chat_template, ..LlmParamsDoc::new(question) }))
    }
}

/// What a value of `data` says: a text, or the texts in it.
fn text_of(value: &Value) -> String {
    let joined = |texts: Vec<String>| texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ");
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => joined(items.iter().map(text_of).collect()),
        Value::Object(fields) => joined(fields.values().map(text_of).collect()),
    }
}

/// Documents with where they are from. A text is a document as well, and so is a list of them.
fn documents(value: &Value) -> String {
    let document = |value: &Value| {
        let metadata = &value["metadata"];
        let text = value.as_str().or_else(|| value["text"].as_str()).unwrap_or_default();
        let names = ["url", "object_name", "name"];
        let source = names.iter().find_map(|name| metadata[*name].as_str().filter(|name| !name.is_empty()));
        let headings: Vec<&str> = match &metadata["heading"] {
            Value::Array(headings) => headings.iter().filter_map(Value::as_str).collect(),
            _ => (1..=7).filter_map(|level| metadata[format!("Header{level}")].as_str()).collect(),
        };
        let section = if headings.is_empty() { String::new() } else { format!(" | Section: {}", headings.join(" > ")) };
        format!("[File: {}{section}]\n{text}", source.unwrap_or("Unknown Source"))
    };
    match value {
        Value::Array(list) => list.iter().map(document).collect::<Vec<_>>().join("\n\n"),
        Value::Null => String::new(),
        single => document(single),
    }
}

/// The last turns of a conversation, two lines each.
fn history(turns: &[Turn]) -> String {
    let is_said = |turn: &&Turn| !turn.question.trim().is_empty() || !turn.answer.trim().is_empty();
    let said: Vec<&Turn> = turns.iter().filter(is_said).collect();
    let last = &said[said.len().saturating_sub(TURNS_MAX)..];
    let lines = last.iter().map(|turn| format!("User: {}\nAssistant: {}", turn.question, turn.answer));
    lines.collect::<Vec<_>>().join("\n")
}

/// The question of a prompt in OPEA's form: what stands between its two marks, or all of it.
fn asked(prompt: &str) -> &str {
    let behind = prompt.split_once("### Question:").map_or(prompt, |(_, behind)| behind);
    behind.split_once("### Answer:").map_or(behind, |(before, _)| before).trim()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reply(body: &Value) -> Result<Value, Error> {
        let response = PromptTemplateInput::parse(body.to_string().as_bytes())?.into_reply()?;
        Ok(serde_json::from_slice(response.whole().expect("whole")).expect("JSON"))
    }

    fn prompt(body: Value) -> (String, String) {
        let answer = reply(&body).unwrap_or_else(|error| panic!("{body}: {error}"));
        let text = |name: &str| answer[name].as_str().expect("a text").to_owned();
        (text("chat_template"), text("query"))
    }

    #[test]
    fn without_templates_documents_and_history_stand_before_the_question() {
        let turn = |n: u32| json!({"question": format!("q{n}"), "answer": format!("a{n}")});
        let (prompt, query) = prompt(json!({
            "data": {"user_prompt": "What?", "reranked_docs": [{"text": "One."}, "Two."]},
            "conversation_history": [turn(1), turn(2), {"question": " "}, turn(3), turn(4)],
            "system_prompt_template": "", "user_prompt_template": "",
        }));
        assert!(prompt.contains("[File: Unknown Source]\nOne.\n\n[File: Unknown Source]\nTwo.\n"), "{prompt}");
        assert!(prompt.contains("User: q2\nAssistant: a2\nUser: q3\nAssistant: a3\nUser: q4\nAssistant: a4\n"), "{prompt}");
        assert!(prompt.ends_with("### Question: What?\n### Answer:") && !prompt.contains("q1"), "{prompt}");
        assert_eq!(query, "What?");
    }

    #[test]
    fn templates_of_the_client_are_filled_in() {
        let (prompt, query) = prompt(json!({
            "data": {"initial_query": "What?", "source_lang": "chinese", "n": [1, true, null, {"x": "y"}]},
            "system_prompt_template": " ### Translate from {source_lang}. ", "user_prompt_template": "### Question: {initial_query} {n}",
        }));
        assert_eq!((prompt.as_str(), query.as_str()), ("### Translate from chinese.\n### Question: What? 1 true y", "What?"));
    }

    #[test]
    fn documents_say_where_they_are_from() {
        let docs = json!([
            {"text": "a", "metadata": {"url": "u", "Header1": "A", "Header3": "B"}},
            {"text": "b", "metadata": {"name": "n.md", "heading": ["C", "D"]}},
        ]);
        assert_eq!(documents(&docs), "[File: u | Section: A > B]\na\n\n[File: n.md | Section: C > D]\nb");
    }

    #[test]
    fn nothing_in_the_data_becomes_a_template() {
        let body = json!({"data": {"a": "{b}", "b": "{{c}}"}, "user_prompt_template": "{a}{b}"});
        assert_eq!(prompt(body).0, "{b}{{c}}");
    }

    #[test]
    fn the_question_is_told_from_the_prompt_where_the_data_does_not_name_it() {
        for (template, question) in [("### Question: {x}? ### Answer: y", "1?"), ("### Question: {x}", "1"), ("so {x}", "so 1")]
        {
            assert_eq!(prompt(json!({"data": {"x": 1}, "user_prompt_template": template})).1, question);
        }
    }

    #[test]
    fn bad_requests_name_the_field() {
        let cases = [
            (json!({}), "data"),
            (json!({"data": []}), "data"),
            (json!({"data": {}}), "data"),
            (json!({"data": {}, "user_prompt_template": "{x}"}), "user_prompt_template"),
            (json!({"data": {}, "user_prompt_template": 5}), "user_prompt_template"),
            (json!({"data": {}, "conversation_history": [5]}), "conversation_history[0]"),
            (json!({"data": {}, "conversation_history_parse_type": "best"}), "conversation_history_parse_type"),
        ];
        for (body, param) in cases {
            let error = reply(&body).expect_err(param);
            assert_eq!((error.status(), error.param()), (400, Some(param)), "{body}: {error}");
        }
    }
}
