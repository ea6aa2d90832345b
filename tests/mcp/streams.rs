//! Tools that answer bit by bit, and calls that end before they are done.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use policy::audit::{Kind, Record};
use runtime::AUDIT_FOLDER;
use serde_json::{Value, json};
use tests::{FakeInference, Setup, TestServer, eventually};

use super::{Rpc, VERSION, messages, server, text};
use crate::audit::{CLOSED, entries};

fn call(tool: &str, arguments: &Value) -> Value {
    Rpc::new(server()).call(&format!("types__streams__{tool}"), arguments)
}

#[test]
fn a_stream_is_a_result_as_a_whole() {
    let counted = call("count", &json!({"until": 3}));
    assert_eq!((&counted["structuredContent"], text(&counted)), (&json!({"result": [1, 2, 3]}), "[1,2,3]"));
    assert_eq!(call("words", &json!({"text": "one two"}))["structuredContent"], json!({"result": "onetwo"}));
    assert_eq!(call("bytes", &json!({"text": "abcd"}))["structuredContent"], json!({"result": "YWJjZA=="}));
    let story = call("story", &json!({"text": "one two", "fails": false}));
    assert_eq!(story["structuredContent"], json!({"result": "onetwo", "end": 2}));
    assert_eq!(call("count", &json!({"until": 0}))["structuredContent"], json!({"result": []}));
}

#[test]
fn a_client_that_wants_to_know_is_told_of_each_item() {
    let params = json!({"name": "types__streams__count", "arguments": {"until": 3}, "_meta": {"progressToken": "mine"}});
    let reply = Rpc::new(server()).send(&json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params}));
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    let told = |item: u32| {
        let params = json!({"progressToken": "mine", "progress": f64::from(item), "message": item.to_string()});
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
    };
    let messages = messages(&reply);
    assert_eq!(messages[..3], [told(1), told(2), told(3)]);
    assert_eq!((&messages[3]["id"], &messages[3]["result"]["structuredContent"]), (&json!(9), &json!({"result": [1, 2, 3]})));
    assert_eq!(messages.len(), 4);
}

#[test]
fn a_stream_that_fails_is_an_error_of_its_tool() {
    let lost = call("story", &json!({"text": "one two", "fails": true}));
    assert_eq!((&lost["isError"], text(&lost)), (&json!(true), "the end is lost"));
    let refused = call("attempt", &json!({"until": 0}));
    assert_eq!((&refused["isError"], text(&refused)), (&json!(true), "there is nothing to count"));
    let fallen = call("fall", &json!({"after": 2}));
    assert_eq!(fallen["isError"], true, "{fallen}");
}

#[test]
fn a_cancelled_call_ends_and_only_its_own_session_cancels_it() {
    let server = TestServer::with_guest("types");
    let cancel = |session: &str| {
        let params = json!({"requestId": "long", "reason": "enough"});
        let message = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
        let reply = Rpc { session: Some(session), ..Rpc::new(&server) }.send(&message);
        assert_eq!((reply.status, reply.body.len()), (202, 0));
    };
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let client = Rpc { session: Some("one"), ..Rpc::new(&server) };
            let params = json!({"name": "types__calls__spin", "arguments": {}});
            client.send(&json!({"jsonrpc": "2.0", "id": "long", "method": "tools/call", "params": params})).json()
        });
        cancel("other");
        eventually(|| {
            cancel("one");
            running.is_finished().then_some(())
        });
        let answer = running.join().expect("an answer");
        assert_eq!(answer["error"], json!({"code": -32800, "message": "The call was cancelled."}));
    });
}

/// Calls a tool, reads this much of the answer and leaves; gives the last record of the request for the function.
fn leave(tool: &str, path: &str, params: &Value, bytes: usize) -> Record {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("types").configure(|config| config.audit = CLOSED);
    let log = setup.config.data.join(AUDIT_FOLDER);
    let server = setup.start();
    let mut params = params.clone();
    params["name"] = json!(tool);
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let mut client = TcpStream::connect(server.address).expect("connects");
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: application/json, \
         text/event-stream\r\nmcp-protocol-version: {VERSION}\r\ncontent-length: {}\r\n\r\n{message}",
        message.len()
    );
    client.write_all(head.as_bytes()).expect("sends");
    client.read_exact(&mut vec![0; bytes]).expect("the first items");
    if bytes == 0 {
        eventually(|| (server.metric("tessera_component_cpu_seconds_total{component=\"types\"}") > 0.02).then_some(()));
    }
    drop(client);
    let is_last = |record: &Record| record.target.as_deref() == Some(path) && record.reason.is_some();
    eventually(|| entries(&log).into_iter().map(|entry| entry.record).find(is_last))
}

#[test]
fn the_function_stops_when_its_client_has_left() {
    let params = json!({"arguments": {"until": u32::MAX}, "_meta": {"progressToken": 1}});
    let record = leave("types__streams__count", "/c/types/streams/count", &params, 1000);
    assert_eq!((record.kind, record.reason.as_deref()), (Kind::End, Some("nobody read it to its end")));
    let record = leave("types__calls__spin", "/c/types/calls/spin", &json!({"arguments": {}}), 0);
    assert_eq!((record.kind, record.reason.as_deref()), (Kind::Request, Some("the client left before an answer")));
    assert_eq!(record.status, None);
}
