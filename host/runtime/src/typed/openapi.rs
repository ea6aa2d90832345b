//! OpenAPI 3.1 of what a caller may ask: functions with their types, other routes in brief.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::schema::{Schemas, Way};
use super::{Answers, Function, Success, answer};
use crate::component::Component;

/// Where schemas are kept in a document.
const PLACE: &str = "#/components/schemas/";
/// The schema of every error.
const ERROR: &str = "Error";
/// What the host's own routes stand under; no component has such a name.
const OWN: &str = "the server";

/// A document under way.
pub(crate) struct Document {
    title: String,
    version: String,
    description: String,
    paths: Map<String, Value>,
    schemas: BTreeMap<String, Value>,
    tags: Vec<Value>,
    unexposed: Vec<Value>,
    /// Whether callers have to say who they are.
    is_closed: bool,
}

impl Document {
    /// A document of the whole server.
    pub(crate) fn of_server(is_closed: bool) -> Document {
        let description = "What this server answers to you. `GET /c/NAME/openapi.json` describes one component alone.";
        let mut document = Document::new("Tessera", env!("CARGO_PKG_VERSION"), description, is_closed);
        document.tags.push(json!({"name": OWN, "description": "The server's own routes."}));
        document
    }

    /// A document of one component.
    pub(crate) fn of_component(component: &Component, is_closed: bool) -> Document {
        let manifest = &component.manifest;
        let mut document = Document::new(manifest.name.as_str(), &manifest.version, &manifest.description, is_closed);
        document.add_functions(component);
        document
    }

    fn new(title: &str, version: &str, description: &str, is_closed: bool) -> Document {
        Document {
            title: title.into(),
            version: version.into(),
            description: description.into(),
            paths: Map::new(),
            schemas: BTreeMap::from([(ERROR.into(), error_schema())]),
            tags: Vec::new(),
            unexposed: Vec::new(),
            is_closed,
        }
    }

    /// Adds a component: its functions, and its other routes in brief.
    pub(crate) fn add(&mut self, component: &Component) {
        self.add_functions(component);
        let rights = component.governance.rights();
        let (granted, _) = rights.policy.routes(component.routes());
        let own = component.exports.has_handler().then(|| policy::Route::of_component(component.name()));
        for route in granted.iter().copied().chain(&own) {
            self.add_route(component, route);
        }
    }

    fn add_functions(&mut self, component: &Component) {
        let (name, functions) = (component.name(), component.exports.functions());
        self.tags.push(json!({"name": name, "description": component.manifest.description}));
        for function in functions.iter() {
            let mut schemas = Schemas::at(PLACE, &format!("{name}."));
            let operation = operation(name.as_str(), function, &mut schemas);
            self.schemas.extend(schemas.kept());
            self.paths.insert(format!("/c/{name}/{}", function.path), json!({"post": operation}));
        }
        for unexposed in functions.unexposed() {
            self.unexposed.push(json!({"path": format!("/c/{name}/{}", unexposed.path), "reason": unexposed.reason}));
        }
    }

    fn add_route(&mut self, component: &Component, route: &policy::Route) {
        let path = match route.is_prefix() {
            true => format!("{}/{{path}}", route.path()),
            false => route.path().into(),
        };
        let methods: Vec<String> = match route.method() {
            policy::Method::Any => vec!["get".into(), "post".into()],
            policy::Method::One(method) => vec![method.to_ascii_lowercase()],
        };
        let place = self.paths.entry(path).or_insert_with(|| json!({}));
        for method in methods.iter().filter(|method| KNOWN_METHODS.contains(&method.as_str())) {
            place[method] = json!({
                "tags": [component.name()],
                "summary": component.manifest.description,
                "description": "The component's own protocol; its author describes it.",
                "responses": {"default": {"description": "What the component answers."}},
            });
        }
        if route.is_prefix() {
            place["parameters"] = json!([{
                "name": "path", "in": "path", "required": true, "schema": {"type": "string"},
                "description": "All that follows, slashes included.",
            }]);
        }
    }

    /// Adds one of the host's own routes.
    pub(crate) fn add_own(&mut self, method: &str, path: &str, summary: &str) {
        let parameters: Vec<Value> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let mut operation = json!({"tags": [OWN], "summary": summary, "responses": {
            "200": {"description": "As it says."}, "default": error_response("What went wrong."),
        }});
        if !parameters.is_empty() {
            operation["parameters"] = Value::Array(parameters);
        }
        let place = self.paths.entry(path).or_insert_with(|| json!({}));
        if place.get(method).is_none() {
            place[method] = operation; // a component may have been granted some of them
        }
    }

    /// The document.
    pub(crate) fn finish(self) -> Value {
        let mut document = json!({
            "openapi": "3.1.0",
            "info": {"title": self.title, "version": self.version, "description": self.description},
            "servers": [{"url": "/"}],
            "tags": self.tags,
            "paths": self.paths,
            "components": {"schemas": self.schemas},
        });
        if self.is_closed {
            document["components"]["securitySchemes"] = json!({"key": {"type": "http", "scheme": "bearer"}});
            document["security"] = json!([{"key": []}]);
        }
        if !self.unexposed.is_empty() {
            document["x-unexposed"] = Value::Array(self.unexposed);
        }
        document
    }
}

/// Methods that OpenAPI describes.
const KNOWN_METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

fn operation(component: &str, function: &Function, schemas: &mut Schemas) -> Value {
    let arguments = schemas.of_arguments(&function.parameters);
    let is_needed = arguments["required"].as_array().is_some_and(|required| !required.is_empty());
    let docs = function.docs.as_deref().unwrap_or_default();
    let summary = docs.lines().next().filter(|line| !line.is_empty()).unwrap_or(&function.path);
    let mut operation = json!({
        "operationId": format!("{component}.{}", function.path.replace('/', ".")),
        "tags": [component],
        "summary": summary,
        "x-wit": function.interface.iter().chain([&function.name]).cloned().collect::<Vec<_>>().join("#"),
        "requestBody": {"required": is_needed, "content": {"application/json": {"schema": arguments}}},
        "responses": responses(function, schemas),
    });
    if !docs.is_empty() {
        operation["description"] = docs.into();
    }
    operation
}

fn responses(function: &Function, schemas: &mut Schemas) -> Value {
    let success = match (&function.outcome.success, function.answers) {
        (Success::Stream(streamed), _) => {
            let item = schemas.of(&streamed.ty, Way::Out);
            let end = match streamed.end.as_ref().and_then(|end| end.ok.as_ref()) {
                Some((ty, _)) => schemas.of(ty, Way::Out),
                None => json!({"type": "object"}),
            };
            json!({"description": STREAM, "content": {"text/event-stream": {"schema": {
                "type": "object",
                "description": "One event.",
                "required": ["data"],
                "properties": {
                    "event": {"type": "string", "enum": ["message", "done", "error"]},
                    "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": {"anyOf": [item, end]}},
                },
            }, "x-done-schema": end}}})
        }
        (Success::Value(ty), _) => whole(schemas.of(ty, Way::Out)),
        (Success::Nothing, Answers::Whole | Answers::Stream) => whole(json!({"type": "null"})),
    };
    let mut responses = json!({
        "200": success,
        "400": error_response("The arguments do not fit: `error.param` is the place of the first that does not."),
        "401": error_response("The key is missing or not valid."),
        "403": error_response("The key may not use this component."),
        "404": error_response("There is no such function any more."),
        "413": error_response("The arguments are longer than the component takes."),
        "415": error_response("The body is not declared as JSON."),
        "429": error_response("The component or the tenant has used up its quota: `Retry-After` says when to come again."),
        "500": error_response("The component failed."),
        "503": error_response("The component is busy: `Retry-After` says when to come again."),
        "504": error_response("It took longer than it may."),
    });
    if let Some(failure) = &function.outcome.failure {
        let value = failure.as_ref().map_or_else(|| json!({"type": "null"}), |ty| schemas.of(ty, Way::Out));
        responses["422"] = failed("The function returned an error; `error.value` is what it says.", &value);
        if failure.as_deref().is_some_and(answer::has_words) {
            responses["422"]["description"] =
                "The function returned an error; `error.value` is what it says. Usual words in it have their usual status."
                    .into();
        }
    }
    responses
}

const STREAM: &str = "Server-sent events: `data` is an item's JSON. The last event is `done`; an event `error` ends a stream that \
                      failed, and then the connection breaks off.";

fn whole(schema: Value) -> Value {
    json!({"description": "What the function returned.", "content": {"application/json": {"schema": schema}}})
}

fn error_response(description: &str) -> Value {
    json!({"description": description, "content": {"application/json": {"schema": {"$ref": format!("{PLACE}{ERROR}")}}}})
}

fn failed(description: &str, value: &Value) -> Value {
    let schema = json!({"allOf": [
        {"$ref": format!("{PLACE}{ERROR}")},
        {"properties": {"error": {"properties": {"value": value}, "required": ["value"]}}},
    ]});
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "description": "What went wrong.",
        "required": ["error"],
        "properties": {"error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "description": "For people."},
                "type": {"type": "string", "description": "The kind of error, which follows from the status."},
                "param": {"type": ["string", "null"], "description": "What is at fault, as `$.points[3].x`."},
                "code": {"type": "string", "description": "For programs; it does not change."},
                "value": {"description": "What a function returned as its error."},
            },
        }},
    })
}
