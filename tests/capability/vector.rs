//! `tessera:vector`: documents, who finds them, and drafts that are treated badly.

use std::path::PathBuf;
use std::sync::Arc;

use runtime::AuthMode;
use serde_json::{Value, json};
use tests::{FakeStore, TestServer};

use super::kv::{code, embedded, key, setup, with_key};
use super::outside::govern;

const POLICY: &str = r#"schema = 1
[blob]
[kv]
[vector]
allow = [
  { collection = "docs", verbs = ["find", "list", "upsert", "delete"] },
  { collection = "shown", verbs = ["find"] },
]
"#;

/// A server with a fake store, and the file of its policy.
fn start(store: &Arc<FakeStore>) -> (TestServer, PathBuf) {
    let setup = setup(POLICY).stores(store.stores());
    let file = setup.config.policies.join("store.toml");
    let server = setup.start();
    assert_eq!(server.failures, []);
    (server, file)
}

fn vector(server: &TestServer, function: &str, request: &Value) -> Value {
    server.post(&format!("/c/store/vector/{function}"), request).json()
}

fn upsert(document: &str, more: Value) -> Value {
    let mut request = json!({"collection": "docs", "document": document, "texts": ["a quick fox", "a lazy dog"]});
    request.as_object_mut().expect("a table").extend(more.as_object().cloned().unwrap_or_default());
    request
}

#[test]
fn a_document_is_written_found_listed_and_deleted() {
    let server = embedded(POLICY);
    assert_eq!(vector(&server, "upsert", &upsert("one", json!({"vector": [1.0, 0.0]}))), json!({"ok": 2}));
    assert_eq!(
        vector(&server, "upsert", &upsert("two", json!({"vector": [0.0, 1.0], "texts": ["a slow cat"]}))),
        json!({"ok": 1})
    );
    let found = vector(&server, "find", &json!({"collection": "docs", "text": "fox"}));
    assert_eq!(found, json!({"ok": [["one", "a quick fox"]]}));
    let found = vector(&server, "find", &json!({"collection": "docs", "vector": [0.1, 1.0], "k": 1}));
    assert_eq!(found, json!({"ok": [["two", "a slow cat"]]}));
    assert_eq!(vector(&server, "documents", &json!({"collection": "docs"})), json!({"ok": ["one", "two"]}));
    assert_eq!(vector(&server, "stat", &json!({"collection": "docs", "document": "one"})), json!({"ok": "one"}));
    let pieces = vector(&server, "pieces", &json!({"collection": "docs", "document": "one"}));
    assert_eq!(pieces, json!({"ok": ["a quick fox", "a lazy dog"]}));
    assert_eq!(server.get("/c/store/vector/collections").json(), json!({"ok": [["docs", 2, ""]]}));
    assert_eq!(vector(&server, "delete", &json!({"collection": "docs", "document": "one"})), json!({"ok": true}));
    assert_eq!(vector(&server, "find", &json!({"collection": "docs", "text": "fox"})), json!({"ok": []}));
    assert_eq!(vector(&server, "delete-collection", &json!({"collection": "docs"})), json!({"ok": true}));
    assert_eq!(server.get("/c/store/vector/collections").json(), json!({"ok": []}));
}

#[test]
fn what_is_not_granted_is_denied_and_does_not_reach_the_store() {
    let store = Arc::new(FakeStore::default());
    let (server, _) = start(&store);
    let other = json!({"collection": "other"});
    for (function, request) in [
        ("find", json!({"collection": "other", "text": "x"})),
        ("documents", other.clone()),
        ("delete-collection", other),
        ("upsert", upsert("a", json!({"collection": "shown"}))),
        ("documents", json!({"collection": "shown"})),
        ("delete", json!({"collection": "shown", "document": "a"})),
        ("stat", json!({"collection": "shown", "document": "a"})),
        ("pieces", json!({"collection": "shown", "document": "a"})),
    ] {
        let reply = server.post(&format!("/c/store/vector/{function}"), &request);
        assert_eq!((reply.status, code(&reply.json())), (403, "denied"), "{function} {request}");
    }
    assert_eq!(store.counts().operations, 0);
}

#[test]
fn only_collections_that_may_be_listed_are_shown() {
    let store = Arc::new(FakeStore::default());
    let (server, file) = start(&store);
    let all = POLICY.replace("\"shown\", verbs = [\"find\"]", "\"*\", verbs = [\"upsert\"]");
    govern(&server, &file, &all);
    for collection in ["docs", "shown", "x"] {
        vector(&server, "upsert", &upsert("one", json!({"collection": collection})));
    }
    assert_eq!(server.get("/c/store/vector/collections").json(), json!({"ok": [["docs", 1, ""]]}));
    govern(&server, &file, "schema = 1\n[blob]\n[kv]\n[vector]\n");
    assert_eq!(server.get("/c/store/vector/collections").json(), json!({"ok": []}));
}

#[test]
fn tenants_with_a_collection_of_the_same_name_never_meet() {
    let setup = setup(POLICY).configure(|config| config.auth.mode = AuthMode::Required);
    let [one, two] = ["acme", "other"].map(|tenant| key(&setup, tenant, ""));
    let server = setup.start();
    let ask =
        |key: &str, function: &str, request: Value| with_key(&server, key, &format!("/vector/{function}"), &request).json();
    assert_eq!(ask(&one, "upsert", upsert("secret", json!({}))), json!({"ok": 2}));
    assert_eq!(ask(&two, "find", json!({"collection": "docs", "text": "fox"})), json!({"ok": []}));
    assert_eq!(ask(&two, "stat", json!({"collection": "docs", "document": "secret"})), json!({"ok": null}));
    assert_eq!(ask(&two, "documents", json!({"collection": "docs"})), json!({"ok": []}));
    assert_eq!(ask(&two, "delete-collection", json!({"collection": "docs"})), json!({"ok": false}));
    assert_eq!(ask(&one, "find", json!({"collection": "docs", "text": "fox"})), json!({"ok": [["secret", "a quick fox"]]}));
}

#[test]
fn labels_hold_inside_the_search_whatever_the_component_asks_for() {
    let setup = setup(POLICY).configure(|config| config.auth.mode = AuthMode::Required);
    let [both, hr, none] = ["hr,finance", "hr", ""].map(|labels| key(&setup, "acme", labels));
    let server = setup.start();
    let ask =
        |key: &str, function: &str, request: Value| with_key(&server, key, &format!("/vector/{function}"), &request).json();
    for (document, labels) in [("open", json!([])), ("people", json!(["hr"])), ("books", json!(["finance", "board"]))] {
        let request = upsert(document, json!({"labels": labels, "vector": [1.0, 0.5], "texts": [format!("fox {document}")]}));
        assert_eq!(ask(&both, "upsert", request), json!({"ok": 1}));
    }
    for (key, seen) in [(&both, &["books", "open", "people"][..]), (&hr, &["open", "people"]), (&none, &["open"])] {
        for query in
            [json!({"text": "fox"}), json!({"vector": [1.0, 0.5]}), json!({"text": "fox", "vector": [1.0, 0.5], "k": 1000})]
        {
            let mut query = query;
            query["collection"] = json!("docs");
            let found = ask(key, "find", query.clone());
            let found = found["ok"].as_array().expect("hits").iter().map(|hit| hit[0].as_str().expect("an id").to_owned());
            let mut found: Vec<String> = found.collect();
            found.sort();
            assert_eq!(found, seen, "{query}");
        }
        assert_eq!(ask(key, "documents", json!({"collection": "docs"})), json!({"ok": seen}));
    }
    let books = || json!({"collection": "docs", "document": "books"});
    assert_eq!(ask(&hr, "stat", books()), json!({"ok": null}));
    assert_eq!(ask(&hr, "delete", books()), json!({"ok": false}));
    assert_eq!(code(&ask(&hr, "upsert", upsert("books", json!({})))), "invalid-input");
    assert_eq!(code(&ask(&hr, "delete-collection", json!({"collection": "docs"}))), "invalid-input");
    assert_eq!(ask(&both, "stat", books()), json!({"ok": "books"}));
    assert_eq!(code(&ask(&hr, "upsert", upsert("x", json!({"labels": ["no label"]})))), "invalid-input");
}

#[test]
fn a_collection_takes_vectors_of_one_model_and_digest() {
    let server = embedded(POLICY);
    let with = |embedder: &str| upsert("one", json!({"embedder": embedder, "vector": [1.0, 0.0]}));
    assert_eq!(vector(&server, "upsert", &with("fake")), json!({"ok": 2}));
    let embedder = server.get("/c/store/vector/collections").json()["ok"][0][2].clone();
    assert!(embedder.as_str().is_some_and(|embedder| embedder.starts_with("fake")), "{embedder}");
    assert_eq!(code(&vector(&server, "upsert", &with("other"))), "invalid-input");
    let query = |embedder| json!({"collection": "docs", "vector": [1.0, 0.0], "embedder": embedder, "k": 1});
    assert_eq!(vector(&server, "find", &query("fake"))["ok"].as_array().map(Vec::len), Some(1));
    for embedder in ["other", "no-such-model", "", "fake@sha256:00"] {
        assert_eq!(code(&vector(&server, "find", &query(embedder))), "invalid-input", "{embedder:?}");
    }
}

#[test]
fn numbers_that_make_no_sense_are_told_to_the_guest() {
    let server = embedded(POLICY);
    vector(&server, "upsert", &upsert("one", json!({"vector": [1.0, 0.0]})));
    for query in [
        json!({"collection": "docs", "text": "x", "k": 0}),
        json!({"collection": "docs", "text": "x", "k": 4_000_000_000_u32}),
        json!({"collection": "docs"}),
        json!({"collection": "docs", "vector": []}),
        json!({"collection": "docs", "vector": [1.0]}),
        json!({"collection": "docs", "vector": [1e39, 0.0]}),
        json!({"collection": "docs", "vector": [0.0, 0.0]}),
    ] {
        assert_eq!(code(&vector(&server, "find", &query)), "invalid-input", "{query}");
    }
    for more in [json!({"vector": [1.0]}), json!({"vector": [1e39, 1.0]}), json!({"document": ""}), json!({"texts": [""]})] {
        assert_eq!(code(&vector(&server, "upsert", &upsert("two", more.clone()))), "invalid-input", "{more}");
    }
    assert_eq!(vector(&server, "documents", &json!({"collection": "docs"})), json!({"ok": ["one"]}));
}

#[test]
fn a_draft_that_is_dropped_never_was() {
    let store = Arc::new(FakeStore::default());
    let (server, _) = start(&store);
    assert_eq!(vector(&server, "upsert", &upsert("one", json!({"how": "drop"}))), json!({"ok": "dropped"}));
    store.wait_for(|counts| counts.given_up == 1);
    assert_eq!(vector(&server, "documents", &json!({"collection": "docs"})), json!({"ok": []}));
}

#[test]
fn a_draft_is_committed_once_and_written_to_by_one_call_at_a_time() {
    let store = FakeStore::gated();
    let (server, _) = start(&store);
    store.release(100);
    assert_eq!(code(&vector(&server, "upsert", &upsert("one", json!({"how": "again"})))), "invalid-input");
    assert_eq!(vector(&server, "documents", &json!({"collection": "docs"})), json!({"ok": ["one"]}));
    let both = FakeStore::gated();
    let (server, _) = start(&both);
    both.release(1); // for the beginning: what is written waits
    assert_eq!(code(&vector(&server, "upsert", &upsert("one", json!({"how": "both"})))), "conflict");
    both.wait_for(|counts| counts.given_up == 1 && counts.waiting == 0);
}

#[test]
fn a_draft_ends_with_its_request_and_is_nobody_elses() {
    let store = Arc::new(FakeStore::default());
    let (server, _) = start(&store);
    assert_eq!(vector(&server, "upsert", &upsert("one", json!({"how": "leave"}))), json!({"ok": "left"}));
    store.wait_for(|counts| counts.given_up == 1);
    let reply = server.post("/c/store/vector/upsert", &upsert("one", json!({"how": "take"})));
    assert_eq!((reply.status, code(&reply.json())), (403, "denied"));
    assert_eq!(vector(&server, "documents", &json!({"collection": "docs"})), json!({"ok": []}));
}

#[test]
fn a_right_that_is_revoked_in_the_middle_of_a_draft_is_gone() {
    let store = FakeStore::gated();
    let (server, file) = start(&store);
    store.release(1);
    std::thread::scope(|scope| {
        let reply = scope.spawn(|| vector(&server, "upsert", &upsert("one", json!({}))));
        store.wait_for(|counts| counts.begun == 1 && counts.waiting == 1);
        govern(&server, &file, &POLICY.replace("\"upsert\", ", ""));
        store.release(100);
        assert_eq!(code(&reply.join().expect("answers")), "denied");
    });
    store.wait_for(|counts| counts.given_up == 1);
}

#[test]
fn a_client_that_goes_away_gives_its_draft_up() {
    let store = FakeStore::gated();
    let (server, _) = start(&store);
    store.release(1);
    let body = upsert("one", json!({})).to_string();
    let headers = [format!("content-length: {}", body.len()), "content-type: application/json".into()];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let mut wire = tests::Wire::request(server.address, "POST /c/store/vector/upsert", &headers);
    wire.send(body.as_bytes());
    store.wait_for(|counts| counts.begun == 1 && counts.waiting == 1);
    drop(wire);
    store.wait_for(|counts| counts.given_up == 1 && counts.waiting == 0);
}
