//! Components that come, change and go while a server runs: by the folder, and by the admin API.

mod admin;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;
use tests::{FakeInference, Setup, TestServer, eventually, root, versioned as code};

const PLENTY: &str = "schema = 1\n[quota]\nrequests_per_min_max = 100000000\n";

fn manifest(version: u64) -> String {
    let manifest = std::fs::read_to_string(root().join("tests/guests/versioned/component.toml")).expect("a manifest");
    manifest.replacen("0.1.0", &format!("0.{version}.0"), 1)
}

/// Writes a file as careful tools do: all of it or nothing.
fn replace(file: &Path, bytes: &[u8]) {
    let draft = file.with_file_name(".draft");
    std::fs::write(&draft, bytes).expect("writes");
    std::fs::rename(&draft, file).expect("renames");
}

/// What the component answers; none where it does not.
fn version(server: &TestServer) -> Option<u64> {
    let reply = server.get("/c/versioned/");
    (reply.status == 200).then(|| reply.text().trim_start_matches("version ").parse().expect("a number"))
}

fn until(server: &TestServer, wanted: Option<u64>) {
    eventually(|| (version(server) == wanted).then_some(()));
}

/// A server with `versioned`, and that component's folder.
fn start() -> (TestServer, PathBuf) {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("versioned").policy("versioned", PLENTY);
    let folder = setup.component_folder("versioned");
    let server = setup.start();
    assert_eq!(server.failures, []);
    (server, folder)
}

/// A server without components, and the folder where they go.
fn empty() -> (TestServer, PathBuf) {
    let setup = Setup::new(Arc::new(FakeInference::default())).policy("versioned", PLENTY);
    let folder = setup.config.components.clone();
    (setup.start(), folder)
}

/// Why the files of a component are not served.
fn refusal(server: &TestServer, name: &str) -> Option<String> {
    let report = server.get(&format!("/admin/components/{name}")).json();
    let reason = report.get("refused").or(report.get("replacement_refused"))?;
    Some(reason.as_str().expect("a text").to_owned())
}

#[test]
fn a_folder_that_is_dropped_in_serves_and_one_that_is_taken_out_does_not() {
    let (server, components) = empty();
    assert_eq!(version(&server), None);
    let folder = components.join("versioned");
    std::fs::create_dir(&folder).expect("made");
    std::fs::write(folder.join("component.toml"), manifest(1)).expect("writes");
    std::fs::write(folder.join("component.wasm"), code(1)).expect("writes");
    until(&server, Some(1));
    std::fs::write(folder.join("component.wasm"), code(2)).expect("writes");
    until(&server, Some(2));
    std::fs::rename(&folder, components.join(".elsewhere")).expect("renames");
    until(&server, None);
    assert_eq!(server.get("/c/versioned/").status, 404);
    std::fs::rename(components.join(".elsewhere"), &folder).expect("renames");
    until(&server, Some(2));
}

#[test]
fn code_alone_serves_under_its_files_name() {
    let (server, components) = empty();
    replace(&components.join("versioned.wasm"), &code(7));
    until(&server, Some(7));
    replace(&components.join("versioned.wasm"), &code(8));
    until(&server, Some(8));
    std::fs::remove_file(components.join("versioned.wasm")).expect("removed");
    until(&server, None);
}

#[test]
fn code_alone_that_wants_more_is_refused_until_it_is_granted() {
    let setup = Setup::new(Arc::new(FakeInference::default()));
    let (components, policies) = (setup.config.components.clone(), setup.config.policies.clone());
    let server = setup.start();
    let probe = std::fs::read(root().join("tests/guests/probe/component.wasm")).expect("a guest");
    replace(&components.join("probe.wasm"), &probe);
    let reason = eventually(|| refusal(&server, "probe"));
    assert!(reason.contains("[embed]") && reason.contains("policies/probe.toml"), "{reason}");
    let policy = "schema = 1\n[embed]\nmodels = [\"fake\"]\n[rerank]\nmodels = []\n[config]\n[log]\n";
    replace(&policies.join("probe.toml"), policy.as_bytes());
    eventually(|| (server.post("/c/probe/embed", &json!({"text": "abc", "model": "fake"})).status == 200).then_some(()));
}

#[test]
fn a_component_that_is_there_twice_is_told_and_what_served_goes_on() {
    let (server, folder) = start();
    let twin = folder.with_file_name("versioned.wasm");
    replace(&twin, &code(1));
    let reason = eventually(|| refusal(&server, "versioned"));
    assert!(reason.contains("more than once"), "{reason}");
    assert_eq!(version(&server), Some(0));
    std::fs::remove_file(twin).expect("removed");
    eventually(|| refusal(&server, "versioned").is_none().then_some(()));
}

#[test]
fn a_file_that_is_still_written_is_not_looked_at() {
    let (server, folder) = start();
    let code = code(1);
    let (half, rest) = code.split_at(code.len() / 2);
    let mut file = std::fs::File::create(folder.join("component.wasm")).expect("opens");
    file.write_all(half).expect("writes");
    file.sync_all().expect("is there");
    // Another component that comes after it is loaded before it.
    replace(&folder.with_file_name("other.wasm"), &tests::versioned(5));
    eventually(|| (server.get("/c/other/").status == 200).then_some(()));
    assert_eq!((version(&server), refusal(&server, "versioned")), (Some(0), None));
    file.write_all(rest).expect("writes");
    drop(file);
    until(&server, Some(1));
}

#[test]
fn requests_inside_finish_on_the_version_that_they_began_with() {
    let (server, folder) = start();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| server.get("/c/versioned/slow").text());
        eventually(|| (server.metric("tessera_component_requests_total{component=\"versioned\"}") >= 1.0).then_some(()));
        replace(&folder.join("component.wasm"), &code(1));
        until(&server, Some(1));
        assert_eq!(slow.join().expect("an answer"), "version 0000");
    });
}

#[test]
fn a_policy_counts_for_requests_on_an_older_version_too() {
    let (server, folder) = start();
    replace(&folder.join("component.wasm"), &code(1));
    until(&server, Some(1));
    let policies = folder.parent().and_then(Path::parent).expect("a folder").join("policies");
    replace(&policies.join("versioned.toml"), b"schema = 1\n[quota]\nrequests_per_min_max = 0\n");
    eventually(|| (server.get("/c/versioned/").status == 429).then_some(()));
}

/// What is put in the place of a component.
enum Replacement {
    Good,
    Corrupt,
    WantsMore,
    HalfWritten,
}

#[test]
fn a_hundred_replacements_under_load_lose_no_request() {
    const REPLACEMENTS: u64 = 100;
    let (server, folder) = start();
    let probe = std::fs::read(root().join("tests/guests/probe/component.wasm")).expect("a guest");
    let file = folder.join("component.wasm");
    let (is_over, lowest, asked) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    let before = lowest.load(Ordering::Acquire);
                    let answered = version(&server).expect("every request is answered");
                    assert!(answered >= before, "{answered} after {before}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut serving = 0;
        for number in 1..=REPLACEMENTS {
            let kind = match number % 8 {
                3 => Replacement::Corrupt,
                5 => Replacement::WantsMore,
                7 => Replacement::HalfWritten,
                _ => Replacement::Good,
            };
            let refused = |bytes: &[u8]| {
                replace(&file, bytes);
                eventually(|| refusal(&server, "versioned"))
            };
            let code = code(number);
            match kind {
                Replacement::Corrupt => drop(refused(&code[..code.len() - 100 - usize::try_from(number).expect("small")])),
                Replacement::WantsMore => assert!(refused(&probe).contains("without declaring it")),
                Replacement::Good => replace(&file, &code),
                Replacement::HalfWritten => {
                    let mut open = std::fs::File::create(&file).expect("opens");
                    for part in code.chunks(code.len() / 3) {
                        open.write_all(part).expect("writes");
                    }
                }
            }
            if matches!(kind, Replacement::Good | Replacement::HalfWritten) {
                serving = number;
                until(&server, Some(number));
                lowest.store(number, Ordering::Release);
            }
            assert_eq!(version(&server), Some(serving));
        }
        is_over.store(true, Ordering::Release);
    });
    assert!(asked.load(Ordering::Relaxed) > REPLACEMENTS, "the clients were there");
}
