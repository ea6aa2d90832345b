//! `tessera:blob`: files that pass through the host piece by piece.

use std::sync::Arc;

use serde_json::{Value, json};
use tests::{FakeStore, Reply, TestServer, Wire};

use super::kv::{code, embedded, setup};

const POLICY: &str = r#"schema = 1
[kv]
[vector]
[blob]
allow = [
  { container = "small", verbs = ["get", "list", "put", "delete"], bytes_max = 1000 },
  { container = "files", verbs = ["get", "list", "put", "delete"] },
  { container = "read-only", verbs = ["get", "list"] },
]
[limits]
request_body_bytes_max = 33554432
"#;

fn start(store: &Arc<FakeStore>) -> TestServer {
    let server = setup(POLICY).stores(store.stores()).start();
    assert_eq!(server.failures, []);
    server
}

fn put(server: &TestServer, container: &str, name: &str, body: &[u8]) -> Reply {
    let path = format!("/c/store/blob?container={container}&name={name}");
    server.send("PUT", &path, &[("content-type", "text/x")], body)
}

fn get(server: &TestServer, container: &str, name: &str, range: &str) -> Reply {
    server.get(&format!("/c/store/blob?container={container}&name={name}{range}"))
}

fn stat(server: &TestServer, container: &str, name: &str) -> Value {
    server.post("/c/store/blob/stat", &json!({"container": container, "name": name})).json()
}

#[test]
fn a_file_comes_back_as_it_was_put() {
    let server = embedded(POLICY);
    let long: Vec<u8> = (0..3 << 20).map(|place: u32| place.to_le_bytes()[place as usize % 3]).collect();
    for (name, bytes) in [("empty", &b""[..]), ("short", b"text"), ("long", &long)] {
        let reply = put(&server, "files", name, bytes);
        assert_eq!((reply.status, &reply.json()["ok"]["bytes"]), (200, &json!(bytes.len())), "{}", reply.text());
        let found = get(&server, "files", name, "");
        assert_eq!((found.status, found.header("content-type")), (200, Some("text/x")));
        assert!(found.body == bytes && !found.is_broken, "{name} is another");
        assert_eq!(stat(&server, "files", name), reply.json());
    }
    assert_eq!(get(&server, "files", "short", "&start=1&bytes=2").text(), "ex");
    assert_eq!(get(&server, "files", "short", "&start=2").text(), "xt");
    assert_eq!(get(&server, "files", "long", "&start=1000000&bytes=1000000").body, long[1_000_000..2_000_000]);
    let list = |request: Value| server.post("/c/store/blob/list", &request).json();
    let expected = json!({"ok": {"names": ["empty", "long"], "has_more": true}});
    assert_eq!(list(json!({"container": "files", "files_max": 2})), expected);
    let expected = json!({"ok": {"names": ["short"], "has_more": false}});
    assert_eq!(list(json!({"container": "files", "after": "long"})), expected);
    assert_eq!(list(json!({"container": "files", "prefix": "sh"})), expected);
    let delete = || server.post("/c/store/blob/delete", &json!({"container": "files", "name": "short"})).json();
    assert_eq!((delete(), delete()), (json!({"ok": true}), json!({"ok": false})));
    assert_eq!(code(&get(&server, "files", "short", "").json()), "not-found");
    assert_eq!(stat(&server, "files", "short"), json!({"ok": null}));
}

#[test]
fn what_is_not_granted_is_denied_and_does_not_reach_the_store() {
    let store = Arc::new(FakeStore::default());
    let server = start(&store);
    for container in ["other", "read-only"] {
        let reply = put(&server, container, "a", b"x");
        assert_eq!((reply.status, code(&reply.json())), (403, "denied"), "{container}");
    }
    assert_eq!(code(&get(&server, "other", "a", "").json()), "denied");
    assert_eq!(code(&stat(&server, "other", "a")), "denied");
    let delete = server.post("/c/store/blob/delete", &json!({"container": "read-only", "name": "a"}));
    assert_eq!(code(&delete.json()), "denied");
    assert_eq!(store.counts().operations, 0);
}

#[test]
fn a_container_holds_what_its_policy_says() {
    let server = embedded(POLICY);
    assert_eq!(put(&server, "small", "a", &[b'x'; 500]).status, 200);
    let reply = put(&server, "small", "b", &[b'x'; 2000]);
    assert_eq!((reply.status, code(&reply.json())), (429, "quota"));
    assert_eq!(stat(&server, "small", "b"), json!({"ok": null}));
    assert_eq!(get(&server, "small", "a", "").body.len(), 500);
}

#[test]
fn names_that_are_none_are_told_to_the_guest() {
    let server = embedded(POLICY);
    for container in ["", "a%2Fb", "..%2F..", "a%20b"] {
        assert_eq!(code(&put(&server, container, "a", b"x").json()), "invalid-input", "{container}");
    }
    for name in ["", &"n".repeat(513)] {
        assert_eq!(code(&put(&server, "files", name, b"x").json()), "invalid-input", "{name}");
    }
    for name in ["..%2F..%2Fescape", "%2Fetc%2Fpasswd", "a%00b", "."] {
        assert_eq!(put(&server, "files", name, b"x").status, 200, "a name is only a name: {name}");
        assert_eq!(get(&server, "files", name, "").text(), "x");
    }
}

#[test]
fn a_body_that_breaks_off_leaves_what_was_there() {
    let store = Arc::new(FakeStore::default());
    let server = start(&store);
    put(&server, "files", "a", b"before");
    let headers = ["transfer-encoding: chunked", "content-type: text/x"];
    let mut wire = Wire::request(server.address, "PUT /c/store/blob?container=files&name=a", &headers);
    wire.send_chunk(&[b'x'; 5000]);
    drop(wire);
    store.wait_for(|counts| counts.unfinished == 1);
    assert_eq!(get(&server, "files", "a", "").text(), "before");
}

#[test]
fn a_client_that_goes_away_ends_the_put() {
    let store = FakeStore::gated();
    let server = start(&store);
    let headers = ["content-length: 4"];
    let mut wire = Wire::request(server.address, "PUT /c/store/blob?container=files&name=a", &headers);
    wire.send(b"text");
    store.wait_for(|counts| counts.waiting == 1);
    drop(wire);
    store.wait_for(|counts| counts.unfinished == 1 && counts.waiting == 0);
}
