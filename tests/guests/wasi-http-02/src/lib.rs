//! A component made with other people's tooling: `wstd` on standard wasi:http 0.2, nothing of ours.

use wstd::http::error::ErrorCode;
use wstd::http::{Body, Client, Error, Method, Request, Response, StatusCode};

/// Sends a POSTed body back as it comes; asks another host at `/outgoing?url=URL`, with the URL as it is; greets otherwise.
#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let outgoing = request.uri().query().and_then(|query| query.strip_prefix("url=")).map(str::to_owned);
    match (request.method(), request.uri().path(), outgoing) {
        (&Method::POST, ..) => Ok(Response::new(request.into_body())),
        (_, "/outgoing", Some(url)) => ask(&url).await,
        _ => Ok(Response::new("hello from wasi:http 0.2".to_owned().into())),
    }
}

/// The other host's status and body; or 502 with the error code's name.
async fn ask(url: &str) -> Result<Response<Body>, Error> {
    let request = Request::get(url).body(Body::empty())?;
    match Client::new().send(request).await {
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
