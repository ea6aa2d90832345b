//! How long instances live, and what ends them.

use std::sync::Arc;

use serde_json::json;
use tests::{FakeInference, Setup, TestServer, Wire, eventually};

const STATE: &str = "/c/naughty/state";

fn start(change: impl FnOnce(String) -> String, limits: &str) -> TestServer {
    let policy = format!("schema = 1\n[log]\n[limits]\n{limits}");
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("echo");
    let server = setup.guest_as("naughty", "naughty", change).policy("naughty", &policy).start();
    assert_eq!(server.failures, []);
    server
}

/// A manifest that does not ask for reuse.
fn fresh(manifest: String) -> String {
    manifest.split("[instance]").next().expect("splitting gives a part").into()
}

/// A manifest that asks for reuse, as the guest's own does.
fn reused(manifest: String) -> String {
    manifest
}

fn traps(server: &TestServer) -> f64 {
    server.metric("tessera_component_traps_total{component=\"naughty\"}")
}

#[test]
fn every_request_gets_a_fresh_instance_where_no_reuse_is_asked_for() {
    let server = start(fresh, "");
    let seen: Vec<String> = (0..5).map(|_| server.get(STATE).text()).collect();
    assert_eq!(seen, ["1"; 5]);
}

#[test]
fn a_reused_instance_keeps_its_state_and_ends_after_its_requests() {
    let server = start(|manifest| manifest.replacen("requests_max = 1000", "requests_max = 3", 1), "");
    let seen: Vec<String> = (0..7).map(|_| server.get(STATE).text()).collect();
    assert_eq!(seen, ["1", "2", "3", "1", "2", "3", "1"]);
}

#[test]
fn instances_of_two_components_with_the_same_code_share_nothing() {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("naughty").guest_as("twin", "naughty", reused);
    let server = setup.start();
    let seen = ["/c/naughty/state", "/c/twin/state", "/c/naughty/state", "/c/twin/state"].map(|path| server.get(path).text());
    assert_eq!(seen, ["1", "1", "2", "2"]);
}

#[test]
fn a_trap_ends_its_instance_and_the_next_request_works() {
    let server = start(reused, "");
    for round in 0..20 {
        assert_eq!([server.get(STATE).text(), server.get(STATE).text()], ["1", "2"], "round {round}");
        let reply = server.get("/c/naughty/trap");
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (500, &json!("component_failed")));
    }
    eventually(|| (traps(&server) == 20.0).then_some(())); // who asked may hear of it before it is counted
}

#[test]
fn a_trap_tells_the_client_nothing_of_the_guest() {
    let text = start(fresh, "").get("/c/naughty/trap").text();
    for secret in ["panic", "wasm", "backtrace", "lib.rs"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_guest_that_never_yields_is_ended_at_its_deadline_and_others_are_served_meanwhile() {
    for manifest in [fresh as fn(String) -> String, reused] {
        let server = start(manifest, "wall_ms_max = 1000\n");
        std::thread::scope(|scope| {
            let spinning: Vec<_> = (0..3).map(|_| scope.spawn(|| server.get("/c/naughty/loop"))).collect();
            while spinning.iter().any(|spinning| !spinning.is_finished()) {
                assert_eq!(server.get("/c/echo/hello").text(), "hello");
            }
            for spinning in spinning {
                // In a shared instance the first deadline ends it for all.
                let reply = spinning.join().expect("answers");
                assert!([504, 500].contains(&reply.status), "{}", reply.text());
            }
        });
        assert_eq!(server.get(STATE).text(), "1");
    }
}

#[test]
fn a_fresh_guest_that_never_yields_is_answered_504() {
    let server = start(fresh, "wall_ms_max = 200\n");
    let reply = server.get("/c/naughty/loop");
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (504, &json!("deadline")));
}

#[test]
fn a_guest_that_takes_all_memory_hits_its_limit_and_the_host_lives() {
    let server = start(reused, "memory_bytes_max = 8388608\n");
    assert_eq!(server.get("/c/naughty/grow").status, 500);
    assert_eq!((server.get(STATE).text().as_str(), server.get("/c/echo/hello").text().as_str()), ("1", "hello"));
    eventually(|| (traps(&server) == 1.0).then_some(())); // the client hears of it before it is counted
}

#[test]
fn a_guest_whose_memory_does_not_fit_its_limit_is_not_started() {
    let policy = "schema = 1\n[log]\n[limits]\nmemory_bytes_max = 65536\n";
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("echo").guest("naughty").policy("naughty", policy);
    let server = setup.start();
    assert!(server.failure("naughty").contains("exceeds memory limits"), "{}", server.failure("naughty"));
    assert_eq!((server.get(STATE).status, server.get("/c/echo/hello").status), (404, 200));
}

#[test]
fn more_instances_than_the_host_may_have_are_refused_and_it_goes_on() {
    let server = Setup::new(Arc::new(FakeInference::default()))
        .guest_as("naughty", "naughty", fresh)
        .policy("naughty", "schema = 1\n[log]\n[limits]\nwall_ms_max = 1000\n")
        .configure(|config| config.instances_max = 2)
        .start();
    std::thread::scope(|scope| {
        let many: Vec<_> = (0..6).map(|_| scope.spawn(|| server.get("/c/naughty/loop").status)).collect();
        let statuses: Vec<u16> = many.into_iter().map(|one| one.join().expect("answers")).collect();
        assert!(statuses.iter().all(|status| [500, 503, 504].contains(status)), "{statuses:?}");
        assert!(statuses.contains(&504), "two of them ran: {statuses:?}");
    });
    assert_eq!(tests::eventually(|| Some(server.get(STATE)).filter(|reply| reply.status == 200)).text(), "1");
}

/// Three ways to leave work behind on an instance that others share; each ends by its deadline, and the component serves on.
mod left_behind {
    use std::cell::RefCell;

    use super::*;

    fn start(component: &str, guest: &str, places: usize) -> TestServer {
        let policy = format!("schema = 1\n[log]\n[limits]\nwall_ms_max = 2000\nconcurrency_max = {places}\n");
        let shared = |manifest: String| {
            let manifest = manifest.split("[instance]").next().expect("splitting gives a part").to_owned();
            manifest + "[instance]\nrequests_max = 1000\nconcurrency_max = 4\n"
        };
        let setup = Setup::new(Arc::new(FakeInference::default())).guest_as(component, guest, shared);
        setup.policy(component, &policy).start()
    }

    /// Sends a request until all places in the component are taken. The question that asks may take one itself, and then the
    /// request is refused; so it is sent again.
    fn fill(server: &TestServer, request: &str, question: &str) -> Vec<Wire> {
        let clients = RefCell::new(Vec::new());
        eventually(|| {
            clients.borrow_mut().push(Wire::request(server.address, request, &[]));
            (server.get(question).status == 503).then_some(())
        });
        clients.into_inner()
    }

    fn until(server: &TestServer, path: &str, status: u16) {
        eventually(|| (server.get(path).status == status).then_some(()));
    }

    #[test]
    fn a_guest_that_loops_after_its_client_left_is_stopped() {
        let server = start("spinner", "naughty", 1);
        let clients = fill(&server, "GET /c/spinner/loop", "/c/spinner/state");
        // Its place is taken before it runs: whoever left then would leave nothing behind.
        eventually(|| (server.metric("tessera_component_cpu_seconds_total{component=\"spinner\"}") > 0.02).then_some(()));
        drop(clients);
        until(&server, "/c/spinner/state", 200);
        eventually(|| (server.metric("tessera_component_traps_total{component=\"spinner\"}") >= 1.0).then_some(()));
    }

    #[test]
    fn a_stream_that_is_always_ready_ends_at_its_deadline() {
        let server = start("streamer", "echo", 2);
        let reply = server.get("/c/streamer/stream?n=100000000");
        assert!(reply.is_broken, "the stream of {} bytes came to its end", reply.body.len());
        assert_eq!(server.get("/c/streamer/hello").status, 200);
    }

    #[test]
    fn clients_that_stop_reading_do_not_keep_a_component_busy() {
        let server = start("streamer", "echo", 2);
        let silent = fill(&server, "GET /c/streamer/stream?n=100000000&pad=1000000", "/c/streamer/hello");
        until(&server, "/c/streamer/hello", 200);
        drop(silent);
    }
}
