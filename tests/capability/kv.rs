//! `tessera:kv`: what a guest gets, whose rows they are, and what reaches the store.

use std::sync::Arc;

use policy::{Keys, Labels, NewKey, Selection};
use runtime::{AUDIT_FOLDER, AuthMode, Recording};
use serde_json::{Value, json};
use store::StoreError;
use tests::{FakeInference, FakeStore, Reply, Setup, TestServer};

const POLICY: &str = r#"schema = 1
[blob]
[vector]
[kv]
allow = [
  { store = "notes", verbs = ["get", "list", "set", "delete"], bytes_max = 1000 },
  { store = "history", verbs = ["get", "list", "set", "delete"], per = "caller" },
  { store = "read-*", verbs = ["get"] },
]
"#;

pub(crate) fn setup(policy: &str) -> Setup {
    Setup::new(Arc::new(FakeInference::default())).guest("store").policy("store", policy)
}

fn start(store: &Arc<FakeStore>, more_policy: &str) -> TestServer {
    let server = setup(&format!("{POLICY}{more_policy}")).stores(store.stores()).start();
    assert_eq!(server.failures, []);
    server
}

/// A server that keeps data in its folder, as one does that nobody set up otherwise.
pub(crate) fn embedded(policy: &str) -> TestServer {
    let server = setup(policy).start();
    assert_eq!(server.failures, []);
    server
}

fn kv(server: &TestServer, verb: &str, request: &Value) -> Value {
    server.post(&format!("/c/store/kv/{verb}"), request).json()
}

pub(crate) fn code(reply: &Value) -> &str {
    reply["error"]["code"].as_str().unwrap_or_default()
}

fn new_key(tenant: &str, labels: &str) -> NewKey {
    NewKey {
        name: String::new(),
        tenant: tenant.parse().expect("a name"),
        components: Selection::All,
        models: Selection::All,
        is_admin: false,
        labels: labels.parse::<Labels>().expect("labels"),
        seconds: None,
    }
}

/// Makes a key of a tenant before the server starts.
pub(crate) fn key(setup: &Setup, tenant: &str, labels: &str) -> String {
    let (key, text) = new_key(tenant, labels).make(1_700_000_000).expect("a key");
    Keys::change(&setup.config.keys_file(), |keys| keys.add(key)).expect("the file takes it");
    text
}

pub(crate) fn with_key(server: &TestServer, key: &str, path: &str, body: &Value) -> Reply {
    let headers = [("x-api-key", key), ("content-type", "application/json")];
    server.send("POST", &format!("/c/store{path}"), &headers, body.to_string().as_bytes())
}

#[test]
fn a_value_is_kept_changed_and_deleted() {
    let server = embedded(POLICY);
    assert_eq!(kv(&server, "get", &json!({"store": "notes", "key": "a"})), json!({"ok": null}));
    let first = kv(&server, "set", &json!({"store": "notes", "key": "a", "value": "1", "expected": 0}))["ok"].clone();
    assert!(first.is_u64(), "{first}");
    assert_eq!(kv(&server, "get", &json!({"store": "notes", "key": "a"})), json!({"ok": {"value": "1", "revision": first}}));
    let again = kv(&server, "set", &json!({"store": "notes", "key": "a", "value": "2", "expected": 0}));
    assert_eq!(code(&again), "conflict");
    let second = kv(&server, "set", &json!({"store": "notes", "key": "a", "value": "2", "expected": first}))["ok"].as_u64();
    assert!(second > first.as_u64());
    kv(&server, "set", &json!({"store": "notes", "key": "b"}));
    let listed = kv(&server, "list", &json!({"store": "notes", "entries_max": 1}));
    assert_eq!(listed, json!({"ok": {"keys": ["a"], "has_more": true}}));
    let listed = kv(&server, "list", &json!({"store": "notes", "after": "a"}));
    assert_eq!(listed, json!({"ok": {"keys": ["b"], "has_more": false}}), "as many as anybody gets, where more are asked for");
    assert_eq!(kv(&server, "delete", &json!({"store": "notes", "key": "a"})), json!({"ok": true}));
    assert_eq!(kv(&server, "delete", &json!({"store": "notes", "key": "a"})), json!({"ok": false}));
}

#[test]
fn what_is_not_granted_is_denied_and_does_not_reach_the_store() {
    let store = Arc::new(FakeStore::default());
    let server = start(&store, "");
    for (verb, request) in [
        ("get", json!({"store": "other", "key": "a"})),
        ("set", json!({"store": "read-1", "key": "a"})),
        ("delete", json!({"store": "read-1", "key": "a"})),
        ("list", json!({"store": "read-1"})),
    ] {
        let reply = server.post(&format!("/c/store/kv/{verb}"), &request);
        assert_eq!((reply.status, code(&reply.json())), (403, "denied"), "{verb} {request}");
    }
    assert_eq!(store.counts().operations, 0);
    assert_eq!(kv(&server, "get", &json!({"store": "read-1", "key": "a"})), json!({"ok": null}));
    let counted = |operation: &str| {
        server.metric(&format!("tessera_store_operations_total{{component=\"store\",operation=\"{operation}\"}}"))
    };
    assert_eq!((counted("kv-get"), counted("kv-set")), (1.0, 0.0));
}

#[test]
fn names_and_values_that_are_none_are_told_to_the_guest() {
    let server = embedded(POLICY);
    for name in ["", "a/b", "..", "a b", "notes\n", &"a".repeat(65)] {
        assert_eq!(code(&kv(&server, "get", &json!({"store": name, "key": "a"}))), "invalid-input", "{name:?}");
    }
    let long = "k".repeat(513);
    for request in [
        json!({"store": "history", "key": ""}),
        json!({"store": "history", "key": long}),
        json!({"store": "history", "key": "a", "bytes": (1 << 20) + 1}),
    ] {
        assert_eq!(code(&kv(&server, "set", &request)), "invalid-input");
    }
    assert_eq!(code(&kv(&server, "list", &json!({"store": "history", "entries_max": 0}))), "invalid-input");
    assert_eq!(code(&kv(&server, "set", &json!({"store": "notes", "key": "a", "bytes": 1001}))), "quota");
    assert_eq!(server.post("/c/store/kv/set", &json!({"store": "history", "key": "a", "bytes": 20 << 20})).status, 500);
    assert_eq!(kv(&server, "get", &json!({"store": "history", "key": "a"})), json!({"ok": null}), "the host lives on");
}

#[test]
fn tenants_and_callers_have_rows_of_their_own() {
    let setup = setup(POLICY).configure(|config| {
        config.auth.mode = AuthMode::Required;
        config.auth.public = vec!["* /c/store/*".parse().expect("a route")];
    });
    let [one, two, other] = ["acme", "acme", "other"].map(|tenant| key(&setup, tenant, ""));
    let server = setup.start();
    let set = |key: &str, store: &str| with_key(&server, key, "/kv/set", &json!({"store": store, "key": "k", "value": key}));
    let get = |key: &str, store: &str| {
        let found = with_key(&server, key, "/kv/get", &json!({"store": store, "key": "k"})).json();
        found["ok"]["value"].as_str().map(String::from)
    };
    assert_eq!((set(&one, "notes").status, set(&one, "history").status), (200, 200));
    assert_eq!((get(&one, "notes"), get(&one, "history")), (Some(one.clone()), Some(one.clone())));
    assert_eq!((get(&two, "notes"), get(&two, "history")), (Some(one.clone()), None));
    assert_eq!((get(&other, "notes"), get(&other, "history")), (None, None));
    set(&two, "history");
    let listed = with_key(&server, &two, "/kv/list", &json!({"store": "history"})).json();
    assert_eq!(listed["ok"]["keys"], json!(["k"]));
    assert_eq!(with_key(&server, &two, "/kv/delete", &json!({"store": "history", "key": "k"})).json(), json!({"ok": true}));
    assert_eq!(get(&one, "history"), Some(one), "nobody deletes what is another's");
    let nobody = server.post("/c/store/kv/get", &json!({"store": "history", "key": "k"}));
    assert_eq!((nobody.status, code(&nobody.json())), (403, "denied"));
    assert_eq!(server.post("/c/store/kv/get", &json!({"store": "notes", "key": "k"})).json(), json!({"ok": null}));
}

#[test]
fn a_call_ends_at_the_requests_deadline_and_the_work_with_it() {
    let store = FakeStore::gated();
    let server = start(&store, "[limits]\nwall_ms_max = 200\n");
    let reply = server.post("/c/store/kv/set", &json!({"store": "notes", "key": "a", "value": "1"}));
    assert_eq!((reply.status, code(&reply.json())), (504, "deadline"));
    store.wait_for(|counts| counts.waiting == 0);
    store.release(10);
    assert!(!store.has_values());
}

#[test]
fn what_failed_is_told_to_the_operator_and_not_to_the_guest() {
    for (failure, status, told) in [
        (StoreError::Failed("/srv/disk is gone".into()), 500, "internal"),
        (StoreError::Overloaded, 503, "overloaded"),
        (StoreError::Full { bytes_max: 7 }, 429, "quota"),
        (StoreError::Unsupported("count"), 501, "unsupported"),
        (StoreError::NotFound { what: "store".into() }, 404, "not-found"),
    ] {
        let store = FakeStore::failing(failure);
        let reply = start(&store, "").post("/c/store/kv/get", &json!({"store": "notes", "key": "a"}));
        assert_eq!((reply.status, code(&reply.json())), (status, told));
        assert!(!reply.text().contains("/srv"), "{}", reply.text());
    }
}

#[test]
fn an_erased_tenant_has_nothing_left_and_others_have_theirs() {
    let setup = setup(POLICY).configure(|config| config.auth.mode = AuthMode::Required);
    let file = setup.config.keys_file();
    let admin = new_key("ops", "");
    let (admin, admin_text) = NewKey { is_admin: true, ..admin }.make(1_700_000_000).expect("a key");
    Keys::change(&file, |keys| keys.add(admin)).expect("the file takes it");
    let [one, other] = ["acme", "other"].map(|tenant| key(&setup, tenant, ""));
    let data = setup.config.data.clone();
    let server = setup.start();
    for key in [&one, &other] {
        for store in ["notes", "history"] {
            let set = with_key(&server, key, "/kv/set", &json!({"store": store, "key": "k", "value": "v"}));
            assert_eq!(set.status, 200, "{}", set.text());
        }
    }
    assert!(data.join("store/acme").exists());
    let erased = server.send("DELETE", "/admin/tenants/acme", &[("x-api-key", &admin_text)], b"");
    assert_eq!((erased.status, &erased.json()["erased"]["keys"]), (200, &json!(1)), "{}", erased.text());
    assert!(erased.json()["erased"]["store"].as_u64() >= Some(2), "{}", erased.text());
    let refused = with_key(&server, &one, "/kv/set", &json!({"store": "notes", "key": "k", "value": "again"}));
    assert_eq!(refused.status, 401, "its key counts no more once that is done");
    assert!(!data.join("store/acme").exists() && data.join("store/other").exists());
    let get = with_key(&server, &other, "/kv/get", &json!({"store": "notes", "key": "k"}));
    assert_eq!(get.json()["ok"]["value"], "v");
}

#[test]
fn what_is_used_is_recorded_by_its_name_and_without_its_contents() {
    let setup = setup(POLICY).configure(|config| config.audit.uses = Recording::Closed);
    let log = setup.config.data.join(AUDIT_FOLDER);
    let server = setup.start();
    kv(&server, "set", &json!({"store": "notes", "key": "my-key", "value": "my-value"}));
    kv(&server, "get", &json!({"store": "other", "key": "my-key"}));
    let text = server.stop_and(|| {
        let files = std::fs::read_dir(&log).expect("a folder").map(|entry| entry.expect("lists").path());
        files.map(|file| String::from_utf8_lossy(&std::fs::read(file).expect("reads")).into_owned()).collect::<String>()
    });
    assert!(text.contains("\"kv-set\"") && text.contains("\"kv-get\""), "{text}");
    assert!(!text.contains("my-key") && !text.contains("my-value"), "{text}");
}

#[test]
fn what_is_kept_outlives_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = || setup(POLICY).configure(|config| config.data = folder.path().to_owned()).start();
    kv(&start(), "set", &json!({"store": "notes", "key": "a", "value": "kept"}));
    assert_eq!(kv(&start(), "get", &json!({"store": "notes", "key": "a"}))["ok"]["value"], "kept");
}
