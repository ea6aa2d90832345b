//! The audit log of a server: what it says and never says, who waits for it, and what is left of it after a crash.

mod crash;
mod disk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use policy::audit::{Checks, Decision, Entry, Files, Folder, Kind, Report, files, verify};
use runtime::{AUDIT_FOLDER, AuditConfig, Recording};
use serde_json::json;
use tests::{FakeInference, Setup, TestServer, Wire, eventually};

use crate::attack::upstream::Upstream;

/// Everything is on disk before it is answered.
pub(crate) const CLOSED: AuditConfig = AuditConfig {
    access: Recording::Closed,
    deny: Recording::Closed,
    uses: Recording::Closed,
    admin: Recording::Closed,
    bytes_max: 1 << 20,
    sync_ms: 50,
    waiting_max: 10_000,
};

const PROBE: &str = "schema = 1\n[embed]\nmodels = [\"fake\"]\n[rerank]\nmodels = []\n[config]\n[log]\n";

fn probe() -> Setup {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("probe").policy("probe", PROBE);
    setup.configure(|config| config.audit = CLOSED)
}

/// Starts it; gives the folder of its log as well.
#[track_caller]
fn start(setup: Setup) -> (TestServer, PathBuf) {
    let folder = setup.config.data.join(AUDIT_FOLDER);
    let server = setup.start();
    assert_eq!(server.failures, []);
    (server, folder)
}

/// All whole records of a log.
pub(crate) fn entries(folder: &Path) -> Vec<Entry> {
    let folder = Folder::new(folder);
    let read = |name: String| folder.read(&name).expect("is read").unwrap_or_default();
    let files: Vec<Vec<u8>> = files(&folder).expect("is listed").into_iter().map(read).collect();
    let lines = files.iter().flat_map(|bytes| bytes.split(|byte| *byte == b'\n'));
    lines.filter_map(|line| Entry::parse(line).ok()).collect()
}

/// The records of one request.
fn of_request(folder: &Path, id: &str) -> Vec<Entry> {
    entries(folder).into_iter().filter(|entry| entry.record.request.as_deref() == Some(id)).collect()
}

fn report(folder: &Path) -> Report {
    verify(&Folder::new(folder), &Checks::default()).expect("is read")
}

#[track_caller]
fn assert_clean(folder: &Path) {
    let report = report(folder);
    assert_eq!((&report.findings, &report.torn), (&Vec::new(), &None), "{report:?}");
}

fn embed(server: &TestServer, id: &str, model: &str) -> u16 {
    let body = json!({"text": "abc", "model": model}).to_string();
    let headers = [("content-type", "application/json"), ("x-request-id", id)];
    server.send("POST", "/c/probe/embed?q=asked", &headers, body.as_bytes()).status
}

fn text(text: &Option<Arc<str>>) -> &str {
    text.as_deref().unwrap_or_default()
}

#[test]
fn a_request_is_recorded_with_what_it_used_and_under_which_policy_before_it_is_answered() {
    let (server, folder) = start(probe());
    assert_eq!(embed(&server, "r-1", "fake"), 200);
    let records = of_request(&folder, "r-1");
    let [used, request] = records.as_slice() else { panic!("{records:#?}") };
    let (used, request) = (&used.record, &request.record);
    assert_eq!((used.kind, used.decision), (Kind::Decision, Some(Decision::Allow)));
    assert_eq!((text(&used.action), text(&used.target)), ("embed", "fake"));
    assert_eq!((request.kind, request.decision, request.status), (Kind::Request, Some(Decision::Allow), Some(200)));
    assert_eq!((text(&request.action), text(&request.target)), ("POST", "/c/probe/embed"));
    assert_eq!(text(&request.client), "127.0.0.1");
    let usage = request.usage.expect("it used something");
    assert!(usage.input_tokens == 1 && usage.device_ns > 0 && usage.took_us > 0, "{usage:?}");
    for record in [used, request] {
        assert_eq!((text(&record.tenant), text(&record.caller), text(&record.component)), ("local", "local", "probe"));
        assert!(text(&record.digest).strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64));
        assert_eq!(text(&record.policy).len(), 64);
        assert_eq!(record.policy, used.policy);
    }
    assert!(text(&request.args).starts_with("hmac-sha256:"));
    assert_clean(&folder);
}

#[test]
fn the_same_question_has_the_same_digest_and_another_has_another() {
    let (server, folder) = start(probe());
    let ask = |id: &str, body: &[u8]| {
        server.send("POST", "/c/probe/embed", &[("x-request-id", id)], body);
        of_request(&folder, id).iter().find_map(|entry| entry.record.args.clone()).expect("a digest")
    };
    assert_eq!(ask("a", b"one"), ask("b", b"one"));
    assert_ne!(ask("c", b"one"), ask("d", b"two"));
}

#[test]
fn a_denial_is_recorded_with_its_rule_and_the_line_of_the_policy() {
    let setup = probe();
    let rule = "@id(\"no-embedding\")\nforbid (principal, action == Action::\"embed\", resource) when { context.tenant == \"local\" };\n";
    std::fs::write(setup.config.policies.join("rules.cedar"), rule).expect("writes");
    let (server, folder) = start(setup);
    assert_eq!(embed(&server, "by-rule", "fake"), 404);
    assert_eq!(embed(&server, "by-list", "other"), 404);
    for (id, rule, reason) in
        [("by-rule", "rules.cedar:2 no-embedding", "rules.cedar:2"), ("by-list", "not_listed", "probe.toml:3 does not list it")]
    {
        let records = of_request(&folder, id);
        let denied = &records.first().expect("a record").record;
        assert_eq!((denied.kind, denied.decision), (Kind::Decision, Some(Decision::Deny)), "{records:?}");
        assert!(text(&denied.rule).ends_with(rule), "{denied:?}");
        assert!(text(&denied.reason).contains(reason), "{denied:?}");
    }
}

#[test]
fn in_the_mode_observe_it_is_recorded_what_would_be_denied() {
    let (server, folder) = start(probe().policy("probe", &PROBE.replace("schema = 1", "schema = 1\nmode = \"observe\"")));
    assert_eq!(embed(&server, "r-1", "other"), 200);
    let decisions: Vec<_> = of_request(&folder, "r-1").iter().filter_map(|entry| entry.record.decision).collect();
    assert_eq!(decisions, [Decision::WouldDeny, Decision::Allow, Decision::Allow]);
}

#[test]
fn rights_that_are_used_often_are_counted_in_the_requests_record() {
    let (server, folder) = start(probe());
    let headers = [("content-type", "application/json"), ("x-request-id", "r-1")];
    assert_eq!(server.send("POST", "/c/probe/log", &headers, br#"{"level": "info", "message": "x"}"#).status, 204);
    let records = of_request(&folder, "r-1");
    let lines: Vec<u64> = records.iter().map(|entry| entry.record.usage.expect("usage").counts.lines).collect();
    assert_eq!(lines, [1], "{records:?}");
}

#[test]
fn neither_what_is_asked_nor_what_is_answered_nor_a_secret_is_in_the_log() {
    const SECRETS: [&str; 4] = ["hush-1c5e", "prompt-77aa", "query-02bd", "header-9f10"];
    let upstream = Upstream::start();
    let rule = format!("host = \"127.0.0.1\", schemes = [\"http\"], ports = [{}], methods = [\"POST\"]", upstream.port());
    let setup = probe().guest("outbound");
    let value = setup.config.policies.join("value.txt");
    std::fs::write(&value, SECRETS[0]).expect("writes");
    let policy = format!(
        "schema = 1\n[http]\nallow = [{{ {rule} }}]\nprivate_networks = [\"127.0.0.1/32\"]\n[secret.KEY]\n\
         source = {{ file = {value:?} }}\nhosts = [\"127.0.0.1\"]\nheaders = [\"authorization\"]\nplaintext = true\n"
    );
    let (server, folder) = start(setup.policy("outbound", &policy));
    let placeholder = server.get("/c/outbound/secret/KEY").json()["value"].as_str().expect("a placeholder").to_owned();
    let asked = json!({
        "method": "POST", "url": upstream.url(&format!("/ok?q={}", SECRETS[2])), "body": SECRETS[1],
        "headers": [["authorization", placeholder], ["x-other", SECRETS[3]]],
    });
    assert_eq!(server.post("/c/outbound/http", &asked).status, 200);
    let head = upstream.heads().pop().expect("it was asked");
    assert!(head.contains(SECRETS[0]) && head.contains(SECRETS[2]) && head.contains(SECRETS[3]), "{head}");
    let body = json!({"text": SECRETS[1]}).to_string();
    server.send("POST", &format!("/c/probe/embed?{}", SECRETS[2]), &[("x-any", SECRETS[3])], body.as_bytes());
    let records = entries(&folder);
    let decisions = records.iter().filter(|entry| entry.record.kind == Kind::Decision);
    let uses: Vec<(&str, &str)> = decisions.map(|entry| (text(&entry.record.action), text(&entry.record.target))).collect();
    let sent = format!("POST {}", upstream.url("/ok"));
    assert_eq!(uses, [("secret", "KEY"), ("http", &sent), ("secret", "KEY"), ("embed", "fake")]);
    server.stop_and(|| assert_silent(&folder, &SECRETS, &placeholder));
}

/// Fails where a file of the log holds one of these texts.
#[track_caller]
fn assert_silent(folder: &Path, secrets: &[&str], placeholder: &str) {
    for file in std::fs::read_dir(folder).expect("is listed").flatten() {
        let bytes = std::fs::read(file.path()).expect("is read");
        for secret in secrets.iter().chain([&placeholder]) {
            let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_there, "{secret} is in {}", file.path().display());
        }
    }
}

#[test]
fn a_streamed_answer_has_a_second_record_when_it_ends() {
    let setup = Setup::new(FakeInference::gated()).guest("echo").configure(|config| config.audit = CLOSED);
    let (server, folder) = start(setup);
    let headers = ["transfer-encoding: chunked", "x-request-id: s-1"];
    let mut wire = Wire::request(server.address, "POST /c/echo/upload", &headers);
    wire.send_chunk(b"one");
    wire.read_until("one");
    let kinds = || of_request(&folder, "s-1").iter().map(|entry| entry.record.kind).collect::<Vec<_>>();
    assert_eq!(kinds(), [Kind::Request]);
    wire.send_chunk(b"");
    wire.read_until("0\r\n\r\n");
    eventually(|| (kinds() == [Kind::Request, Kind::End]).then_some(()));
    let end = of_request(&folder, "s-1").pop().expect("an end").record;
    assert_eq!((text(&end.reason), end.status), ("complete", Some(200)));
}

#[test]
fn a_request_whose_client_leaves_before_its_answer_is_recorded_all_the_same() {
    let setup = Setup::new(FakeInference::gated()).guest("probe").policy("probe", PROBE);
    let (server, folder) = start(setup.configure(|config| config.audit = CLOSED));
    let body = r#"{"text": "abc", "model": "fake"}"#;
    let length = format!("content-length: {}", body.len());
    let headers = ["content-type: application/json", "x-request-id: gone", &length];
    let mut wire = Wire::request(server.address, "POST /c/probe/embed", &headers);
    wire.send(body.as_bytes());
    let kinds = || of_request(&folder, "gone").iter().map(|entry| entry.record.kind).collect::<Vec<_>>();
    eventually(|| (kinds() == [Kind::Decision]).then_some(()));
    drop(wire);
    eventually(|| (kinds() == [Kind::Decision, Kind::Request]).then_some(()));
    let request = of_request(&folder, "gone").pop().expect("a request").record;
    assert_eq!((text(&request.reason), request.status), ("the client left before an answer", None));
    assert_eq!(text(&request.component), "probe");
}

#[test]
fn what_happens_to_the_server_is_recorded_and_its_end_is_signed() {
    let setup = probe().guest_as("broken", "echo", |manifest| manifest + "capabilities = [\"fly\"]\n");
    let (config, file) = (setup.config.clone(), setup.config.policies.join("probe.toml"));
    let folder = config.data.join(AUDIT_FOLDER);
    let server = setup.start();
    let before = embed_policy(&server, &folder, "r-1");
    std::fs::write(&file, format!("{PROBE}\n# more\n")).expect("writes");
    eventually(|| (embed_policy(&server, &folder, "r-2") != before).then_some(()));
    let told = server.stop_and(|| {
        assert_clean(&folder);
        assert_eq!(report(&folder).unsigned, 0, "an orderly end is signed");
        of_server(&folder)
    });
    let expected = [
        (Kind::Genesis, "", ""),
        (Kind::Server, "start", ""),
        (Kind::Component, "loaded", "probe"),
        (Kind::Component, "refused", "broken"),
        (Kind::Policy, "", "probe"),
        (Kind::Server, "stop", ""),
    ];
    let expected: Vec<_> =
        expected.iter().map(|(kind, action, name)| (*kind, (*action).to_owned(), (*name).to_owned())).collect();
    assert_eq!(told, expected);
}

/// The policy under which a request was answered.
fn embed_policy(server: &TestServer, folder: &Path, id: &str) -> Option<Arc<str>> {
    embed(server, id, "fake");
    of_request(folder, id).pop().and_then(|entry| entry.record.policy)
}

/// What the log says of the server itself.
fn of_server(folder: &Path) -> Vec<(Kind, String, String)> {
    let kinds = [Kind::Genesis, Kind::Server, Kind::Component, Kind::Policy];
    let records = entries(folder).into_iter().map(|entry| entry.record).filter(|record| kinds.contains(&record.kind));
    records.map(|record| (record.kind, text(&record.action).to_owned(), text(&record.component).to_owned())).collect()
}

#[test]
fn with_every_class_off_there_is_no_log() {
    let off =
        AuditConfig { access: Recording::Off, deny: Recording::Off, uses: Recording::Off, admin: Recording::Off, ..CLOSED };
    let (server, folder) = start(probe().configure(|config| config.audit = off));
    assert_eq!(embed(&server, "r-1", "fake"), 200);
    assert!(!folder.exists());
}

#[test]
fn a_class_that_is_off_is_not_recorded_and_the_others_are() {
    let some = AuditConfig { access: Recording::Off, uses: Recording::Off, ..CLOSED };
    let (server, folder) = start(probe().configure(|config| config.audit = some));
    embed(&server, "good", "fake");
    embed(&server, "bad", "other");
    assert_eq!((of_request(&folder, "good").len(), of_request(&folder, "bad").len()), (0, 1));
}

#[test]
fn a_tenants_keys_and_files_are_erased_and_that_is_recorded() {
    let setup = probe();
    let data = setup.config.data.clone();
    std::fs::create_dir_all(data.join("tenants/acme")).expect("a folder");
    std::fs::write(data.join("tenants/acme/row"), "x").expect("writes");
    let (server, folder) = start(setup);
    let refused = server.send("DELETE", "/admin/tenants/..%2Fcompiled", &[], b"");
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!("invalid_tenant")));
    let reply = server.send("DELETE", "/admin/tenants/acme", &[], b"");
    assert_eq!((reply.status, reply.json()["erased"]["files"].as_u64()), (200, Some(1)), "{}", reply.text());
    assert!(!data.join("tenants/acme").exists());
    let erased: Vec<_> =
        entries(&folder).into_iter().map(|entry| entry.record).filter(|record| record.kind == Kind::Erase).collect();
    let told: Vec<_> = erased.iter().map(|record| (text(&record.action), text(&record.tenant))).collect();
    assert_eq!(told, [("begin", "acme"), ("done", "acme")]);
    let counts = erased[1].detail.as_ref().and_then(|detail| detail.get("erased"));
    assert_eq!(counts, Some(&json!({"keys": 0, "store": 0, "files": 1})));
}

#[test]
fn two_servers_do_not_write_one_log() {
    let setup = probe();
    let config = setup.config.clone();
    let (_server, _) = start(setup);
    let tokio = tokio::runtime::Runtime::new().expect("a runtime");
    let second = tokio.block_on(runtime::Server::start(config, Arc::new(FakeInference::default())));
    let error = second.err().expect("is refused").to_string();
    assert!(error.contains("another process writes the audit log"), "{error}");
}
