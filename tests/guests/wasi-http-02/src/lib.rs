//! A component made with other people's tooling: `wstd` on standard wasi:http 0.2, nothing of ours.

use wstd::http::{Body, Error, Method, Request, Response};

/// Sends a POSTed body back as it comes; greets otherwise.
#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    Ok(match *request.method() {
        Method::POST => Response::new(request.into_body()),
        _ => Response::new("hello from wasi:http 0.2".to_owned().into()),
    })
}
