//! The application ChatQnA with the components that it calls: answers with sources, whole and streamed; who sees what; what is told
//! of a blocked question.

mod callers;
mod secrecy;

use std::sync::Arc;

use serde_json::{Value, json};
use tests::{FakeInference, Reply, Setup, TestServer};

/// Components that answer a question, and bring documents in.
const COMPONENTS: [&str; 4] = ["chatqna", "retriever", "prompt-template", "dataprep"];

/// The fake's vectors mean nothing, so that no score does.
const ANY_SCORE: &str = "score_min = \"-1\"\nscore_gap_min = \"-1\"\nscore_drop_max = \"2\"\n";

/// A bundled policy with another `[config]`, and without guards.
pub(crate) fn policy(config: &str) -> String {
    let text = std::fs::read_to_string(tests::root().join("policies/chatqna.toml")).expect("a bundled policy");
    let (before, after) = text.split_once("[config]\n").expect("a section");
    let (settings, guard) = after.split_once("[guard]\n").expect("a section");
    let (_, rest) = guard.split_once("\n\n").expect("another section");
    format!("{before}[config]\n{config}\n{settings}\n{rest}")
}

/// The component's bundled policy, but for the models: those of the fake.
fn with_fake_models(setup: Setup, name: &str) -> Setup {
    let policy = std::fs::read_to_string(tests::root().join(format!("policies/{name}.toml"))).expect("a bundled policy");
    setup.policy(name, &policy.replace("all-minilm-l6-v2", "fake"))
}

/// A set-up of ChatQnA, with settings for it.
pub(crate) fn setup(inference: Arc<FakeInference>, config: &str) -> Setup {
    let setup = COMPONENTS.iter().fold(Setup::new(inference), |setup, name| with_fake_models(setup.bundled(name), name));
    setup.policy("chatqna", &policy(config))
}

fn start(inference: FakeInference, config: &str) -> TestServer {
    let server = setup(Arc::new(inference), config).start();
    assert_eq!(server.failures, []);
    server
}

/// Sends a text as a file, as a browser would.
pub(crate) fn ingest(server: &TestServer, name: &str, text: &str, more: &[(&str, &str)], key: Option<&str>) -> Reply {
    let field =
        |(name, value): &(&str, &str)| format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let fields: String = more.iter().map(field).collect();
    let file = format!("--b\r\ncontent-disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\r\n{text}\r\n--b--\r\n");
    let authorization = key.map(|key| format!("Bearer {key}"));
    let mut headers = vec![("content-type", "multipart/form-data; boundary=b")];
    headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
    server.send("POST", "/v1/dataprep/ingest", &headers, format!("{fields}{file}").as_bytes())
}

/// Brings in a text that has to go in.
#[track_caller]
fn ingested(server: &TestServer, name: &str, text: &str) {
    let reply = ingest(server, name, text, &[], None);
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// The data of server-sent events.
fn events(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.header("content-type"), Some("text/event-stream"), "{}", reply.text());
    reply.text().split("\n\n").filter_map(|event| event.strip_prefix("data: ").map(String::from)).collect()
}

fn json_events(reply: &Reply) -> Vec<Value> {
    let mut events = events(reply);
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    events.iter().map(|event| serde_json::from_str(event).expect("JSON")).collect()
}

#[test]
fn a_whole_answer_has_its_sources_and_what_it_cost() {
    let server = start(FakeInference::scripted(["Clocks ", "are blue ", "[1]."]), ANY_SCORE);
    ingested(&server, "clocks.txt", "All clocks in the station are painted blue.");
    let reply = server.post("/v1/chatqna", &json!({"messages": "Which colour have the clocks?", "stream": false}));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.json();
    assert_eq!(answer["choices"][0]["message"]["content"], "Clocks are blue [1].");
    assert_eq!((&answer["choices"][0]["finish_reason"], &answer["model"]), (&json!("stop"), &json!("chatqna")));
    assert_eq!(answer["usage"], json!({"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}));
    let source = &answer["sources"][0];
    assert_eq!((&source["n"], &source["name"], &source["cited"]), (&json!(1), &json!("clocks.txt"), &json!(true)));
    assert!(source["text"].as_str().expect("a text").contains("painted blue"));
    assert_eq!(answer["declined"], false);
}

#[test]
fn a_stream_tells_its_sources_before_the_text_and_at_its_end() {
    let server = start(FakeInference::scripted(["Blue", " [", "1]", " or red [9]", "."]), ANY_SCORE);
    ingested(&server, "clocks.txt", "All clocks in the station are painted blue.");
    let usage = json!({"messages": "Which colour?", "stream_options": {"include_usage": true}});
    let pieces = json_events(&server.post("/v1/chatqna", &usage));
    let (first, last, usage) = (&pieces[0], &pieces[pieces.len() - 2], &pieces[pieces.len() - 1]);
    assert_eq!((&first["sources"][0]["n"], &first["choices"][0]["delta"]["content"]), (&json!(1), &json!("")));
    let text: String =
        pieces[1..pieces.len() - 2].iter().filter_map(|piece| piece["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "Blue [1] or red .", "a passage that is not there is not cited");
    assert_eq!((&last["sources"][0]["cited"], &last["choices"][0]["finish_reason"]), (&json!(true), &json!("stop")));
    assert_eq!((&usage["usage"]["completion_tokens"], &usage["choices"]), (&json!(5), &json!([])));
}

#[test]
fn an_answer_that_cites_nothing_gets_the_citation_of_the_nearest_passage() {
    let server = start(FakeInference::scripted(["They are painted blue."]), ANY_SCORE);
    ingested(&server, "clocks.txt", "All clocks in the station are painted blue.");
    let answer = server.post("/v1/chatqna", &json!({"messages": "Which colour?", "stream": false})).json();
    assert_eq!(answer["choices"][0]["message"]["content"], "They are painted blue. [1]");
}

#[test]
fn no_model_is_asked_where_nothing_is_found() {
    let inference = Arc::new(FakeInference::default());
    let server = setup(inference.clone(), &format!("decline = \"No idea.\"\n{ANY_SCORE}")).start();
    ingested(&server, "clocks.txt", "All clocks in the station are painted blue.");
    let elsewhere = json!({"messages": "Who won the cup?", "index_name": "elsewhere", "stream": false});
    let answer = server.post("/v1/chatqna", &elsewhere).json();
    assert_eq!((&answer["declined"], &answer["choices"][0]["message"]["content"]), (&json!(true), &json!("No idea.")));
    let pieces = json_events(&server.post("/v1/chatqna", &json!({"messages": "Who won the cup?", "index_name": "elsewhere"})));
    assert_eq!(pieces.last().expect("a last one")["declined"], true);
    assert_eq!(inference.counts().pieces, 0);
}

#[test]
fn clients_of_opea_get_its_bytes() {
    let server = start(FakeInference::scripted(["It's", " caf\u{e9}"]), &format!("compat = \"opea\"\n{ANY_SCORE}"));
    ingested(&server, "clocks.txt", "All clocks in the station are painted blue.");
    let events = events(&server.post("/v1/chatqna", &json!({"messages": "Which colour?"})));
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    let text = events[..events.len() - 1].concat();
    assert!(text.starts_with("b\"It's") && text.contains("caf\\xc3\\xa9"), "{text}");
}

#[test]
fn a_generation_that_fails_is_an_error_and_no_end() {
    let server =
        start(FakeInference::scripted(["Blue"]).breaking(engine::JobError::Failed("the device is gone".into())), ANY_SCORE);
    ingested(&server, "clocks.txt", "All clocks in the station are painted blue.");
    let events = events(&server.post("/v1/chatqna", &json!({"messages": "Which colour?"})));
    let last: Value = serde_json::from_str(events.last().expect("a last one")).expect("JSON");
    assert!(last["error"]["message"].is_string(), "{last}");
    assert!(!events.contains(&"[DONE]".to_owned()));
}

#[test]
fn a_client_that_leaves_ends_the_generation() {
    let inference = Arc::new(FakeInference::scripted(vec!["word "; 1000]).behind_a_gate());
    let server = setup(inference.clone(), ANY_SCORE).start();
    inference.release(100); // embeddings and tokens of what comes before
    ingested(&server, "clocks.txt", "All clocks in the station are painted blue.");
    let mut wire = tests::Wire::open(server.address);
    let body = json!({"messages": "Which colour?"}).to_string();
    wire.send(
        format!("POST /v1/chatqna HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes(),
    );
    wire.read_until("\"sources\"");
    drop(wire);
    inference.wait_for(|counts| counts.dropped > 0);
}

#[test]
fn the_retrieval_tool_gives_what_would_be_answered_from() {
    let server = start(FakeInference::default(), ANY_SCORE);
    ingested(&server, "clocks.txt", "All clocks in the station are painted blue.");
    let found = server.post("/v1/retrievaltool", &json!({"messages": "Which colour have the clocks?", "top_n": 1})).json();
    let text = found["documents"][0].as_str().expect("a document");
    assert!(text.contains("painted blue"));
    assert_eq!(found["reranked_docs"][0]["text"], text);
    assert_eq!(found["sources"][0]["name"], "clocks.txt");
}

#[test]
fn a_documents_text_is_nothing_but_text_to_the_prompt() {
    let server = start(FakeInference::default(), ANY_SCORE); // which says the prompt again, word by word
    ingested(&server, "clocks.txt", "The colour is {question} and {context} and {{blue}}.");
    let answer = server.post("/v1/chatqna", &json!({"messages": "Which {context} colour?", "stream": false})).json();
    let said = answer["choices"][0]["message"]["content"].as_str().expect("a text");
    assert!(said.contains("{question} and {context} and {{blue}}"), "{said}");
    assert!(said.contains("Which {context} colour?"), "{said}");
}
