//! The shapes of requests and answers (GenAIComps, `comps/prompt_registry`), and how prompts are found by their words.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tessera_sdk::kv::Row;
use tessera_sdk::{Error, json};

/// Longest prompt, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Most prompts of one search, as in OPEA.
const FOUND_MAX: usize = 5;

/// OPEA's PromptCreate: a prompt to keep, and a prompt that is kept.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prompt {
    pub(crate) prompt_text: String,
    pub(crate) user: String,
}

/// OPEA's PromptId, and which part of a list is wanted.
#[derive(Debug, Deserialize)]
pub(crate) struct Which {
    pub(crate) user: String,
    pub(crate) prompt_id: Option<String>,
    /// Words to look for.
    pub(crate) prompt_text: Option<String>,
    pub(crate) limit: Option<u32>,
    pub(crate) after: Option<String>,
}

/// One prompt of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Listed<'a> {
    prompt_text: &'a str,
    id: &'a str,
    /// The id again, as newer clients call it.
    doc_id: &'a str,
    user: &'a str,
}

/// One prompt that was found by its words.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Found<'a> {
    id: &'a str,
    data: &'a str,
    prompt_text: &'a str,
    user: &'a str,
    /// Which part of the words it has: from above 0 to 1.
    score: f32,
}

impl Prompt {
    /// Reads a prompt to keep.
    ///
    /// # Errors
    /// 400 that names the field at fault.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Error> {
        let prompt: Self = json::parse(body)?;
        let bad = |what: String| Err(Error::invalid("prompt_text", &what));
        match prompt.prompt_text.len() {
            0 => bad("cannot be empty".into()),
            bytes if bytes > TEXT_BYTES_MAX => bad(format!("has {bytes} bytes, at most {TEXT_BYTES_MAX} are allowed")),
            _ => Ok(prompt),
        }
    }
}

impl<'a> Listed<'a> {
    pub(crate) fn new(row: &'a Row<Prompt>) -> Self {
        let Row { id, value: Prompt { prompt_text, user } } = row;
        Self { prompt_text, id, doc_id: id, user }
    }
}

/// The prompts that have some of the words of a text, those with most of them first and the newest first among equals.
pub(crate) fn search<'a>(rows: &'a [Row<Prompt>], text: &str) -> Vec<Found<'a>> {
    let wanted = words(text);
    let score = |row: &'a Row<Prompt>| {
        let held = wanted.intersection(&words(&row.value.prompt_text)).count();
        let Row { id, value: Prompt { prompt_text, user } } = row;
        (held > 0).then(|| Found { id, data: prompt_text, prompt_text, user, score: held as f32 / wanted.len() as f32 })
    };
    let mut found: Vec<Found<'_>> = rows.iter().filter_map(score).collect();
    // The sort is stable, and the rows have the newest first.
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(FOUND_MAX);
    found
}

/// Words in lower case: letters and digits in a row.
fn words(text: &str) -> BTreeSet<String> {
    let parts = text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
    parts.map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn row(id: &str, text: &str) -> Row<Prompt> {
        Row { id: id.into(), value: Prompt { prompt_text: text.into(), user: "ann".into() } }
    }

    fn found(rows: &[Row<Prompt>], text: &str) -> Vec<(String, f32)> {
        search(rows, text).iter().map(|found| (found.id.to_owned(), found.score)).collect()
    }

    #[test]
    fn prompts_with_most_of_the_words_come_first() {
        let rows = [row("1", "Sum up this text."), row("2", "Translate THIS text"), row("3", "Hello"), row("4", "this")];
        assert_eq!(found(&rows, "translate this"), [("2".into(), 1.0), ("1".into(), 0.5), ("4".into(), 0.5)]);
    }

    #[test]
    fn words_are_whole_and_of_any_script() {
        let rows = [row("1", "Größe"), row("2", "textual")];
        assert_eq!(found(&rows, "GRÖSSE größe").len(), 1);
        assert!(found(&rows, "text").is_empty() && found(&rows, "?!").is_empty());
    }

    #[test]
    fn only_so_many_are_found() {
        let rows: Vec<Row<Prompt>> = (0..9).map(|at| row(&at.to_string(), "text")).collect();
        assert_eq!(found(&rows, "text").len(), FOUND_MAX);
    }

    #[test]
    fn answers_begin_as_those_of_opea() {
        let row = row("7", "text");
        let listed = serde_json::to_string(&Listed::new(&row)).expect("JSON");
        assert_eq!(listed, r#"{"prompt_text":"text","id":"7","doc_id":"7","user":"ann"}"#);
        let found = serde_json::to_string(&search(std::slice::from_ref(&row), "text")).expect("JSON");
        assert_eq!(found, r#"[{"id":"7","data":"text","prompt_text":"text","user":"ann","score":1.0}]"#);
    }

    #[test]
    fn bad_requests_name_the_field() {
        let cases: [(Value, &str); 5] = [
            (json!({"user": "ann"}), "prompt_text"),
            (json!({"prompt_text": "p"}), "user"),
            (json!({"prompt_text": "", "user": "ann"}), "prompt_text"),
            (json!({"prompt_text": 5, "user": "ann"}), "prompt_text"),
            (json!({"prompt_text": "a".repeat(TEXT_BYTES_MAX + 1), "user": "ann"}), "prompt_text"),
        ];
        for (body, param) in cases {
            let error = Prompt::parse(body.to_string().as_bytes()).expect_err(param);
            assert_eq!((error.status(), error.param()), (400, Some(param)), "{error}");
        }
    }
}
