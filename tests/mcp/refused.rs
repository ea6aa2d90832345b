//! What is not taken.

use serde_json::{Value, json};

use super::{Rpc, server};

const HEADERS: [(&str, &str); 2] = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];

fn post(body: &str) -> (u16, Value) {
    let reply = server().send("POST", "/mcp", &HEADERS, body.as_bytes());
    (reply.status, reply.json())
}

#[test]
fn a_body_that_is_no_message_is_an_error_of_json_rpc() {
    for (body, code, id) in [
        ("", -32700, Value::Null),
        ("{\"jsonrpc\": ", -32700, Value::Null),
        ("[]", -32600, Value::Null),
        ("[{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"ping\"}]", -32600, Value::Null),
        ("{\"id\": 4, \"jsonrpc\": \"1.0\", \"method\": \"ping\"}", -32600, json!(4)),
        ("{\"id\": 4, \"jsonrpc\": \"2.0\"}", -32600, json!(4)),
        ("{\"id\": {}, \"jsonrpc\": \"2.0\", \"method\": \"ping\"}", -32600, json!({})),
        ("{\"id\": 4, \"jsonrpc\": \"2.0\", \"result\": {}}", -32600, Value::Null),
    ] {
        let (status, answer) = post(body);
        assert!((400..500).contains(&status), "{status} {body}");
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{body}: {answer}");
    }
}

#[test]
fn what_is_unknown_or_does_not_fit_is_an_error_of_its_request() {
    let client = Rpc::new(server());
    let code = |method: &str, params: Value| client.ask(method, &params)["error"]["code"].clone();
    assert_eq!(code("resources/read", json!({"uri": "file:///etc/passwd"})), -32601);
    assert_eq!(code("no/such/method", json!({})), -32601);
    assert_eq!(code("tools/call", json!({"name": "types__no__such"})), -32602);
    assert_eq!(code("tools/call", json!({"name": ""})), -32602);
    assert_eq!(code("tools/list", json!({"cursor": "not one of ours"})), -32602);
    for params in [json!({}), json!({"name": 3}), json!({"name": "types__calls__seven", "arguments": [1]})] {
        assert_eq!(code("tools/call", params.clone()), -32602, "{params}");
    }
}

#[test]
fn only_messages_come_and_only_by_post() {
    for method in ["GET", "DELETE", "PUT"] {
        let reply = server().send(method, "/mcp", &[("accept", "text/event-stream")], b"");
        assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{method}");
    }
    let ping = b"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"ping\"}";
    let send = |headers: &[(&str, &str)], body: &[u8]| server().send("POST", "/mcp", headers, body).status;
    assert_eq!(send(&HEADERS, ping), 200);
    assert_eq!(send(&[("content-type", "text/plain"), HEADERS[1]], ping), 415);
    assert_eq!(send(&[HEADERS[0], ("accept", "application/json")], ping), 406);
    assert_eq!(send(&[HEADERS[0], HEADERS[1], ("mcp-protocol-version", "1999-01-01")], ping), 400);
    assert_eq!(send(&HEADERS, &vec![b' '; (4 << 20) + 1]), 413);
}

#[test]
fn a_web_page_of_another_origin_is_not_answered() {
    let ping = b"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"ping\"}";
    let from = |origin: &str| server().send("POST", "/mcp", &[HEADERS[0], HEADERS[1], ("origin", origin)], ping);
    assert_eq!(from("https://page.example").status, 403);
    assert_eq!(from(&format!("http://{}", server().address)).status, 200);
}
