//! A component made with other people's tooling: `wasip3` on standard wasi:http 0.3, nothing of ours.

use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use wasip3::{wit_bindgen, wit_future, wit_stream};

wasip3::http::service::export!(Guest);

struct Guest;

impl wasip3::exports::http::handler::Guest for Guest {
    /// Asks another host at `/outgoing?url=URL`, with the URL as it is; else sends a POSTed body back as it comes, and greets.
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        match (request.get_method(), target.split_once("/outgoing?url=")) {
            (_, Some((_, url))) => Ok(ask(url, request).await),
            (Method::Post, _) => Ok(echo(request)),
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

/// The other host's status and body; or 502 with the error code's name. It is asked by the same method, with the same body, and
/// with the variable `AUTHORIZATION`, if there is one, as a header.
async fn ask(url: &str, request: Request) -> Response {
    let Ok(request) = outgoing(url, request) else { return text(502, "the URL is refused") };
    match client::send(request).await {
        Ok(response) => passed(response),
        Err(code) => text(502, &format!("{code:?}")),
    }
}

fn outgoing(url: &str, request: Request) -> Result<Request, ()> {
    let (scheme, rest) = url.split_once("://").ok_or(())?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let headers = Fields::new();
    if let Ok(authorization) = std::env::var("AUTHORIZATION") {
        headers.append("authorization", authorization.as_bytes()).map_err(|_| ())?;
    }
    let method = request.get_method();
    let (sent, received) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(request, received);
    drop(sent);
    let body = matches!(method, Method::Post).then_some(body);
    let (asked, _sent) = Request::new(headers, body, trailers, None);
    asked.set_method(&method)?;
    asked.set_scheme(Some(&scheme))?;
    asked.set_authority(Some(authority))?;
    asked.set_path_with_query(Some(path))?;
    Ok(asked)
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
