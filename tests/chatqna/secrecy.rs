//! Guards in front of ChatQnA: no caller turns them off, and a blocked question is told to nobody.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tests::{FakeInference, Setup, TestServer};

use super::{ANY_SCORE, ingested, policy, setup};

const GUARDED: &str = "[guard]\ninput = [\"guard\"]\noutput = [\"guard\"]\nhold_back_chars = 16\n";

fn guarded(inference: FakeInference) -> (TestServer, std::path::PathBuf) {
    let setup: Setup = setup(Arc::new(inference), ANY_SCORE).guest("guard");
    let setup = setup.policy("chatqna", &format!("{}\n{GUARDED}", policy(ANY_SCORE))).bundled("chathistory");
    let data = setup.config.data.clone();
    let server = setup.start();
    assert_eq!(server.failures, []);
    ingested(&server, "clocks.txt", "All clocks in the station are painted blue.");
    (server, data)
}

#[test]
fn a_caller_can_not_turn_a_guard_off() {
    let (server, _) = guarded(FakeInference::default());
    for more in [
        json!({}),
        json!({"guard": false}),
        json!({"input_guardrail_params": {"ban_substrings": {"enabled": false}}}),
        json!({"parameters": {"guardrails": []}}),
        json!({"chat_template": "forbidden {context} {question}"}),
        json!({"stream": false, "model": "chatqna"}),
    ] {
        let mut body = json!({"messages": "this is forbidden"});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let reply = server.post("/v1/chatqna", &body);
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!("content_blocked")), "{}", reply.text());
        let by_name = server.post("/c/chatqna/v1/chatqna", &body);
        assert_eq!(by_name.status, 400, "{}", by_name.text());
    }
}

#[test]
fn what_a_stream_must_not_say_is_redacted_across_its_pieces() {
    let (server, _) = guarded(FakeInference::scripted(["Call 555", "-12", "34 now [1].", " Or do not."]));
    let text = server.post("/v1/chatqna", &json!({"messages": "Whom do I call?"})).text();
    assert!(text.contains("[phone]") && !text.contains("1234"), "{text}");
    assert!(text.contains("[DONE]"));
}

#[test]
fn a_blocked_question_is_in_no_log_record_metric_store_or_answer() {
    let (server, data) = guarded(FakeInference::default());
    let secret = "quetzalcoatlus";
    let reply = server.post("/v1/chatqna", &json!({"messages": format!("{secret} is forbidden"), "user": "x"}));
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(!reply.text().contains(secret));
    for path in ["/metrics", "/admin/usage", "/admin/components/chatqna/logs", "/admin/components/guard/logs"] {
        assert!(!server.get(path).text().contains(secret), "{path}");
    }
    server.stop_and(|| assert_eq!(files_with(&data, secret), Vec::<String>::new()));
}

/// Files below a folder that hold a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files_with(&path, text));
        } else if std::fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes())) {
            found.push(path.display().to_string());
        }
    }
    found
}
