//! A caller's attempts to get a text past the guards.

use std::sync::Arc;

use serde_json::json;
use tests::{FakeInference, Setup, TestServer, Wire};

use super::{assert_blocked, echo};

const INPUT: &str = "schema = 1\n[guard]\ninput = [\"guard\"]\n";
const JSON: (&str, &str) = ("content-type", "application/json");
const TEXT: (&str, &str) = ("content-type", "text/plain");

/// Fails if a request was answered as if there were nothing in it: it has to be blocked, or refused as unreadable.
#[track_caller]
fn assert_stopped(server: &TestServer, headers: &[(&str, &str)], body: &[u8]) {
    let reply = server.send("POST", "/c/echo/upload", headers, body);
    let code = reply.json()["error"]["code"].clone();
    let is_stopped = (reply.status, &code) == (400, &json!("content_blocked"))
        || (reply.status, &code) == (415, &json!("uninspectable_body"));
    assert!(is_stopped, "{headers:?} {}: {}", String::from_utf8_lossy(body), reply.text());
}

#[test]
fn no_field_or_header_switches_a_guard_off() {
    let server = echo(INPUT);
    for field in [
        json!({"guard": false}),
        json!({"guards": []}),
        json!({"guardrails": null, "moderation": "off"}),
        json!({"metadata": {"skip_guards": true}}),
        json!({"extra_body": {"guard": {"input": []}}}),
    ] {
        let mut body = json!({"input": "forbidden"});
        body.as_object_mut().expect("an object").extend(field.as_object().expect("an object").clone());
        assert_blocked(&server.post("/c/echo/echo", &body), "request");
    }
    for (name, value) in [
        ("x-guard", "off"),
        ("x-tessera-guard", "false"),
        ("x-request-id", "guard"),
        ("x-original-url", "/health"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-http-method-override", "GET"),
        ("upgrade", "h2c"),
        ("accept-encoding", "gzip"),
        ("authorization", "Bearer root"),
    ] {
        assert_stopped(&server, &[JSON, (name, value)], b"{\"input\": \"forbidden\"}");
    }
}

#[test]
fn no_route_or_method_goes_around_a_guard() {
    let routes = |manifest: String| manifest.replacen("routes = []", "routes = [\"* /v1/*\", \"POST /x\"]", 1);
    let policy = format!("{INPUT}[routes]\nallow = [\"* /*\"]\n");
    let setup = Setup::new(Arc::new(FakeInference::default())).guest_as("echo", "echo", routes).guest("guard");
    let server = setup.policy("echo", &policy).start();
    assert_eq!(server.failures, []);
    for path in [
        "/c/echo",
        "/c/echo/",
        "/c/echo/echo",
        "/c/echo/echo/",
        "/c/echo//echo",
        "/c/echo/./echo",
        "/c/echo/x/../echo",
        "/c/echo/%65cho",
        "/c/echo/echo?guard=off",
        "/v1/echo",
        "/v1/",
        "/v1",
        "/v1//echo",
        "/v1/..%2fecho",
        "/x",
    ] {
        for method in ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS", "QUERY"] {
            if path == "/x" && method != "POST" {
                continue; // nobody's
            }
            let reply = server.send(method, path, &[JSON], b"{\"input\": \"forbidden\"}");
            assert_blocked(&reply, "request");
        }
        assert_eq!(
            server.send("HEAD", path, &[JSON], b"{\"input\": \"forbidden\"}").status,
            if path == "/x" { 405 } else { 400 }
        );
    }
    for target in [
        "/c/echo/hello?q=forbidden",
        "/c/echo/hello?forbidden",
        "/c/echo/hello?q=for%62idden",
        "/c/echo/forbidden",
        "/v1/for%62idden?",
    ] {
        assert_blocked(&server.get(target), "request");
    }
}

#[test]
fn http_2_goes_through_the_guards_too() {
    let server = echo(INPUT);
    let mut wire = Wire::open(server.address);
    let header = |name: &str, value: &str| {
        // Literal, never indexed, not compressed: RFC 7541, section 6.2.3.
        let length = |text: &str| u8::try_from(text.len()).expect("short");
        [&[0x10, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
    };
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).expect("short");
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let head = [(":method", "POST"), (":scheme", "http"), (":path", "/c/echo/upload"), (":authority", "localhost"), TEXT];
    let head: Vec<u8> = head.iter().flat_map(|(name, value)| header(name, value)).collect();
    let (settings, headers) = (frame(4, 0, 0, b""), frame(1, 4, 1, &head));
    let (first, last) = (frame(0, 0, 1, b"this is for"), frame(0, 1, 1, b"bidden"));
    wire.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &settings, &headers, &first, &last].concat());
    wire.read_until("\"code\":\"content_blocked\"");
}

#[test]
fn no_spelling_of_json_hides_a_text() {
    let server = echo(INPUT);
    for body in [
        r#"{"input": "\u0066orbidden"}"#,
        r#"{"input": "harmless", "input": "forbidden"}"#,
        r#"{"forbidden": 1}"#,
        r#"{"\u0066orbidden": {"a": []}}"#,
        r#"[[[["forbidden"]]]]"#,
        r#"{"prompt": ["a", "forbidden"]}"#,
        r#"{"messages": [{"role": "forbidden", "content": null}]}"#,
        r#"{"tools": [{"function": {"description": "forbidden"}}]}"#,
        r#"{"content": [{"type": "text", "text": "forb"}, {"type": "text", "text": "idden"}]}"#,
        r#"{"arguments": "{\"a\": \"\\u0066orbidden\"}"}"#,
        "{\"a\": 1}\n{\"b\": \"\\u0066orbidden\"}",
        "\u{feff}{\"input\": \"\\u0066orbidden\"}",
        "{\"input\": \"\\u0066orbidden\",}",
        "{\"input\": \"\\u0066orbidden\"} trailing",
        "// comment\n{\"input\": \"\\u0066orbidden\"}",
        "\"\\u0066orbidden\"",
    ] {
        assert_stopped(&server, &[JSON], body.as_bytes());
    }
    for (body, seen) in [
        (r#"{"a": "forbidden", "a": "\u0062" }"#, r#"{"a":"b"}"#),
        (
            r#"{"z": "\u00e9\/", "a": [1.0, 10000000000000000000, -0.5e-3]}"#,
            r#"{"z":"é/","a":[1.0,10000000000000000000,-0.0005]}"#,
        ),
    ] {
        let reply = server.send("POST", "/c/echo/upload", &[JSON], body.as_bytes());
        assert_eq!(reply.text(), seen, "the component gets what was checked");
    }
}

#[test]
fn no_content_type_or_encoding_hides_a_text() {
    let server = echo(INPUT);
    let json = br#"{"input": "\u0066orbidden"}"#;
    for said in
        ["text/plain", "application/octet-stream", "image/png", "application/x-www-form-urlencoded", "x", "multipart/form-data"]
    {
        assert_stopped(&server, &[("content-type", said)], json);
    }
    assert_stopped(&server, &[], json);
    assert_stopped(&server, &[JSON, ("content-type", "text/plain")], json);
    for (said, body) in [
        ("application/x-www-form-urlencoded", &b"a=for%62idden"[..]),
        ("application/x-www-form-urlencoded", b"for%62idden=a"),
        ("application/x-www-form-urlencoded", b"{\"a\": \"for%62idden\"}"),
        ("text/plain; charset=utf-16le", b"f\0o\0r\0b\0i\0d\0d\0e\0n\0"),
        ("text/plain", b"f\0o\0r\0b\0i\0d\0d\0e\0n\0"),
        ("text/plain", b"\xff\xfeforbidden"),
        ("text/plain; charset=utf-7", b"+AGY-orbidden"),
        ("application/json; charset=utf-16", b"{}"),
        ("application/octet-stream", b"forbidden"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nforbidden\r\n--x--"),
    ] {
        assert_stopped(&server, &[("content-type", said)], body);
    }
    for encoding in ["gzip", "deflate", "br", "x", "identity, gzip"] {
        assert_stopped(&server, &[JSON, ("content-encoding", encoding)], b"{}");
    }
}

#[test]
fn a_text_in_chunks_is_checked_whole() {
    let server = echo(INPUT);
    let mut wire = Wire::request(
        server.address,
        "POST /c/echo/upload",
        &["transfer-encoding: chunked", "content-type: text/plain", "connection: close"],
    );
    for chunk in ["this is f", "orbid", "den", ""] {
        wire.send_chunk(chunk.as_bytes());
    }
    let answer = wire.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("content_blocked"), "{answer}");
    let long = format!("{} 555-1234", "long ".repeat(100_000));
    let reply = server.send("POST", "/c/echo/upload", &[TEXT], long.as_bytes());
    assert_eq!(reply.text(), long.replace("555-1234", "[phone]"));
}

#[test]
fn the_limit_on_bodies_holds_before_guards() {
    let server = echo(&format!("{INPUT}[limits]\nrequest_body_bytes_max = 1000\n"));
    let reply = server.send("POST", "/c/echo/upload", &[TEXT], &[b'a'; 1001]);
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (413, &json!("body_too_large")));
    let mut wire =
        Wire::request(server.address, "POST /c/echo/upload", &["transfer-encoding: chunked", "content-type: text/plain"]);
    wire.send_chunk(&[b'a'; 1001]);
    wire.read_until("body_too_large");
}

#[test]
fn components_on_standard_http_are_guarded_too() {
    for guest in ["wasi-http-02", "wasi-http-03"] {
        let setup = Setup::new(Arc::new(FakeInference::default())).guest(guest).guest("guard");
        let server = setup.policy(guest, INPUT).start();
        let path = format!("/c/{guest}/");
        assert_blocked(&server.send("POST", &path, &[TEXT], b"forbidden"), "request");
        assert_eq!(server.send("POST", &path, &[TEXT], b"call 555-1234").text(), "call [phone]");
    }
}

#[test]
fn every_interface_of_chat_is_guarded() {
    let fake = Arc::new(FakeInference::default());
    let policy = std::fs::read_to_string(tests::root().join("policies/chat.toml")).expect("a bundled policy");
    let setup = Setup::new(fake.clone()).bundled("chat").guest("guard");
    let server = setup.policy("chat", &format!("{policy}\n[guard]\ninput = [\"guard\"]\n")).start();
    assert_eq!(server.failures, []);
    let message = |content: serde_json::Value| json!({"messages": [{"role": "user", "content": content}]});
    let parts = json!([{"type": "text", "text": "this is forb"}, {"type": "text", "text": "idden"}]);
    for prefix in ["", "/c/chat"] {
        for body in
            [message(json!("forbidden")), message(json!([{"type": "text", "text": "forbidden"}])), message(parts.clone())]
        {
            assert_blocked(&server.post(&format!("{prefix}/v1/chat/completions"), &body), "request");
        }
        for body in [
            json!({"prompt": "forbidden"}),
            json!({"prompt": "x", "stop": "forbidden"}),
            json!({"prompt": "x", "user": "forbidden"}),
        ] {
            assert_blocked(&server.post(&format!("{prefix}/v1/completions"), &body), "request");
        }
    }
    assert_eq!(fake.counts().jobs, 0, "nothing was generated");
    let reply = server.post("/v1/chat/completions", &message(json!("call 555-1234 now"))).json();
    assert_eq!(reply["choices"][0]["message"]["content"], "call [phone] now");
}
