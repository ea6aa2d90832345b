//! Answers whose heads are no HTTP, or too much of it.

use tessera_sdk::{Error, Response};

use crate::{Report, Size};

/// A name and value each that no header may have; the size says which.
const INVALID: [(&str, &str); 8] = [
    ("x-split", "a\r\nset-cookie: stolen=1"),
    ("x-newline", "a\nb"),
    ("x-return", "a\rb"),
    ("x-nul", "a\0b"),
    ("x blank", "a"),
    ("x-colon:", "a"),
    ("", "a"),
    ("x-\r\nset-cookie", "a"),
];

/// Headers that belong to the connection; the host drops them.
const OF_THE_CONNECTION: [(&str, &str); 8] = [
    ("transfer-encoding", "chunked"),
    ("content-length", "3"),
    ("content-length", "1000000"),
    ("connection", "keep-alive, x-kept"),
    ("keep-alive", "timeout=1000"),
    ("upgrade", "websocket"),
    ("trailer", "x-late"),
    ("te", "trailers"),
];

/// So many short headers.
pub(crate) async fn many(Size(size): Size) -> Response {
    (0..size).fold(done("headers-many"), |response, count| response.with_header(&format!("x-{count}"), "value"))
}

/// One header of so many bytes.
pub(crate) async fn long(Size(size): Size) -> Response {
    done("header-long").with_header("x-long", "x".repeat(usize::try_from(size).unwrap_or(usize::MAX)))
}

pub(crate) async fn invalid(Size(size): Size) -> Result<Response, Error> {
    let found = usize::try_from(size).ok().and_then(|place| INVALID.get(place));
    let (name, value) = found.ok_or_else(|| Error::not_found("there are no more of them"))?;
    Ok(done("header-invalid").with_header(name, *value))
}

pub(crate) async fn of_the_connection() -> Response {
    let response = done("headers-of-the-connection").with_header("x-kept", "1");
    OF_THE_CONNECTION.iter().fold(response, |response, (name, value)| response.with_header(name, *value))
}

/// An answer with this status.
pub(crate) async fn status(Size(size): Size) -> Response {
    done("status").with_status(u16::try_from(size).unwrap_or(u16::MAX))
}

fn done(attack: &'static str) -> Response {
    Report::done(0).named(attack)
}
