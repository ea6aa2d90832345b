//! Answers what it is sent. The integration tests and the bench's hello use it.

use serde_json::{Map, Value};
use tessera_sdk::{Error, Json, Request, Response, Router, service};

/// Most chunks that `/stream` sends.
const CHUNKS_MAX: u32 = 100_000_000;
/// Most bytes that `/stream` adds to a chunk.
const PAD_BYTES_MAX: usize = 1 << 20;

service!(router);

fn router() -> Router {
    Router::new()
        .post("/echo", echo)
        .get("/hello", hello)
        .get("/stream", stream)
        .post("/upload", upload)
        .get("/headers", headers)
}

async fn echo(Json(body): Json<Value>) -> Json<Value> {
    Json(body)
}

async fn hello() -> &'static str {
    "hello"
}

/// `?n=K`: K lines, each a chunk of its own; with `&pad=B` each is followed by B more bytes.
async fn stream(request: Request) -> Result<Response, Error> {
    let count = request.query("n").and_then(|n| n.parse::<u32>().ok()).filter(|n| *n <= CHUNKS_MAX);
    let count = count.ok_or_else(|| Error::bad_request(format!("`n` must be 0 to {CHUNKS_MAX}")).with_param("n"))?;
    let pad = " ".repeat(request.query("pad").and_then(|pad| pad.parse().ok()).unwrap_or(0).min(PAD_BYTES_MAX));
    Ok(Response::stream(200, "text/plain; charset=utf-8", move |mut writer| async move {
        for i in 0..count {
            writer.write(format!("chunk {i}\n{pad}")).await?;
        }
        writer.finish()
    }))
}

/// Sends the request body back as it comes. One that breaks off breaks the answer off. `?type=T` is its content type, and
/// `?encoding=E` what is claimed of its encoding.
async fn upload(mut request: Request) -> Response {
    let mut body = request.take_body();
    let kind = request.query("type").unwrap_or_else(|| "application/octet-stream".into());
    let encoding = request.query("encoding").unwrap_or_else(|| "identity".into());
    let response = Response::stream(200, &kind, move |mut writer| async move {
        loop {
            match body.chunk().await {
                Ok(Some(chunk)) => writer.write(chunk).await?,
                Ok(None) => return writer.finish(),
                Err(error) => {
                    writer.fail(&error.message);
                    return Ok(());
                }
            }
        }
    });
    if encoding == "identity" { response } else { response.with_header("content-encoding", &encoding) }
}

/// The request's headers, each name with a list of its values.
async fn headers(request: Request) -> Json<Map<String, Value>> {
    let mut headers = Map::new();
    for (name, value) in request.headers() {
        let values = headers.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(String::from_utf8_lossy(value).into());
        }
    }
    Json(headers)
}
