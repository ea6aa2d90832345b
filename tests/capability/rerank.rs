//! `tessera:rerank`: what a guest gets, and what reaches the engine.

use std::sync::Arc;

use serde_json::{Value, json};
use tests::{FakeInference, Reply, Setup, TestServer};

fn start(fake: &Arc<FakeInference>, more_policy: &str) -> TestServer {
    let policy =
        format!("schema = 1\n[embed]\nmodels = [\"other\"]\n[rerank]\nmodels = [\"fake\"]\n[config]\n[log]\n{more_policy}");
    let server = Setup::new(fake.clone()).guest("probe").policy("probe", &policy).start();
    assert_eq!(server.failures, []);
    server
}

fn rerank(server: &TestServer, model: Value) -> Reply {
    server.post("/c/probe/rerank", &json!({"query": "q", "documents": ["a", "bbb"], "model": model}))
}

#[test]
fn a_granted_model_scores_and_the_first_is_the_default() {
    let fake = Arc::default();
    let server = start(&fake, "");
    for model in [Value::Null, json!("fake")] {
        let reply = rerank(&server, model);
        assert_eq!((reply.status, &reply.json()["ok"]["values"]), (200, &json!([1.0, 3.0])));
    }
    assert_eq!(fake.counts().jobs, 2);
    assert_eq!(server.get("/c/probe/rerank/models").json(), json!(["fake"]));
}

#[test]
fn a_model_that_is_granted_for_embedding_only_does_not_exist_for_reranking() {
    let fake = Arc::default();
    let server = start(&fake, "");
    for model in ["other", "no-such", ""] {
        let reply = rerank(&server, json!(model));
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (404, &json!("unknown-model")), "{model:?}");
    }
    assert_eq!(fake.counts().jobs, 0);
}

#[test]
fn a_rerank_that_takes_longer_than_the_request_may_ends_at_the_deadline() {
    let fake = FakeInference::gated();
    let server = start(&fake, "[limits]\nwall_ms_max = 200\n");
    let reply = rerank(&server, Value::Null);
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (504, &json!("deadline")));
    fake.wait_for(|counts| counts.dropped == 1);
}

#[test]
fn an_embed_and_a_rerank_of_one_component_are_in_the_engine_at_the_same_time() {
    let fake = FakeInference::gated();
    let server = start(&fake, "");
    std::thread::scope(|scope| {
        let embed = scope.spawn(|| server.post("/c/probe/embed", &json!({"text": "a"})));
        let scores = scope.spawn(|| rerank(&server, Value::Null));
        fake.wait_for(|counts| counts.inside == 2);
        fake.release(2);
        assert_eq!([embed.join(), scores.join()].map(|reply| reply.expect("answers").status), [200, 200]);
    });
}
