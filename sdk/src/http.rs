//! Requests to other hosts.
//!
//! Needs `[http]` in the component's policy, which says what may be sent where.
//!
//! ```no_run
//! # async fn example() -> Result<(), tessera_sdk::Error> {
//! use serde_json::{Value, json};
//! use tessera_sdk::{Response, http};
//!
//! let question = json!({"q": "What is a tessera?"});
//! let answer: Value = http::post("https://api.example.com/v1/search").json(&question)?.send().await?.json().await?;
//!
//! let page = http::get("https://example.com/").header("accept", "text/html").send().await?;
//! let response = Response::passing(page.status(), "text/html", page.into_body());
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::tessera::handler::types::Header;
use crate::bindings::tessera::http::client as host;
use crate::handler::{self, BODY_BYTES_MAX, Body, BodyError, BodyErrorCode, BodyWriter, Closed, Outgoing};
use crate::inference::retry_after_s;

pub use host::{Error, ErrorCode};

/// A `GET`.
pub fn get(url: impl Into<String>) -> Request {
    request("GET", url)
}

/// A `HEAD`.
pub fn head(url: impl Into<String>) -> Request {
    request("HEAD", url)
}

/// A `POST`.
pub fn post(url: impl Into<String>) -> Request {
    request("POST", url)
}

/// A `PUT`.
pub fn put(url: impl Into<String>) -> Request {
    request("PUT", url)
}

/// A `DELETE`.
pub fn delete(url: impl Into<String>) -> Request {
    request("DELETE", url)
}

/// A request with any method, upper case.
pub fn request(method: impl Into<String>, url: impl Into<String>) -> Request {
    Request {
        method: method.into(),
        url: url.into(),
        headers: Vec::new(),
        body: Outgoing::Whole(Vec::new()),
        redirects_max: 0,
        timeout_ms: None,
    }
}

/// A request to another host, to be sent by [`send`](Self::send). Redirects are answers until
/// [`redirects_max`](Self::redirects_max) says otherwise.
#[derive(Debug)]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<Header>,
    body: Outgoing,
    redirects_max: u32,
    timeout_ms: Option<u32>,
}

impl Request {
    /// Adds a header. `host`, `content-length` and those of the connection are the host's and are dropped.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(Header { name: name.to_ascii_lowercase(), value: value.into() });
        self
    }

    /// Sets the body: text, bytes, or one that came with another exchange and is sent on as it comes.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = Outgoing::Passed(body.into());
        self
    }

    /// Sets the body to a value as JSON, and the content type.
    ///
    /// # Errors
    /// [`ErrorCode::Invalid`] for what JSON cannot hold: a map whose keys are no strings.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self, Error> {
        let json =
            serde_json::to_vec(value).map_err(|error| failed(ErrorCode::Invalid, format!("this is no JSON: {error}")))?;
        Ok(self.header("content-type", "application/json").body(json))
    }

    /// A body that is sent while it is made; see [`Response::stream`](crate::Response::stream). `produce` starts when the
    /// request is sent.
    #[must_use]
    pub fn stream<F, Fut>(mut self, produce: F) -> Self
    where
        F: FnOnce(BodyWriter) -> Fut + 'static,
        Fut: Future<Output = Result<(), Closed>> + 'static,
    {
        self.body = Outgoing::streamed(produce);
        self
    }

    /// Follows so many redirects, up to the policy's limit.
    #[must_use]
    pub fn redirects_max(mut self, redirects_max: u32) -> Self {
        self.redirects_max = redirects_max;
        self
    }

    /// Waits so long for the head of the answer, at most. The deadline of the component's own request holds in any case.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// Sends it and waits for the head of the answer. Dropping the future ends the exchange.
    ///
    /// # Errors
    /// Those of the host; see [`ErrorCode`]. A status of 400 or more is an answer, not an error.
    pub async fn send(self) -> Result<Response, Error> {
        let host::Response { status, headers, body, url } = host::send(self.into_wit()).await?;
        Ok(Response { status, headers, url, body: body.into() })
    }

    fn into_wit(self) -> host::Request {
        let Self { method, url, headers, body, redirects_max, timeout_ms } = self;
        host::Request { method, url, headers, body: body.into_wit(), redirects_max, timeout_ms }
    }
}

/// What another host answered. Dropping it ends the exchange.
#[derive(Debug)]
pub struct Response {
    status: u16,
    headers: Vec<Header>,
    url: String,
    body: Body,
}

impl Response {
    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header of this name (lower case), if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        handler::header(&self.headers, name)
    }

    /// Names (lower case) and values of all headers, in the order they came.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|header| (header.name.as_str(), header.value.as_slice()))
    }

    /// Where it came from, after redirects.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The body, to be read piece by piece or sent on.
    pub fn into_body(self) -> Body {
        self.body
    }

    /// Gathers the body, up to [`BODY_BYTES_MAX`].
    ///
    /// # Errors
    /// [`ErrorCode::TooLong`] for a body that is longer, [`ErrorCode::Unreachable`] for one that broke off.
    pub async fn bytes(self) -> Result<Vec<u8>, Error> {
        let too_long = || failed(ErrorCode::TooLong, format!("the answer's body is longer than {BODY_BYTES_MAX} bytes"));
        self.body.gather_up_to(BODY_BYTES_MAX).await?.ok_or_else(too_long)
    }

    /// Gathers the body as text; what is no UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    /// Those of [`bytes`](Self::bytes).
    pub async fn text(self) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.bytes().await?).into_owned())
    }

    /// Gathers the body and reads it as JSON, whatever its content type says.
    ///
    /// # Errors
    /// Those of [`bytes`](Self::bytes), and [`ErrorCode::Protocol`] for JSON that does not fit.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let misfit = |error| failed(ErrorCode::Protocol, format!("the answer is not the JSON that is expected: {error}"));
        serde_json::from_slice(&self.bytes().await?).map_err(misfit)
    }
}

fn failed(code: ErrorCode, message: String) -> Error {
    Error { code, message, retry_after_ms: None }
}

impl From<BodyError> for Error {
    fn from(error: BodyError) -> Self {
        let code = match error.code {
            BodyErrorCode::TooLarge => ErrorCode::TooLong,
            BodyErrorCode::Incomplete | BodyErrorCode::Failed => ErrorCode::Unreachable,
        };
        failed(code, error.message)
    }
}

/// Statuses of a gateway. What the host says is for the author: the client learns what failed in general terms only.
impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        let (status, code, message) = match error.code {
            ErrorCode::Denied => (502, "upstream_denied", "this service may not send what this takes to another host"),
            ErrorCode::Quota => {
                (429, "quota_exceeded", "this service has sent as much to other hosts as it may: try again later")
            }
            ErrorCode::Invalid => (500, "upstream_invalid", "this service made a malformed request to another host"),
            ErrorCode::Unreachable => (502, "upstream_unreachable", "a host that this takes can't be reached, or broke off"),
            ErrorCode::Protocol => (502, "upstream_bad_response", "a host that this takes gave no answer that can be used"),
            ErrorCode::TooLong => (502, "upstream_too_long", "a host that this takes gave an answer that is too long"),
            ErrorCode::Timeout => (504, "upstream_timeout", "a host that this takes did not answer in time"),
        };
        let mapped = Self::new(status, code, message);
        match error.code {
            ErrorCode::Quota => mapped.with_header("retry-after", retry_after_s(error.retry_after_ms).to_string()),
            _ => mapped,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures::executor::block_on;
    use serde_json::{Value, json};

    use super::*;
    use crate::bindings::tessera::handler::types;

    fn answer(body: &str) -> Response {
        let header = Header { name: "content-type".into(), value: b"text/plain".into() };
        Response { status: 200, headers: vec![header], url: "https://a.example/".into(), body: body.into() }
    }

    #[test]
    fn a_request_has_what_its_builder_was_told() {
        let request = request("PATCH", "https://a.example/x")
            .header("X-A", "1")
            .json(&json!({"b": 2}))
            .expect("JSON")
            .redirects_max(3)
            .timeout(Duration::from_millis(1500))
            .into_wit();
        assert_eq!((request.method.as_str(), request.url.as_str()), ("PATCH", "https://a.example/x"));
        let headers: Vec<_> = request.headers.iter().map(|header| (header.name.as_str(), header.value.as_slice())).collect();
        assert_eq!(headers, [("x-a", b"1".as_slice()), ("content-type", b"application/json")]);
        assert!(matches!(request.body, types::Body::Whole(body) if body == b"{\"b\":2}"));
        assert_eq!((request.redirects_max, request.timeout_ms), (3, Some(1500)));
    }

    #[test]
    fn a_plain_request_follows_no_redirects_and_has_no_body() {
        let request = get("https://a.example").into_wit();
        assert_eq!((request.method.as_str(), request.redirects_max, request.timeout_ms), ("GET", 0, None));
        assert!(matches!(request.body, types::Body::Whole(body) if body.is_empty()));
    }

    #[test]
    fn a_body_of_another_exchange_is_sent_on() {
        let passed = post("https://a.example").body(answer("abc").into_body()).into_wit();
        assert!(matches!(passed.body, types::Body::Whole(body) if body == b"abc"));
        let taken = post("https://a.example").body(Body::default()).into_wit();
        assert!(matches!(taken.body, types::Body::Whole(body) if body.is_empty()));
    }

    #[test]
    fn a_timeout_beyond_what_fits_is_the_longest_one() {
        assert_eq!(get("https://a.example").timeout(Duration::MAX).into_wit().timeout_ms, Some(u32::MAX));
    }

    #[test]
    fn what_json_cannot_hold_is_invalid() {
        let error = post("https://a.example").json(&BTreeMap::from([(vec![1], 2)])).expect_err("keys are no strings");
        assert_eq!(error.code, ErrorCode::Invalid);
    }

    #[test]
    fn an_answer_is_read_as_bytes_text_or_json() {
        assert_eq!(answer("").header("content-type"), Some("text/plain"));
        assert_eq!(block_on(answer("abc").bytes()).expect("whole"), b"abc");
        assert_eq!(block_on(answer("abc").text()).expect("whole"), "abc");
        assert_eq!(block_on(answer("[1]").json::<Value>()).expect("JSON"), json!([1]));
        assert_eq!(block_on(answer("[1").json::<Value>()).expect_err("no JSON").code, ErrorCode::Protocol);
    }

    #[test]
    fn a_body_that_breaks_off_is_an_error_of_the_exchange() {
        for (code, expected) in [
            (BodyErrorCode::TooLarge, ErrorCode::TooLong),
            (BodyErrorCode::Incomplete, ErrorCode::Unreachable),
            (BodyErrorCode::Failed, ErrorCode::Unreachable),
        ] {
            assert_eq!(Error::from(BodyError { code, message: "why".into() }).code, expected);
        }
    }

    #[test]
    fn errors_have_the_status_of_a_gateway_and_keep_the_hosts_text() {
        for (code, status, name, kind) in [
            (ErrorCode::Denied, 502, "upstream_denied", "server_error"),
            (ErrorCode::Quota, 429, "quota_exceeded", "rate_limit_error"),
            (ErrorCode::Invalid, 500, "upstream_invalid", "server_error"),
            (ErrorCode::Unreachable, 502, "upstream_unreachable", "server_error"),
            (ErrorCode::Protocol, 502, "upstream_bad_response", "server_error"),
            (ErrorCode::TooLong, 502, "upstream_too_long", "server_error"),
            (ErrorCode::Timeout, 504, "upstream_timeout", "server_error"),
        ] {
            let error = crate::Error::from(failed(code, "internal address 10.0.0.1".into()));
            assert_eq!((error.status(), error.code(), error.kind()), (status, name, kind));
            assert!(!error.message().contains("10.0.0.1"), "the host's text is not for the client");
        }
    }

    #[test]
    fn a_quota_asks_the_client_to_wait_in_seconds_rounded_up() {
        let wait = |retry_after_ms| {
            let error = Error { code: ErrorCode::Quota, message: String::new(), retry_after_ms };
            crate::Error::from(error).headers()[0].clone()
        };
        assert_eq!(wait(Some(1001)), ("retry-after", "2".to_owned()));
        assert_eq!(wait(None), ("retry-after", "1".to_owned()));
    }
}
