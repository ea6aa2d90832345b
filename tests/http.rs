//! Bad input over HTTP, against the real model and the bundled components: each request is answered with a JSON error and the
//! fitting status, and the server's next answer is right.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tests::{FakeInference, Reply, Setup, TestServer, Wire, golden};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// A text of the goldens, and where its vector is among them.
const TEXT: &str = "lighthouse";
const TEXT_AT: usize = 7;

fn expected_vector() -> Vec<f32> {
    let bytes = std::fs::read(golden("minilm/vectors.f32")).expect("the golden file is there");
    let row = bytes.chunks_exact(4 * 384).nth(TEXT_AT).expect("there are so many texts");
    row.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn assert_vector(actual: &[f32]) {
    let expected = expected_vector();
    assert_eq!(actual.len(), expected.len());
    let off = actual.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-4, "the vector is off by {off}");
}

fn assert_next_answer_is_right() {
    let reply = TestServer::real().post("/v1/embeddings", &json!({"input": TEXT}));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let vector: Vec<f32> = serde_json::from_value(reply.json()["data"][0]["embedding"].clone()).expect("a vector");
    assert_vector(&vector);
}

/// Checks a refusal: its status, its type, and that it says something; then the next answer.
fn assert_refused(what: &str, status: u16, reply: &Reply) {
    assert_eq!(reply.status, status, "{what}: {}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"), "{what}");
    let error = &reply.json()["error"]; // OpenAI's shape, or TEI's
    let message = error["message"].as_str().or(error.as_str()).unwrap_or_default();
    assert!(message.len() > 5, "{what}: {}", reply.text());
    assert_next_answer_is_right();
}

#[test]
fn a_body_that_is_not_the_json_it_should_be_is_refused() {
    let deep = format!("{{\"input\": {}", "[".repeat(100_000));
    let server = TestServer::real();
    for (path, body, status) in [
        ("/v1/embeddings", b"{\"input\": \"x\"".as_slice(), 400),
        ("/v1/embeddings", b"", 400),
        ("/v1/embeddings", b"\xff\xfe", 400),
        ("/v1/embeddings", b"{\"input\": \"\xff\"}", 400),
        ("/v1/embeddings", b"{\"input\": \"a\"} trailing", 400),
        ("/v1/embeddings", b"{\"input\": \"\\ud800\"}", 400),
        ("/v1/embeddings", b"null", 400),
        ("/v1/embeddings", b"[]", 400),
        ("/v1/embeddings", deep.as_bytes(), 400),
        ("/embed", b"{\"inputs\": ", 400),
        ("/embed", b"7", 422),
        ("/v1/reranking", b"{oops", 400),
        ("/v1/reranking", b"[]", 400),
        ("/rerank", b"", 400),
        ("/rerank", deep.as_bytes(), 400),
    ] {
        let reply = server.send("POST", path, JSON, body);
        assert_refused(&format!("{path} {:?}", String::from_utf8_lossy(&body[..body.len().min(40)])), status, &reply);
    }
}

#[test]
fn values_of_a_wrong_type_or_out_of_range_are_refused() {
    let server = TestServer::real();
    for (path, body, status) in [
        ("/v1/embeddings", json!({"input": 1.5}), 400),
        ("/v1/embeddings", json!({"input": {"text": "a"}}), 400),
        ("/v1/embeddings", json!({"input": [["a"]]}), 400),
        ("/v1/embeddings", json!({"input": [true]}), 400),
        ("/v1/embeddings", json!({"input": "a", "model": ["x"]}), 400),
        ("/v1/embeddings", json!({"input": "a", "dimensions": "64"}), 400),
        ("/v1/embeddings", json!({"input": "a", "dimensions": 1e300}), 400),
        ("/v1/embeddings", json!({"input": "a", "encoding_format": 64}), 400),
        ("/v1/embeddings", json!({"input": "a", "encoding_format": "base65"}), 400),
        ("/v1/embeddings", json!({"input": [1_u64 << 40]}), 400),
        ("/v1/embeddings", json!({"input": [30_522]}), 400),
        ("/embed", json!({"inputs": "a", "normalize": "yes"}), 422),
        ("/embed", json!({"inputs": [null]}), 422),
        ("/v1/reranking", json!({"initial_query": 5, "retrieved_docs": [{"text": "a"}]}), 400),
        ("/v1/reranking", json!({"initial_query": "q", "retrieved_docs": "a"}), 400),
        ("/rerank", json!({"query": ["q"], "texts": ["a"]}), 422),
        ("/rerank", json!({"query": "q", "documents": 5}), 400),
        ("/rerank", json!({"query": "q", "documents": ["a"], "top_n": -1}), 400),
    ] {
        let reply = server.post(path, &body);
        assert_refused(&format!("{path} {body}"), status, &reply);
    }
}

#[test]
fn unknown_models_and_empty_inputs_are_refused() {
    let server = TestServer::real();
    for (path, body, status) in [
        ("/v1/embeddings", json!({"input": "a", "model": "gpt-4"}), 404),
        ("/v1/embeddings", json!({"input": "a", "model": ""}), 404),
        ("/v1/embeddings", json!({"input": "a", "model": "../all-minilm-l6-v2"}), 404),
        ("/v1/embeddings", json!({"input": ""}), 400),
        ("/v1/embeddings", json!({"input": []}), 400),
        ("/v1/embeddings", json!({"input": [[]]}), 400),
        ("/v1/embeddings", json!({}), 400),
        ("/embed", json!({"inputs": ""}), 400),
        ("/rerank", json!({"query": "q", "documents": ["a"], "model": "gpt-4"}), 404),
        ("/rerank", json!({"query": "", "documents": ["a"]}), 400),
    ] {
        let reply = server.post(path, &body);
        assert_refused(&format!("{path} {:.80}", body.to_string()), status, &reply);
    }
}

#[test]
fn ten_thousand_inputs_are_refused() {
    let many = vec!["a"; 10_000];
    for (path, body, status) in [
        ("/v1/embeddings", json!({"input": many}), 400),
        ("/embed", json!({"inputs": many}), 422),
        ("/rerank", json!({"query": "q", "documents": many}), 400),
        ("/rerank", json!({"query": "q", "texts": many}), 422),
    ] {
        let reply = TestServer::real().post(path, &body);
        assert!([status, 413].contains(&reply.status), "{path}: {} {}", reply.status, reply.text());
        assert_refused(path, reply.status, &reply);
    }
}

#[test]
fn a_body_of_ten_megabytes_is_refused_and_the_client_reads_why() {
    let body = json!({"input": "x".repeat(10 << 20)}).to_string();
    for path in ["/v1/embeddings", "/embed", "/v1/reranking", "/rerank", "/c/embeddings/anything"] {
        let reply = TestServer::real().send("POST", path, JSON, body.as_bytes());
        assert_refused(path, 413, &reply);
    }
}

#[test]
fn a_body_of_ten_megabytes_without_an_announced_length_is_refused() {
    let mut wire =
        Wire::request(TestServer::real().address, "POST /v1/embeddings", &["transfer-encoding: chunked", "connection: close"]);
    wire.send_chunk(b"{\"input\": \"");
    for _ in 0..160 {
        wire.send_chunk(&[b'x'; 64 << 10]);
    }
    wire.send_chunk(b"\"}");
    wire.send_chunk(b"");
    let answer = wire.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("\"error\""), "{answer:.500}");
    assert_next_answer_is_right();
}

#[test]
fn a_body_that_breaks_off_harms_nobody() {
    for headers in [["content-length: 1000"], ["transfer-encoding: chunked"]] {
        let mut wire = Wire::request(TestServer::real().address, "POST /v1/embeddings", &headers);
        wire.send(b"5\r\n{\"inp\r\n");
        drop(wire);
        assert_next_answer_is_right();
    }
}

#[test]
fn what_is_no_http_is_refused_and_harms_nobody() {
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello over TLS\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"POST /v1/embeddings HTTP/9.9\r\n\r\n",
    ] {
        let mut wire = Wire::open(TestServer::real().address);
        wire.send(bytes);
        let answer = wire.read_to_end();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert_next_answer_is_right();
    }
}

#[test]
fn headers_beyond_the_limit_are_refused() {
    let long = format!("x-long: {}", "a".repeat(200 << 10));
    let answer = Wire::request(TestServer::real().address, "GET /health", &[&long]).read_to_end();
    assert!(answer.starts_with("HTTP/1.1 431 ") || answer.is_empty(), "{answer:.200}");
    assert_next_answer_is_right();
}

#[test]
fn a_wrong_method_is_told_which_is_right() {
    let server = TestServer::real();
    for (method, path, allow) in [
        ("GET", "/v1/embeddings", "POST"),
        ("DELETE", "/embed", "POST"),
        ("PUT", "/rerank", "POST"),
        ("GET", "/c/embeddings/v1/embeddings", "POST"),
        ("BREW", "/v1/reranking", "POST"),
        ("POST", "/health", "GET,HEAD"),
        ("DELETE", "/v1/models", "GET"),
        ("POST", "/v1/models/all-minilm-l6-v2", "GET"),
        ("POST", "/metrics", "GET,HEAD"),
    ] {
        let reply = server.send(method, path, &[], b"");
        assert_refused(&format!("{method} {path}"), 405, &reply);
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
    }
}

#[test]
fn an_unknown_route_is_not_found() {
    let server = TestServer::real();
    for path in [
        "/",
        "/nothing",
        "/v1",
        "/v1/embedding",
        "/v1/embeddings/",
        "/c",
        "/c/",
        "/c/no-such",
        "/c/embeddings",
        "/%ff",
        "//embed",
    ] {
        assert_refused(path, 404, &server.get(path));
    }
    assert_refused("/v1/models/%ff", 404, &server.get("/v1/models/%ff"));
    assert_refused("/v1/models/gpt-4", 404, &server.get("/v1/models/gpt-4"));
}

#[test]
fn base64_holds_the_numbers_of_the_float_answer() {
    let server = TestServer::real();
    let reply = server.post("/v1/embeddings", &json!({"input": TEXT, "encoding_format": "base64"}));
    let text = reply.json()["data"][0]["embedding"].as_str().expect("a text").to_owned();
    let bytes = BASE64_STANDARD.decode(text).expect("good base64");
    let vector: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    assert_vector(&vector);
}

#[test]
fn the_hosts_own_routes_say_what_is_there() {
    let server = TestServer::real();
    assert_eq!((server.get("/health").status, server.get("/ready").json()), (200, json!({"status": "ready"})));
    assert!(server.get("/v1/health_check").json()["Service Title"].is_string());
    let models = server.get("/v1/models").json();
    let is_minilm = |model: &&Value| model["id"] == "all-minilm-l6-v2";
    let minilm = models["data"].as_array().and_then(|models| models.iter().find(is_minilm)).expect("is listed");
    assert_eq!(server.get("/v1/models/all-minilm-l6-v2").json(), *minilm);
    let services = server.get("/v1/list_service").json();
    let of = |name: &str| -> Value {
        let services = services["services"].as_array().expect("an array");
        services.iter().find(|service| service["name"] == name).expect("is listed").clone()
    };
    assert_eq!(of("embeddings")["routes"], json!(["POST /v1/embeddings", "POST /embed", "* /c/embeddings/*"]));
    assert_eq!(of("reranking")["status"], "ready");
}

#[test]
fn metrics_count_requests_by_component_and_status() {
    let server = TestServer::with_guest("echo");
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("tessera_http_requests_total{component=\"echo\",status=\"200\"} 0\n"), "before any: {metrics}");
    assert_eq!((server.get("/c/echo/hello").status, server.get("/c/echo/nothing").status), (200, 404));
    let statistics = server.get("/v1/statistics").json();
    assert!(statistics["echo"]["p99_latency"].as_f64().is_some_and(|seconds| seconds > 0.0), "{statistics}");
    for (status, count) in [(200, 1.0), (404, 1.0), (500, 0.0)] {
        let name = format!("tessera_http_requests_total{{component=\"echo\",status=\"{status}\"}}");
        assert_eq!(server.metric(&name), count, "{name}");
    }
    assert!(server.get("/metrics").text().ends_with("# EOF\n"), "OpenMetrics ends with a mark");
}

#[test]
fn a_head_request_gets_the_head_of_the_get() {
    let server = TestServer::with_guest("echo");
    for path in ["/health", "/v1/models", "/c/echo/hello"] {
        let (head, get) = (server.send("HEAD", path, &[], b""), server.get(path));
        assert_eq!((head.status, head.header("content-type")), (get.status, get.header("content-type")), "{path}");
        assert!(head.body.is_empty() && !head.is_broken, "{path}");
    }
}

#[test]
fn a_plain_request_id_is_given_back_and_another_is_replaced() {
    let server = TestServer::real();
    let id =
        |path: &str, id: &str| server.send("GET", path, &[("x-request-id", id)], b"").header("x-request-id").map(String::from);
    for path in ["/v1/embeddings", "/nothing", "/health"] {
        assert_eq!(id(path, "abc-1.2:3_4").as_deref(), Some("abc-1.2:3_4"), "{path}");
        for forged in ["a b", "<script>", &"a".repeat(65)] {
            let given = id(path, forged).expect("every answer has an id");
            assert!(given != forged && !given.is_empty(), "{path}: {given}");
        }
    }
    assert_ne!(server.get("/nothing").header("x-request-id"), server.get("/nothing").header("x-request-id"));
}

#[test]
fn a_connection_that_says_nothing_is_closed_and_one_in_a_request_is_not() {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("echo");
    let server = setup.configure(|config| config.header_ms_max = 200).start();
    let mut busy = Wire::request(server.address, "POST /c/echo/upload", &["transfer-encoding: chunked"]);
    busy.send_chunk(b"before");
    busy.read_until("before");
    // Each of these ends only after that time, so the request above has been open for longer.
    for said in ["", "PRI * HTTP/2.0"] {
        let mut silent = Wire::open(server.address);
        silent.send(said.as_bytes());
        assert_eq!(silent.read_to_end(), "", "after {said:?}");
    }
    busy.send_chunk(b"after");
    busy.read_until("after");
}
