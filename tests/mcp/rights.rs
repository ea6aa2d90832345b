//! Whose tools they are: keys, quotas, guards and the audit log hold for tools as for every request.

use std::sync::Arc;

use policy::audit::{Decision, Kind, Record};
use policy::{Keys, Labels, NewKey, Selection};
use runtime::{AUDIT_FOLDER, AuthMode};
use serde_json::json;
use tests::{FakeInference, Setup};

use super::{Rpc, text};
use crate::audit::{CLOSED, entries};

/// Two guests `types`, and a key for one of them.
fn setup() -> (Setup, String) {
    let setup = Setup::new(Arc::new(FakeInference::default())).configure(|config| config.auth.mode = AuthMode::Required);
    let setup = setup.guest("types").guest_as("secret", "types", |manifest| manifest);
    let components = Selection::Only(["types".parse().expect("a name")].into());
    let name = String::new();
    let tenant = "acme".parse().expect("a name");
    let new =
        NewKey { name, tenant, components, models: Selection::All, is_admin: false, labels: Labels::default(), seconds: None };
    let (key, text) = new.make(0).expect("a key");
    Keys::change(&setup.config.keys_file(), |keys| keys.add(key)).expect("the file takes it");
    (setup, text)
}

#[test]
fn a_key_sees_and_calls_the_tools_of_its_components_alone() {
    let (setup, key) = setup();
    let server = setup.start();
    let client = Rpc { key: Some(&key), ..Rpc::new(&server) };
    let tools = client.tools();
    assert!(!tools.is_empty());
    assert!(tools.iter().all(|tool| tool["name"].as_str().is_some_and(|name| name.starts_with("types__"))));
    assert_eq!(client.call("types__calls__seven", &json!({}))["structuredContent"]["result"], 7);
    let refused = |tool: &str| {
        let error = client.ask("tools/call", &json!({"name": tool, "arguments": {}}))["error"].clone();
        assert_eq!((&error["code"], &error["message"]), (&json!(-32602), &json!(format!("Unknown tool: {tool}"))));
        error.as_object().map(serde_json::Map::len)
    };
    assert_eq!(refused("secret__calls__seven"), refused("nobody__calls__seven"), "the two can't be told apart");
    let nobody = Rpc { key: Some("tessera_aaaaaaaa_x"), ..client };
    assert_eq!(nobody.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).status, 401);
}

#[test]
fn a_call_of_a_tool_is_recorded_as_a_request_for_its_function() {
    let (setup, key) = setup();
    let setup = setup.configure(|config| config.audit = CLOSED);
    let log = setup.config.data.join(AUDIT_FOLDER);
    let server = setup.start();
    let client = Rpc { key: Some(&key), ..Rpc::new(&server) };
    client.call("types__calls__seven", &json!({}));
    client.ask("tools/call", &json!({"name": "secret__calls__seven"}));
    let records: Vec<Record> = entries(&log).into_iter().map(|entry| entry.record).collect();
    for (path, status, decision) in
        [("/c/types/calls/seven", 200, Decision::Allow), ("/c/secret/calls/seven", 403, Decision::Deny)]
    {
        let found: Vec<&Record> = records.iter().filter(|record| record.target.as_deref() == Some(path)).collect();
        let [record] = found.as_slice() else { panic!("{path}: {records:#?}") };
        assert_eq!((record.kind, record.status, record.decision), (Kind::Request, Some(status), Some(decision)));
        let is_same = |other: &&Record| other.target.as_deref() == Some("/mcp") && other.request == record.request;
        assert_eq!(records.iter().filter(is_same).count(), 1, "both have the id of the client's request");
    }
}

#[test]
fn quotas_and_guards_hold_for_tools() {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("types").guest("guard");
    let policy = "schema = 1\n[quota]\nrequests_per_min_max = 2\n[guard]\ninput = [\"guard\"]\n";
    let server = setup.policy("types", policy).start();
    let client = Rpc::new(&server);
    assert_eq!(text(&client.call("types__echo__text", &json!({"value": "fine"}))), "fine");
    let blocked = client.call("types__echo__text", &json!({"value": "a forbidden word"}));
    assert_eq!(
        (&blocked["isError"], text(&blocked).contains("blocked by the guard `guard`")),
        (&json!(true), true),
        "{blocked}"
    );
    let refused = client.call("types__echo__text", &json!({"value": "fine"}));
    assert_eq!((&refused["isError"], text(&refused).contains("try again later")), (&json!(true), true), "{refused}");
}
