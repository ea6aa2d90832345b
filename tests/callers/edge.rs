//! Where requests come from: web pages, proxies, and operators by a door of their own.

use std::net::SocketAddr;
use std::sync::Arc;

use policy::NewKey;
use serde_json::json;
use tests::{FakeInference, Setup, TestServer};

use super::{Guarded, code, get, new_key};

const PAGE: &str = "https://app.example.com";

/// Asks as a browser does before it sends a page's request.
fn preflight(server: &TestServer, origin: &str) -> tests::Reply {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    server.send("OPTIONS", "/c/probe/embed", &headers, b"")
}

#[test]
fn pages_of_listed_origins_may_ask_without_a_credential_and_read_with_one() {
    let guarded = Guarded::new().configure(|config| config.cors.origins = vec![PAGE.into()]);
    let key = guarded.key(new_key("acme"));
    let server = guarded.start();
    let asked = preflight(&server, PAGE);
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (200, Some(PAGE)));
    assert_eq!(asked.header("access-control-allow-headers"), Some("authorization,content-type"));
    assert!(asked.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
    assert_eq!(asked.header("access-control-allow-credentials"), None);
    assert_eq!(preflight(&server, "https://evil.example.com").header("access-control-allow-origin"), None);
    let bearer = format!("Bearer {}", key.text);
    let ask = |headers: &[(&str, &str)]| server.send("GET", "/c/echo/hello", headers, b"");
    let read = ask(&[("origin", PAGE), ("authorization", &bearer)]);
    assert_eq!((read.status, read.header("access-control-allow-origin")), (200, Some(PAGE)));
    let refused = ask(&[("origin", PAGE)]);
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some(PAGE)), "a page may read why");
    assert!(refused.header("access-control-expose-headers").is_some_and(|names| names.contains("www-authenticate")));
    let options = server.send("OPTIONS", "/c/echo/hello", &[], b"");
    assert_eq!(options.status, 401, "what is no browser's question needs a credential");
}

#[test]
fn without_the_setting_no_page_may_read_anything() {
    let server = TestServer::with_guest("echo");
    assert_eq!(preflight(&server, PAGE).header("access-control-allow-origin"), None);
    let any = Setup::new(Arc::new(FakeInference::default())).guest("echo");
    let server = any.configure(|config| config.cors.origins = vec!["*".into()]).start();
    assert_eq!(preflight(&server, PAGE).header("access-control-allow-origin"), Some("*"));
    assert_eq!(server.get("/c/echo/hello").text(), "hello");
    assert_eq!(server.get("/health").status, 200);
}

/// Another address of the same server.
fn at(address: SocketAddr, path: &str, key: Option<&str>) -> u16 {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.get(format!("http://{address}{path}"));
    if let Some(key) = key {
        request = request.header("x-api-key", key);
    }
    request.call().expect("an answer").status().as_u16()
}

#[test]
fn what_is_for_operators_can_have_a_door_of_its_own() {
    let guarded = Guarded::new().configure(|config| config.admin_listen = Some(([127, 0, 0, 1], 0).into()));
    let (user, admin) = (guarded.key(new_key("acme")), guarded.key(NewKey { is_admin: true, ..new_key("ops") }));
    let server = guarded.start();
    let door = server.admin_address.expect("a second address");
    for path in ["/metrics", "/admin/usage"] {
        assert_eq!((server.get(path).status, get(&server, path, &user.text).status), (401, 404));
        assert_eq!(get(&server, path, &admin.text).status, 404, "not even for operators");
        assert_eq!([None, Some(&*user.text), Some(&*admin.text)].map(|key| at(door, path, key)), [401, 403, 200]);
    }
    assert_eq!((at(door, "/c/echo/hello", Some(&admin.text)), at(door, "/v1/models", Some(&admin.text))), (404, 404));
    assert_eq!(get(&server, "/c/echo/hello", &admin.text).status, 200);
}

#[test]
fn without_credentials_the_operators_door_is_on_this_machine_only() {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("echo");
    let server = setup.configure(|config| config.admin_listen = Some(([127, 0, 0, 1], 0).into())).start();
    let door = server.admin_address.expect("a second address");
    assert_eq!((server.get("/metrics").status, at(door, "/metrics", None)), (404, 200));
    assert_eq!((server.get("/health").status, server.get("/c/echo/hello").status), (200, 200));
}

#[test]
fn no_header_lets_anybody_in() {
    let guarded = Guarded::new().configure(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")]);
    let key = guarded.key(new_key("acme"));
    let server = guarded.start();
    let spoofed = [
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1;proto=https"),
        ("x-forwarded-user", "root"),
        ("x-real-ip", "127.0.0.1"),
        ("x-original-url", "/health"),
        ("x-http-method-override", "GET"),
    ];
    for path in ["/metrics", "/c/echo/hello", "/v1/models"] {
        assert_eq!(server.send("GET", path, &spoofed, b"").status, 401, "{path}");
    }
    let bearer = format!("Bearer {}", key.text);
    let with_key: Vec<(&str, &str)> = spoofed.into_iter().chain([("authorization", bearer.as_str())]).collect();
    let refused = server.send("GET", "/admin/usage", &with_key, b"");
    assert_eq!((refused.status, code(&refused)), (403, json!("admin_only")));
}
