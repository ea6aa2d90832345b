//! A component made with other people's tooling: `wasip3` on standard wasi:http 0.3, nothing of ours.

use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use wasip3::{wit_bindgen, wit_future, wit_stream};

wasip3::http::service::export!(Guest);

struct Guest;

impl wasip3::exports::http::handler::Guest for Guest {
    /// Sends a POSTed body back as it comes; asks another host at `/outgoing?url=URL`, with the URL as it is; greets otherwise.
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        match (request.get_method(), target.split_once("/outgoing?url=")) {
            (Method::Post, _) => Ok(echo(request)),
            (_, Some((_, url))) => Ok(ask(url).await),
            _ => Ok(text(200, "hello from wasi:http 0.3")),
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

/// The other host's status and body; or 502 with the error code's name.
async fn ask(url: &str) -> Response {
    let Ok(request) = get(url) else { return text(502, "the URL is refused") };
    match client::send(request).await {
        Ok(response) => passed(response),
        Err(code) => text(502, &format!("{code:?}")),
    }
}

fn get(url: &str) -> Result<Request, ()> {
    let (scheme, rest) = url.split_once("://").ok_or(())?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let (end, trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), None, trailers, None);
    drop(end);
    request.set_scheme(Some(&scheme))?;
    request.set_authority(Some(authority))?;
    request.set_path_with_query(Some(path))?;
    Ok(request)
}

fn passed(answer: Response) -> Response {
    let status = answer.get_status_code();
    let (sent, received) = wit_future::new(|| Ok(()));
    let (body, trailers) = Response::consume_body(answer, received);
    drop(sent);
    let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
    // What came from a host is a status.
    let _ = response.set_status_code(status);
    response
}

fn text(status: u16, text: &str) -> Response {
    let (mut writer, body) = wit_stream::new();
    let (trailers_writer, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
    // The statuses here are valid.
    let _ = response.set_status_code(status);
    let bytes = text.as_bytes().to_vec();
    wit_bindgen::spawn_local(async move {
        // What is left unsent belongs to a client that went away.
        writer.write_all(bytes).await;
        drop(writer);
        drop(trailers_writer);
    });
    response
}
