//! Attacks of a component on its host: what each of them asks for, the limit that stops it, and what is seen then.
//!
//! Every attack runs twice: by several attackers at once under its limit, while a neighbour is served; and by one with that
//! limit alone raised, when it has to succeed. So no attack is stopped by something else than the limit that is tested. The
//! guest is in `tests/hostile/`, the rows are in `tests/attack/`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{FakeInference, Reply, Setup, TestServer, Wire};

/// How long a neighbour may wait for its answer. Attacks that hold a thread hold it for longer, or until their deadline.
const NEIGHBOUR_WAIT_MAX: Duration = Duration::from_secs(5);

/// Attackers at one time: more than the server has threads, so that one that holds its thread is felt.
const ATTACKERS: usize = 3;

/// The mark at the end of a complete chunked body.
const CLEAN_END: &str = "\r\n0\r\n\r\n";

/// What is granted to an attacker that has no limit of its own to meet. Every line can be replaced.
const GRANTED: &str = "\
schema = 1
config.key = \"value\"
embed.models = [\"fake\"]
generate.models = [\"fake\"]
http.allow = []
log.bytes_per_min_max = 65536
quota.output_tokens_per_min_max = 1000000000
limits.wall_ms_max = 120000
limits.cpu_ms_max = 60000";

/// One attack.
pub(crate) struct Attack {
    /// Its path with its size: `loop?size=1000`.
    pub(crate) path: &'static str,
    /// Lines of the policy that stop it.
    pub(crate) limit: &'static str,
    /// The same lines, raised beyond what it asks for.
    pub(crate) lifted: &'static str,
    /// What becomes of it under the limit.
    pub(crate) stopped: Stopped,
    /// What an operator sees of it.
    pub(crate) seen: Seen,
}

/// What becomes of an attack.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stopped {
    /// The host answers with this status and code.
    Answered(u16, &'static str),
    /// The guest is told no, goes on and answers 200: with this outcome, and less than so much achieved.
    Refused(&'static str, u64),
    /// The answer breaks off.
    BrokenOff,
}

/// What an operator sees, in metrics or in `/admin/usage`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen {
    /// Instances that failed.
    Traps,
    /// Code that ran for so long, in milliseconds, and was answered 504.
    CpuMs(u64),
    /// Requests that were answered with this status.
    Status(u16),
    /// A quota that was met.
    OverQuota,
    /// Nothing: it did no harm.
    Nothing,
}

impl Attack {
    /// Runs it under its limit and without.
    #[track_caller]
    pub(crate) fn run(&self) {
        let server = start(self.limit);
        if let Stopped::BrokenOff = self.stopped {
            for answer in with_neighbour(&server, ATTACKERS, || exchange(&server, self.path)) {
                assert!(!answer.ends_with(CLEAN_END), "{}: {:.300}", self.path, answer);
            }
        } else {
            for reply in with_neighbour(&server, ATTACKERS, || get(&server, self.path)) {
                self.stopped.assert_is(self.path, &reply);
            }
        }
        self.seen.assert_is(&server);
        assert_serves(&server);
        self.run_without_limit();
    }

    fn run_without_limit(&self) {
        let server = start(self.lifted);
        if let Stopped::BrokenOff = self.stopped {
            let answer = exchange(&server, self.path);
            assert!(answer.ends_with(CLEAN_END), "{} without its limit: {:.300}", self.path, answer);
        } else {
            assert_done(&get(&server, self.path));
        }
        assert_eq!(traps(&server), 0.0, "{} without its limit", self.path);
    }
}

impl Stopped {
    #[track_caller]
    fn assert_is(self, path: &str, reply: &Reply) {
        match self {
            Stopped::Answered(status, code) => assert_answered(reply, status, code),
            Stopped::Refused(outcome, achieved_max) => {
                assert_eq!((reply.status, &reply.json()["outcome"]), (200, &json!(outcome)), "{path}: {}", reply.text());
                assert!(achieved(reply) < achieved_max, "{path}: {}", reply.text());
            }
            Stopped::BrokenOff => assert!(reply.is_broken, "{path}: {:.300}", reply.text()),
        }
    }
}

impl Seen {
    #[track_caller]
    fn assert_is(self, server: &TestServer) {
        match self {
            Seen::Traps => wait_for_traps(server, ATTACKERS),
            Seen::CpuMs(ms) => {
                let used_ns = usage(server, "cpu_ns");
                assert!(used_ns >= ms * 1_000_000, "{used_ns} ns of {ATTACKERS} attackers are on the book");
                assert_eq!(answered(server, 504), ATTACKERS as f64);
            }
            Seen::Status(status) => assert_eq!(answered(server, status), ATTACKERS as f64),
            Seen::OverQuota => assert!(usage(server, "over_quota") > 0),
            Seen::Nothing => assert_eq!(traps(server), 0.0),
        }
    }
}

/// A server with an attacker under these lines of policy, and a neighbour.
#[track_caller]
pub(crate) fn start(lines: &str) -> TestServer {
    start_with(Arc::new(FakeInference::default()), lines)
}

#[track_caller]
pub(crate) fn start_with(fake: Arc<FakeInference>, lines: &str) -> TestServer {
    let server = Setup::new(fake).guest("echo").hostile().policy("hostile", &policy(lines)).start();
    assert_eq!(server.failures, []);
    server
}

/// The same, but an instance serves one request after the other, so that what a request leaves behind lives on.
#[track_caller]
pub(crate) fn start_reused(lines: &str) -> TestServer {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("echo").hostile().policy("hostile", &policy(lines));
    let file = setup.component_folder("hostile").join("component.toml");
    let manifest = std::fs::read_to_string(&file).expect("a manifest");
    std::fs::write(&file, manifest + "\n[instance]\nrequests_max = 1000\n").expect("writes");
    let server = setup.start();
    assert_eq!(server.failures, []);
    server
}

/// What is granted, with these lines in the place of those with the same key.
pub(crate) fn policy(lines: &str) -> String {
    fn key(line: &str) -> &str {
        line.split(" = ").next().unwrap_or_default()
    }
    let is_kept = |granted: &&str| lines.lines().all(|line| key(line) != key(granted));
    GRANTED.lines().filter(is_kept).chain(lines.lines()).map(|line| format!("{line}\n")).collect()
}

/// Runs attackers at once, and asks a neighbour again and again until all of them are answered.
#[track_caller]
pub(crate) fn with_neighbour<T: Send>(server: &TestServer, attackers: usize, attack: impl Fn() -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..attackers).map(|_| scope.spawn(&attack)).collect();
        while !running.iter().all(|attack| attack.is_finished()) {
            assert_neighbour(server);
        }
        assert_neighbour(server);
        running.into_iter().map(|attack| attack.join().expect("the attack is answered")).collect()
    })
}

#[track_caller]
pub(crate) fn assert_neighbour(server: &TestServer) {
    let start = Instant::now();
    assert_eq!(server.get("/c/echo/hello").text(), "hello");
    assert!(start.elapsed() < NEIGHBOUR_WAIT_MAX, "the neighbour waited for {:?}", start.elapsed());
}

/// The attacked component itself serves on: its next request is answered as its first.
#[track_caller]
pub(crate) fn assert_serves(server: &TestServer) {
    // What an attack has left behind may hold its place until the next look at it.
    let reply = tests::eventually(|| Some(get(server, "nothing")).filter(|reply| reply.status != 503));
    assert_done(&reply);
}

#[track_caller]
pub(crate) fn assert_done(reply: &Reply) {
    assert_eq!((reply.status, reply.is_broken), (200, false), "{:.300}", reply.text());
    assert_eq!(reply.json()["outcome"], "done", "{:.300}", reply.text());
}

/// An error of the host: its status, its code, that it says something, and when to come back if that helps.
#[track_caller]
pub(crate) fn assert_answered(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{:.300}", reply.text());
    assert_eq!(reply.json()["error"]["code"], code, "{:.300}", reply.text());
    assert!(reply.json()["error"]["message"].as_str().is_some_and(|message| message.len() > 5), "{}", reply.text());
    if [429, 503].contains(&status) {
        let seconds = reply.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
        assert!(seconds.is_some_and(|seconds| seconds > 0), "{:?}", reply.headers);
    }
}

pub(crate) fn get(server: &TestServer, path: &str) -> Reply {
    server.get(&format!("/c/hostile/{path}"))
}

/// A request and all that came for it, on a connection of its own: of an answer that may break off before its head.
pub(crate) fn exchange(server: &TestServer, path: &str) -> String {
    Wire::request(server.address, &format!("GET /c/hostile/{path}"), &["connection: close"]).read_to_end()
}

pub(crate) fn achieved(reply: &Reply) -> u64 {
    reply.json()["achieved"].as_u64().expect("a report says what was achieved")
}

/// A number of the component's book.
pub(crate) fn usage(server: &TestServer, key: &str) -> u64 {
    let usage: Value = server.get("/admin/usage").json();
    usage["components"]["hostile"][key].as_u64().unwrap_or_else(|| panic!("`{key}` is not in {usage}"))
}

/// Instances of the component that failed.
pub(crate) fn traps(server: &TestServer) -> f64 {
    server.metric("tessera_component_traps_total{component=\"hostile\"}")
}

/// Waits until so many instances have failed, which is told after the client has its answer; and no more.
#[track_caller]
pub(crate) fn wait_for_traps(server: &TestServer, count: usize) {
    tests::eventually(|| (traps(server) >= count as f64).then_some(()));
    assert_eq!(traps(server), count as f64);
}

/// Requests to the component that were answered with a status.
pub(crate) fn answered(server: &TestServer, status: u16) -> f64 {
    server.metric(&format!("tessera_http_requests_total{{component=\"hostile\",status=\"{status}\"}}"))
}

/// Denials of the component that took effect.
pub(crate) fn denials(server: &TestServer, capability: &str, reason: &str) -> f64 {
    let labels = format!("component=\"hostile\",capability=\"{capability}\",reason=\"{reason}\",mode=\"enforce\"");
    server.metric(&format!("tessera_denials_total{{{labels}}}"))
}
