//! JSON in and out.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::error::Error;
use crate::handler::{FromRequest, IntoResponse, Request, Response};

/// A JSON body, of a request or of a response.
///
/// As an argument of a handler it reads the body whatever its content type says, as most servers of this field do;
/// a body that does not fit is answered 400 with the name of the field and its place. As a result it is a 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Json<T> {
    async fn from_request(request: &mut Request) -> Result<Self, Error> {
        request.json().await.map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        Response::json(200, &self.0)
    }
}

/// Reads JSON.
///
/// # Errors
/// 400: `invalid_json` for what is not JSON, `missing_required_parameter` for a field that is not there and
/// `invalid_value` for one that does not fit; these two name the field.
pub fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    // Nearly every body is right: only for one that is not, read it again to learn where.
    serde_json::from_slice(json).map_err(|error| describe::<T>(json, &error))
}

fn describe<T: DeserializeOwned>(json: &[u8], error: &serde_json::Error) -> Error {
    if json.trim_ascii().is_empty() {
        return Error::new(400, "invalid_json", "the request has no body; JSON is expected");
    }
    if error.classify() != Category::Data {
        return Error::new(400, "invalid_json", format!("the request body is not valid JSON: {error}"));
    }
    let text = error.to_string();
    if let Some(field) = missing_field(&text) {
        return Error::missing(field);
    }
    match path::<T>(json) {
        Some(path) => Error::bad_request(format!("`{path}`: {text}")).with_param(path),
        None => Error::bad_request(text),
    }
}

/// The field that serde misses; it says so in its text only.
fn missing_field(text: &str) -> Option<&str> {
    text.strip_prefix("missing field `")?.split_once('`').map(|(field, _)| field)
}

/// Where in the document the first value stands that does not fit: `input[2]`.
fn path<T: DeserializeOwned>(json: &[u8]) -> Option<String> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let error = serde_path_to_error::deserialize::<_, T>(&mut deserializer).err()?;
    let path = error.path().to_string();
    (path != ".").then_some(path)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Order {
        #[allow(dead_code, reason = "only its type is tested")]
        item: String,
        #[serde(default)]
        #[allow(dead_code, reason = "only its type is tested")]
        counts: Vec<u32>,
    }

    fn refusal(json: &str) -> Error {
        parse::<Order>(json.as_bytes()).expect_err("does not fit")
    }

    #[test]
    fn unknown_fields_are_ignored() {
        assert_eq!(parse::<Order>(br#"{"item": "x", "more": 1}"#).expect("fits").item, "x");
    }

    #[test]
    fn malformed_json_names_line_and_column() {
        let error = refusal("{\"item\": \"x\",\n oops}");
        assert_eq!((error.status(), error.code(), error.param()), (400, "invalid_json", None));
        assert!(error.message().contains("line 2 column 2"), "{error}");
    }

    #[test]
    fn a_body_that_breaks_off_is_malformed() {
        assert_eq!(refusal("{\"item\":").code(), "invalid_json");
    }

    #[test]
    fn an_empty_body_is_said_to_be_empty() {
        assert_eq!(refusal(" \n").message(), "the request has no body; JSON is expected");
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = refusal("{}");
        assert_eq!((error.code(), error.param()), ("missing_required_parameter", Some("item")));
    }

    #[test]
    fn a_wrong_type_is_named_with_its_path() {
        let error = refusal(r#"{"item": "x", "counts": [1, -2]}"#);
        assert_eq!((error.code(), error.param()), ("invalid_value", Some("counts[1]")));
        assert!(error.message().starts_with("`counts[1]`: invalid value: integer `-2`, expected u32"), "{error}");
    }

    #[test]
    fn a_body_of_another_kind_has_no_field_to_name() {
        let error = refusal("[1]");
        assert_eq!((error.code(), error.status()), ("invalid_value", 400));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(parse::<Order>(b"{\"item\": \"\xff\"}").expect_err("not UTF-8").status(), 400);
    }
}
