//! Policies of a running server: what changes when a file does, what quotas refuse, what `observe` lets through, and what is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use serde_json::{Value, json};
use tests::{FakeInference, GENERATION_BYTES, Setup, TOKEN_NS, TestServer, eventually};

const OTHERS: &str = "[rerank]\nmodels = []\n[config]\n[log]\n";

/// A probe that may embed with the fake model, and more or less.
fn policy(models: &str, more: &str) -> String {
    format!("schema = 1\n[embed]\nmodels = [{models}]\n{OTHERS}{more}")
}

/// A server with a probe, and the file of its policy.
fn start(text: &str) -> (TestServer, PathBuf) {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("probe").policy("probe", text);
    let file = setup.config.policies.join("probe.toml");
    let server = setup.start();
    assert_eq!(server.failures, []);
    (server, file)
}

/// Writes a policy as careful tools do: all of it or nothing.
fn replace(file: &PathBuf, text: &str) {
    let draft = file.with_extension("draft");
    std::fs::write(&draft, text).expect("writes");
    std::fs::rename(&draft, file).expect("renames");
}

fn embed(server: &TestServer, model: &str) -> u16 {
    server.post("/c/probe/embed", &json!({"text": "abc", "model": model})).status
}

fn usage(server: &TestServer, component: &str) -> Value {
    server.get("/admin/usage").json()["components"][component].clone()
}

fn until(server: &TestServer, model: &str, status: u16) {
    eventually(|| (embed(server, model) == status).then_some(()));
}

#[test]
fn five_hundred_reloads_under_load_neither_lose_a_request_nor_let_one_through() {
    const RELOADS: u64 = 500;
    const CHANGING: u64 = u64::MAX;
    let many = "[quota]\nrequests_per_min_max = 100000000\n";
    let (with, without) = (policy("\"fake\", \"other\"", many), policy("\"fake\"", many));
    let (server, file) = start(&with);
    // What holds: twice the number of the reload, and one more where `other` is granted.
    let (settled, is_over, asked) = (AtomicU64::new(1), AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    assert_eq!(embed(&server, "fake"), 200, "always granted");
                    assert_eq!(embed(&server, "never"), 404, "never granted");
                    let before = settled.load(Ordering::Acquire);
                    let status = embed(&server, "other");
                    if before != CHANGING && settled.load(Ordering::Acquire) == before {
                        assert_eq!(status, if before % 2 == 1 { 200 } else { 404 }, "after reload {}", before / 2);
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for reload in 1..=RELOADS {
            let is_granted = reload % 2 == 0;
            settled.store(CHANGING, Ordering::Release);
            replace(&file, if is_granted { &with } else { &without });
            until(&server, "other", if is_granted { 200 } else { 404 });
            settled.store(2 * reload + u64::from(is_granted), Ordering::Release);
            let before = asked.load(Ordering::Relaxed);
            if reload % 10 == 0 {
                eventually(|| (asked.load(Ordering::Relaxed) > before).then_some(()));
            }
        }
        is_over.store(true, Ordering::Release);
    });
    assert!(asked.load(Ordering::Relaxed) as u64 >= RELOADS / 10, "the clients saw settled states");
}

#[test]
fn a_malformed_policy_changes_nothing_and_the_next_good_one_counts() {
    let (server, file) = start(&policy("\"fake\"", ""));
    replace(&file, "schema = 1\n[embed]\nmodells = []");
    replace(&file.with_file_name("rules.cedar"), "permit (principal, action, resource);");
    replace(&file, &policy("\"fake\", \"other\"", ""));
    assert_eq!(embed(&server, "fake"), 200);
    std::fs::remove_file(file.with_file_name("rules.cedar")).expect("removes");
    until(&server, "other", 200);
}

#[test]
fn a_component_whose_policy_is_malformed_keeps_the_one_it_had_and_others_go_on() {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("probe").guest_as("other", "probe", |manifest| manifest);
    let setup = setup.policy("probe", &policy("\"fake\"", "")).policy("other", &policy("", ""));
    let folder = setup.config.policies.clone();
    let server = setup.start();
    replace(&folder.join("probe.toml"), "schema = 1\n[embed]\nmodells = []");
    replace(&folder.join("other.toml"), &policy("\"fake\"", ""));
    let others = || server.post("/c/other/embed", &json!({"text": "abc"})).status;
    eventually(|| (others() == 200).then_some(()));
    assert_eq!((embed(&server, "fake"), embed(&server, "other")), (200, 404));
}

#[test]
fn a_folder_that_is_put_in_the_place_of_the_policies_counts_and_is_watched() {
    let (server, file) = start(&policy("\"fake\"", ""));
    let folder = file.parent().expect("a folder");
    let next = folder.with_file_name("next");
    std::fs::create_dir(&next).expect("a folder");
    std::fs::write(next.join("probe.toml"), policy("\"fake\", \"other\"", "")).expect("writes");
    std::fs::rename(folder, folder.with_file_name("old")).expect("renames");
    std::fs::rename(&next, folder).expect("renames");
    until(&server, "other", 200);
    replace(&file, &policy("\"fake\"", ""));
    until(&server, "other", 404);
}

#[test]
fn a_component_that_loses_a_route_to_another_goes_on_without_it() {
    let routed = |manifest: String| manifest.replacen("routes = []", "routes = [\"POST /v1/probe\"]", 1);
    let observed = |routes: &str| format!("schema = 1\nmode = \"observe\"\n{routes}");
    let route = "[routes]\nallow = [\"POST /v1/probe\"]\n";
    let setup = Setup::new(Arc::new(FakeInference::default())).guest_as("a", "probe", routed).guest_as("b", "probe", routed);
    let setup = setup.policy("a", &observed("")).policy("b", &policy("\"fake\"", route));
    let file = setup.config.policies.join("a.toml");
    let server = setup.start();
    assert_eq!(server.failures, []);
    let requests = |name: &str| usage(&server, name)["requests"].as_u64().unwrap_or_default();
    replace(&file, &observed(route));
    eventually(|| {
        server.post("/v1/probe", &json!({}));
        (requests("a") > 0).then_some(())
    });
    assert_eq!(server.post("/c/b/embed", &json!({"text": "abc"})).status, 200);
}

#[test]
fn a_component_without_its_grants_loads_when_they_come_and_routes_follow_the_policy() {
    let routed = |manifest: String| manifest.replacen("routes = []", "routes = [\"POST /v1/probe\"]", 1);
    let setup = Setup::new(Arc::new(FakeInference::default())).guest_as("probe", "probe", routed);
    let file = setup.config.policies.join("probe.toml");
    let server = setup.start();
    assert!(server.failure("probe").contains("[embed]"), "{}", server.failure("probe"));
    assert_eq!(embed(&server, "fake"), 404);
    let route = "[routes]\nallow = [\"POST /v1/probe\"]\n";
    replace(&file, &policy("\"fake\"", route));
    until(&server, "fake", 200);
    assert_ne!(server.post("/v1/probe", &json!({})).json()["error"]["code"], "unknown_route");
    replace(&file, &policy("\"fake\"", ""));
    eventually(|| (server.post("/v1/probe", &json!({})).json()["error"]["code"] == "unknown_route").then_some(()));
    assert_eq!(embed(&server, "fake"), 200, "its own route needs no grant");
}

#[test]
fn a_rule_forbids_what_the_policy_grants_and_is_named_to_the_operator_only() {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("probe").policy("probe", &policy("\"fake\"", ""));
    let rule = "forbid (principal == Component::\"probe\", action == Action::\"embed\", resource);";
    std::fs::write(setup.config.policies.join("rules.cedar"), rule).expect("writes");
    let server = setup.start();
    let reply = server.post("/c/probe/embed", &json!({"text": "abc"}));
    assert_eq!((reply.status, reply.json()["error"]["code"].clone()), (404, json!("unknown-model")));
    assert!(!reply.text().contains("cedar"), "{}", reply.text());
    let denials = "tessera_denials_total{component=\"probe\",capability=\"embed\",reason=\"rule\",mode=\"enforce\"}";
    assert_eq!(server.metric(denials), 1.0);
}

#[test]
fn a_denial_is_counted_once_and_reaches_no_engine() {
    let fake = Arc::new(FakeInference::default());
    let server = Setup::new(fake.clone()).guest("probe").policy("probe", &policy("\"fake\"", "")).start();
    assert_eq!(embed(&server, "other"), 404);
    assert_eq!((usage(&server, "probe")["denied"].clone(), fake.counts().jobs), (json!(1), 0));
    let denials = "tessera_denials_total{component=\"probe\",capability=\"embed\",reason=\"not_listed\",mode=\"enforce\"}";
    assert_eq!(server.metric(denials), 1.0);
}

#[test]
fn in_the_mode_observe_what_would_be_denied_is_done_and_counted() {
    let fake = Arc::new(FakeInference::default());
    let observed = format!("mode = \"observe\"\n{}", policy("\"fake\"", ""));
    let server = Setup::new(fake.clone()).guest("probe").policy("probe", &observed).start();
    assert_eq!(embed(&server, "other"), 200);
    let usage = usage(&server, "probe");
    assert_eq!((&usage["denied"], &usage["would_deny"], fake.counts().jobs), (&json!(0), &json!(1), 1));
}

#[test]
fn in_the_mode_observe_a_component_loads_without_its_sections() {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("probe");
    let server = setup.policy("probe", "schema = 1\nmode = \"observe\"\n").start();
    assert_eq!(server.failures, []);
    assert_eq!(embed(&server, "fake"), 200);
}

#[test]
fn requests_beyond_a_minutes_quota_are_told_when_to_come_back() {
    let (server, _) = start(&policy("\"fake\"", "[quota]\nrequests_per_min_max = 2\n"));
    assert_eq!([embed(&server, "fake"), embed(&server, "fake")], [200, 200]);
    let reply = server.post("/c/probe/embed", &json!({"text": "abc"}));
    assert_eq!((reply.status, reply.json()["error"]["code"].clone()), (429, json!("quota_exceeded")));
    let seconds: u64 = reply.header("retry-after").expect("a header").parse().expect("seconds");
    assert!((1..=31).contains(&seconds), "half a minute earns one of two requests, not {seconds} s");
}

#[test]
fn tokens_to_read_are_reserved_and_the_error_says_that_it_is_the_quota() {
    let fake = Arc::new(FakeInference::default());
    let text = policy("\"fake\"", "[quota]\ninput_tokens_per_min_max = 10\n");
    let server = Setup::new(fake.clone()).guest("probe").policy("probe", &text).start();
    let long = json!({"text": "x".repeat(36)}); // about nine tokens; the fake reads it as one
    assert_eq!(server.post("/c/probe/embed", &long).status, 200);
    assert_eq!(server.post("/c/probe/embed", &long).status, 200, "what was not used came back");
    for _ in 0..8 {
        server.post("/c/probe/embed", &json!({"text": "x"}));
    }
    let reply = server.post("/c/probe/embed", &long);
    assert_eq!((reply.status, reply.json()["error"]["code"].clone()), (429, json!("quota")));
    assert_eq!(fake.counts().jobs, 10, "what is refused reaches no engine");
}

#[test]
fn a_generation_ends_where_the_quota_of_tokens_does() {
    let fake = FakeInference::scripted(["a", "b", "c", "d", "e"]);
    let text =
        "schema = 1\n[generate]\nmodels = [\"fake\"]\n[tokenize]\nmodels = []\n[log]\n[quota]\noutput_tokens_per_min_max = 3\n";
    let server = Setup::new(Arc::new(fake)).guest("scribe").policy("scribe", text).start();
    assert_eq!(server.failures, []);
    let reply = server.post("/c/scribe/generate", &json!({"text": "x"}));
    assert!(reply.text().contains("quota"), "{}", reply.text());
    let told = usage(&server, "scribe");
    assert_eq!((&told["output_tokens"], &told["device_bytes"]), (&json!(4), &json!(0)), "one beyond is seen, then it ends");
    assert!(told["over_quota"].as_u64().is_some_and(|count| count > 0));
}

#[test]
fn device_memory_beyond_the_quota_is_refused() {
    let text = |bytes| {
        format!(
            "schema = 1\n[generate]\nmodels = [\"fake\"]\n[tokenize]\nmodels = []\n[log]\n[quota]\ndevice_bytes_max = {bytes}\n"
        )
    };
    for (bytes, is_refused) in [(GENERATION_BYTES - 1, true), (GENERATION_BYTES, false)] {
        let setup = Setup::new(Arc::new(FakeInference::scripted(["a"]))).guest("scribe");
        let server = setup.policy("scribe", &text(bytes)).start();
        let reply = server.post("/c/scribe/generate", &json!({"text": "x"}));
        assert_eq!(reply.text().contains("quota"), is_refused, "{}", reply.text());
    }
}

#[test]
fn device_time_beyond_the_quota_makes_the_next_call_wait() {
    let models = "[embed]\nmodels = [\"fake\"]\n[rerank]\nmodels = [\"fake\"]\n[config]\n[log]\n";
    let (server, _) = start(&format!("schema = 1\n{models}[quota]\ndevice_ms_per_min_max = 2\n"));
    let four = json!({"query": "q", "documents": ["a", "b", "c", "d"]});
    assert_eq!(server.post("/c/probe/rerank", &four).status, 200, "what is left is enough to begin");
    assert_eq!(embed(&server, "fake"), 429);
    assert_eq!(usage(&server, "probe")["device_ns"], json!(4 * TOKEN_NS));
}

#[test]
fn usage_is_told_for_each_component_with_its_quota() {
    let (server, _) = start(&policy("\"fake\"", "[quota]\nrequests_per_min_max = 77\n"));
    embed(&server, "fake");
    let told = usage(&server, "probe");
    assert_eq!((&told["requests"], &told["input_tokens"], &told["device_ns"]), (&json!(1), &json!(1), &json!(TOKEN_NS)));
    assert_eq!(told["quota"]["requests_per_min_max"], json!(77));
    assert!(told["cpu_ns"].as_u64().is_some_and(|ns| ns > 0), "{told}");
    assert_eq!(server.metric("tessera_component_input_tokens_total{component=\"probe\"}"), 1.0);
}
