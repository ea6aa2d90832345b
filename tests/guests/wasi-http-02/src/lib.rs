//! A component made with other people's tooling: `wstd` on standard wasi:http 0.2, nothing of ours.

use wstd::http::error::ErrorCode;
use wstd::http::{Body, Client, Error, Method, Request, Response, StatusCode};

/// Asks another host at `/outgoing?url=URL`, with the URL as it is; else sends a POSTed body back as it comes, and greets.
#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let outgoing = request.uri().query().and_then(|query| query.strip_prefix("url=")).map(str::to_owned);
    match (request.method(), request.uri().path(), outgoing) {
        (_, "/outgoing", Some(url)) => ask(&url, request).await,
        (&Method::POST, ..) => Ok(Response::new(request.into_body())),
        _ => Ok(Response::new("hello from wasi:http 0.2".to_owned().into())),
    }
}

/// The other host's status and body; or 502 with the error code's name. It is asked by the same method, with the same body, and
/// with the variable `AUTHORIZATION`, if there is one, as a header.
async fn ask(url: &str, request: Request<Body>) -> Result<Response<Body>, Error> {
    let (head, body) = request.into_parts();
    let mut asked = Request::builder().uri(url);
    if let Ok(authorization) = std::env::var("AUTHORIZATION") {
        asked = asked.header("authorization", authorization);
    }
    let body = if head.method == Method::POST { body } else { Body::empty() };
    match Client::new().send(asked.method(head.method).body(body)?).await {
        Ok(response) => {
            let (head, body) = response.into_parts();
            Ok(Response::builder().status(head.status).body(body)?)
        }
        Err(error) => {
            let code = error.downcast_ref::<ErrorCode>().map_or_else(|| error.to_string(), |code| format!("{code:?}"));
            Ok(Response::builder().status(StatusCode::BAD_GATEWAY).body(code.into())?)
        }
    }
}
