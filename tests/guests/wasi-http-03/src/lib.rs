//! A component made with other people's tooling: `wasip3` on standard wasi:http 0.3, nothing of ours.

use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response};
use wasip3::{wit_bindgen, wit_future, wit_stream};

wasip3::http::service::export!(Guest);

struct Guest;

impl wasip3::exports::http::handler::Guest for Guest {
    /// Sends a POSTed body back as it comes; greets otherwise.
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        match request.get_method() {
            Method::Post => Ok(echo(request)),
            _ => Ok(hello()),
        }
    }
}

fn echo(request: Request) -> Response {
    let (sent, received) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(request, received);
    drop(sent);
    let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
    response
}

fn hello() -> Response {
    let (mut writer, body) = wit_stream::new();
    let (trailers_writer, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
    wit_bindgen::spawn_local(async move {
        // What is left unsent belongs to a client that went away.
        writer.write_all(b"hello from wasi:http 0.3".to_vec()).await;
        drop(writer);
        drop(trailers_writer);
    });
    response
}
