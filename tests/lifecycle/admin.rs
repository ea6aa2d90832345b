//! `/admin/components`: what operators do to a running server.

use serde_json::{Value, json};
use tests::{Reply, TestServer, eventually};

use super::{code, empty, manifest, replace, start, until, version};

fn ask(server: &TestServer, method: &str, path: &str, body: &[u8]) -> Reply {
    server.send(method, &format!("/admin/components{path}"), &[], body)
}

fn package(number: u64) -> Vec<u8> {
    let package = runtime::Package {
        manifest_text: manifest(number).into_bytes(),
        code: code(number),
        signature: None,
        policy: None,
        readme: None,
    };
    package.write().expect("a package")
}

/// Versions of `versioned`, the latest first: number, whether it serves, whether it is kept.
fn versions(server: &TestServer) -> Vec<(String, bool, bool)> {
    let report = ask(server, "GET", "/versions", b"").json();
    assert!(report.get("versions").is_none(), "that is no component");
    let report = ask(server, "GET", "/versioned/versions", b"").json();
    let row = |version: &Value| {
        let is = |key: &str| version[key].as_bool().expect("a truth");
        (version["version"].as_str().expect("a text").to_owned(), is("is_current"), is("is_kept"))
    };
    report["versions"].as_array().expect("a list").iter().map(row).collect()
}

#[test]
fn a_package_is_deployed_replaced_and_gone_back_from() {
    let (server, components) = empty();
    let reply = ask(&server, "POST", "", &package(1));
    assert_eq!((reply.status, &reply.json()["version"]), (201, &json!("0.1.0")), "{}", reply.text());
    assert_eq!(version(&server), Some(1), "it serves when the answer is there");
    assert_eq!(ask(&server, "PUT", "/versioned", &package(2)).status, 200);
    assert_eq!(version(&server), Some(2));
    assert_eq!(std::fs::read(components.join("versioned/component.wasm")).expect("in the folder"), code(2));
    assert_eq!(versions(&server), [("0.2.0".into(), true, true), ("0.1.0".into(), false, true)]);

    assert_eq!(ask(&server, "POST", "/versioned/rollback", b"").json()["version"], "0.1.0");
    assert_eq!(version(&server), Some(1));
    assert_eq!(ask(&server, "POST", "/versioned/rollback", b"").status, 200);
    assert_eq!(version(&server), Some(2), "and forth");
    let id = ask(&server, "GET", "/versioned", b"").json()["id"].as_str().expect("an id").to_owned();
    ask(&server, "POST", "/versioned/rollback", b"");
    assert_eq!(ask(&server, "POST", &format!("/versioned/rollback?to={id}"), b"").json()["id"], json!(id));
    let reply = ask(&server, "POST", "/versioned/rollback?to=000000000000", b"");
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (404, &json!("unknown_version")));
}

#[test]
fn code_alone_is_deployed_under_the_name_that_is_asked_for() {
    let (server, components) = empty();
    assert_eq!(ask(&server, "POST", "", &code(3)).status, 400, "it has no name");
    assert_eq!(ask(&server, "POST", "?name=versioned", &code(3)).status, 201);
    assert_eq!(version(&server), Some(3));
    assert!(components.join("versioned.wasm").is_file());
    assert_eq!(ask(&server, "PUT", "/versioned", &package(4)).status, 200, "a package takes its place");
    assert_eq!(version(&server), Some(4));
    assert!(!components.join("versioned.wasm").exists());
    assert_eq!(ask(&server, "POST", "/versioned/rollback", b"").status, 200);
    assert_eq!(version(&server), Some(3));
}

#[test]
fn what_is_refused_changes_nothing() {
    let (server, folder) = start();
    let before = std::fs::read(folder.join("component.wasm")).expect("reads");
    let cut = &code(9)[..1000];
    let other = String::from_utf8(manifest(9).into_bytes()).expect("text").replace("\"versioned\"", "\"other\"");
    let misnamed =
        runtime::Package { manifest_text: other.into_bytes(), code: code(9), signature: None, policy: None, readme: None };
    let misnamed = misnamed.write().expect("a package");
    let half = &package(9)[..500];
    for (body, status) in [(&b""[..], 422), (b"hello", 422), (cut, 422), (&misnamed, 400), (half, 400)] {
        let reply = ask(&server, "PUT", "/versioned", body);
        assert_eq!(reply.status, status, "{}", reply.text());
        assert!(reply.json()["error"]["message"].as_str().is_some_and(|message| message.len() > 10));
    }
    assert_eq!(version(&server), Some(0));
    assert_eq!(std::fs::read(folder.join("component.wasm")).expect("reads"), before);
    assert_eq!(ask(&server, "PUT", "/Not%20a%20name", &code(9)).status, 400);
    assert_eq!(ask(&server, "DELETE", "/unknown", b"").status, 404);
    assert_eq!(ask(&server, "PATCH", "/versioned", b"").status, 405);
}

#[test]
fn a_component_is_turned_off_and_on_and_stays_so_when_its_files_change() {
    let (server, folder) = start();
    assert_eq!(ask(&server, "POST", "/versioned/disable", b"").json()["state"], "disabled");
    assert_eq!(version(&server), None);
    replace(&folder.join("component.wasm"), &code(1));
    replace(&folder.with_file_name("other.wasm"), &code(2));
    eventually(|| (server.get("/c/other/").status == 200).then_some(()));
    assert_eq!(version(&server), None);
    assert_eq!(ask(&server, "PUT", "/versioned", &package(2)).status, 409);
    assert_eq!(ask(&server, "POST", "/versioned/enable", b"").json()["state"], "serving");
    assert_eq!(version(&server), Some(1));
}

#[test]
fn a_component_is_removed_and_brought_back() {
    let (server, folder) = start();
    assert_eq!(ask(&server, "DELETE", "/versioned", b"").json()["state"], "removed");
    assert_eq!(version(&server), None);
    assert!(!folder.exists());
    assert_eq!(ask(&server, "POST", "/versioned/rollback", b"").status, 200);
    until(&server, Some(0));
}

#[test]
fn a_folder_with_somebodys_work_is_not_removed() {
    let (server, folder) = start();
    std::fs::write(folder.join("lib.rs"), "// mine").expect("writes");
    let reply = ask(&server, "DELETE", "/versioned", b"");
    assert_eq!(reply.status, 409, "{}", reply.text());
    assert!(reply.text().contains("lib.rs") && folder.join("component.wasm").is_file());
    assert_eq!(version(&server), Some(0));
    assert_eq!(ask(&server, "PUT", "/versioned", &package(1)).status, 200);
    assert_eq!((version(&server), folder.join("lib.rs").is_file()), (Some(1), true));
}

#[test]
fn what_happened_to_a_component_and_what_it_used_is_told() {
    let (server, folder) = start();
    replace(&folder.join("component.wasm"), b"\0asm garbage");
    let text = eventually(|| {
        let reply = ask(&server, "GET", "/versioned/logs", b"");
        reply.text().contains("not loaded").then(|| reply.text())
    });
    assert!(text.contains("the version before it still serves"), "{text}");
    let lines = ask(&server, "GET", "/versioned/logs?limit=1", b"").json();
    let seq = lines["lines"][0]["seq"].as_u64().expect("a number");
    assert_eq!(ask(&server, "GET", &format!("/versioned/logs?after={seq}"), b"").json()["lines"], json!([]));
    assert_eq!(ask(&server, "GET", "/versioned/logs?after=x", b"").status, 400);
    version(&server);
    assert_eq!(ask(&server, "GET", "/versioned/metrics", b"").json()["usage"]["requests"], 1);
    let listed = ask(&server, "GET", "", b"").json();
    assert_eq!(listed["components"][0]["state"], "serving");
    assert!(listed["components"][0]["replacement_refused"].as_str().is_some());
}

#[test]
fn a_web_page_of_another_origin_changes_nothing() {
    let (server, _) = start();
    for (origin, status) in [("https://page.example", 403), ("null", 403), (&server.url(""), 200)] {
        let reply = server.send("POST", "/admin/components/versioned/disable", &[("origin", origin)], b"");
        assert_eq!(reply.status, status, "{origin}: {}", reply.text());
        assert_eq!(version(&server).is_none(), status == 200);
    }
}

#[test]
fn a_name_that_was_disabled_and_removed_is_free_again() {
    let (server, _) = start();
    ask(&server, "POST", "/versioned/disable", b"");
    assert_eq!(ask(&server, "DELETE", "/versioned", b"").json()["state"], "removed");
    assert_eq!(ask(&server, "PUT", "/versioned", &package(1)).status, 201);
    assert_eq!(version(&server), Some(1));
}

#[test]
fn code_alone_does_not_come_beside_somebodys_work() {
    let (server, folder) = start();
    std::fs::write(folder.join("lib.rs"), "// mine").expect("writes");
    assert_eq!(ask(&server, "PUT", "/versioned", &code(1)).status, 409);
    assert!(!folder.with_file_name("versioned.wasm").exists());
    assert_eq!((version(&server), versions(&server).len()), (Some(0), 1), "and nothing was written down");
}
