//! Requests to other hosts, by all the ways that there are: `tessera:http`, and `wasi:http` 0.2 and 0.3. What an attacker tries
//! is in `tests/attack/ssrf.rs`.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use tests::{FakeInference, Reply, Setup, TestServer, Wire};

use super::outside::{Host, denials, denied_once, govern, granted, used};
use crate::attack::upstream::Upstream;

/// A guest for each way. They take the same request in two forms, see [`send`].
const WAYS: [&str; 3] = ["outbound", "wasi-http-02", "wasi-http-03"];

/// All of them under one policy.
fn setup(policy: &str) -> Setup {
    let setup = Setup::new(Arc::new(FakeInference::default()));
    WAYS.into_iter().fold(setup, |setup, way| {
        // What is not about requests is there so that the guest loads.
        let own = if way == "outbound" { "[secret]\n" } else { "" };
        setup.guest(way).policy(way, &format!("schema = 1\n{policy}\n{own}"))
    })
}

#[track_caller]
fn start(policy: &str) -> TestServer {
    let server = setup(policy).start();
    assert_eq!(server.failures, []);
    server
}

/// Has a guest send a request without a body, and gives what it answers: the other host's status and body, or its error.
fn send(server: &TestServer, way: &str, method: &str, url: &str) -> Reply {
    match way {
        "outbound" => server.post("/c/outbound/proxy", &json!({"method": method, "url": url})),
        way => server.send(method, &format!("/c/{way}/outgoing?url={url}"), &[], b""),
    }
}

/// The same with more that only `tessera:http` has, and all of the answer.
fn ask(server: &TestServer, request: &Value) -> Value {
    server.post("/c/outbound/http", request).json()
}

/// A request on a connection of its own, whose client may go away. A POST, with a body if `headers` say so.
fn on_a_wire(server: &TestServer, way: &str, url: &str, headers: &[&str]) -> Wire {
    let path = if way == "outbound" { "relay" } else { "outgoing" };
    Wire::request(server.address, &format!("POST /c/{way}/{path}?url={url}"), headers)
}

/// The error's name as a guest sees it, in words of `tessera:http`; none if there is none.
fn error(way: &str, reply: &Reply) -> Option<String> {
    if way == "outbound" {
        let is_error = reply.status >= 400 && reply.text().starts_with('{');
        return is_error.then(|| reply.json()["error"]["code"].as_str().unwrap_or_default().to_owned());
    }
    let names = [
        ("HttpRequestDenied", "denied"),
        ("ConnectionLimitReached", "quota"),
        ("HttpResponseTimeout", "timeout"),
        ("HttpResponseHeaderSectionSize", "too-long"),
        ("HttpRequestUriInvalid", "invalid"),
    ];
    let found = names.into_iter().find(|(name, _)| reply.text().contains(name));
    found.map(|(_, code)| code.to_owned())
}

#[track_caller]
fn assert_passed(reply: &Reply) {
    assert_eq!((reply.status, reply.text().as_str(), reply.is_broken), (200, "ok", false));
}

#[track_caller]
fn assert_denied(way: &str, reply: &Reply) {
    assert_eq!((reply.status, error(way, reply).as_deref()), (502, Some("denied")), "{way}: {}", reply.text());
}

/// First lines of the requests that came.
fn asked_of(upstream: &Upstream) -> Vec<String> {
    let line = |head: &String| head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    upstream.heads().iter().map(line).collect()
}

#[test]
fn a_request_reaches_the_other_host_as_it_was_written_and_nothing_is_added() {
    let host = Host::start();
    let server = start(&host.granted());
    let request = json!({
        "method": "POST", "url": host.url("/a%20b/ok?q=1&q=two#part"), "body": "question",
        "headers": [["X-One", "1"], ["x-two", "a"], ["x-two", "b"]],
    });
    let reply = std::thread::scope(|scope| {
        let asked = scope.spawn(|| ask(&server, &request));
        let mut wire = host.accept();
        wire.read_until("question");
        let received = wire.received();
        let (head, body) = received.split_once("\r\n\r\n").expect("a head");
        let mut lines: Vec<&str> = head.lines().collect();
        lines[1..].sort_unstable();
        let address = host.url("").replace("http://", "host: ");
        let expected = ["POST /a%20b/ok?q=1&q=two HTTP/1.1", "content-length: 8", &address, "x-one: 1", "x-two: a", "x-two: b"];
        assert_eq!((lines.as_slice(), body), (expected.as_slice(), "question"));
        wire.send(b"HTTP/1.1 418 Teapot\r\nX-Answer: 1\r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: 6\r\n\r\nanswer");
        asked.join().expect("is answered")
    });
    assert_eq!((&reply["status"], &reply["body"]), (&json!(418), &json!("answer")), "{reply}");
    assert_eq!((&reply["headers"]["x-answer"], &reply["headers"]["set-cookie"]), (&json!(["1"]), &json!(["a", "b"])));
    assert_eq!(reply["url"], host.url("/a%20b/ok?q=1&q=two"));
}

#[test]
fn bodies_stream_both_ways_while_they_come() {
    for way in WAYS {
        let host = Host::start();
        let server = start(&host.granted());
        let headers = ["transfer-encoding: chunked", "connection: close"];
        let mut client = on_a_wire(&server, way, &host.url("/"), &headers);
        client.send_chunk(b"first");
        let mut wire = host.accept();
        wire.read_until("first");
        client.send_chunk(b"second");
        wire.read_until("second");
        client.send_chunk(b"");
        wire.read_until("\r\n0\r\n\r\n");
        wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for piece in ["third", "fourth"] {
            wire.send_chunk(piece.as_bytes());
            client.read_until(piece);
        }
        wire.send_chunk(b"");
        assert!(client.read_to_end().ends_with("\r\n0\r\n\r\n"), "{way}");
    }
}

#[test]
fn a_body_that_breaks_off_on_its_way_back_never_gives_a_clean_end() {
    for way in WAYS {
        let host = Host::start();
        let server = start(&host.granted());
        let mut client = on_a_wire(&server, way, &host.url("/"), &["content-length: 0", "connection: close"]);
        let mut wire = host.accept();
        wire.read_until("\r\n\r\n");
        wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        client.read_until("first");
        drop(wire);
        assert!(!client.read_to_end().ends_with("\r\n0\r\n\r\n"), "{way}");
    }
}

/// Other hosts of which each is granted in another way, and the policy that does.
struct Others {
    /// GET below `/ok`, by its address and by its name.
    reading: Upstream,
    /// POST alone.
    posting: Upstream,
    /// `https` alone, which it does not speak.
    encrypted: Upstream,
    /// Nothing.
    unknown: Upstream,
}

impl Others {
    fn start() -> Others {
        let upstream = Upstream::start;
        Others { reading: upstream(), posting: upstream(), encrypted: upstream(), unknown: upstream() }
    }

    fn policy(&self) -> String {
        let [reading, posting, encrypted] = [&self.reading, &self.posting, &self.encrypted].map(Upstream::port);
        format!(
            "[http]
            allow = [
                {{ host = \"127.0.0.1\", schemes = [\"http\"], ports = [{reading}], methods = [\"GET\"], paths = [\"/ok\"] }},
                {{ host = \"localhost\", schemes = [\"http\"], ports = [{reading}], methods = [\"GET\"], paths = [\"/ok\"] }},
                {{ host = \"127.0.0.2\", schemes = [\"http\"], ports = [{reading}] }},
                {{ host = \"127.0.0.1\", schemes = [\"http\"], ports = [{posting}], methods = [\"POST\"] }},
                {{ host = \"127.0.0.1\", ports = [{encrypted}] }},
            ]
            private_networks = [\"127.0.0.1/32\", \"::1/128\"]
            "
        )
    }

    /// What is asked, and why it is denied if it is.
    fn cases(&self) -> Vec<(&'static str, String, Option<&'static str>)> {
        let Others { reading, posting, encrypted, unknown } = self;
        let at = |host: &str, path: &str| format!("http://{host}:{}{path}", reading.port());
        let (listed, private) = (Some("not_listed"), Some("private_address"));
        vec![
            ("GET", reading.url("/ok"), None),
            ("GET", reading.url("/ok/below?x=1"), None),
            ("GET", at("localhost", "/ok"), None),
            ("GET", at("LOCALHOST", "/ok"), None),
            ("GET", at("0x7f.1", "/x/../ok"), None),
            ("POST", posting.url("/any/path"), None),
            ("GET", reading.url("/"), listed),
            ("GET", reading.url("/other"), listed),
            ("GET", reading.url("/okay"), listed),
            ("GET", reading.url("/OK"), listed),
            ("DELETE", reading.url("/ok"), listed),
            ("POST", reading.url("/ok"), listed),
            ("GET", posting.url("/any/path"), listed),
            ("GET", encrypted.url("/"), listed),
            ("GET", reading.url("/ok").replace("http:", "https:"), listed),
            ("GET", unknown.url("/ok"), listed),
            ("GET", "http://127.0.0.1/ok".into(), listed),
            ("GET", at("other.invalid", "/ok"), listed),
            ("GET", at("[::1]", "/ok"), listed),
            ("GET", at("127.0.0.2", "/ok"), private),
            ("GET", at("127.0.0.3", "/ok"), private),
            ("GET", at("0.0.0.0", "/ok"), private),
            ("GET", at("10.0.0.1", "/ok"), private),
            ("GET", at("169.254.169.254", "/ok"), Some("metadata_address")),
        ]
    }
}

#[test]
fn the_same_request_is_decided_in_the_same_way_however_it_is_sent() {
    for way in WAYS {
        let others = Others::start();
        let server = start(&others.policy());
        for (method, url, reason) in others.cases() {
            match reason {
                None => {
                    let reply = send(&server, way, method, &url);
                    assert_eq!((reply.status, reply.text().as_str()), (200, "ok"), "{way}: {method} {url}");
                }
                Some(reason) => {
                    let reply = denied_once(&server, (way, "http", reason), || send(&server, way, method, &url));
                    let told = error(way, &reply);
                    assert_eq!(
                        (reply.status, told.as_deref()),
                        (502, Some("denied")),
                        "{way}: {method} {url}: {}",
                        reply.text()
                    );
                    assert!(!reply.text().contains(reason) && !reply.text().contains("127."), "{}", reply.text());
                }
            }
        }
        let expected = ["GET /ok", "GET /ok/below?x=1", "GET /ok", "GET /ok", "GET /ok"];
        assert_eq!(asked_of(&others.reading), expected, "{way}");
        assert_eq!(asked_of(&others.posting), ["POST /any/path"], "{way}");
        assert_eq!((asked_of(&others.encrypted), asked_of(&others.unknown)), (Vec::new(), Vec::new()), "{way}");
    }
}

#[test]
fn a_name_is_denied_in_the_same_words_as_an_address_when_it_stands_for_one_that_is_private() {
    let upstream = Upstream::start();
    let named = "[http]\nallow = [{ host = \"localhost\", schemes = [\"http\"], ports = [PORT] }]\n";
    let server = start(&named.replace("PORT", &upstream.port().to_string()));
    for way in WAYS {
        let url = upstream.url("/ok").replace("127.0.0.1", "localhost");
        let by_name = send(&server, way, "GET", &url);
        // A name may stand for several addresses, each of which is told.
        assert!(denials(&server, way, "http", "private_address") > 0, "{way}");
        let by_address = send(&server, way, "GET", &upstream.url("/ok"));
        assert_denied(way, &by_name);
        assert_eq!(by_name.text(), by_address.text());
    }
    assert_eq!(asked_of(&upstream), [""; 0]);
}

#[test]
fn without_a_section_the_typed_interface_does_not_load_and_the_standard_one_is_denied() {
    let server = setup("").start();
    assert!(server.failure("outbound").contains("[http]\nallow = [{ host ="), "{}", server.failure("outbound"));
    assert_eq!(server.failures.len(), 1);
    let upstream = Upstream::start();
    for way in &WAYS[1..] {
        let denied = denied_once(&server, (way, "http", "no_section"), || send(&server, way, "GET", "http://1.1.1.1/"));
        assert_denied(way, &denied);
        let local = send(&server, way, "GET", &upstream.url("/ok"));
        assert_eq!(local.text(), denied.text());
    }
    assert_eq!(asked_of(&upstream), [""; 0]);
}

#[test]
fn what_the_manifest_does_not_want_is_not_granted() {
    let upstream = Upstream::start();
    let guest = "wasi-http-02";
    let change = |manifest: String| manifest.replacen("[\"http\"]", "[]", 1);
    let setup = Setup::new(Arc::new(FakeInference::default())).guest_as(guest, guest, change);
    let server = setup.policy(guest, &format!("schema = 1\n{}", granted(upstream.port()))).start();
    assert_denied(guest, &send(&server, guest, "GET", &upstream.url("/ok")));
    assert_eq!(asked_of(&upstream), [""; 0]);
}

#[test]
fn a_policy_without_the_host_counts_for_the_next_request() {
    let upstream = Upstream::start();
    let policy = format!("schema = 1\n{}\n[secret]\n", granted(upstream.port()));
    let setup = setup(&granted(upstream.port()));
    let files: Vec<PathBuf> = WAYS.iter().map(|way| setup.config.policies.join(format!("{way}.toml"))).collect();
    let server = setup.start();
    for (way, file) in WAYS.into_iter().zip(&files) {
        assert_passed(&send(&server, way, "GET", &upstream.url("/ok")));
        govern(&server, file, &policy.replace("127.0.0.1\"", "example.com\""));
        assert_denied(way, &send(&server, way, "GET", &upstream.url("/ok")));
        govern(&server, file, &policy);
        assert_passed(&send(&server, way, "GET", &upstream.url("/ok")));
    }
    assert_eq!(asked_of(&upstream).len(), 2 * WAYS.len());
}

#[test]
fn a_rule_forbids_what_the_policy_grants() {
    let upstream = Upstream::start();
    let rule = "forbid (principal, action == Action::\"http\", resource)
                unless { resource.path like \"/ok*\" && context.method == \"GET\" };";
    let setup = setup(&granted(upstream.port()));
    std::fs::write(setup.config.policies.join("rules.cedar"), rule).expect("writes");
    let server = setup.start();
    for way in WAYS {
        assert_passed(&send(&server, way, "GET", &upstream.url("/ok")));
        for (method, path) in [("GET", "/other"), ("POST", "/ok")] {
            let ask = || send(&server, way, method, &upstream.url(path));
            assert_denied(way, &denied_once(&server, (way, "http", "rule"), ask));
        }
    }
    assert_eq!(asked_of(&upstream), ["GET /ok"; 3]);
}

#[test]
fn who_asks_for_no_redirects_gets_them_as_answers_and_wasi_http_always_does() {
    let upstream = Upstream::start();
    let server = start(&granted(upstream.port()));
    for way in WAYS {
        let url = upstream.url("/redirect?to=/ok");
        let answer = on_a_wire(&server, way, &url, &["content-length: 0", "connection: close"]).read_to_end();
        assert!(answer.starts_with("HTTP/1.1 302 "), "{way}: {answer}");
    }
    assert_eq!(asked_of(&upstream), ["POST /redirect?to=/ok"; 3]);
}

#[test]
fn a_redirect_to_another_origin_takes_neither_body_nor_credentials_along() {
    let (upstream, other) = (Upstream::start(), Upstream::start());
    let policy = format!(
        "[http]\nallow = [{{ host = \"127.0.0.1\", schemes = [\"http\"], ports = [{}, {}], methods = [\"GET\", \"POST\"] }}]\n\
         private_networks = [\"127.0.0.1/32\"]\n",
        upstream.port(),
        other.port()
    );
    let headers = json!([["authorization", "mine"], ["cookie", "mine"], ["x-kept", "1"], ["content-type", "text/plain"]]);
    let url = upstream.url(&format!("/redirect?to={}", other.url("/ok")));
    let request = json!({"method": "POST", "url": url, "headers": headers, "body": "mine", "redirects_max": 1});
    let reply = ask(&start(&policy), &request);
    assert_eq!((&reply["status"], &reply["url"]), (&json!(200), &json!(other.url("/ok"))), "{reply}");
    assert!(upstream.heads()[0].contains("authorization: mine"), "{:?}", upstream.heads());
    let head = other.heads().concat();
    assert!(head.starts_with("GET /ok ") && head.contains("x-kept: 1"), "{head}");
    assert!(!head.contains("mine") && !head.contains("content-"), "{head}");
}

#[test]
fn a_redirect_to_what_is_not_granted_is_denied_once_and_nothing_is_sent() {
    let (upstream, other) = (Upstream::start(), Upstream::start());
    let server = start(&granted(upstream.port()));
    let url = upstream.url(&format!("/redirect?to={}", other.url("/ok")));
    let follow = || ask(&server, &json!({"url": url, "redirects_max": 3}));
    let reply = denied_once(&server, ("outbound", "http", "not_listed"), follow);
    assert_eq!(reply["error"]["code"], "denied", "{reply}");
    assert_eq!((asked_of(&upstream).len(), asked_of(&other).len()), (1, 0));
}

#[test]
fn bytes_beyond_a_minutes_quota_are_not_sent() {
    for way in WAYS {
        let upstream = Upstream::start();
        let server = start(&format!("{}quota.egress_bytes_per_min_max = 80\n", granted(upstream.port())));
        assert_passed(&send(&server, way, "GET", &upstream.url("/ok")));
        let sent = used(&server, way, "egress_bytes");
        assert!((40..80).contains(&sent), "{way}: {sent} bytes");
        let reply = denied_once(&server, (way, "http", "quota"), || send(&server, way, "GET", &upstream.url("/ok")));
        match way {
            "outbound" => {
                assert_eq!((reply.status, error(way, &reply).as_deref()), (429, Some("quota")));
                assert!(reply.json()["error"]["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{}", reply.text());
            }
            _ => assert_denied(way, &reply),
        }
        assert_eq!((asked_of(&upstream).len(), used(&server, way, "egress_bytes")), (1, sent), "{way}");
        assert_eq!(used(&server, way, "over_quota"), 1, "{way}");
    }
}

#[test]
fn a_body_that_is_longer_than_the_policy_allows_breaks_off() {
    let upstream = Upstream::start();
    let url = upstream.url("/ok"); // two bytes
    let exact = start(&format!("{}http.response_body_bytes_max = 2\n", granted(upstream.port())));
    let short = start(&format!("{}http.response_body_bytes_max = 1\n", granted(upstream.port())));
    for way in WAYS {
        assert_passed(&send(&exact, way, "GET", &url));
        let answer = on_a_wire(&short, way, &url, &["content-length: 0", "connection: close"]).read_to_end();
        assert!(!answer.contains("ok") && !answer.ends_with("\r\n0\r\n\r\n"), "{way}: {answer}");
    }
    assert_eq!(upstream.heads().len(), 2 * WAYS.len());
    assert_eq!(ask(&short, &json!({"url": url}))["error"]["code"], "too-long");
}

#[test]
fn a_head_that_is_longer_than_the_policy_allows_is_refused() {
    for way in WAYS {
        let host = Host::start();
        let (server, url) = (start(&format!("{}http.response_header_bytes_max = 10000\n", host.granted())), host.url("/"));
        let reply = std::thread::scope(|scope| {
            let asked = scope.spawn(|| send(&server, way, "GET", &url));
            let mut wire = host.accept();
            wire.read_until("\r\n\r\n");
            // Not one byte more than is read, so that the connection is not reset under the test.
            let long = format!("HTTP/1.1 200 OK\r\nx-long: {}", "x".repeat(20_000));
            wire.send(long.as_bytes());
            asked.join().expect("is answered")
        });
        assert_eq!((reply.status, error(way, &reply).as_deref()), (502, Some("too-long")), "{way}: {}", reply.text());
    }
}

#[test]
fn a_host_that_says_nothing_is_waited_for_as_long_as_the_guest_says() {
    let host = Host::start();
    let server = start(&host.granted());
    let reply = ask(&server, &json!({"url": host.url("/"), "timeout_ms": 500}));
    assert_eq!(reply["error"]["code"], "timeout", "{reply}");
    host.accept().wait_for_end();
}

#[test]
fn a_host_that_says_nothing_holds_a_request_up_to_its_deadline_and_no_longer() {
    for way in WAYS {
        let host = Host::start();
        let server = start(&format!("{}limits.wall_ms_max = 1000\n", host.granted()));
        let reply = send(&server, way, "GET", &host.url("/"));
        // The guest says so itself, or the host does where the guest is too slow for it.
        let is_told = reply.status == 504 || error(way, &reply).as_deref() == Some("timeout");
        assert!(is_told, "{way}: {} {}", reply.status, reply.text());
        host.accept().wait_for_end();
    }
}

#[test]
fn requests_beyond_those_that_may_be_under_way_are_refused_and_the_next_is_sent() {
    for way in WAYS {
        let host = Host::start();
        let (server, url) = (start(&format!("{}http.concurrency_max = 1\n", host.granted())), host.url("/"));
        std::thread::scope(|scope| {
            let first = scope.spawn(|| send(&server, way, "GET", &url));
            let mut wire = host.accept();
            wire.read_until("\r\n\r\n");
            let second = send(&server, way, "GET", &url);
            assert_eq!(error(way, &second).as_deref(), Some("quota"), "{way}: {}", second.text());
            host.assert_alone();
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
            assert_passed(&first.join().expect("is answered"));
            let third = scope.spawn(|| send(&server, way, "GET", &url));
            let mut wire = host.accept();
            wire.read_until("\r\n\r\n");
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
            assert_passed(&third.join().expect("is answered"));
        });
        assert_eq!(used(&server, way, "denied"), 0, "{way}: it may send, only not now");
    }
}

#[test]
fn a_client_that_goes_away_ends_the_exchange_with_the_other_host() {
    for way in WAYS {
        let host = Host::start();
        let server = start(&host.granted());
        let client = on_a_wire(&server, way, &host.url("/"), &["content-length: 0"]);
        let mut wire = host.accept();
        wire.read_until("\r\n\r\n");
        drop(client);
        wire.wait_for_end();

        // And so when the answer is on its way.
        let mut client = on_a_wire(&server, way, &host.url("/"), &["content-length: 0"]);
        let mut wire = host.accept();
        wire.read_until("\r\n\r\n");
        wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        client.read_until("first");
        drop(client);
        wire.wait_for_end();
    }
}

#[test]
fn in_the_mode_observe_a_request_that_is_not_listed_is_sent_and_told() {
    let upstream = Upstream::start();
    let server = start(&format!("mode = \"observe\"\n{}", granted(upstream.port())).replace("\"*\"", "\"POST\""));
    for way in WAYS {
        assert_passed(&send(&server, way, "GET", &upstream.url("/ok")));
        assert_eq!((used(&server, way, "denied"), used(&server, way, "would_deny")), (0, 1), "{way}");
    }
    // What no policy can grant is denied all the same.
    assert_denied("outbound", &send(&server, "outbound", "GET", "http://169.254.169.254/"));
    assert_eq!(denials(&server, "outbound", "http", "metadata_address"), 1);
}
