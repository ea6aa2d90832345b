//! Streams from one component to another.

use serde_json::json;

use super::{NARROW, PATIENT, begin, call, error, pair, start, until_free};

#[test]
fn a_stream_comes_whole_with_what_its_end_says() {
    let server = start(pair());
    let sum = |to: u32, how: &str| call(&server, "desk/sum", json!({"to": to, "how": how}));
    for to in [0, 1, 64, 1_000, 50_000_u32] {
        let whole = u64::from(to) * u64::from(to.saturating_sub(1)) / 2;
        assert_eq!(sum(to, "well").json(), json!(format!("{to} {whole} Ok({to})")));
    }
    assert_eq!(sum(10, "error").json(), json!("10 45 Err(\"as was asked\")"));
    assert_eq!(error(&sum(10, "refused")), json!("as was asked"));
}

#[test]
fn a_callee_that_traps_in_its_stream_is_an_error_at_the_end() {
    let server = start(pair());
    let reply = call(&server, "desk/sum", json!({"to": 10, "how": "trap"}));
    assert_eq!(reply.json(), json!("10 45 Err(\"the component failed\")"));
    assert_eq!(call(&server, "desk/sum", json!({"to": 3, "how": "well"})).json(), json!("3 3 Ok(3)"));
}

#[test]
fn a_stream_without_an_end_that_could_say_so_is_never_cut_off_in_silence() {
    let server = start(pair());
    let weigh = |length: u32, how: &str| call(&server, "desk/weigh", json!({"length": length, "how": how}));
    for length in [0, 1, 300_000] {
        assert_eq!(weigh(length, "well").json(), json!(length));
    }
    assert!(weigh(1_000, "trap").status >= 500, "the caller fails as well");
}

#[test]
fn a_stream_that_its_reader_drops_stops_the_callee() {
    let server = start(pair().policy("callee", NARROW).policy("caller", PATIENT));
    until_free(&server);
    for items in [0, 1, 1_000] {
        let reply = call(&server, "desk/taste", json!({"items": items}));
        assert_eq!(reply.json(), json!("Err(\"the call was given up\")"));
        until_free(&server);
    }
}

#[test]
fn a_stream_is_passed_on_to_the_client() {
    let server = start(pair());
    let events = |how: &str| call(&server, "stock/count", json!({"to": 150, "how": how}));
    let whole = events("well");
    let numbers = (0..150).map(|number| format!("data: {number}\n\n")).collect::<String>();
    assert_eq!(whole.text(), format!("{numbers}event: done\ndata: 150\n\n"));
    let broken = begin(&server, "caller/stock/count", &json!({"to": 150, "how": "trap"})).read_to_end();
    assert!(!broken.contains("event: done") && !broken.ends_with("\r\n0\r\n\r\n"), "{broken}");
}

#[test]
fn a_client_that_leaves_a_stream_stops_both() {
    let server = start(pair().policy("callee", NARROW).policy("caller", PATIENT));
    until_free(&server);
    let mut client = begin(&server, "caller/stock/count", &json!({"to": u32::MAX, "how": ""}));
    client.read_until("data: 99\n");
    drop(client);
    until_free(&server);
}
