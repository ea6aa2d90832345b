//! Tenants, keys and labels: who finds what.

use std::path::Path;
use std::sync::Arc;

use policy::{Keys, NewKey, Selection};
use runtime::AuthMode;
use serde_json::{Value, json};
use tests::{FakeInference, TestServer};

use super::{ANY_SCORE, ingest, setup};

/// A server that asks for keys, and a key for each tenant and its labels.
fn start(callers: &[(&str, &[&str])]) -> (TestServer, Vec<String>) {
    let setup = setup(Arc::new(FakeInference::default()), ANY_SCORE).configure(|config| config.auth.mode = AuthMode::Required);
    let file = setup.config.keys_file();
    let keys = callers.iter().map(|(tenant, labels)| key(&file, tenant, labels)).collect();
    let server = setup.start();
    assert_eq!(server.failures, []);
    (server, keys)
}

fn key(file: &Path, tenant: &str, labels: &[&str]) -> String {
    let new = NewKey {
        name: String::new(),
        tenant: tenant.parse().expect("a name"),
        components: Selection::All,
        models: Selection::All,
        labels: labels.join(",").parse().expect("labels"),
        is_admin: false,
        seconds: None,
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let (key, text) = new.make(now).expect("a key");
    Keys::change(file, |keys| keys.add(key)).expect("the file takes it");
    text
}

fn post(server: &TestServer, path: &str, body: &Value, key: &str) -> Value {
    let headers = [("content-type", "application/json"), ("authorization", &format!("Bearer {key}"))];
    let reply = server.send("POST", path, &headers, body.to_string().as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// The texts that a caller can have an answer from.
fn found(server: &TestServer, question: &str, key: &str) -> String {
    let body = json!({"messages": question, "k": 100, "top_n": 100, "index_name": "shared"});
    post(server, "/v1/retrievaltool", &body, key)["documents"].to_string()
}

#[test]
fn tenants_with_the_same_collection_see_their_own_documents_only() {
    let (server, keys) = start(&[("acme", &[]), ("globex", &[])]);
    for (key, secret) in keys.iter().zip(["aardvark", "basilisk"]) {
        let text = format!("The password of the treasury is {secret}.");
        let reply = ingest(&server, "secret.txt", &text, &[("index_name", "shared")], Some(key));
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    for (key, own, other) in [(&keys[0], "aardvark", "basilisk"), (&keys[1], "basilisk", "aardvark")] {
        let texts = found(&server, "What is the password of the treasury? aardvark basilisk", key);
        assert!(texts.contains(own) && !texts.contains(other), "{texts}");
        let rows = post(&server, "/v1/dataprep/get", &json!({"index_name": "shared"}), key);
        assert_eq!(rows.as_array().map(Vec::len), Some(1));
    }
    assert_eq!(
        post(&server, "/v1/dataprep/delete", &json!({"file_path": "all", "index_name": "shared"}), &keys[0])["status"],
        true
    );
    assert!(found(&server, "basilisk", &keys[1]).contains("basilisk"), "another tenant's documents are not deleted");
}

#[test]
fn labels_decide_what_is_found_inside_the_search() {
    let (server, keys) = start(&[("acme", &["board", "staff"]), ("acme", &["staff"]), ("acme", &[])]);
    for (name, label) in [("merger.txt", "board"), ("canteen.txt", "staff"), ("address.txt", "")] {
        let text = format!("The plan in {name} is about fish.");
        let fields = [("index_name", "shared"), ("labels", label)];
        let reply = ingest(&server, name, &text, &fields[..if label.is_empty() { 1 } else { 2 }], Some(&keys[0]));
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    for (key, names) in
        [(&keys[0], &["merger", "canteen", "address"][..]), (&keys[1], &["canteen", "address"]), (&keys[2], &["address"])]
    {
        let texts = found(&server, "Which plan is about fish?", key);
        for name in ["merger", "canteen", "address"] {
            assert_eq!(texts.contains(name), names.contains(&name), "{name}: {texts}");
        }
        let rows = post(&server, "/v1/dataprep/get", &json!({"index_name": "shared"}), key);
        assert_eq!(rows.as_array().map(Vec::len), Some(names.len()), "{rows}");
    }
}
