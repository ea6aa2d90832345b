//! The table: every function that the host links, and what it is as far as rights go.

use std::sync::LazyLock;

use serde_json::json;

/// Some functions of an interface.
pub(super) struct Row {
    /// With the first two numbers of its version.
    pub(super) interface: &'static str,
    /// As components name them: `[method]descriptor.stat`.
    pub(super) functions: &'static [&'static str],
    pub(super) kind: Kind,
}

/// What a function is.
pub(super) enum Kind {
    /// Does something outside of its instance, or tells of it: has to be granted.
    Power(Power),
    /// The same at a path below a folder: `wasi:filesystem`, exercised as [`Power::of_path`] says.
    Path,
    /// Tells what is granted, which without a grant is nothing: `says` is the whole answer then. Nobody is denied anything.
    Shows(Power),
    /// Works on something that nobody has who was not given it by this power.
    Needs(&'static str),
    /// Does nothing outside of its instance, for this reason.
    Harmless(&'static str),
    /// Components give it, and the host does not: it is not linked.
    Given,
}

/// How a function is exercised.
#[derive(Clone)]
pub(super) struct Power {
    pub(super) guest: &'static str,
    /// What works with a grant, and what it is answered without one.
    pub(super) ungranted: Try,
    /// What it is answered with a grant; none where nobody can have one.
    pub(super) granted: Option<&'static str>,
    /// What does not work with a grant, as it aims at something else.
    pub(super) wrong: Vec<Try>,
}

/// A request that has a guest call a function, and words of the answer. `UPSTREAM` stands for another host's address.
#[derive(Clone)]
pub(super) struct Try {
    pub(super) request: &'static str,
    pub(super) body: String,
    pub(super) says: &'static str,
}

impl Row {
    pub(super) fn name(&self, function: &str) -> String {
        format!("{} {function}", self.interface)
    }

    /// How a function of the row is exercised, and how many denials are told when it is refused.
    pub(super) fn exercise(&self, function: &str) -> Option<(Power, u64)> {
        match &self.kind {
            Kind::Power(power) => Some((power.clone(), 1)),
            Kind::Path => Some((Power::of_path(self.interface, function), 1)),
            Kind::Shows(power) => Some((power.clone(), 0)),
            Kind::Needs(_) | Kind::Harmless(_) | Kind::Given => None,
        }
    }
}

impl Power {
    /// For a function that takes one path or two: those of what there is in the granted folder, and those that lead out of it.
    fn of_path(interface: &str, function: &str) -> Power {
        let (request, denied) = match interface.ends_with("0.2") {
            true => ("POST /wasi/2", "not-permitted"),
            false => ("POST /wasi/3", "NotPermitted"),
        };
        let function = function.trim_start_matches("[method]descriptor.");
        let (path, to) = match function {
            "create-directory-at" => ("made", ""),
            "readlink-at" => ("link", ""),
            "remove-directory-at" => ("empty", ""),
            "link-at" | "rename-at" | "symlink-at" => ("inside.txt", "new.txt"),
            _ => ("inside.txt", ""),
        };
        let attempt = |path: &str, to: &str, says| {
            let body = json!({"function": function, "path": path, "to": to}).to_string();
            Try { request, body, says }
        };
        let mut wrong = Vec::new();
        if function != "symlink-at" {
            wrong.push(attempt("../outside.txt", to, denied)); // the first path of that is only a text
        }
        if !to.is_empty() {
            wrong.push(attempt(path, "../planted", denied));
        }
        let ungranted = attempt(path, to, "no folder is granted");
        Power { guest: "outbound", ungranted, granted: Some("{\"ok\":\"done\"}"), wrong }
    }
}

fn row(interface: &'static str, functions: &'static [&'static str], kind: Kind) -> Row {
    Row { interface, functions, kind }
}

fn power<const N: usize>(guest: &'static str, ungranted: Try, granted: &'static str, wrong: [Try; N]) -> Kind {
    Kind::Power(Power { guest, ungranted, granted: Some(granted), wrong: wrong.into() })
}

/// What no policy can grant.
fn refused(guest: &'static str, ungranted: Try) -> Kind {
    Kind::Power(Power { guest, ungranted, granted: None, wrong: Vec::new() })
}

fn shows(guest: &'static str, ungranted: Try, granted: Option<&'static str>) -> Kind {
    Kind::Shows(Power { guest, ungranted, granted, wrong: Vec::new() })
}

fn request(request: &'static str, body: &str, says: &'static str) -> Try {
    Try { request, body: body.into(), says }
}

const UNKNOWN: &str = "unknown-model";
const ITS_OWN: &str = "values of the guest's own, in its own handles";
const PATH_2: &str = "wasi:filesystem/types@0.2 [method]descriptor.open-at";
const PATH_3: &str = "wasi:filesystem/types@0.3 [method]descriptor.open-at";
const TCP_2: &str = "wasi:sockets/tcp-create-socket@0.2 create-tcp-socket";
const UDP_2: &str = "wasi:sockets/udp-create-socket@0.2 create-udp-socket";
const TCP_3: &str = "wasi:sockets/types@0.3 [static]tcp-socket.create";
const UDP_3: &str = "wasi:sockets/types@0.3 [static]udp-socket.create";
const NAME_2: &str = "wasi:sockets/ip-name-lookup@0.2 resolve-addresses";
const HTTP_2: &str = "wasi:http/outgoing-handler@0.2 handle";
const GRAPH: &str = "wasi:nn/graph@0.2 load-by-name";
const BEGIN: &str = "tessera:vector/vector@0.1 begin";
const START: &str = "tessera:generate/generate-poll@0.1 start";

#[rustfmt::skip] // one line for each function that is exercised
pub(super) static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| vec![
    // Ours.
    row("tessera:blob/blob@0.1", &["put"],
        power("store", request("PUT /blob?container=granted&name=n", "text", "denied"), r#""bytes":4"#,
            [request("PUT /blob?container=other&name=n", "text", "denied")])),
    row("tessera:blob/blob@0.1", &["get"],
        power("store", request("GET /blob?container=granted&name=n", "", "denied"), "text",
            [request("GET /blob?container=other&name=n", "", "denied")])),
    row("tessera:blob/blob@0.1", &["stat"],
        power("store", request("POST /blob/stat", r#"{"container": "granted", "name": "n"}"#, "denied"), r#""bytes":4"#,
            [request("POST /blob/stat", r#"{"container": "other", "name": "n"}"#, "denied")])),
    row("tessera:blob/blob@0.1", &["list"],
        power("store", request("POST /blob/list", r#"{"container": "granted"}"#, "denied"), r#"["n"]"#,
            [request("POST /blob/list", r#"{"container": "other"}"#, "denied")])),
    row("tessera:blob/blob@0.1", &["delete"],
        power("store", request("POST /blob/delete", r#"{"container": "granted", "name": "n"}"#, "denied"), r#"{"ok":true}"#,
            [request("POST /blob/delete", r#"{"container": "other", "name": "n"}"#, "denied")])),
    row("tessera:classify/classify@0.1", &["classify"],
        power("classifier", request("POST /classify", r#"{"texts": ["x"], "model": "fake"}"#, "UnknownModel"), "short",
            [request("POST /classify", r#"{"texts": ["x"], "model": "other"}"#, "UnknownModel")])),
    row("tessera:classify/classify@0.1", &["find-entities"],
        power("classifier", request("POST /find-entities", r#"{"texts": ["X"], "model": "fake"}"#, "UnknownModel"), "CAPITALS",
            [request("POST /find-entities", r#"{"texts": ["X"], "model": "other"}"#, "UnknownModel")])),
    row("tessera:classify/classify@0.1", &["models"],
        shows("classifier", request("GET /models", "", "[]"), Some("[\"fake\"]"))),
    row("tessera:config/config@0.1", &["get"],
        power("probe", request("GET /config/shown", "", "is not set"), "\"1\"",
            [request("GET /config/hidden", "", "is not set")])),
    row("tessera:config/config@0.1", &["all"],
        power("probe", request("GET /config", "", "[]"), "shown", [request("GET /config", "", "[[\"shown\",\"1\"]]")])),
    row("tessera:embed/embed@0.1", &["embed"],
        power("probe", request("POST /embed", r#"{"text": "x", "model": "fake"}"#, UNKNOWN), "values",
            [request("POST /embed", r#"{"text": "x", "model": "other"}"#, UNKNOWN)])),
    row("tessera:embed/embed@0.1", &["embed-tokens"],
        power("probe", request("POST /embed-tokens", r#"{"text": "x", "model": "fake"}"#, UNKNOWN), "pooled",
            [request("POST /embed-tokens", r#"{"text": "x", "model": "other"}"#, UNKNOWN)])),
    row("tessera:embed/embed@0.1", &["models"], shows("probe", request("GET /embed/models", "", "[]"), Some("[\"fake\"]"))),
    row("tessera:generate/generate@0.1", &["generate"],
        power("scribe", request("POST /generate", r#"{"text": "x", "model": "fake"}"#, UNKNOWN), "generated_tokens",
            [request("POST /generate", r#"{"text": "x", "model": "other"}"#, UNKNOWN)])),
    row("tessera:generate/generate@0.1", &["models"], shows("scribe", request("GET /models", "", "[]"), Some("[\"fake\"]"))),
    row("tessera:generate/generate-poll@0.1", &["start"],
        power("generate-poll", request("POST /?fake", "x", "UnknownModel"), "fake: x (1 tokens)",
            [request("POST /?other", "x", "UnknownModel")])),
    row("tessera:generate/generate-poll@0.1", &["models"],
        shows("generate-poll", request("GET /models", "", ""), Some("fake"))),
    row("tessera:generate/generate-poll@0.1",
        &["[method]generation.model", "[method]generation.next", "[method]generation.subscribe", "[method]generation.cancel"],
        Kind::Needs(START)),
    row("tessera:guard/guard@0.1", &["check"], Kind::Given),
    row("tessera:handler/handler@0.1", &["handle"], Kind::Given),
    row("tessera:http/client@0.1", &["send"],
        power("outbound", request("POST /http", r#"{"url": "http://UPSTREAM/ok"}"#, "denied"), "\"body\":\"ok\"", [
            request("POST /http", r#"{"url": "http://UPSTREAM/other"}"#, "denied"),
            request("POST /http", r#"{"url": "http://UPSTREAM/ok", "method": "DELETE"}"#, "denied"),
            request("POST /http", r#"{"url": "http://169.254.169.254/ok"}"#, "denied"),
        ])),
    row("tessera:kv/kv@0.1", &["set"],
        power("store", request("POST /kv/set", r#"{"store": "granted", "key": "k", "value": "v"}"#, "denied"), r#"{"ok":1}"#,
            [request("POST /kv/set", r#"{"store": "other", "key": "k", "value": "v"}"#, "denied")])),
    row("tessera:kv/kv@0.1", &["get"],
        power("store", request("POST /kv/get", r#"{"store": "granted", "key": "k"}"#, "denied"), r#""value":"v""#,
            [request("POST /kv/get", r#"{"store": "other", "key": "k"}"#, "denied")])),
    row("tessera:kv/kv@0.1", &["list"],
        power("store", request("POST /kv/list", r#"{"store": "granted"}"#, "denied"), r#"["k"]"#,
            [request("POST /kv/list", r#"{"store": "other"}"#, "denied")])),
    row("tessera:kv/kv@0.1", &["delete"],
        power("store", request("POST /kv/delete", r#"{"store": "granted", "key": "k"}"#, "denied"), r#"{"ok":true}"#,
            [request("POST /kv/delete", r#"{"store": "other", "key": "k"}"#, "denied")])),
    row("tessera:log/log@0.1", &["write"],
        power("probe", request("POST /log", r#"{"level": "info", "message": "x"}"#, ""), "", [])),
    row("tessera:rerank/rerank@0.1", &["rerank"],
        power("probe", request("POST /rerank", r#"{"query": "x", "documents": ["y"], "model": "fake"}"#, UNKNOWN), "values",
            [request("POST /rerank", r#"{"query": "x", "documents": ["y"], "model": "other"}"#, UNKNOWN)])),
    row("tessera:rerank/rerank@0.1", &["models"], shows("probe", request("GET /rerank/models", "", "[]"), Some("[\"fake\"]"))),
    row("tessera:secret/secret@0.1", &["get"],
        power("outbound", request("GET /secret/KEY", "", "null"), "tessera-secret-",
            [request("GET /secret/OTHER", "", "null")])),
    row("tessera:tokenize/tokenize@0.1", &["tokenize"],
        power("scribe", request("POST /tokenize", r#"{"text": "x", "model": "fake"}"#, UNKNOWN), "[120]",
            [request("POST /tokenize", r#"{"text": "x", "model": "other"}"#, UNKNOWN)])),
    row("tessera:tokenize/tokenize@0.1", &["count"],
        power("scribe", request("POST /count", r#"{"text": "x", "model": "fake"}"#, UNKNOWN), "{\"ok\":1}",
            [request("POST /count", r#"{"text": "x", "model": "other"}"#, UNKNOWN)])),
    row("tessera:tokenize/tokenize@0.1", &["detokenize"],
        power("scribe", request("POST /detokenize", r#"{"tokens": [120], "model": "fake"}"#, UNKNOWN), "{\"ok\":\"x\"}",
            [request("POST /detokenize", r#"{"tokens": [120], "model": "other"}"#, UNKNOWN)])),
    row("tessera:tokenize/tokenize@0.1", &["models"],
        shows("scribe", request("GET /tokenize/models", "", "[]"), Some("[\"fake\"]"))),
    row("tessera:vector/vector@0.1", &["begin"],
        power("store", request("POST /vector/upsert", r#"{"collection": "granted", "document": "d", "texts": ["a"]}"#, "denied"), r#"{"ok":1}"#,
            [request("POST /vector/upsert", r#"{"collection": "other", "document": "d", "texts": ["a"]}"#, "denied")])),
    row("tessera:vector/vector@0.1", &["[method]draft.append", "[method]draft.commit"], Kind::Needs(BEGIN)),
    row("tessera:vector/vector@0.1", &["find"],
        power("store", request("POST /vector/find", r#"{"collection": "granted", "text": "a"}"#, "denied"), r#"[["d","a"]]"#,
            [request("POST /vector/find", r#"{"collection": "other", "text": "a"}"#, "denied")])),
    row("tessera:vector/vector@0.1", &["stat"],
        power("store", request("POST /vector/stat", r#"{"collection": "granted", "document": "d"}"#, "denied"), r#"{"ok":"d"}"#,
            [request("POST /vector/stat", r#"{"collection": "other", "document": "d"}"#, "denied")])),
    row("tessera:vector/vector@0.1", &["documents"],
        power("store", request("POST /vector/documents", r#"{"collection": "granted"}"#, "denied"), r#"["d"]"#,
            [request("POST /vector/documents", r#"{"collection": "other"}"#, "denied")])),
    row("tessera:vector/vector@0.1", &["pieces"],
        power("store", request("POST /vector/pieces", r#"{"collection": "granted", "document": "d"}"#, "denied"), r#"["a"]"#,
            [request("POST /vector/pieces", r#"{"collection": "other", "document": "d"}"#, "denied")])),
    row("tessera:vector/vector@0.1", &["collections"],
        power("store", request("GET /vector/collections", "", "denied"), "granted", [])),
    row("tessera:vector/vector@0.1", &["delete"],
        power("store", request("POST /vector/delete", r#"{"collection": "granted", "document": "d"}"#, "denied"), r#"{"ok":true}"#,
            [request("POST /vector/delete", r#"{"collection": "other", "document": "d"}"#, "denied")])),
    row("tessera:vector/vector@0.1", &["delete-collection"],
        power("store", request("POST /vector/delete-collection", r#"{"collection": "granted"}"#, "denied"), r#"{"ok":false}"#,
            [request("POST /vector/delete-collection", r#"{"collection": "other"}"#, "denied")])),

    // Requests to other hosts.
    row("wasi:http/outgoing-handler@0.2", &["handle"],
        power("wasi-http-02", request("GET /outgoing?url=http://UPSTREAM/ok", "", "HttpRequestDenied"), "ok", [
            request("GET /outgoing?url=http://UPSTREAM/other", "", "HttpRequestDenied"),
            request("DELETE /outgoing?url=http://UPSTREAM/ok", "", "HttpRequestDenied"),
            request("GET /outgoing?url=http://169.254.169.254/ok", "", "HttpRequestDenied"),
        ])),
    row("wasi:http/client@0.3", &["send"],
        power("wasi-http-03", request("GET /outgoing?url=http://UPSTREAM/ok", "", "HttpRequestDenied"), "ok", [
            request("GET /outgoing?url=http://UPSTREAM/other", "", "HttpRequestDenied"),
            request("DELETE /outgoing?url=http://UPSTREAM/ok", "", "HttpRequestDenied"),
            request("GET /outgoing?url=http://169.254.169.254/ok", "", "HttpRequestDenied"),
        ])),
    row("wasi:http/incoming-handler@0.2", &["handle"], Kind::Given),
    row("wasi:http/handler@0.3", &["handle"], Kind::Given),
    row("wasi:http/types@0.2", &[
        "[constructor]fields", "[static]fields.from-list", "[method]fields.get", "[method]fields.has", "[method]fields.set",
        "[method]fields.delete", "[method]fields.append", "[method]fields.entries", "[method]fields.clone",
        "[constructor]outgoing-request", "[method]outgoing-request.body", "[method]outgoing-request.method",
        "[method]outgoing-request.set-method", "[method]outgoing-request.path-with-query",
        "[method]outgoing-request.set-path-with-query", "[method]outgoing-request.scheme",
        "[method]outgoing-request.set-scheme", "[method]outgoing-request.authority",
        "[method]outgoing-request.set-authority", "[method]outgoing-request.headers",
        "[constructor]request-options", "[method]request-options.connect-timeout",
        "[method]request-options.set-connect-timeout", "[method]request-options.first-byte-timeout",
        "[method]request-options.set-first-byte-timeout",
        "[method]request-options.between-bytes-timeout", "[method]request-options.set-between-bytes-timeout",
        "[constructor]outgoing-response", "[method]outgoing-response.status-code", "[method]outgoing-response.set-status-code",
        "[method]outgoing-response.headers", "[method]outgoing-response.body", "[method]outgoing-body.write",
        "[static]outgoing-body.finish", "http-error-code",
    ], Kind::Harmless(ITS_OWN)),
    row("wasi:http/types@0.2", &[
        "[method]incoming-request.method", "[method]incoming-request.path-with-query", "[method]incoming-request.scheme",
        "[method]incoming-request.authority", "[method]incoming-request.headers", "[method]incoming-request.consume",
        "[static]response-outparam.set", "[method]incoming-body.stream", "[static]incoming-body.finish",
        "[method]future-trailers.subscribe", "[method]future-trailers.get",
    ], Kind::Harmless("the request that the component serves, and its answer")),
    row("wasi:http/types@0.2", &[
        "[method]incoming-response.status", "[method]incoming-response.headers", "[method]incoming-response.consume",
        "[method]future-incoming-response.subscribe", "[method]future-incoming-response.get",
    ], Kind::Needs(HTTP_2)),
    row("wasi:http/types@0.3", &[
        "[constructor]fields", "[static]fields.from-list", "[method]fields.get", "[method]fields.has", "[method]fields.set",
        "[method]fields.delete", "[method]fields.get-and-delete", "[method]fields.append", "[method]fields.copy-all",
        "[method]fields.clone", "[static]request.new", "[method]request.get-method", "[method]request.set-method",
        "[method]request.get-path-with-query", "[method]request.set-path-with-query", "[method]request.get-scheme",
        "[method]request.set-scheme", "[method]request.get-authority", "[method]request.set-authority",
        "[method]request.get-options", "[method]request.get-headers", "[static]request.consume-body",
        "[constructor]request-options", "[method]request-options.get-connect-timeout",
        "[method]request-options.set-connect-timeout", "[method]request-options.get-first-byte-timeout",
        "[method]request-options.set-first-byte-timeout", "[method]request-options.get-between-bytes-timeout",
        "[method]request-options.set-between-bytes-timeout", "[method]request-options.clone", "[static]response.new",
        "[method]response.get-status-code", "[method]response.set-status-code", "[method]response.get-headers",
        "[static]response.consume-body",
    ], Kind::Harmless(ITS_OWN)),

    // Files.
    row("wasi:filesystem/preopens@0.2", &["get-directories"],
        power("outbound", request("POST /wasi/2", r#"{"function": "get-directories"}"#, "{\"ok\":[]}"), "[\"/data\"]", [])),
    row("wasi:filesystem/preopens@0.3", &["get-directories"],
        power("outbound", request("POST /wasi/3", r#"{"function": "get-directories"}"#, "{\"ok\":[]}"), "[\"/data\"]", [])),
    row("wasi:filesystem/types@0.2", &[
        "[method]descriptor.create-directory-at", "[method]descriptor.stat-at", "[method]descriptor.set-times-at",
        "[method]descriptor.link-at", "[method]descriptor.open-at", "[method]descriptor.readlink-at",
        "[method]descriptor.remove-directory-at", "[method]descriptor.rename-at", "[method]descriptor.symlink-at",
        "[method]descriptor.unlink-file-at", "[method]descriptor.metadata-hash-at",
    ], Kind::Path),
    row("wasi:filesystem/types@0.3", &[
        "[method]descriptor.create-directory-at", "[method]descriptor.stat-at", "[method]descriptor.set-times-at",
        "[method]descriptor.link-at", "[method]descriptor.open-at", "[method]descriptor.readlink-at",
        "[method]descriptor.remove-directory-at", "[method]descriptor.rename-at", "[method]descriptor.symlink-at",
        "[method]descriptor.unlink-file-at", "[method]descriptor.metadata-hash-at",
    ], Kind::Path),
    row("wasi:filesystem/types@0.2", &[
        "[method]descriptor.read-via-stream", "[method]descriptor.write-via-stream", "[method]descriptor.append-via-stream",
        "[method]descriptor.advise", "[method]descriptor.sync-data", "[method]descriptor.get-flags",
        "[method]descriptor.get-type", "[method]descriptor.set-size", "[method]descriptor.set-times",
        "[method]descriptor.read", "[method]descriptor.write", "[method]descriptor.read-directory", "[method]descriptor.sync",
        "[method]descriptor.stat", "[method]descriptor.is-same-object", "[method]descriptor.metadata-hash",
        "[method]directory-entry-stream.read-directory-entry",
    ], Kind::Needs(PATH_2)),
    row("wasi:filesystem/types@0.2", &["filesystem-error-code"], Kind::Harmless("what an error is")),
    row("wasi:filesystem/types@0.3", &[
        "[method]descriptor.read-via-stream", "[method]descriptor.write-via-stream", "[method]descriptor.append-via-stream",
        "[method]descriptor.advise", "[method]descriptor.sync-data", "[method]descriptor.get-flags",
        "[method]descriptor.get-type", "[method]descriptor.set-size", "[method]descriptor.set-times",
        "[method]descriptor.read-directory", "[method]descriptor.sync", "[method]descriptor.stat",
        "[method]descriptor.is-same-object", "[method]descriptor.metadata-hash",
    ], Kind::Needs(PATH_3)),

    // Sockets, which nobody gets.
    row("wasi:sockets/tcp-create-socket@0.2", &["create-tcp-socket"],
        refused("outbound", request("POST /wasi/2", r#"{"function": "create-tcp-socket"}"#, "access-denied"))),
    row("wasi:sockets/udp-create-socket@0.2", &["create-udp-socket"],
        refused("outbound", request("POST /wasi/2", r#"{"function": "create-udp-socket"}"#, "access-denied"))),
    row("wasi:sockets/ip-name-lookup@0.2", &["resolve-addresses"],
        refused("outbound",
            request("POST /wasi/2", r#"{"function": "resolve-addresses", "path": "localhost"}"#, "access-denied"))),
    row("wasi:sockets/types@0.3", &["[static]tcp-socket.create"],
        refused("outbound", request("POST /wasi/3", r#"{"function": "tcp-socket.create"}"#, "AccessDenied"))),
    row("wasi:sockets/types@0.3", &["[static]udp-socket.create"],
        refused("outbound", request("POST /wasi/3", r#"{"function": "udp-socket.create"}"#, "AccessDenied"))),
    row("wasi:sockets/ip-name-lookup@0.3", &["resolve-addresses"],
        refused("outbound",
            request("POST /wasi/3", r#"{"function": "resolve-addresses", "path": "localhost"}"#, "AccessDenied"))),
    row("wasi:sockets/instance-network@0.2", &["instance-network"], Kind::Harmless("a handle to name in other calls")),
    row("wasi:sockets/ip-name-lookup@0.2",
        &["[method]resolve-address-stream.resolve-next-address", "[method]resolve-address-stream.subscribe"],
        Kind::Needs(NAME_2)),
    row("wasi:sockets/tcp@0.2", &[
        "[method]tcp-socket.start-bind", "[method]tcp-socket.finish-bind", "[method]tcp-socket.start-connect",
        "[method]tcp-socket.finish-connect", "[method]tcp-socket.start-listen", "[method]tcp-socket.finish-listen",
        "[method]tcp-socket.accept", "[method]tcp-socket.local-address", "[method]tcp-socket.remote-address",
        "[method]tcp-socket.is-listening", "[method]tcp-socket.address-family", "[method]tcp-socket.set-listen-backlog-size",
        "[method]tcp-socket.keep-alive-enabled", "[method]tcp-socket.set-keep-alive-enabled",
        "[method]tcp-socket.keep-alive-idle-time", "[method]tcp-socket.set-keep-alive-idle-time",
        "[method]tcp-socket.keep-alive-interval", "[method]tcp-socket.set-keep-alive-interval",
        "[method]tcp-socket.keep-alive-count", "[method]tcp-socket.set-keep-alive-count", "[method]tcp-socket.hop-limit",
        "[method]tcp-socket.set-hop-limit", "[method]tcp-socket.receive-buffer-size",
        "[method]tcp-socket.set-receive-buffer-size", "[method]tcp-socket.send-buffer-size",
        "[method]tcp-socket.set-send-buffer-size", "[method]tcp-socket.subscribe", "[method]tcp-socket.shutdown",
    ], Kind::Needs(TCP_2)),
    row("wasi:sockets/udp@0.2", &[
        "[method]udp-socket.start-bind", "[method]udp-socket.finish-bind", "[method]udp-socket.stream",
        "[method]udp-socket.local-address", "[method]udp-socket.remote-address", "[method]udp-socket.address-family",
        "[method]udp-socket.unicast-hop-limit", "[method]udp-socket.set-unicast-hop-limit",
        "[method]udp-socket.receive-buffer-size", "[method]udp-socket.set-receive-buffer-size",
        "[method]udp-socket.send-buffer-size", "[method]udp-socket.set-send-buffer-size", "[method]udp-socket.subscribe",
        "[method]incoming-datagram-stream.receive", "[method]incoming-datagram-stream.subscribe",
        "[method]outgoing-datagram-stream.check-send", "[method]outgoing-datagram-stream.send",
        "[method]outgoing-datagram-stream.subscribe",
    ], Kind::Needs(UDP_2)),
    row("wasi:sockets/types@0.3", &[
        "[method]tcp-socket.bind", "[method]tcp-socket.connect", "[method]tcp-socket.listen", "[method]tcp-socket.send",
        "[method]tcp-socket.receive", "[method]tcp-socket.get-local-address", "[method]tcp-socket.get-remote-address",
        "[method]tcp-socket.get-is-listening", "[method]tcp-socket.get-address-family",
        "[method]tcp-socket.set-listen-backlog-size", "[method]tcp-socket.get-keep-alive-enabled",
        "[method]tcp-socket.set-keep-alive-enabled", "[method]tcp-socket.get-keep-alive-idle-time",
        "[method]tcp-socket.set-keep-alive-idle-time", "[method]tcp-socket.get-keep-alive-interval",
        "[method]tcp-socket.set-keep-alive-interval", "[method]tcp-socket.get-keep-alive-count",
        "[method]tcp-socket.set-keep-alive-count", "[method]tcp-socket.get-hop-limit", "[method]tcp-socket.set-hop-limit",
        "[method]tcp-socket.get-receive-buffer-size", "[method]tcp-socket.set-receive-buffer-size",
        "[method]tcp-socket.get-send-buffer-size", "[method]tcp-socket.set-send-buffer-size",
    ], Kind::Needs(TCP_3)),
    row("wasi:sockets/types@0.3", &[
        "[method]udp-socket.bind", "[method]udp-socket.connect", "[method]udp-socket.disconnect", "[method]udp-socket.send",
        "[method]udp-socket.receive", "[method]udp-socket.get-local-address", "[method]udp-socket.get-remote-address",
        "[method]udp-socket.get-address-family", "[method]udp-socket.get-unicast-hop-limit",
        "[method]udp-socket.set-unicast-hop-limit", "[method]udp-socket.get-receive-buffer-size",
        "[method]udp-socket.set-receive-buffer-size", "[method]udp-socket.get-send-buffer-size",
        "[method]udp-socket.set-send-buffer-size",
    ], Kind::Needs(UDP_3)),

    // Models on tensors.
    row("wasi:nn/graph@0.2", &["load-by-name"],
        power("nn", request("POST /raw", r#"{"model": "fake", "input_ids": [[1]]}"#, "NotFound"), "last_hidden_state",
            [request("POST /raw", r#"{"model": "other", "input_ids": [[1]]}"#, "NotFound")])),
    row("wasi:nn/graph@0.2", &["[method]graph.init-execution-context"], Kind::Needs(GRAPH)),
    row("wasi:nn/inference@0.2", &["[method]graph-execution-context.compute"], Kind::Needs(GRAPH)),
    row("wasi:nn/graph@0.2", &["load"], Kind::Harmless("there is no back end that loads a model of a guest's own")),
    row("wasi:nn/tensor@0.2",
        &["[constructor]tensor", "[method]tensor.dimensions", "[method]tensor.ty", "[method]tensor.data"],
        Kind::Harmless(ITS_OWN)),
    row("wasi:nn/errors@0.2", &["[method]error.code", "[method]error.data"], Kind::Harmless("what an error is")),

    // What a program has around it.
    row("wasi:cli/environment@0.2", &["get-environment"],
        shows("outbound", request("POST /wasi/2", r#"{"function": "get-environment"}"#, "{\"ok\":[]}"),
            Some("[[\"GREETING\",\"hello\"]]"))),
    row("wasi:cli/environment@0.3", &["get-environment"],
        shows("outbound", request("POST /wasi/3", r#"{"function": "get-environment"}"#, "{\"ok\":[]}"),
            Some("[[\"GREETING\",\"hello\"]]"))),
    row("wasi:cli/environment@0.2", &["get-arguments"],
        shows("outbound", request("POST /wasi/2", r#"{"function": "get-arguments"}"#, "{\"ok\":[]}"), None)),
    row("wasi:cli/environment@0.3", &["get-arguments"],
        shows("outbound", request("POST /wasi/3", r#"{"function": "get-arguments"}"#, "{\"ok\":[]}"), None)),
    row("wasi:cli/environment@0.2", &["initial-cwd"],
        shows("outbound", request("POST /wasi/2", r#"{"function": "initial-cwd"}"#, "{\"ok\":null}"), None)),
    row("wasi:cli/environment@0.3", &["get-initial-cwd"],
        shows("outbound", request("POST /wasi/3", r#"{"function": "get-initial-cwd"}"#, "{\"ok\":null}"), None)),
    row("wasi:cli/exit@0.2", &["exit", "exit-with-code"], Kind::Harmless("ends the instance that calls it")),
    row("wasi:cli/exit@0.3", &["exit", "exit-with-code"], Kind::Harmless("ends the instance that calls it")),
    row("wasi:cli/stdin@0.2", &["get-stdin"], Kind::Harmless("an empty stream")),
    row("wasi:cli/stdin@0.3", &["read-via-stream"], Kind::Harmless("an empty stream")),
    row("wasi:cli/stdout@0.2", &["get-stdout"], Kind::Harmless("goes nowhere")),
    row("wasi:cli/stdout@0.3", &["write-via-stream"], Kind::Harmless("goes nowhere")),
    row("wasi:cli/stderr@0.2", &["get-stderr"],
        Kind::Harmless("its last bytes are told to the operator when the instance fails")),
    row("wasi:cli/stderr@0.3", &["write-via-stream"],
        Kind::Harmless("its last bytes are told to the operator when the instance fails")),
    row("wasi:cli/terminal-stdin@0.2", &["get-terminal-stdin"], Kind::Harmless("there is no terminal")),
    row("wasi:cli/terminal-stdin@0.3", &["get-terminal-stdin"], Kind::Harmless("there is no terminal")),
    row("wasi:cli/terminal-stdout@0.2", &["get-terminal-stdout"], Kind::Harmless("there is no terminal")),
    row("wasi:cli/terminal-stdout@0.3", &["get-terminal-stdout"], Kind::Harmless("there is no terminal")),
    row("wasi:cli/terminal-stderr@0.2", &["get-terminal-stderr"], Kind::Harmless("there is no terminal")),
    row("wasi:cli/terminal-stderr@0.3", &["get-terminal-stderr"], Kind::Harmless("there is no terminal")),
    row("wasi:cli/run@0.2", &["run"], Kind::Given),
    row("wasi:cli/run@0.3", &["run"], Kind::Given),
    row("wasi:clocks/monotonic-clock@0.2", &["now", "resolution", "subscribe-instant", "subscribe-duration"],
        Kind::Harmless("the time that has passed, up to the request's deadline")),
    row("wasi:clocks/monotonic-clock@0.3", &["now", "get-resolution", "wait-until", "wait-for"],
        Kind::Harmless("the time that has passed, up to the request's deadline")),
    row("wasi:clocks/wall-clock@0.2", &["now", "resolution"], Kind::Harmless("the time of the day")),
    row("wasi:clocks/system-clock@0.3", &["now", "get-resolution"], Kind::Harmless("the time of the day")),
    row("wasi:random/random@0.2", &["get-random-bytes", "get-random-u64"], Kind::Harmless("numbers and nothing else")),
    row("wasi:random/random@0.3", &["get-random-bytes", "get-random-u64"], Kind::Harmless("numbers and nothing else")),
    row("wasi:random/insecure@0.2", &["get-insecure-random-bytes", "get-insecure-random-u64"],
        Kind::Harmless("numbers and nothing else")),
    row("wasi:random/insecure@0.3", &["get-insecure-random-bytes", "get-insecure-random-u64"],
        Kind::Harmless("numbers and nothing else")),
    row("wasi:random/insecure-seed@0.2", &["insecure-seed"], Kind::Harmless("numbers and nothing else")),
    row("wasi:random/insecure-seed@0.3", &["get-insecure-seed"], Kind::Harmless("numbers and nothing else")),
    row("wasi:io/error@0.2", &["[method]error.to-debug-string"], Kind::Harmless("what an error is")),
    row("wasi:io/poll@0.2", &["[method]pollable.ready", "[method]pollable.block", "poll"], Kind::Harmless(ITS_OWN)),
    row("wasi:io/streams@0.2", &[
        "[method]input-stream.read", "[method]input-stream.blocking-read", "[method]input-stream.skip",
        "[method]input-stream.blocking-skip", "[method]input-stream.subscribe", "[method]output-stream.check-write",
        "[method]output-stream.write", "[method]output-stream.blocking-write-and-flush", "[method]output-stream.flush",
        "[method]output-stream.blocking-flush", "[method]output-stream.subscribe", "[method]output-stream.write-zeroes",
        "[method]output-stream.blocking-write-zeroes-and-flush", "[method]output-stream.splice",
        "[method]output-stream.blocking-splice",
    ], Kind::Harmless("reads and writes what another function has opened")),
]);
