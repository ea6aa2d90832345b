//! Standard `wasi:nn`, by a guest that is made without our SDK.

use std::sync::Arc;

use engine::JobError;
use serde::Deserialize;
use serde_json::{Value, json};
use tests::{FakeInference, Reply, Setup, TestServer, Wire, golden};

const POLICY: &str = "schema = 1\n[nn]\nmodels = [\"fake\"]\n[log]\n";

fn start(fake: &Arc<FakeInference>, more_policy: &str) -> TestServer {
    let server = Setup::new(fake.clone()).guest("nn").policy("nn", &format!("{POLICY}{more_policy}")).start();
    assert_eq!(server.failures, []);
    server
}

fn post(server: &TestServer, path: &str, request: Value) -> Reply {
    server.post(&format!("/c/nn{path}"), &request)
}

fn request(model: &str) -> Value {
    json!({"model": model, "input_ids": [[5, 6, 0], [7, 8, 9]], "attention_mask": [[1, 1, 0], [1, 1, 1]]})
}

/// The same on a connection of its own.
fn on_a_wire(server: &TestServer) -> Wire {
    let body = request("fake").to_string();
    let length = format!("content-length: {}", body.len());
    let mut wire = Wire::request(server.address, "POST /c/nn/raw", &[&length, "connection: close"]);
    wire.send(body.as_bytes());
    wire
}

#[test]
fn an_encoder_gives_its_hidden_states_and_zeros_where_the_mask_is() {
    let fake = Arc::new(FakeInference::default());
    let reply = post(&start(&fake, ""), "/raw", request("fake")).json();
    assert_eq!((&reply["name"], &reply["dimensions"]), (&json!("last_hidden_state"), &json!([2, 3, 3])));
    let row = |row: [[f32; 3]; 3]| row.concat();
    let (first, second) =
        (row([[5.0, 0.0, 1.0], [6.0, 1.0, 1.0], [0.0; 3]]), row([[7.0, 0.0, 1.0], [8.0, 1.0, 1.0], [9.0, 2.0, 1.0]]));
    assert_eq!(reply["values"], json!([first, second].concat()));
    assert_eq!(fake.counts().jobs, 1);
}

#[test]
fn a_language_model_gives_its_logits_after_the_last_token_of_each_row() {
    let policy = POLICY.replace("fake", "other");
    let server = Setup::new(Arc::new(FakeInference::default())).guest("nn").policy("nn", &policy).start();
    let reply = post(&server, "/raw", request("other")).json();
    assert_eq!(reply, json!({"name": "logits", "dimensions": [2, 2], "values": [11.0, 2.0, 24.0, 3.0]}));
}

#[test]
fn a_model_that_is_not_granted_is_not_found_and_nothing_reaches_the_engine() {
    let fake = Arc::new(FakeInference::default());
    let server = start(&fake, "");
    for model in ["other", "no-such", "", "fake\n"] {
        assert_eq!(post(&server, "/", request(model)).json()["error"], "ErrorCode::NotFound", "{model:?}");
    }
    assert_eq!(fake.counts().jobs, 0);
}

#[test]
fn a_name_that_is_too_long_to_be_kept_is_no_models() {
    let fake = Arc::new(FakeInference::default());
    let reply = post(&start(&fake, ""), "/", request(&"x".repeat(257)));
    assert_eq!(reply.json()["error"], "ErrorCode::RuntimeError", "{}", reply.text());
    assert!(reply.body.len() < 257 && fake.counts().jobs == 0, "{}", reply.text());
}

#[test]
fn a_tensor_of_too_many_dimensions_stops_its_guest() {
    let status = |dimensions: usize| {
        let server = start(&Arc::default(), "");
        let mut request = request("fake");
        request["dimensions"] = json!(dimensions);
        post(&server, "/raw", request).status
    };
    assert_eq!(status(8), 200);
    assert!(matches!(status(9), 500 | 502));
}

#[test]
fn an_output_that_is_too_large_is_refused_before_the_model_runs() {
    let fake = Arc::new(FakeInference::default());
    // A token takes 8 bytes, and 12 more where the model puts out three numbers for it.
    let mut request = json!({"model": "fake", "input_ids": vec![vec![1; 60_000]; 8]});
    let server = start(&fake, "[limits]\nmemory_bytes_max = 268435456\n");
    request["ballast"] = json!(56);
    assert_eq!(post(&server, "/raw", request).json()["error"], "ErrorCode::RuntimeError");
    assert_eq!(fake.counts().jobs, 0);
}

#[test]
fn a_model_of_the_guests_own_is_refused() {
    let reply = post(&start(&Arc::default(), ""), "/load", json!({}));
    assert_eq!(reply.json()["error"], "ErrorCode::InvalidEncoding");
}

#[test]
fn without_a_section_the_component_does_not_load() {
    let server = Setup::new(Arc::new(FakeInference::default())).guest("nn").start();
    assert!(server.failure("nn").contains("[nn]\nmodels = [\"all-minilm-l6-v2\"]"), "{}", server.failure("nn"));
}

#[test]
fn a_manifest_that_does_not_say_so_is_told_to() {
    let change = |manifest: String| manifest.replacen("capabilities = [\"nn\"]", "capabilities = []", 1);
    let setup = Setup::new(Arc::new(FakeInference::default())).guest_as("nn", "nn", change);
    let server = setup.policy("nn", POLICY).start();
    assert!(server.failure("nn").contains("capabilities = [\"nn\"]"), "{}", server.failure("nn"));
}

#[test]
fn inputs_that_are_no_token_ids_are_an_error_of_the_guest() {
    let fake = Arc::new(FakeInference::default());
    let server = start(&fake, "");
    for ids in [json!([[-1]]), json!([[1, 2], [3]]), json!([[]]), json!([])] {
        let reply = post(&server, "/raw", json!({"model": "fake", "input_ids": ids})).json();
        assert_eq!(reply["error"], "ErrorCode::RuntimeError", "{reply}");
        assert!(reply["data"].as_str().is_some_and(|data| data.contains("input_ids")), "{reply}");
    }
    assert_eq!(fake.counts().jobs, 0);
}

#[test]
fn errors_of_the_engine_reach_the_guest_without_their_cause() {
    let server = start(&FakeInference::failing(JobError::Failed("secret of the device".into())), "");
    let reply = post(&server, "/raw", request("fake"));
    assert_eq!(reply.json()["error"], "ErrorCode::RuntimeError");
    assert!(!reply.text().contains("secret"), "{}", reply.text());
}

#[test]
fn a_guest_that_makes_tensors_without_end_is_stopped() {
    let server = start(&Arc::default(), "[limits]\nmemory_bytes_max = 16777216\n");
    let with_ballast = |mebibytes: usize| {
        let mut request = request("fake");
        request["ballast"] = json!(mebibytes);
        post(&server, "/raw", request).status
    };
    let statuses = [with_ballast(10), with_ballast(100), with_ballast(0)];
    assert!(matches!(statuses, [200, 500 | 502, 200]), "{statuses:?}");
}

#[test]
fn a_call_that_waits_too_long_ends_at_the_deadline_and_others_are_served_meanwhile() {
    let fake = FakeInference::gated();
    let policy = format!("{POLICY}[limits]\nwall_ms_max = 1000\n");
    let server = Setup::new(fake.clone()).guest("nn").guest("echo").policy("nn", &policy).start();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| on_a_wire(&server).read_to_end())).collect();
        fake.wait_for(|counts| counts.inside == 8);
        // More of them wait than there are threads for async work.
        assert_eq!(server.get("/c/echo/hello").text(), "hello");
        for waiting in waiting {
            let answer = waiting.join().expect("ends");
            // The guest says so itself, or the host does where the guest is too slow for it.
            let is_told = answer.contains("ErrorCode::RuntimeError") || answer.starts_with("HTTP/1.1 504 ");
            assert!(is_told && !answer.contains("last_hidden_state"), "{answer}");
        }
    });
    fake.wait_for(|counts| counts.dropped == 8);
}

#[test]
fn more_instances_than_there_are_threads_for_are_told_to_come_back() {
    let fake = FakeInference::gated();
    let setup = Setup::new(fake.clone()).guest("nn").policy("nn", POLICY);
    let server = setup.configure(|config| config.blocking_instances_max = 2).start();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..2).map(|_| scope.spawn(|| post(&server, "/raw", request("fake")).status)).collect();
        fake.wait_for(|counts| counts.inside == 2);
        let reply = post(&server, "/raw", request("fake"));
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (503, &json!("busy")));
        fake.release(2);
        assert!(waiting.into_iter().all(|waiting| waiting.join().expect("answers") == 200));
    });
    fake.release(1);
    let is_served = |reply: Reply| (reply.status == 200).then_some(());
    tests::eventually(|| is_served(post(&server, "/raw", request("fake"))));
}

#[test]
fn a_client_that_goes_away_takes_its_job_out_of_the_engine() {
    let fake = FakeInference::gated();
    let server = start(&fake, "");
    let wire = on_a_wire(&server);
    fake.wait_for(|counts| counts.inside == 1);
    drop(wire);
    fake.wait_for(|counts| counts.dropped == 1);
}

/// Token ids of some texts and the vectors of all, as the reference implementation has them (`tests/golden/minilm/make.py`).
#[derive(Deserialize)]
struct Reference {
    ids: Vec<IdsOfText>,
}

#[derive(Deserialize)]
struct IdsOfText {
    text: usize,
    ids: Vec<i64>,
}

#[test]
fn a_standard_guest_gets_the_stored_vectors_of_the_real_model() {
    const WIDTH: usize = 384;
    let read = |name: &str| std::fs::read(golden("minilm").join(name)).expect("the golden is there");
    let reference: Reference = serde_json::from_slice(&read("reference.json")).expect("good JSON");
    let stored = read("vectors.f32");
    let stored: Vec<f32> = stored.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    assert!(reference.ids.len() > 2, "there are too few texts to fill a batch");
    let seq = reference.ids.iter().map(|row| row.ids.len()).max().expect("there are texts");
    let padded = |row: &IdsOfText| row.ids.iter().copied().chain(std::iter::repeat(0)).take(seq).collect::<Vec<i64>>();
    let mask = |row: &IdsOfText| (0..seq).map(|place| i32::from(place < row.ids.len())).collect::<Vec<i32>>();
    let request = json!({
        "model": "all-minilm-l6-v2",
        "input_ids": reference.ids.iter().map(padded).collect::<Vec<_>>(),
        "attention_mask": reference.ids.iter().map(mask).collect::<Vec<_>>(),
    });
    let reply = TestServer::real().post("/c/nn/", &request);
    let vectors: Vec<Vec<f32>> = serde_json::from_value(reply.json()).expect("vectors");
    assert_eq!(vectors.len(), reference.ids.len());
    for (row, vector) in reference.ids.iter().zip(&vectors) {
        let expected = &stored[row.text * WIDTH..][..WIDTH];
        let off = vector.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(vector.len() == WIDTH && off < 1e-4, "text {} is off by {off}", row.text);
    }
}
