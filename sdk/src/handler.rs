//! HTTP requests and responses, and what turns values into them.

mod body;

use std::cell::OnceCell;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::exports::tessera::handler::handler as wit;
use crate::bindings::tessera::handler::types::{self, Header};
use crate::error::Error;
use crate::json;
use crate::router::Router;

pub(crate) use body::Outgoing;
pub use body::{Body, BodyError, BodyErrorCode, BodyWriter, Closed};

/// Longest body that [`Request::bytes`] and [`http::Response::bytes`](crate::http::Response::bytes) gather, in bytes: 32 MiB.
/// The host's own limit is usually lower.
pub const BODY_BYTES_MAX: usize = 32 << 20;

/// What a handler can take as an argument.
///
/// Arguments are made from left to right. [`Request`] takes everything that is left, so it comes last.
pub trait FromRequest: Sized {
    /// Takes what it needs out of the request; an error is the response.
    fn from_request(request: &mut Request) -> impl Future<Output = Result<Self, Error>>;
}

/// What a handler can return.
pub trait IntoResponse {
    /// The response that the client gets.
    fn into_response(self) -> Response;
}

/// One HTTP request.
#[derive(Debug, Default)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<Header>,
    params: Vec<(String, String)>,
    body: Body,
}

impl Request {
    /// A request without headers and body: for tests of handlers.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), ..Self::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(Header { name: name.to_ascii_lowercase(), value: value.into() });
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Body::whole(body.into());
        self
    }

    /// The method, upper case: `GET`, `POST`, …
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The path below the component's route, as it was sent (percent-encoded), without the query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// A parameter of the route's pattern, percent-decoded: `key` of `/config/{key}`.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first parameter of this name in the query string, percent-decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (form_decode(key) == name).then(|| form_decode(value))
        })
    }

    /// The first header of this name (lower case), if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Names (lower case) and values of all headers, in the order they came.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|header| (header.name.as_str(), header.value.as_slice()))
    }

    /// The body, to be read piece by piece. What was taken before is gone.
    pub fn take_body(&mut self) -> Body {
        std::mem::take(&mut self.body)
    }

    /// Gathers the body, up to [`BODY_BYTES_MAX`].
    ///
    /// # Errors
    /// 413 for a body that is longer, 400 for one that broke off.
    pub async fn bytes(&mut self) -> Result<Vec<u8>, Error> {
        self.take_body().gather(BODY_BYTES_MAX).await
    }

    /// Gathers the body and reads it as JSON, whatever its content type says.
    ///
    /// # Errors
    /// Those of [`Request::bytes`] and of [`json::parse`].
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        json::parse(&self.bytes().await?)
    }

    pub(crate) fn set_params(&mut self, params: Vec<(String, String)>) {
        self.params = params;
    }
}

impl From<wit::Request> for Request {
    fn from(request: wit::Request) -> Self {
        Self {
            method: request.method,
            target: request.target,
            headers: request.headers,
            params: Vec::new(),
            body: request.body.into(),
        }
    }
}

impl FromRequest for Request {
    async fn from_request(request: &mut Request) -> Result<Self, Error> {
        Ok(std::mem::take(request))
    }
}

/// The first parameter of the route's pattern, percent-decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(pub String);

impl FromRequest for Path {
    async fn from_request(request: &mut Request) -> Result<Self, Error> {
        let value = request.params.first().map(|(_, value)| value.clone());
        value.map(Self).ok_or_else(|| Error::internal("the pattern of this route has no parameter"))
    }
}

/// One HTTP response.
#[derive(Debug)]
pub struct Response {
    status: u16,
    headers: Vec<Header>,
    body: Outgoing,
}

impl Response {
    /// A response in one piece. The status is 200 to 599.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::with_outgoing(status, content_type, Outgoing::Whole(body.into()))
    }

    /// A response without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Outgoing::Whole(Vec::new()) }
    }

    /// A value as JSON. One that JSON cannot hold (a map whose keys are no strings) is answered 500.
    pub fn json<T: Serialize + ?Sized>(status: u16, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(status, "application/json", body),
            Err(error) => Error::internal(format!("the answer is not JSON: {error}")).into_response(),
        }
    }

    /// A response that is sent while it is made. `produce` runs after the headers are on their way.
    ///
    /// Only [`BodyWriter::finish`] ends the body well: a writer that is dropped without it, by an early return, `?` or
    /// a panic, resets the connection, so that the client never takes half an answer for a whole one.
    ///
    /// ```
    /// # use tessera_sdk::Response;
    /// let response = Response::stream(200, "text/plain", |mut writer| async move {
    ///     for i in 0..3 {
    ///         writer.write(format!("chunk {i}\n")).await?;
    ///     }
    ///     writer.finish()
    /// });
    /// ```
    pub fn stream<F, Fut>(status: u16, content_type: &str, produce: F) -> Self
    where
        F: FnOnce(BodyWriter) -> Fut + 'static,
        Fut: Future<Output = Result<(), Closed>> + 'static,
    {
        Self::with_outgoing(status, content_type, Outgoing::streamed(produce))
    }

    /// A body that is sent on as it comes, as that of another host's answer. One that breaks off there breaks off here.
    pub fn passing(status: u16, content_type: &str, body: Body) -> Self {
        Self::with_outgoing(status, content_type, Outgoing::Passed(body))
    }

    /// Adds a header. The name is lower case; content length and connection headers are the host's.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push(Header { name: name.to_owned(), value: value.into().into_bytes() });
        self
    }

    /// The same response with another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header of this name (lower case), if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The body, if it is in one piece.
    pub fn whole(&self) -> Option<&[u8]> {
        match &self.body {
            Outgoing::Whole(bytes) => Some(bytes),
            Outgoing::Streamed(_) | Outgoing::Passed(_) => None,
        }
    }

    fn with_outgoing(status: u16, content_type: &str, body: Outgoing) -> Self {
        Self { status, headers: Vec::new(), body }.with_header("content-type", content_type)
    }

    fn into_wit(self) -> wit::Response {
        wit::Response { status: self.status, headers: self.headers, body: self.body.into_wit() }
    }
}

/// 204, without a body.
impl IntoResponse for () {
    fn into_response(self) -> Response {
        Response::empty(204)
    }
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for &str {
    fn into_response(self) -> Response {
        Response::new(200, "text/plain; charset=utf-8", self)
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Response {
        Response::new(200, "text/plain; charset=utf-8", self)
    }
}

impl<T: IntoResponse, E: IntoResponse> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        self.map_or_else(E::into_response, T::into_response)
    }
}

/// Answers one request with the router of this instance; `service!` calls it.
#[doc(hidden)]
pub async fn serve(router: fn() -> Router, request: types::Request) -> types::Response {
    thread_local! {
        static ROUTER: OnceCell<&'static Router> = const { OnceCell::new() };
    }
    // Leaked on purpose: it lives as long as the instance, and several requests may be under way.
    let router = ROUTER.with(|cell| *cell.get_or_init(|| Box::leak(Box::new(router()))));
    router.handle(request.into()).await.into_wit()
}

pub(crate) fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    let header = headers.iter().find(|header| header.name == name)?;
    std::str::from_utf8(&header.value).ok()
}

/// Decodes `%41`; anything after a `%` that is not two hexadecimal digits stays as it is.
pub(crate) fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        match (first, hex_byte(tail)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_byte(text: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*text.get(index)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// As [`percent_decode`], with `+` for a blank as HTML forms write it.
fn form_decode(text: &str) -> String {
    percent_decode(&text.replace('+', " "))
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn percent_decoding_leaves_what_is_not_encoded() {
        for (encoded, decoded) in
            [("a%20b", "a b"), ("%e2%82%AC", "€"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%ff", "\u{fffd}"), ("", "")]
        {
            assert_eq!(percent_decode(encoded), decoded);
        }
    }

    #[test]
    fn query_finds_the_first_of_a_name() {
        let request = Request::new("GET", "/x?n=3&n=4&text=a+b%2B&flag");
        assert_eq!(request.path(), "/x");
        assert_eq!(request.query("n").as_deref(), Some("3"));
        assert_eq!(request.query("text").as_deref(), Some("a b+"));
        assert_eq!(request.query("flag").as_deref(), Some(""));
        assert_eq!(request.query("none"), None);
    }

    #[test]
    fn headers_are_found_by_lower_case_name() {
        let request = Request::new("GET", "/").with_header("X-Id", "7");
        assert_eq!(request.header("x-id"), Some("7"));
    }

    #[test]
    fn the_body_can_be_taken_once() {
        let mut request = Request::new("POST", "/").with_body("abc");
        assert_eq!(block_on(request.bytes()), Ok(b"abc".to_vec()));
        assert_eq!(block_on(request.bytes()), Ok(Vec::new()));
    }

    #[test]
    fn a_value_that_json_cannot_hold_is_answered_500() {
        let map = std::collections::BTreeMap::from([(vec![1], 2)]);
        assert_eq!(Response::json(200, &map).status(), 500);
    }
}
