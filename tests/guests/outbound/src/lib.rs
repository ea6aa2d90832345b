//! Reaches for what is outside and shows what came back, codes included, so that tests see what a guest sees. Requests and
//! secrets go by our SDK; files, the environment and the network by Rust's std, as in any program, or by WASI itself.

mod fs;
mod wasi;

use std::collections::BTreeMap;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tessera_sdk::http::{self, ErrorCode};
use tessera_sdk::{Error, IntoResponse, Json, Path, Request, Response, Router, secret, service};

service!(router);

fn router() -> Router {
    Router::new()
        .post("/http", send)
        .post("/proxy", proxy)
        .post("/relay", relay)
        .get("/secret/{name}", async |Path(name): Path| Json(json!({"value": secret::get(&name)})))
        .post("/fs", async |Json(request): Json<fs::Request>| Json(shown(request.run())))
        .get("/env", env)
        .post("/tcp", tcp)
        .post("/lookup", lookup)
        .post("/wasi/{interface}", async |Path(interface): Path, Json(request): Json<wasi::Request>| {
            Json(request.run(&interface).await)
        })
}

#[derive(Deserialize)]
struct Send {
    #[serde(default = "get")]
    method: String,
    url: String,
    /// Names and values; a name may repeat.
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    redirects_max: u32,
    timeout_ms: Option<u64>,
}

fn get() -> String {
    "GET".to_owned()
}

impl Send {
    async fn send(self) -> Result<http::Response, http::Error> {
        let mut request = http::request(self.method, self.url).redirects_max(self.redirects_max).body(self.body);
        for (name, value) in self.headers {
            request = request.header(&name, value);
        }
        if let Some(timeout_ms) = self.timeout_ms {
            request = request.timeout(Duration::from_millis(timeout_ms));
        }
        request.send().await
    }
}

/// 200 with the other host's `{"status", "headers", "body", "url"}`, headers as a list of values for each name; or the status
/// of the error with `{"error": {"code", "message", "retry_after_ms"}}`. A body that breaks off is an error, too.
async fn send(Json(request): Json<Send>) -> Response {
    match answer(request).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => refused(&error),
    }
}

async fn answer(request: Send) -> Result<Value, http::Error> {
    let response = request.send().await?;
    let mut headers = Map::new();
    for (name, value) in response.headers() {
        let values = headers.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(String::from_utf8_lossy(value).into());
        }
    }
    let (status, url) = (response.status(), response.url().to_owned());
    Ok(json!({"status": status, "headers": headers, "url": url, "body": response.text().await?}))
}

/// Sends the other host's body on as it comes, under its status.
async fn proxy(Json(request): Json<Send>) -> Response {
    match request.send().await {
        Ok(response) => Response::passing(response.status(), "application/octet-stream", response.into_body()),
        Err(error) => refused(&error),
    }
}

/// Sends the request's own body on to `?url=URL` as it comes, and the other host's back.
async fn relay(mut request: Request) -> Response {
    let url = request.query("url").unwrap_or_default();
    match http::post(url).body(request.take_body()).send().await {
        Ok(response) => Response::passing(response.status(), "application/octet-stream", response.into_body()),
        Err(error) => refused(&error),
    }
}

fn refused(error: &http::Error) -> Response {
    let code = match error.code {
        ErrorCode::Denied => "denied",
        ErrorCode::Quota => "quota",
        ErrorCode::Invalid => "invalid",
        ErrorCode::Unreachable => "unreachable",
        ErrorCode::Protocol => "protocol",
        ErrorCode::TooLong => "too-long",
        ErrorCode::Timeout => "timeout",
    };
    let body = json!({"error": {"code": code, "message": error.message, "retry_after_ms": error.retry_after_ms}});
    Json(body).into_response().with_status(Error::from(error.clone()).status())
}

/// All environment variables.
async fn env() -> Json<BTreeMap<String, String>> {
    Json(std::env::vars().collect())
}

#[derive(Deserialize)]
struct Address {
    address: String,
}

/// Opens a connection and drops it.
async fn tcp(Json(Address { address }): Json<Address>) -> Json<Value> {
    Json(shown(TcpStream::connect(address).map(|_| json!("connected"))))
}

#[derive(Deserialize)]
struct Host {
    host: String,
}

/// The addresses that a name stands for.
async fn lookup(Json(Host { host }): Json<Host>) -> Json<Value> {
    let addresses = (host.as_str(), 80).to_socket_addrs();
    Json(shown(addresses.map(|found| found.map(|address| address.ip().to_string()).collect())))
}

/// `{"ok": …}` or `{"error": …, "message": …}`, the error as std names its kind.
fn shown(result: std::io::Result<Value>) -> Value {
    match result {
        Ok(value) => json!({"ok": value}),
        Err(error) => json!({"error": format!("{:?}", error.kind()), "message": error.to_string()}),
    }
}
