//! Functions as tools of the Model Context Protocol: what is listed, what calls answer, and what clients are refused.

mod calls;
mod refused;
mod rights;
mod streams;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use tests::{FakeInference, Reply, Setup, TestServer};

/// The protocol's version in requests that open with `initialize`.
const VERSION: &str = "2025-11-25";

/// The one server with the guest `types`, shared by what changes nothing.
fn server() -> &'static TestServer {
    static SERVER: OnceLock<TestServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = TestServer::with_guest("types");
        assert_eq!(server.failures, []);
        server
    })
}

/// A client's request.
struct Rpc<'a> {
    server: &'a TestServer,
    key: Option<&'a str>,
    session: Option<&'a str>,
}

impl<'a> Rpc<'a> {
    fn new(server: &'a TestServer) -> Rpc<'a> {
        Rpc { server, key: None, session: None }
    }

    /// Sends a message and gives the whole answer.
    fn send(&self, message: &Value) -> Reply {
        let key = self.key.map(|key| format!("Bearer {key}"));
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", VERSION),
        ];
        headers.extend(key.as_deref().map(|key| ("authorization", key)));
        headers.extend(self.session.map(|session| ("mcp-session-id", session)));
        self.server.send("POST", "/mcp", &headers, message.to_string().as_bytes())
    }

    /// Asks, and gives the answer as JSON.
    fn ask(&self, method: &str, params: &Value) -> Value {
        let reply = self.send(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}));
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// Calls a tool, and gives its result.
    fn call(&self, tool: &str, arguments: &Value) -> Value {
        let answer = self.ask("tools/call", &json!({"name": tool, "arguments": arguments}));
        assert!(answer["error"].is_null(), "{answer}");
        answer["result"].clone()
    }

    /// All tools, page by page.
    fn tools(&self) -> Vec<Value> {
        let (mut tools, mut params) = (Vec::new(), json!({}));
        loop {
            let page = &self.ask("tools/list", &params)["result"];
            tools.extend(page["tools"].as_array().expect("tools").clone());
            if page["nextCursor"].is_null() {
                return tools;
            }
            params = json!({"cursor": page["nextCursor"]});
        }
    }
}

/// The messages of an answer that comes as events.
fn messages(reply: &Reply) -> Vec<Value> {
    let text = reply.text();
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    data.map(str::trim).filter(|data| !data.is_empty()).map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

/// The text of a result.
fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().expect("a text")
}

#[test]
fn a_client_learns_which_versions_and_methods_there_are() {
    let params = json!({"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}});
    let reply = Rpc::new(server()).send(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}));
    let result = &reply.json()["result"];
    assert_eq!((&result["protocolVersion"], &result["serverInfo"]["name"]), (&json!(VERSION), &json!("tessera")));
    assert_eq!(result["capabilities"], json!({"tools": {}}), "nothing that is not there");
    assert_eq!(reply.header("mcp-session-id").map(str::len), Some(32));
    let reply = Rpc::new(server()).send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    assert_eq!((reply.status, reply.body.len()), (202, 0));
    assert_eq!(Rpc::new(server()).ask("ping", &json!({}))["result"], json!({}));
}

#[test]
fn a_version_without_sessions_is_spoken_too() {
    let version = "2026-07-28";
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": version, "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    });
    let params = json!({"name": "types__calls__seven", "arguments": {}, "_meta": meta});
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", version),
        ("mcp-method", "tools/call"),
        ("mcp-name", "types__calls__seven"),
    ];
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let reply = server().send("POST", "/mcp", &headers, message.to_string().as_bytes());
    assert_eq!(reply.json()["result"]["structuredContent"], json!({"result": 7}));
}

#[test]
fn every_function_is_a_tool_with_what_its_author_says_of_it() {
    let server = Setup::new(Arc::new(FakeInference::default())).made("types", &crate::typed::openapi::with_docs()).start();
    assert_eq!(server.failures, []);
    let tools = Rpc::new(&server).tools();
    let tool = |name: &str| tools.iter().find(|tool| tool["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    let said = tool("types__echo__text");
    assert_eq!((&said["title"], &said["description"]), (&json!("types: echo/text"), &json!("Says the same again.")));
    let input = json!({
        "type": "object", "properties": {"value": {"type": "string"}}, "required": ["value"], "additionalProperties": false,
    });
    assert_eq!(said["inputSchema"], input);
    let all = tool("types__echo__all");
    assert_eq!((&all["outputSchema"]["type"], &all["inputSchema"]["type"]), (&json!("object"), &json!("object")));
    assert!(all["outputSchema"]["$defs"]["echo.everything.answer"].is_object(), "{all}");
    let count = &tool("types__streams__count")["outputSchema"]["properties"]["result"];
    assert_eq!((&count["type"], &count["items"]["type"]), (&json!("array"), &json!("integer")));
    let listed = server.get("/v1/list_service").json();
    assert_eq!(Some(tools.len()), listed["services"][0]["functions"].as_array().map(Vec::len));
}

#[test]
fn names_are_such_as_all_clients_take_and_pages_hold_them_all_once() {
    let copy = |setup: Setup, name: &str| setup.guest_as(name, "types", |manifest| manifest);
    let setup = Setup::new(Arc::new(FakeInference::default()));
    let long = "types-with-a-name-so-long-that-little-is-left-for-functions-to-be";
    let server = ["types", "types-b", &long[..64]].into_iter().fold(setup, copy).start();
    assert_eq!(server.failures, []);
    let client = Rpc::new(&server);
    let first = client.ask("tools/list", &json!({}));
    assert_eq!(first["result"]["tools"].as_array().map(Vec::len), Some(100));
    let tools = client.tools();
    let names: BTreeSet<&str> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert_eq!((names.len(), tools.len() % 3), (tools.len(), 0));
    let is_plain =
        |name: &&str| name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    assert!(names.iter().all(is_plain), "{names:?}");
    let title = format!("{}: calls/seven", &long[..64]);
    let seven = tools.iter().find(|tool| tool["title"] == title).expect("the long one");
    assert_eq!(client.call(seven["name"].as_str().expect("a name"), &json!({}))["structuredContent"]["result"], 7);
}
