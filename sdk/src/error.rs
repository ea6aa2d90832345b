//! The error of a handler: an HTTP status with a body as OpenAI writes it.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use crate::handler::{IntoResponse, Response};
use crate::inference::{self, ErrorCode};

/// Why a request is not answered as asked: an HTTP status, a code for programs and a sentence for people.
///
/// As a response it is `{"error": {"message", "type", "param", "code"}}`, OpenAI's shape; the type follows from status
/// and code. The errors of the capabilities turn into it with `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    status: u16,
    code: Cow<'static, str>,
    message: String,
    param: Option<String>,
    headers: Vec<(&'static str, String)>,
}

impl Error {
    /// An error with an HTTP status (400 to 599), a code in snake case and one sentence that says what to do.
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), param: None, headers: Vec::new() }
    }

    /// 400, code `invalid_value`: the request says something that cannot be.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_value", message)
    }

    /// 400, code `invalid_value`: what this field says cannot be. The sentence begins with the field's name.
    ///
    /// ```
    /// let error = tessera_sdk::Error::invalid("top_n", "must be 1 or more");
    /// assert_eq!((error.message(), error.param()), ("`top_n` must be 1 or more", Some("top_n")));
    /// ```
    pub fn invalid(param: &str, what: &str) -> Self {
        Self::bad_request(format!("`{param}` {what}")).with_param(param)
    }

    /// 400, code `missing_required_parameter`: the request lacks this field.
    pub fn missing(param: &str) -> Self {
        Self::new(400, "missing_required_parameter", format!("missing required parameter `{param}`")).with_param(param)
    }

    /// 400, code `missing_required_parameter`: the request has none of the fields of which one is needed. The first is named
    /// as the one at fault.
    ///
    /// ```
    /// let error = tessera_sdk::Error::missing_one_of(&["text", "input", "messages"]);
    /// assert_eq!(error.message(), "missing required parameter `text`, `input` or `messages`");
    /// assert_eq!(error.param(), Some("text"));
    /// ```
    ///
    /// # Panics
    /// If there are no names.
    pub fn missing_one_of(params: &[&str]) -> Self {
        let (last, others) = params.split_last().expect("a field to name");
        let Some(first) = others.first() else { return Self::missing(last) };
        let message = format!("missing required parameter `{}` or `{last}`", others.join("`, `"));
        Self::new(400, "missing_required_parameter", message).with_param(*first)
    }

    /// 404, code `not_found`.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "not_found", message)
    }

    /// 500, code `internal_error`: not the client's fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "internal_error", message)
    }

    /// Names the field of the request that is at fault.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Adds a header to the response. The name must be lower case.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The code for programs: `model_not_found`, `invalid_json`, …
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The field of the request that is at fault.
    pub fn param(&self) -> Option<&str> {
        self.param.as_deref()
    }

    /// Headers of the response, beside its content type.
    pub fn headers(&self) -> &[(&'static str, String)] {
        &self.headers
    }

    /// The body of the response: OpenAI's shape, as JSON.
    pub fn body(&self) -> String {
        #[derive(Serialize)]
        struct Envelope<'a> {
            error: Fields<'a>,
        }
        #[derive(Serialize)]
        struct Fields<'a> {
            message: &'a str,
            r#type: &'static str,
            param: Option<&'a str>,
            code: &'a str,
        }
        let fields = Fields { message: &self.message, r#type: self.kind(), param: self.param.as_deref(), code: &self.code };
        serde_json::to_string(&Envelope { error: fields }).expect("strings make good JSON")
    }

    /// What OpenAI calls the type: the class of error that clients tell apart.
    pub fn kind(&self) -> &'static str {
        match (self.status, self.code.as_ref()) {
            (_, "context_length_exceeded") => "exceed_context_size_error",
            (401, _) => "authentication_error",
            (403, _) => "permission_error",
            (404, _) => "not_found_error",
            (429, _) => "rate_limit_error",
            (501, _) => "not_supported_error",
            (503, _) => "unavailable_error",
            (500.., _) => "server_error",
            _ => "invalid_request_error",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code, self.message)
    }
}

impl std::error::Error for Error {}

impl From<inference::Error> for Error {
    fn from(error: inference::Error) -> Self {
        let retry_after_s = error.retry_after_s();
        let (status, code) = match error.code {
            ErrorCode::UnknownModel => (404, "model_not_found"),
            ErrorCode::Unsupported => (400, "unsupported"),
            ErrorCode::InvalidInput => (400, "invalid_value"),
            ErrorCode::TooLong => (400, "context_length_exceeded"),
            ErrorCode::Overloaded => (429, "overloaded"),
            ErrorCode::Deadline => (504, "deadline_exceeded"),
            ErrorCode::Internal => (500, "internal_error"),
            ErrorCode::Cancelled => (500, "cancelled"),
            ErrorCode::Quota => (429, "quota_exceeded"),
        };
        let mapped = Self::new(status, code, error.message);
        match (error.code, retry_after_s) {
            (ErrorCode::UnknownModel, _) => mapped.with_param("model"),
            (_, Some(seconds)) => mapped.with_header("retry-after", seconds.to_string()),
            _ => mapped,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.status, "application/json", self.body());
        for (name, value) in self.headers {
            response = response.with_header(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(response: &Response) -> Value {
        serde_json::from_slice(response.whole().expect("errors are whole")).expect("errors are JSON")
    }

    #[test]
    fn errors_of_inference_have_their_status_code_and_type() {
        let cases = [
            (ErrorCode::UnknownModel, 404, "model_not_found", "not_found_error"),
            (ErrorCode::Unsupported, 400, "unsupported", "invalid_request_error"),
            (ErrorCode::InvalidInput, 400, "invalid_value", "invalid_request_error"),
            (ErrorCode::TooLong, 400, "context_length_exceeded", "exceed_context_size_error"),
            (ErrorCode::Overloaded, 429, "overloaded", "rate_limit_error"),
            (ErrorCode::Deadline, 504, "deadline_exceeded", "server_error"),
            (ErrorCode::Internal, 500, "internal_error", "server_error"),
            (ErrorCode::Cancelled, 500, "cancelled", "server_error"),
            (ErrorCode::Quota, 429, "quota_exceeded", "rate_limit_error"),
        ];
        for (host, status, code, kind) in cases {
            let error = Error::from(inference::Error::new(host, "why"));
            assert_eq!((error.status(), error.code(), error.kind()), (status, code, kind));
            assert_eq!(error.message(), "why");
        }
    }

    #[test]
    fn body_has_the_shape_of_openai() {
        let response = Error::bad_request("`input` is empty").with_param("input").into_response();
        assert_eq!(response.status(), 400);
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(
            body(&response),
            json!({"error": {
                "message": "`input` is empty", "type": "invalid_request_error", "param": "input", "code": "invalid_value"
            }})
        );
    }

    #[test]
    fn param_is_null_where_no_field_is_at_fault() {
        assert_eq!(body(&Error::internal("x").into_response())["error"]["param"], Value::Null);
    }

    #[test]
    fn what_is_over_soon_asks_the_client_to_wait() {
        let cases = [
            (ErrorCode::Overloaded, None, Some("1")),
            (ErrorCode::Quota, None, Some("1")),
            (ErrorCode::Quota, Some(2000), Some("2")),
            (ErrorCode::Quota, Some(2001), Some("3")),
            (ErrorCode::Internal, Some(2000), None),
        ];
        for (code, retry_after_ms, header) in cases {
            let error = Error::from(inference::Error { code, message: String::new(), retry_after_ms });
            assert_eq!(error.into_response().header("retry-after"), header, "{code:?} {retry_after_ms:?}");
        }
    }
}
