//! Guards that fail: what they were to check is blocked or passes, as the policy says, and nothing of it is told.

use std::fs::DirEntry;
use std::process::Command;
use std::sync::Arc;

use serde_json::json;
use tests::{FakeInference, Reply, Setup, TestServer, eventually};

use super::verdicts;

/// A word that no log, metric or error may hold.
const MARK: &str = "xyzzy4711";

/// The guest `echo` guarded by `bad-guard` in one direction.
fn start(direction: &str, more: &str) -> TestServer {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("echo").guest("bad-guard");
    let policy = format!("schema = 1\n[guard]\n{direction} = [\"bad-guard\"]\ntimeout_ms = 300\n{more}");
    setup.policy("echo", &policy).start()
}

fn ask(server: &TestServer, word: &str) -> Reply {
    server.post("/c/echo/echo", &json!({"a": format!("{word} {MARK} é")}))
}

#[track_caller]
fn assert_unavailable(reply: &Reply) {
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (503, &json!("guard_unavailable")), "{}", reply.text());
    assert!(!reply.text().contains(MARK), "{}", reply.text());
}

/// What asks `bad-guard` to fail in each of its ways.
const FAILURES: [&str; 10] = ["trap", "loop", "sleep", "fail", "huge", "many", "beyond", "backwards", "overlapping", "inside"];

#[test]
fn what_a_guard_fails_on_is_blocked() {
    for direction in ["input", "output"] {
        let server = start(direction, "");
        for word in FAILURES {
            assert_unavailable(&ask(&server, word));
        }
        assert_eq!(verdicts(&server, "bad-guard", direction, "failed"), 10.0);
        assert_eq!(ask(&server, "usual").status, 200, "the next is checked again");
        assert!(!server.get("/metrics").text().contains(MARK));
    }
}

#[test]
fn what_a_guard_fails_on_passes_where_the_policy_says_so() {
    let server = start("input", "on_failure = \"pass\"\n");
    for word in FAILURES {
        let reply = ask(&server, word);
        assert_eq!((reply.status, reply.json()), (200, json!({"a": format!("{word} {MARK} é")})), "{word}");
    }
    let reply = ask(&server, "declared");
    assert_eq!(reply.status, 400, "what it blocks is blocked all the same");
}

#[test]
fn a_reason_that_is_not_declared_is_not_told() {
    let server = start("input", "");
    for (word, reason) in [("reveal", "other"), ("declared", "declared")] {
        let reply = ask(&server, word);
        let message = format!("The request was blocked by the guard `bad-guard`: {reason}.");
        assert_eq!((reply.status, &reply.json()["error"]["message"]), (400, &json!(message)));
    }
    let reply = ask(&server, "huge-reason");
    assert!(reply.status >= 400 && reply.body.len() < 1000, "{}", reply.status);
}

#[test]
fn a_guard_that_is_not_there_blocks_or_lets_pass() {
    let start = |more: &str| {
        let setup = Setup::new(Arc::new(FakeInference::default())).guest("echo");
        let server = setup.policy("echo", &format!("schema = 1\n[guard]\ninput = [\"absent\"]\n{more}")).start();
        assert_eq!(server.failures, [], "what it guards loads");
        server
    };
    assert_unavailable(&ask(&start(""), "usual"));
    let server = start("on_failure = \"pass\"\n");
    assert_eq!(ask(&server, "usual").status, 200);
    assert_eq!(verdicts(&server, "absent", "input", "failed"), 1.0);
}

#[test]
fn a_component_that_is_no_guard_judges_nothing() {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("echo").guest_as("other", "echo", |manifest| manifest);
    let server = setup.policy("echo", "schema = 1\n[guard]\ninput = [\"other\"]\n").start();
    assert_eq!(server.failures, []);
    assert_unavailable(&ask(&server, "usual"));
}

#[test]
fn a_guard_over_its_quota_could_not_judge() {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("echo").guest("guard");
    let setup = setup.policy("echo", "schema = 1\n[guard]\ninput = [\"guard\"]\n");
    let server = setup.policy("guard", "schema = 1\n[quota]\nrequests_per_min_max = 2\n").start();
    let body = json!({"model": "x"});
    let statuses: Vec<u16> = (0..3).map(|_| server.post("/c/echo/v1/x", &body).status).collect();
    assert_eq!(statuses[2], 503, "{statuses:?}");
    assert_ne!(statuses[0], 503, "{statuses:?}");
}

#[test]
fn a_guard_under_its_own_limits_can_not_take_more() {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("echo").guest("bad-guard");
    let setup = setup.policy("echo", "schema = 1\n[guard]\ninput = [\"bad-guard\"]\ntimeout_ms = 60000\n");
    let server = setup.policy("bad-guard", "schema = 1\n[limits]\ncpu_ms_max = 50\n").start();
    assert_unavailable(&ask(&server, "loop"));
    // The client hears of it as the instance falls, and it is counted when it has fallen.
    eventually(|| (server.metric("tessera_component_traps_total{component=\"bad-guard\"}") >= 1.0).then_some(()));
}

#[test]
fn what_is_blocked_is_in_no_record_of_the_audit_log() {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("echo").guest("bad-guard");
    let policy = "schema = 1\n[guard]\ninput = [\"bad-guard\"]\ntimeout_ms = 300\n";
    let log = setup.config.data.join("audit");
    let server = setup.policy("echo", policy).start();
    for word in FAILURES.iter().chain(&["declared", "reveal"]) {
        let statuses = [
            ask(&server, word).status,
            server.post(&format!("/c/echo/{word}%20{MARK}"), &json!({})).status,
            server.post(&format!("/c/echo/echo?q={word}%20{MARK}"), &json!({})).status,
        ];
        assert!(statuses.iter().all(|status| [400, 503].contains(status)), "{word}: {statuses:?}");
    }
    let read = |file: std::io::Result<DirEntry>| std::fs::read(file.expect("a file").path()).expect("reads");
    let files = server.stop_and(|| std::fs::read_dir(&log).expect("a folder").flat_map(read).collect::<Vec<u8>>());
    let records = String::from_utf8_lossy(&files);
    assert!(records.contains("\"kind\":\"guard\"") && records.contains("(withheld: a guard"), "{records}");
    assert!(!records.contains(MARK), "{records}");
}

#[test]
fn what_is_blocked_is_in_no_log() {
    // The log is of the whole process, so the tests above run once more in one of their own.
    let tests = std::env::current_exe().expect("this is running");
    let ran = Command::new(tests)
        .args(["guard::failure::what_a_guard_fails", "guard::failure::a_reason", "guard::failure::a_guard_over", "--nocapture"])
        .env("RUST_LOG", "info,runtime=trace")
        .output()
        .expect("it runs");
    let log = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{log}");
    for told in ["a guard could not judge a text", "a guard blocked a text", "an instance failed"] {
        assert!(log.contains(told), "{told:?} is not in {log}");
    }
    assert!(!log.contains(MARK), "{log}");
}
