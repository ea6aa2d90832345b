//! Files by standard `wasi:filesystem`, as a program's own library uses it. What an attacker tries is in
//! `tests/attack/files.rs`.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{FakeInference, Setup, TestServer, eventually};

use super::outside::{denied_once, govern, used};

/// What the guest needs to load.
const OTHERS: &str = "schema = 1\n[http]\n[secret]\n";

/// What nobody may read.
const SECRET: &str = "outside of what is granted";

/// Folders of the host, one of which is granted.
struct Folders(TempDir);

impl Folders {
    fn new() -> Folders {
        let folders = Folders(tempfile::tempdir().expect("a temporary folder"));
        std::fs::create_dir_all(folders.path("granted/empty")).expect("a folder");
        for (file, text) in [("outside.txt", SECRET), ("granted/a.txt", "text of a"), ("granted/b.txt", "b")] {
            std::fs::write(folders.path(file), text).expect("writes");
        }
        symlink("a.txt", folders.path("granted/link")).expect("links");
        symlink("../outside.txt", folders.path("granted/way-out")).expect("links");
        folders
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A policy that grants a folder as `/data`.
    fn policy(&self, access: &str) -> String {
        let host = self.path("granted").display().to_string();
        format!("{OTHERS}[fs]\nallow = [{{ host = {host:?}, guest = \"/data\", access = \"{access}\" }}]\n")
    }

    /// Every file and folder there is, with what is in it.
    fn all(&self) -> Vec<(PathBuf, Option<String>)> {
        let mut found = Vec::new();
        let mut folders = vec![self.path("")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("lists").path();
                let is_folder = path.is_dir() && !path.is_symlink();
                found.push((path.clone(), std::fs::read_to_string(&path).ok()));
                folders.extend(is_folder.then_some(path));
            }
        }
        found.sort();
        found
    }
}

fn setup(policy: &str) -> Setup {
    Setup::new(Arc::new(FakeInference::default())).guest("outbound").policy("outbound", policy)
}

#[track_caller]
fn start(policy: &str) -> TestServer {
    let server = setup(policy).start();
    assert_eq!(server.failures, []);
    server
}

/// What becomes of an operation: its value, or the kind of its error.
fn run(server: &TestServer, op: &str, path: &str, more: &[(&str, &str)]) -> Result<Value, String> {
    let mut request = json!({"op": op, "path": path});
    more.iter().for_each(|(key, value)| request[key] = json!(value));
    let reply = server.post("/c/outbound/fs", &request);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = reply.json();
    match &reply["error"] {
        Value::Null => Ok(reply["ok"].clone()),
        error => Err(error.as_str().unwrap_or_default().into()),
    }
}

fn read(server: &TestServer, path: &str) -> Result<Value, String> {
    run(server, "read", path, &[])
}

/// What looks and changes nothing.
const READING: [(&str, &str); 7] = [
    ("read", "/data/a.txt"),
    ("read", "/data/link"),
    ("list", "/data"),
    ("list", "/data/empty"),
    ("metadata", "/data/a.txt"),
    ("metadata", "/data/link"),
    ("readlink", "/data/link"),
];

/// An operation, its path, and what else it is given.
type Operation = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// What changes something; in this order all of it can be done where the folder may be written.
const WRITING: [Operation; 11] = [
    ("write", "/data/new.txt", &[("data", "new")]),
    ("write", "/data/a.txt", &[("data", "over")]),
    ("append", "/data/b.txt", &[("data", "c")]),
    ("truncate", "/data/a.txt", &[]),
    ("mkdir", "/data/made", &[]),
    ("rename", "/data/b.txt", &[("to", "/data/made/moved.txt")]),
    ("hardlink", "/data/a.txt", &[("to", "/data/hard")]),
    ("symlink", "b.txt", &[("to", "/data/soft")]),
    ("remove", "/data/link", &[]),
    ("remove", "/data/new.txt", &[]),
    ("rmdir", "/data/empty", &[]),
];

#[test]
fn a_folder_that_may_be_read_shows_what_is_in_it() {
    let folders = Folders::new();
    let server = start(&folders.policy("read"));
    let seen: Vec<Value> = READING.iter().map(|(op, path)| run(&server, op, path, &[]).expect("may be done")).collect();
    let expected = json!([
        "text of a", "text of a", ["a.txt", "b.txt", "empty", "link", "way-out"], [],
        {"kind": "file", "bytes": 9}, {"kind": "link", "bytes": 5}, "a.txt",
    ]);
    assert_eq!(json!(seen), expected);
    assert_eq!(used(&server, "outbound", "denied"), 0);
}

#[test]
fn each_way_to_change_a_folder_that_may_only_be_read_is_denied_once() {
    let folders = Folders::new();
    let server = start(&folders.policy("read"));
    let before = folders.all();
    for (op, path, more) in WRITING {
        let done = denied_once(&server, ("outbound", "fs", "read_only"), || run(&server, op, path, more));
        assert_eq!(done, Err("PermissionDenied".into()), "{op} {path}");
    }
    assert_eq!(folders.all(), before);
}

#[test]
fn a_folder_that_may_be_written_is_changed_in_each_way() {
    let folders = Folders::new();
    let server = start(&folders.policy("read-write"));
    for (op, path, more) in WRITING {
        assert_eq!(run(&server, op, path, more), Ok(json!("done")), "{op} {path}");
    }
    for (op, path) in READING {
        let is_gone = ["/data/link", "/data/empty"].contains(&path);
        assert_eq!(run(&server, op, path, &[]).is_err(), is_gone, "{op} {path}");
    }
    let text = |name: &str| std::fs::read_to_string(folders.path(name)).expect("is there");
    assert_eq!((text("granted/made/moved.txt").as_str(), text("granted/hard").as_str()), ("bc", ""));
    assert_eq!(std::fs::read_link(folders.path("granted/soft")).expect("a link"), PathBuf::from("b.txt"));
    assert_eq!((text("outside.txt").as_str(), used(&server, "outbound", "denied")), (SECRET, 0));
}

#[test]
fn nothing_else_is_there_whatever_is_granted() {
    for access in ["read", "read-write"] {
        let folders = Folders::new();
        let server = start(&folders.policy(access));
        let before = folders.all();
        let host = folders.path("outside.txt").display().to_string();
        let paths =
            ["/", "/etc/passwd", "/outside.txt", "outside.txt", "/database", "/data/../outside.txt", "/data/way-out", &host];
        for path in paths {
            for (op, more) in [
                ("read", &[][..]),
                ("list", &[]),
                ("append", &[("data", "x")]),
                ("hardlink", &[("to", "/data/stolen")]),
                ("rename", &[("to", "/data/stolen")]),
            ] {
                // What is moved or linked in its folder is the link itself.
                if path == "/data/way-out" && ["hardlink", "rename"].contains(&op) {
                    continue;
                }
                let done = run(&server, op, path, more);
                assert!(done.is_err(), "{access}: {op} {path}: {done:?}");
            }
        }
        assert_eq!(folders.all(), before, "{access}");
    }
}

#[test]
fn a_link_that_leads_out_of_its_folder_is_told_to_the_operator() {
    let folders = Folders::new();
    let server = start(&folders.policy("read"));
    let done = denied_once(&server, ("outbound", "fs", "not_listed"), || read(&server, "/data/way-out"));
    assert!(done.is_err(), "{done:?}");
}

#[test]
fn of_two_folders_the_inner_one_decides_for_what_is_in_it() {
    let folders = Folders::new();
    std::fs::create_dir(folders.path("other")).expect("a folder");
    let [outer, inner] = ["granted", "other"].map(|name| folders.path(name).display().to_string());
    let policy = format!(
        "{OTHERS}[fs]\nallow = [{{ host = {outer:?}, guest = \"/data\" }}, \
         {{ host = {inner:?}, guest = \"/data/empty\", access = \"read-write\" }}]\n"
    );
    let server = start(&policy);
    assert_eq!(run(&server, "write", "/data/empty/x", &[("data", "x")]), Ok(json!("done")));
    let write = || run(&server, "write", "/data/x", &[("data", "x")]);
    assert!(denied_once(&server, ("outbound", "fs", "read_only"), write).is_err());
    let rename = || run(&server, "rename", "/data/empty/x", &[("to", "/data/x")]);
    assert!(denied_once(&server, ("outbound", "fs", "read_only"), rename).is_err());
    assert_eq!(read(&server, "/data/empty/x"), Ok(json!("x")));
    assert!(folders.path("other/x").exists() && !folders.path("granted/x").exists());
}

#[test]
fn who_looks_for_files_without_a_grant_finds_none_and_is_told_of_once() {
    for section in ["", "[fs]\n"] {
        let reason = if section.is_empty() { "no_section" } else { "not_listed" };
        let server = start(&format!("{OTHERS}{section}"));
        let done = denied_once(&server, ("outbound", "fs", reason), || read(&server, "/data/a.txt"));
        assert_eq!(done, Err("NotFound".into()));
        for (op, path) in [("list", "/"), ("list", "."), ("read", "/etc/passwd"), ("metadata", "/")] {
            assert!(run(&server, op, path, &[]).is_err(), "{op} {path}");
        }
        // The instance has looked for its folders already.
        assert_eq!(used(&server, "outbound", "denied"), 1);
    }
}

#[test]
fn a_component_that_names_no_file_is_not_told_of() {
    let server = start(OTHERS);
    assert_eq!((server.get("/c/outbound/env").status, used(&server, "outbound", "denied")), (200, 0));
}

#[test]
fn a_folder_that_a_policy_takes_away_is_gone_for_the_next_request() {
    let folders = Folders::new();
    let setup = setup(&folders.policy("read-write"));
    let file = setup.config.policies.join("outbound.toml");
    let server = setup.start();
    assert_eq!(read(&server, "/data/b.txt"), Ok(json!("b")));
    govern(&server, &file, OTHERS);
    let done = denied_once(&server, ("outbound", "fs", "no_section"), || read(&server, "/data/b.txt"));
    assert_eq!(done, Err("NotFound".into()));
    govern(&server, &file, &folders.policy("read"));
    assert_eq!(read(&server, "/data/b.txt"), Ok(json!("b")));
    let write = || run(&server, "write", "/data/b.txt", &[("data", "x")]);
    assert!(denied_once(&server, ("outbound", "fs", "read_only"), write).is_err());
}

#[test]
fn what_the_manifest_does_not_want_is_not_seen() {
    let folders = Folders::new();
    let change = |manifest: String| manifest.replacen("\"fs\", ", "", 1);
    let setup = Setup::new(Arc::new(FakeInference::default())).guest_as("outbound", "outbound", change);
    let server = setup.policy("outbound", &folders.policy("read")).start();
    let done = denied_once(&server, ("outbound", "fs", "undeclared"), || read(&server, "/data/b.txt"));
    assert_eq!(done, Err("NotFound".into()));
}

#[test]
fn a_rule_forbids_a_path_by_its_name() {
    let folders = Folders::new();
    let setup = setup(&folders.policy("read-write"));
    let rules = "forbid (principal, action == Action::\"read\", resource) when { resource.path like \"*.txt\" };\n\
                 forbid (principal, action == Action::\"write\", resource) unless { resource.path like \"/data/empty/*\" };";
    std::fs::write(setup.config.policies.join("rules.cedar"), rules).expect("writes");
    let server = setup.start();
    for path in ["/data/a.txt", "/data/./a.txt", "/data/empty/../a.txt", "/data//a.txt"] {
        let done = denied_once(&server, ("outbound", "fs", "rule"), || read(&server, path));
        assert_eq!(done, Err("PermissionDenied".into()), "{path}");
    }
    for (op, path, more) in [
        ("write", "/data/x", &[("data", "x")][..]),
        ("rename", "/data/b.txt", &[("to", "/data/empty/b")]),
        ("rmdir", "/data/empty", &[]),
        // A rule sees a path as it is written, and a link would lead past it.
        ("symlink", "../a.txt", &[("to", "/data/empty/link")]),
    ] {
        let done = denied_once(&server, ("outbound", "fs", "rule"), || run(&server, op, path, more));
        assert_eq!(done, Err("PermissionDenied".into()), "{op} {path}");
    }
    assert_eq!(run(&server, "write", "/data/empty/x", &[("data", "x")]), Ok(json!("done")));
    assert_eq!(read(&server, "/data/empty/x"), Ok(json!("x")));
}

#[test]
fn as_many_files_are_open_at_a_time_as_an_instance_may_have_handles() {
    let folders = Folders::new();
    let hold = |server: &TestServer, count: usize| {
        let request = json!({"op": "hold", "path": "/data/a.txt", "count": count});
        let reply = server.post("/c/outbound/fs", &request);
        (reply.status, reply.text().contains("done"))
    };
    // Some standard libraries open no more than 128 themselves.
    let limited = start(&format!("{}[limits]\nhandles_max = 60\n", folders.policy("read")));
    assert_eq!(hold(&limited, 30), (200, true));
    assert!(!hold(&limited, 100).1);
    assert_eq!(hold(&limited, 30), (200, true), "and the next request has its own");
    assert_eq!(hold(&start(&folders.policy("read")), 100), (200, true));
}

#[test]
fn a_granted_folder_that_is_not_there_is_left_out_and_the_others_are_seen() {
    let folders = Folders::new();
    let [granted, gone] = ["granted", "gone"].map(|name| folders.path(name).display().to_string());
    let policy = format!(
        "{OTHERS}[fs]\nallow = [{{ host = {gone:?}, guest = \"/gone\" }}, {{ host = {granted:?}, guest = \"/data\" }}]\n"
    );
    let server = start(&policy);
    assert!(run(&server, "list", "/gone", &[]).is_err());
    assert_eq!(read(&server, "/data/b.txt"), Ok(json!("b")));
}

#[test]
fn in_the_mode_observe_a_folder_that_may_only_be_read_is_told_and_not_written() {
    let folders = Folders::new();
    let policy = folders.policy("read").replace("schema = 1", "schema = 1\nmode = \"observe\"");
    let server = start(&policy);
    let before = folders.all();
    assert!(run(&server, "write", "/data/new.txt", &[("data", "x")]).is_err());
    eventually(|| (used(&server, "outbound", "would_deny") == 1).then_some(()));
    assert_eq!(folders.all(), before);
}
