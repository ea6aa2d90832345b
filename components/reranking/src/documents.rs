//! What is common to all shapes: documents, their limit, and what an answer says of cut ones.

use serde::Deserialize;
use tessera_sdk::inference::{self, Usage};
use tessera_sdk::{Error, Response};

/// Most documents in one request.
pub(crate) const DOCUMENTS_MAX: usize = 1000;

/// A document as the client writes it: a string, or an object with its text and fields that are ignored.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or an object with a string `text`")]
pub(crate) enum Document {
    Text(String),
    Object { text: String },
}

impl Document {
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Text(text) | Self::Object { text } => text,
        }
    }
}

/// Refuses an empty query and too many documents. `query` and `documents` are the names of the fields.
pub(crate) fn check(query: (&str, &str), documents: (&str, usize)) -> Result<(), Error> {
    let (query_name, query) = query;
    let (documents_name, count) = documents;
    if query.is_empty() {
        return Err(Error::invalid(query_name, "cannot be empty"));
    }
    if count > DOCUMENTS_MAX {
        let message = format!("`{documents_name}` has {count} documents, at most {DOCUMENTS_MAX} are allowed");
        return Err(Error::bad_request(message).with_param(documents_name));
    }
    Ok(())
}

/// Says in a header how many documents were cut, where the body has no room for it.
pub(crate) fn with_truncated(response: Response, usage: &[Usage]) -> Response {
    match inference::truncated_count(usage) {
        0 => response,
        count => response.with_header("x-truncated-inputs", count.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_strings_or_objects_with_a_text() {
        let documents: Vec<Document> = serde_json::from_str(r#"["a", {"text": "b", "id": 7, "metadata": {}}]"#).expect("fits");
        assert_eq!(documents.into_iter().map(Document::into_text).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_has_no_text_is_refused_with_what_is_expected() {
        for json in ["[1]", "[null]", r#"[{"title": "x"}]"#, r#"[{"text": 5}]"#] {
            let error = serde_json::from_str::<Vec<Document>>(json).expect_err(json).to_string();
            assert!(error.contains("expected a string or an object with a string `text`"), "{error}");
        }
    }

    #[test]
    fn the_limit_is_the_last_that_is_allowed() {
        assert_eq!(check(("query", "q"), ("documents", DOCUMENTS_MAX)), Ok(()));
        let error = check(("query", "q"), ("documents", DOCUMENTS_MAX + 1)).expect_err("one too many");
        assert_eq!((error.status(), error.param()), (400, Some("documents")));
    }

    #[test]
    fn an_empty_query_is_refused() {
        assert_eq!(check(("input", ""), ("documents", 1)).expect_err("empty").param(), Some("input"));
    }
}
