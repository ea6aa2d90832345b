//! Work that a guest goes on with after its answer.

use std::sync::Arc;

use serde_json::json;
use tests::{FakeStore, TestServer, eventually};

use super::kv::setup;

const POLICY: &str = "schema = 1\n[blob]\n[vector]\n[kv]\nallow = [{ store = \"jobs\", verbs = [\"get\", \"set\"] }]\n";

fn start(store: &Arc<FakeStore>, limits: &str) -> TestServer {
    let server = setup(&format!("{POLICY}[limits]\n{limits}\n")).stores(store.stores()).start();
    assert_eq!(server.failures, []);
    server
}

/// Has the guest answer 202 and write so many values then.
fn begin(server: &TestServer, writes: usize) {
    let reply = server.post("/c/store/kv/later", &json!({"store": "jobs", "key": "k", "writes": writes}));
    assert_eq!((reply.status, reply.is_broken), (202, false));
}

fn value(server: &TestServer) -> Option<String> {
    let found = server.post("/c/store/kv/get", &json!({"store": "jobs", "key": "k"})).json();
    found["ok"]["value"].as_str().map(String::from)
}

#[test]
fn a_guest_goes_on_after_its_answer_until_it_is_done() {
    for requests_max in [1, 1000] {
        let store = FakeStore::gated();
        let reuse = |manifest: String| manifest.replace("requests_max = 1000", &format!("requests_max = {requests_max}"));
        let policy = format!("{POLICY}[limits]\nbackground_ms_max = 30000\n");
        let fake = Arc::new(tests::FakeInference::default());
        let server = tests::Setup::new(fake).guest_as("store", "store", reuse).policy("store", &policy);
        let server = server.stores(store.stores()).start();
        begin(&server, 3);
        store.wait_for(|counts| counts.waiting == 1);
        store.release(3);
        store.wait_for(|counts| counts.operations == 3 && counts.waiting == 0);
        store.release(100);
        eventually(|| (value(&server).as_deref() == Some("3")).then_some(()));
    }
}

#[test]
fn without_time_for_it_what_goes_on_has_no_rights() {
    let store = FakeStore::gated();
    let server = start(&store, "");
    begin(&server, 2);
    store.wait_for(|counts| counts.operations == 1 && counts.waiting == 0);
    store.release(100);
    assert_eq!((value(&server), store.counts().operations), (None, 2), "the other one is the look at it");
}

#[test]
fn what_is_not_done_in_its_time_ends_with_its_instance() {
    let store = FakeStore::gated();
    let server = start(&store, "background_ms_max = 200");
    begin(&server, 2);
    store.wait_for(|counts| counts.operations == 1 && counts.waiting == 0);
    store.release(100);
    assert_eq!(value(&server), None);
    assert_eq!(store.counts().operations, 2, "the second was never begun, and the other is the look at it");
}

#[test]
fn who_goes_on_keeps_a_place() {
    let store = FakeStore::gated();
    let server = start(&store, "background_ms_max = 30000\nconcurrency_max = 1\nqueue_max = 0");
    begin(&server, 1);
    store.wait_for(|counts| counts.waiting == 1);
    assert_eq!(server.post("/c/store/kv/get", &json!({"store": "jobs", "key": "k"})).status, 503);
    store.release(100);
    eventually(|| (value(&server).as_deref() == Some("1")).then_some(()));
}

#[test]
fn who_goes_on_shares_its_instance_with_nobody() {
    let store = FakeStore::gated();
    let server = start(&store, "background_ms_max = 30000");
    begin(&server, 1);
    begin(&server, 1);
    store.wait_for(|counts| counts.waiting == 2);
    store.release(1);
    store.wait_for(|counts| counts.waiting == 1);
    store.release(100);
    store.wait_for(|counts| counts.waiting == 0);
    eventually(|| (value(&server).as_deref() == Some("1")).then_some(()));
}

#[test]
fn at_the_end_of_the_server_it_has_the_time_of_running_requests() {
    for (drain_ms_max, written) in [(30_000, true), (100, false)] {
        let store = FakeStore::gated();
        let setup = setup(&format!("{POLICY}[limits]\nbackground_ms_max = 60000\n")).stores(store.stores());
        let server = setup.configure(|config| config.drain_ms_max = drain_ms_max).start();
        begin(&server, 1);
        store.wait_for(|counts| counts.waiting == 1);
        let ending = server.stop();
        if written {
            store.release(1);
        }
        ending.join().expect("ends well");
        assert_eq!(store.has_values(), written);
    }
}
