//! Components that call components: what comes through, what fails and how the caller learns of it, and that nothing goes on
//! when nobody wants it any more.

mod failure;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tests::{FakeInference, Reply, Setup, TestServer, Wire, eventually};

use super::outside::{govern, used};

/// The caller's policy.
const CALLS: &str = "schema = 1\n[call]\nallow = [\"callee\"]\n";

/// A callee with one place, and all the time there is.
const NARROW: &str = "schema = 1\n[limits]\nconcurrency_max = 1\nqueue_max = 0\nwall_ms_max = 600000\n";

/// What a caller has that may wait for long.
const PATIENT: &str = "schema = 1\n[call]\nallow = [\"callee\"]\n[limits]\nwall_ms_max = 600000\n";

/// The guests `caller` and `callee`, with the caller's right.
fn pair() -> Setup {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("callee").guest("caller");
    setup.policy("callee", "schema = 1\n").policy("caller", CALLS)
}

fn start(setup: Setup) -> TestServer {
    let server = setup.start();
    assert_eq!(server.failures, []);
    server
}

fn call(server: &TestServer, function: &str, arguments: Value) -> Reply {
    server.post(&format!("/c/caller/{function}"), &arguments)
}

fn end(server: &TestServer, how: &str) -> Reply {
    call(server, "stock/end", json!({"how": how}))
}

/// The error that a function returned.
#[track_caller]
fn error(reply: &Reply) -> Value {
    assert_eq!(reply.json()["error"]["code"], "function_failed", "{}", reply.text());
    reply.json()["error"]["value"].clone()
}

/// The guest `caller` by another name, with another callee.
fn link(setup: Setup, name: &str, callee: &str) -> Setup {
    let to = format!("component = \"{callee}\"");
    let policy = format!("schema = 1\n[call]\nallow = [\"{callee}/acme:shop/stock\"]\n");
    setup.guest_as(name, "caller", |manifest| manifest.replace("component = \"callee\"", &to)).policy(name, &policy)
}

/// Waits until nobody is in the callee, which has one place only.
fn until_free(server: &TestServer) {
    eventually(|| (server.post("/c/callee/stock/half", &json!({"of": 2})).status == 200).then_some(()));
}

/// Has a component call the callee, which has one place only, and stay in there; it is left by dropping what is given.
fn occupy(server: &TestServer, component: &str) -> Wire {
    until_free(server);
    let before = used(server, "callee", "requests");
    let client = wait_forever(server, component);
    eventually(|| (used(server, "callee", "requests") > before).then_some(()));
    eventually(|| (server.post("/c/callee/stock/half", &json!({"of": 2})).status == 503).then_some(()));
    client
}

/// Begins a call of `stock/end` that never ends, and is left by dropping it.
fn wait_forever(server: &TestServer, component: &str) -> Wire {
    begin(server, &format!("{component}/stock/end"), &json!({"how": "forever"}))
}

/// Sends a call on a connection of its own; what comes back is read as it comes.
fn begin(server: &TestServer, function: &str, arguments: &Value) -> Wire {
    let body = arguments.to_string();
    let (line, length) = (format!("POST /c/{function}"), format!("content-length: {}", body.len()));
    let mut wire = Wire::request(server.address, &line, &["content-type: application/json", &length]);
    wire.send(body.as_bytes());
    wire
}

#[test]
fn values_of_every_kind_come_through_both_ways() {
    let server = start(pair());
    for form in [json!("plain"), json!({"boxed": "AAEC/w=="}), json!({"nested": [-3, "é"]})] {
        for at in [Value::Null, json!(1.5)] {
            let item = json!({
                "name": "thing", "count": 4_000_000_000_u32, "tags": ["a", "", "ü"], "at": at, "form": form,
                "marks": ["new", "sold"], "level": "high",
            });
            let reply = call(&server, "stock/echo", json!({"item": item}));
            assert_eq!((reply.status, reply.json()), (200, item));
        }
    }
    assert_eq!(call(&server, "stock/half", json!({"of": 9})).json(), json!(4));
    assert_eq!(end(&server, "well").json(), json!(7));
}

#[test]
fn a_call_is_a_request_of_the_callee_and_a_decision_on_the_caller() {
    let server = start(pair());
    let requests = |component: &str| used(&server, component, "requests");
    let before = (requests("caller"), requests("callee"));
    assert_eq!(end(&server, "well").status, 200);
    assert_eq!((requests("caller") - before.0, requests("callee") - before.1), (1, 1));
}

#[test]
fn without_a_declaration_or_a_grant_a_component_is_refused_with_the_lines_to_add() {
    let bare = |manifest: String| manifest.split("[[imports]]").next().expect("a beginning").into();
    let setup = pair().guest_as("undeclared", "caller", bare).guest_as("ungranted", "caller", |manifest| manifest);
    let server = setup.policy("ungranted", "schema = 1\n[call]\nallow = [\"other\"]\n").start();
    let undeclared = server.failure("undeclared");
    let lines = "add to component.toml\n\n[[imports]]\ninterface = \"acme:shop/stock@1.2.0\"\ncomponent = \"NAME\"\n";
    assert!(undeclared.contains(lines), "{undeclared}");
    let ungranted = server.failure("ungranted");
    assert!(
        ungranted.contains("`call callee/acme:shop/stock`") && ungranted.contains("policies/ungranted.toml"),
        "{ungranted}"
    );
    assert!(ungranted.contains("[call]\nallow = [\"other\", \"callee/acme:shop/stock\"]"), "{ungranted}");
}

#[test]
fn in_the_mode_observe_a_call_without_a_grant_is_made_and_told() {
    let server = start(pair().policy("caller", "schema = 1\nmode = \"observe\"\n"));
    assert_eq!(end(&server, "well").json(), json!(7));
    assert_eq!(used(&server, "caller", "would_deny"), 1);
}

#[test]
fn a_right_that_is_revoked_counts_at_the_next_call() {
    let setup = pair();
    let policy = setup.config.policies.join("caller.toml");
    let server = start(setup);
    assert_eq!(end(&server, "well").status, 200);
    govern(&server, &policy, "schema = 1\n");
    assert_eq!(error(&end(&server, "well")), json!("denied"));
    govern(&server, &policy, CALLS);
    assert_eq!(end(&server, "well").status, 200);
}

#[test]
fn a_rule_may_forbid_one_interface_of_one_component() {
    let setup = pair();
    let rule = "forbid (principal, action == Action::\"call\", resource == Callee::\"callee\") \
                when { resource.interface == \"acme:shop/stock\" && context.tenant == \"local\" };";
    std::fs::write(setup.config.policies.join("calls.cedar"), rule).expect("writes");
    let server = start(setup);
    assert_eq!(error(&end(&server, "well")), json!("denied"));
}

/// Where a component's code is, of a server that runs.
fn code_of(setup: &Setup, component: &str) -> PathBuf {
    setup.component_folder(component).join("component.wasm")
}

fn replace(file: &std::path::Path, bytes: &[u8]) {
    let draft = file.with_file_name(".draft");
    std::fs::write(&draft, bytes).expect("writes");
    std::fs::rename(&draft, file).expect("renames");
}

#[test]
fn a_callee_is_replaced_while_it_is_called_and_no_call_fails() {
    let setup = pair();
    let file = code_of(&setup, "callee");
    let server = start(setup);
    let code = std::fs::read(&file).expect("a component");
    let digest = || server.get("/admin/components/callee").json()["digest"].clone();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let calls = || {
            let mut statuses = Vec::new();
            while !is_over.load(Ordering::Acquire) {
                statuses.push(end(&server, "well").status);
            }
            statuses
        };
        let callers: Vec<_> = (0..2).map(|_| scope.spawn(calls)).collect();
        for version in 1..=3_u8 {
            let before = digest();
            // A section of its own that nobody reads.
            replace(&file, &[&code[..], &[0, 3, 1, b'v', version]].concat());
            eventually(|| (digest() != before).then_some(()));
        }
        is_over.store(true, Ordering::Release);
        for caller in callers {
            let statuses = caller.join().expect("runs");
            assert!(statuses.len() > 3 && statuses.iter().all(|status| *status == 200), "{statuses:?}");
        }
    });
}

#[test]
fn when_the_client_leaves_the_callee_stops() {
    let server = start(pair().policy("callee", NARROW).policy("caller", PATIENT));
    drop(occupy(&server, "caller"));
    until_free(&server);
}

#[test]
fn a_call_that_its_caller_gives_up_stops_the_callee() {
    let server = start(pair().policy("callee", NARROW).policy("caller", PATIENT));
    until_free(&server);
    assert_eq!(call(&server, "desk/leave", json!({})).json(), json!(1));
    until_free(&server);
}
