//! What became of each file, and the answer that is made of it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tessera_sdk::{Error, Response};

use crate::limits::ParseError;

/// What became of a file or a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileReport {
    pub(crate) name: String,
    pub(crate) status: FileStatus,
    /// What it is: `pdf`, `docx`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<String>,
    /// How many there are of it in the index.
    pub(crate) chunks: u32,
    /// Pages or slides; 0 where there are none.
    pub(crate) pages: u32,
    /// The document that has the same content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) same_as: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<FileError>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FileStatus {
    /// It is in the index, in the place of what was there under its name.
    Stored,
    /// It was there already, with the same content and the same settings.
    Unchanged,
    /// Another document has the same content: it is not stored twice.
    Duplicate,
    /// Nothing of it is stored, and what was there under its name still is.
    Failed,
}

/// Why it failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileError {
    pub(crate) code: String,
    pub(crate) message: String,
    /// The HTTP status if nothing else was asked for.
    pub(crate) status: u16,
}

impl From<ParseError> for FileError {
    fn from(error: ParseError) -> Self {
        let (code, status) = error.code();
        Self { code: code.to_owned(), message: error.to_string(), status }
    }
}

impl From<Error> for FileError {
    fn from(error: Error) -> Self {
        Self { code: error.code().to_owned(), message: error.message().to_owned(), status: error.status() }
    }
}

impl From<tessera_sdk::store::Error> for FileError {
    fn from(error: tessera_sdk::store::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<tessera_sdk::inference::Error> for FileError {
    fn from(error: tessera_sdk::inference::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<tessera_sdk::http::Error> for FileError {
    fn from(error: tessera_sdk::http::Error) -> Self {
        Error::from(error).into()
    }
}

impl FileReport {
    pub(crate) fn failed(name: &str, error: FileError) -> Self {
        Self {
            name: name.to_owned(),
            status: FileStatus::Failed,
            format: None,
            chunks: 0,
            pages: 0,
            same_as: None,
            error: Some(error),
        }
    }
}

/// The status and the body of the answer: 200 with OPEA's message if all went well, 207 if a part did, and the error's own
/// status if nothing did.
pub(crate) fn answer(files: &[FileReport]) -> (u16, Value) {
    let errors: Vec<(&str, &FileError)> =
        files.iter().filter_map(|file| Some((file.name.as_str(), file.error.as_ref()?))).collect();
    let Some((first_name, first)) = errors.first() else {
        return (200, json!({"status": 200, "message": "Data preparation succeeded", "files": files}));
    };
    if errors.len() < files.len() {
        let message = format!("{} of {} files could not be ingested: see `files`", errors.len(), files.len());
        return (207, json!({"status": 207, "message": message, "files": files}));
    }
    let status = if errors.iter().all(|(_, error)| error.status == first.status) { first.status } else { 422 };
    let text = match errors.len() {
        1 => format!("`{first_name}` could not be ingested: {}", first.message),
        count => format!("none of {count} files could be ingested; `{first_name}`: {}", first.message),
    };
    let error = Error::new(status, first.code.clone(), text.clone()).with_param("files");
    let mut body: Value = serde_json::from_str(&error.body()).unwrap_or_default();
    body["detail"] = text.into();
    body["files"] = json!(files);
    (status, body)
}

/// The answer of a request that waits for it.
pub(crate) fn response(files: &[FileReport]) -> Response {
    let (status, body) = answer(files);
    let response = Response::json(status, &body);
    if matches!(status, 429 | 503) { response.with_header("retry-after", "1") } else { response }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(name: &str) -> FileReport {
        FileReport { status: FileStatus::Stored, error: None, chunks: 2, ..failed(name, 400) }
    }

    fn failed(name: &str, status: u16) -> FileReport {
        FileReport::failed(name, FileError { code: "encrypted".into(), message: "it is encrypted".into(), status })
    }

    #[test]
    fn all_well_is_what_opea_answers() {
        let (status, body) = answer(&[stored("a")]);
        assert_eq!((status, &body["status"], &body["message"]), (200, &json!(200), &json!("Data preparation succeeded")));
        assert_eq!(body["files"], json!([{"name": "a", "status": "stored", "chunks": 2, "pages": 0}]));
    }

    #[test]
    fn a_part_that_failed_is_told_with_its_reason() {
        let (status, body) = answer(&[stored("a"), failed("b", 422)]);
        assert_eq!((status, &body["message"]), (207, &json!("1 of 2 files could not be ingested: see `files`")));
        assert_eq!(body["files"][1]["error"]["message"], "it is encrypted");
    }

    #[test]
    fn nothing_well_has_the_status_and_shape_of_an_error() {
        let (status, body) = answer(&[failed("a", 415)]);
        assert_eq!((status, &body["error"]["code"], &body["error"]["param"]), (415, &json!("encrypted"), &json!("files")));
        assert_eq!(body["detail"], "`a` could not be ingested: it is encrypted");
        assert_eq!(answer(&[failed("a", 415), failed("b", 413)]).0, 422);
        assert_eq!(response(&[failed("a", 429)]).header("retry-after"), Some("1"));
    }
}
