//! What is served is described, to those who may ask for it.

use std::sync::Arc;

use serde_json::{Value, json};
use tests::{FakeInference, Setup, root};
use wit_parser::{PackageMetadata, Resolve};

use super::server;

/// The guest `types` with its authors' words in it, as `tessera build` puts them there.
pub(crate) fn with_docs() -> Vec<u8> {
    let folder = root().join("tests/guests/types");
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(folder.join("wit")).expect("good WIT");
    let docs = PackageMetadata::extract(&resolve, package).encode().expect("encodes");
    let mut code = std::fs::read(folder.join("component.wasm")).expect("run `make guests` first");
    let name = b"package-docs";
    let mut content = vec![u8::try_from(name.len()).expect("short")];
    content.extend_from_slice(name);
    content.extend_from_slice(&docs);
    code.push(0);
    let mut length = content.len();
    while length >= 0x80 {
        code.push(u8::try_from(length & 0x7f).expect("7 bits") | 0x80);
        length >>= 7;
    }
    code.push(u8::try_from(length).expect("7 bits"));
    code.extend_from_slice(&content);
    code
}

#[test]
fn a_component_is_described_with_its_types() {
    let document = server().get("/c/types/openapi.json").json();
    assert_eq!((&document["openapi"], &document["info"]["title"]), (&json!("3.1.0"), &json!("types")));
    let operation = &document["paths"]["/c/types/echo/points"]["post"];
    let takes = &operation["requestBody"]["content"]["application/json"]["schema"];
    let points = json!({"type": "array", "items": {"$ref": "#/components/schemas/types.echo.point"}});
    assert_eq!(takes["properties"]["value"], points);
    assert_eq!((&takes["required"], &takes["additionalProperties"]), (&json!(["value"]), &json!(false)));
    let point = &document["components"]["schemas"]["types.echo.point"];
    assert_eq!(point["properties"]["x"], json!({"type": "number"}));
    let stream = &document["paths"]["/c/types/streams/story"]["post"]["responses"]["200"]["content"]["text/event-stream"];
    assert_eq!(stream["schema"]["properties"]["data"]["contentSchema"]["anyOf"][0], json!({"type": "string"}));
    assert!(document["paths"]["/c/types/hello"]["post"].is_object());
    assert!(document["paths"]["/c/types/things/take"].is_null());
    let unexposed = document["x-unexposed"].as_array().expect("some are not served");
    assert!(unexposed.iter().any(|unexposed| unexposed["path"] == "/c/types/things/take"), "{unexposed:?}");
    assert_refer_to_what_is_there(&document, &document);
}

/// Fails on a reference to nothing.
fn assert_refer_to_what_is_there(value: &Value, document: &Value) {
    if let Some(place) = value.get("$ref").and_then(Value::as_str) {
        assert!(document.pointer(place.trim_start_matches('#')).is_some_and(Value::is_object), "{place}");
    }
    match value {
        Value::Object(entries) => entries.values().for_each(|value| assert_refer_to_what_is_there(value, document)),
        Value::Array(items) => items.iter().for_each(|value| assert_refer_to_what_is_there(value, document)),
        _ => {}
    }
}

#[test]
fn what_authors_say_is_in_the_description() {
    let server = Setup::new(Arc::new(FakeInference::default())).made("types", &with_docs()).start();
    assert_eq!(server.failures, []);
    let document = server.get("/c/types/openapi.json").json();
    let post = |path: &str| document["paths"][path]["post"].clone();
    assert_eq!(post("/c/types/echo/text")["summary"], "Says the same again.");
    assert_eq!(post("/c/types/hello")["description"], "Greets, by name if there is one.");
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["types.echo.point"]["description"], "A place on a plane.");
    assert_eq!(schemas["types.echo.point"]["properties"]["x"]["description"], "To the right.");
    let colour = schemas["types.echo.colour"]["description"].as_str().expect("a description");
    assert!(colour.contains("A paint.") && colour.contains("- `deep_blue`: As the sea."), "{colour}");
}

#[test]
fn words_that_can_not_be_read_keep_no_component_from_loading() {
    let mut code = std::fs::read(root().join("tests/guests/types/component.wasm")).expect("run `make guests` first");
    code.extend_from_slice(b"\0\x10\x0cpackage-docs\x01{x");
    let server = Setup::new(Arc::new(FakeInference::default())).made("types", &code).start();
    assert_eq!(server.failures, []);
    assert_eq!(server.post("/c/types/calls/seven", &json!({})).text(), "7");
}

#[test]
fn the_server_is_described_as_far_as_the_caller_may_ask() {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("types").guest("echo").bundled("chat");
    let server = setup.start();
    let document = server.get("/openapi.json").json();
    for (path, method) in [
        ("/c/types/echo/points", "post"),
        ("/c/echo/{path}", "get"),
        ("/v1/chat/completions", "post"),
        ("/v1/list_service", "get"),
        ("/openapi.json", "get"),
        ("/metrics", "get"),
    ] {
        assert!(document["paths"][path][method].is_object(), "{method} {path}");
    }
    assert_refer_to_what_is_there(&document, &document);
}

#[test]
fn the_page_runs_its_own_script_only() {
    let reply = server().get("/docs");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let text = reply.text();
    assert!(
        text.contains("fetch('/openapi.json'") && !text.contains("@SCRIPT@") && !text.contains("http"),
        "nothing from outside"
    );
    let rules = reply.header("content-security-policy").expect("rules");
    assert!(rules.starts_with("default-src 'none'") && rules.contains("script-src 'sha256-"), "{rules}");
}
