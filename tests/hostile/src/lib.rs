//! Attacks the host, one way a route: `GET /ATTACK?size=N`. The tests in `tests/attack` send them, once under the limit that
//! stops them and once without it.
//!
//! Where the host lets it, an attack answers 200 with `{"attack", "achieved", "outcome"}`: how far it got, and `done` if that
//! is all that it was asked for, or else what stopped it. So a test can tell one that was stopped from one that succeeded.

mod ambient;
mod arguments;
mod cpu;
mod fs;
mod handles;
mod headers;
mod hostcalls;
mod memory;
mod quota;
mod ssrf;
mod streams;
mod traps;

use serde::Serialize;
use serde_json::Value;
use tessera_sdk::handler::FromRequest;
use tessera_sdk::{Error, IntoResponse, Json, Request, Response, Router, service};

service!(router);

fn router() -> Router {
    let router = Router::new().get("/nothing", async || Report::done(0).named("nothing"));
    let router = reports(router);
    // These answer otherwise, or take more than a size.
    router
        .get("/response-unfinished", streams::unfinished)
        .get("/response-endless", streams::endless)
        .get("/response-dribble", streams::dribble)
        .post("/request-unread", streams::request_unread)
        .get("/trap-in-body", traps::in_body)
        .get("/loop-in-destructor", cpu::in_destructor)
        .get("/headers-many", headers::many)
        .get("/header-long", headers::long)
        .get("/header-invalid", headers::invalid)
        .get("/headers-of-the-connection", headers::of_the_connection)
        .get("/status", headers::status)
        .get("/responses-held", handles::responses)
        .get("/egress-flood", quota::egress_flood)
        .get("/egress-endless", quota::egress_endless)
        .get("/ssrf", ssrf::forbidden_urls)
        .get("/redirect", ssrf::redirect)
        .get("/smuggle", ssrf::smuggle)
        .get("/sockets", ambient::sockets)
}

fn reports(router: Router) -> Router {
    let router = attack(router, "loop", cpu::spin);
    let router = attack(router, "recursion-without-end", cpu::recursion_without_end);
    let router = attack(router, "loop-after-answer", cpu::after_answer);
    let router = attack(router, "tiny-awaits", cpu::tiny_awaits);
    let router = attack(router, "memory-until-trap", memory::until_trap);
    let router = attack(router, "memory-until-refused", memory::until_refused);
    let router = attack(router, "stack", memory::stack);
    let router = attack(router, "tasks", memory::tasks);
    let router = attack(router, "log-flood", hostcalls::log_flood);
    let router = attack(router, "clock-flood", hostcalls::clock_flood);
    let router = attack(router, "config-flood", hostcalls::config_flood);
    let router = attack(router, "random-flood", hostcalls::random_flood);
    let router = attack(router, "random", arguments::random);
    let router = attack(router, "log-line", arguments::log_line);
    let router = attack(router, "embed-text", arguments::embed_text);
    let router = attack(router, "embed-many", arguments::embed_many);
    let router = attack(router, "pollables", handles::pollables);
    let router = attack(router, "streams", handles::streams);
    let router = attack(router, "generations", handles::generations);
    let router = attack(router, "generation-unread", streams::generation_unread);
    let router = attack(router, "trap", traps::at_once);
    let router = attack(router, "trap-after-answer", traps::after_answer);
    let router = attack(router, "embed-flood", quota::embed_flood);
    let router = attack(router, "generate", quota::generate);
    let router = attack(router, "fs-escape", fs::escape);
    let router = attack(router, "fs-write", fs::write);
    attack(router, "environment", ambient::environment)
}

/// Adds an attack that reports what it achieved.
fn attack<F, Fut>(router: Router, name: &'static str, run: F) -> Router
where
    F: Fn(u64) -> Fut + Clone + 'static,
    Fut: Future<Output = Report> + 'static,
{
    router.get(&format!("/{name}"), move |Size(size): Size| {
        let run = run.clone();
        async move { run(size).await.named(name) }
    })
}

/// How far an attack goes: `?size=N`, in a unit of its own.
struct Size(u64);

impl FromRequest for Size {
    async fn from_request(request: &mut Request) -> Result<Self, Error> {
        let size = request.query("size").and_then(|size| size.parse().ok());
        size.map(Self).ok_or_else(|| Error::bad_request("`size` must be a number").with_param("size"))
    }
}

/// Where an attack goes: `?url=URL`.
struct Url(String);

impl FromRequest for Url {
    async fn from_request(request: &mut Request) -> Result<Self, Error> {
        request.query("url").map(Self).ok_or_else(|| Error::bad_request("`url` is missing").with_param("url"))
    }
}

/// What an attack achieved.
#[derive(Debug, Serialize)]
struct Report {
    attack: &'static str,
    achieved: u64,
    outcome: String,
    /// What became of each attempt, where the attack is a list of them.
    #[serde(skip_serializing_if = "Value::is_null")]
    attempts: Value,
}

impl Report {
    /// All that it was asked for.
    fn done(achieved: u64) -> Self {
        Self::stopped(achieved, "done")
    }

    /// So much, until this happened.
    fn stopped(achieved: u64, outcome: impl Into<String>) -> Self {
        Self { attack: "", achieved, outcome: outcome.into(), attempts: Value::Null }
    }

    /// Attempts by name, each done or not for a reason.
    fn of_attempts(attempts: Vec<(String, Result<(), String>)>) -> Self {
        let achieved = attempts.iter().filter(|(_, result)| result.is_ok()).count();
        let is_all = achieved == attempts.len();
        let told = |result: Result<(), String>| Value::from(result.err().unwrap_or_else(|| "done".to_owned()));
        let attempts: Value = attempts.into_iter().map(|(name, result)| (name, told(result))).collect();
        Self { attempts, ..Self::stopped(achieved as u64, if is_all { "done" } else { "stopped" }) }
    }

    fn named(self, attack: &'static str) -> Response {
        Json(Self { attack, ..self }).into_response()
    }
}

/// A WASI error code without the name of its type.
fn code(error: impl std::fmt::Debug) -> String {
    format!("{error:?}").replace("ErrorCode::", "")
}
