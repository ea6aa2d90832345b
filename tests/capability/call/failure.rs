//! Calls that fail: each is an error of the function, and the caller goes on.

use policy::{Keys, Labels, NewKey, Selection};
use runtime::AuthMode;
use serde_json::{Value, json};
use tests::{Reply, Setup, TestServer, eventually};

use super::{CALLS, NARROW, call, end, error, link, occupy, pair, start, until_free, wait_forever};

#[test]
fn an_error_of_the_callee_is_the_callers() {
    let server = start(pair());
    assert_eq!(error(&end(&server, "error")), json!({"wrong": "as was asked"}));
}

#[test]
fn a_trap_of_the_callee_is_an_error_and_the_caller_goes_on() {
    let server = start(pair());
    let traps = |component: &str| server.metric(&format!("tessera_component_traps_total{{component=\"{component}\"}}"));
    assert_eq!(error(&end(&server, "trap")), json!({"failed": "the component failed"}));
    eventually(|| (traps("callee") == 1.0).then_some(()));
    assert_eq!(traps("caller"), 0.0);
    assert_eq!(end(&server, "well").json(), json!(7));
}

#[test]
fn where_no_error_can_be_said_the_caller_fails_too() {
    let server = start(pair());
    assert!(call(&server, "stock/half", json!({"of": 0})).status >= 500);
    assert_eq!(call(&server, "stock/half", json!({"of": 8})).json(), json!(4));
}

#[test]
fn who_is_not_there_or_turned_off_is_not_called() {
    let server = start(pair());
    let turn = |way: &str| server.send("POST", &format!("/admin/components/callee/{way}"), &[], b"");
    assert_eq!(end(&server, "well").status, 200);
    assert_eq!(turn("disable").status, 200);
    assert_eq!((end(&server, "well").status, error(&end(&server, "well"))), (503, json!("unavailable")));
    assert_eq!(turn("enable").status, 200);
    assert_eq!(end(&server, "well").status, 200);
}

/// A component that exports the interface with another type.
const OTHER: &str = r#"(component
  (core module $code (func (export "end") (result i32) i32.const 1))
  (core instance $made (instantiate $code))
  (func $end (result u32) (canon lift (core func $made "end")))
  (instance $stock (export "end" (func $end)))
  (export "acme:shop/stock@1.2.0" (instance $stock)))"#;

#[test]
fn a_callee_with_other_types_or_functions_is_not_called() {
    let code = wat::parse_str(OTHER).expect("a component");
    let server = start(pair().made("callee", &code));
    assert_eq!(server.post("/c/callee/stock/end", &json!({})).json(), json!(1));
    assert_eq!(error(&end(&server, "well")), json!("unavailable"));
    assert_eq!(call(&server, "desk/sum", json!({"to": 1, "how": ""})).status, 422);
}

#[test]
fn a_callee_in_a_version_that_breaks_nothing_is_called() {
    let code = wat::parse_str(OTHER.replace("stock@1.2.0", "stock@2.0.0")).expect("a component");
    let server = start(pair().made("callee", &code));
    assert_eq!(error(&end(&server, "well")), json!("unavailable"));
}

#[test]
fn a_callee_over_its_quota_is_not_called() {
    let server = start(pair().policy("callee", "schema = 1\n[quota]\nrequests_per_min_max = 1\n"));
    assert_eq!(end(&server, "well").status, 200);
    let reply = end(&server, "well");
    assert_eq!((reply.status, error(&reply)), (429, json!("quota")));
}

#[test]
fn a_callee_without_a_place_is_busy_at_once() {
    let server = start(pair().policy("callee", &NARROW.replace("queue_max = 0", "queue_max = 100")));
    let client = wait_forever(&server, "callee");
    let reply = eventually(|| Some(end(&server, "well")).filter(|reply| reply.status != 200));
    assert_eq!((reply.status, error(&reply)), (503, json!("busy")));
    drop(client);
    until_free(&server);
}

#[test]
fn a_callee_has_no_more_time_than_its_own_policy_and_its_caller_have() {
    let short = "[limits]\nwall_ms_max = 400\n";
    for (caller, callee) in [("", short), (short, "")] {
        let setup = pair().policy("caller", &format!("{CALLS}{caller}")).policy("callee", &format!("schema = 1\n{callee}"));
        let server = start(setup);
        assert_eq!(error(&end(&server, "forever")), json!("deadline"));
        assert_eq!(end(&server, "well").status, 200);
    }
}

#[test]
fn components_do_not_call_one_another_in_a_circle() {
    let server = start(link(link(pair(), "one", "two"), "two", "one"));
    let reply = server.post("/c/one/stock/end", &json!({"how": "well"}));
    assert_eq!(error(&reply), json!("cycle"));
}

#[test]
fn a_request_leads_through_so_many_components_and_no_more() {
    let setup = (1..=8).fold(pair(), |setup, number| match number {
        8 => link(setup, "c8", "callee"),
        number => link(setup, &format!("c{number}"), &format!("c{}", number + 1)),
    });
    let server = start(setup);
    let through = |first: &str| server.post(&format!("/c/{first}/stock/end"), &json!({"how": "well"}));
    assert_eq!(through("c2").json(), json!(7), "seven, and the callee");
    assert_eq!(error(&through("c1")), json!("too_deep"));
}

#[test]
fn a_callee_behind_guards_is_called_by_http_alone() {
    let server = start(pair().guest("guard").policy("callee", "schema = 1\n[guard]\noutput = [\"guard\"]\n"));
    assert_eq!(error(&end(&server, "well")), json!("denied"));
    assert_eq!(server.post("/c/callee/stock/end", &json!({"how": "well"})).json(), json!(7));
}

/// Who may not ask the callee has nobody ask it for them.
#[test]
fn a_callers_key_holds_for_what_is_called_for_it() {
    let setup = pair().configure(|config| config.auth.mode = AuthMode::Required);
    let [all, caller] = ["caller,callee", "caller"].map(|components| key(&setup, components));
    let server = start(setup);
    let ask = |key: &str| -> Reply {
        let headers = [("x-api-key", key), ("content-type", "application/json")];
        server.send("POST", "/c/caller/stock/end", &headers, br#"{"how":"well"}"#)
    };
    assert_eq!(ask(&all).json(), json!(7));
    assert_eq!((ask(&caller).status, error(&ask(&caller))), (403, json!("denied")));
}

fn key(setup: &Setup, components: &str) -> String {
    let new = NewKey {
        name: String::new(),
        tenant: "acme".parse().expect("a name"),
        components: components.parse().expect("names"),
        models: Selection::All,
        is_admin: false,
        labels: Labels::default(),
        seconds: None,
    };
    let (key, text) = new.make(1_700_000_000).expect("a key");
    Keys::change(&setup.config.keys_file(), |keys| keys.add(key)).expect("the file takes it");
    text
}

/// Two components that hold their last place and want one in each other's: neither waits, so nobody is stuck.
#[test]
fn components_that_are_full_do_not_wait_for_one_another() {
    let narrow = |callee: &str| format!("{NARROW}[call]\nallow = [\"{callee}\"]\n");
    let setup =
        link(link(pair(), "one", "two"), "two", "callee").policy("one", &narrow("two")).policy("two", &narrow("callee"));
    let server = start(setup.policy("callee", NARROW));
    let client = occupy(&server, "two");
    let reply = server.post("/c/one/stock/end", &json!({"how": "well"}));
    assert_eq!(error(&reply), json!("busy"));
    drop(client);
    until_free(&server);
    eventually(|| end_through(&server, "one").filter(|answer| *answer == json!(7)));
}

fn end_through(server: &TestServer, first: &str) -> Option<Value> {
    let reply = server.post(&format!("/c/{first}/stock/end"), &json!({"how": "well"}));
    (reply.status == 200).then(|| reply.json())
}
