//! Components written by hand, in text: what no compiler would make of any source.

use std::sync::Arc;

use tests::{FakeInference, Setup, TestServer};

/// A component that answers `ok` to every request, and what else it has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handmade {
    /// Definitions of the component before its module.
    pub(crate) definitions: String,
    /// What the module is given as `host`: `(export "f" (func $f))`.
    pub(crate) imports: String,
    /// Fields of the module: its imports first, then tables, memories, functions, a start.
    pub(crate) fields: String,
    /// Instructions before every answer.
    pub(crate) before_answer: String,
    /// Instructions before anything is allocated for the host.
    pub(crate) in_realloc: String,
    /// Instructions after every answer.
    pub(crate) after_answer: String,
}

/// The types of `tessera:handler`, as an import of types alone.
const TYPES: &str = r#"
  (import "tessera:handler/types@0.1.0" (instance $types
    (type $header' (record (field "name" string) (field "value" (list u8))))
    (export "header" (type $header (eq $header')))
    (type $code' (enum "too-large" "incomplete" "failed"))
    (export "body-error-code" (type $code (eq $code')))
    (type $error' (record (field "code" $code) (field "message" string)))
    (export "body-error" (type $error (eq $error')))
    (type $bytes (stream u8))
    (type $ended (result (error $error)))
    (type $end (future $ended))
    (type $chunks' (record (field "bytes" $bytes) (field "end" $end)))
    (export "chunks" (type $chunks (eq $chunks')))
    (type $body' (variant (case "whole" (list u8)) (case "streamed" $chunks)))
    (export "body" (type $body (eq $body')))
    (type $request' (record
      (field "method" string) (field "target" string) (field "headers" (list $header)) (field "body" $body)))
    (export "request" (type (eq $request')))
    (type $response' (record (field "status" u16) (field "headers" (list $header)) (field "body" $body)))
    (export "response" (type (eq $response')))))
  (alias export $types "request" (type $request))
  (alias export $types "response" (type $response))"#;

/// The answer, from address 0: status 200, no headers, a whole body of the two bytes at address 32.
const ANSWER: &str = r#"
    (data (i32.const 0) "\c8\00\00\00" "\00\00\00\00" "\00\00\00\00" "\00\00\00\00" "\20\00\00\00" "\02\00\00\00")
    (data (i32.const 32) "ok")"#;

/// A function `$work` that runs for about a second: a thousand million rounds.
pub(crate) const WORK: &str = r"
    (func $work (local i64)
      (loop $again
        (local.set 0 (i64.add (local.get 0) (i64.const 1)))
        (br_if $again (i64.lt_u (local.get 0) (i64.const 1000000000)))))";

impl Handmade {
    /// As text.
    pub(crate) fn text(&self) -> String {
        let Handmade { definitions, imports, fields, before_answer, in_realloc, after_answer } = self;
        format!(
            r#"(component {TYPES}
  {definitions}
  (core module $module
    {fields}
    (memory $memory (export "memory") 2) {ANSWER}
    (global $free (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      {in_realloc}
      (global.get $free)
      (global.set $free (i32.add (global.get $free) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8)))))
    (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
      {before_answer}
      (i32.const 0))
    (func (export "after") (param i32)
      {after_answer}))
  (core instance $host {imports})
  (core instance $instance (instantiate $module (with "host" (instance $host))))
  (type $handle (func async (param "request" $request) (result $response)))
  (func $handle (type $handle) (canon lift (core func $instance "handle")
    (memory (core memory $instance "memory")) (realloc (core func $instance "realloc"))
    (post-return (core func $instance "after"))))
  (instance $handler (export "handle" (func $handle)))
  (export "tessera:handler/handler@0.1.0" (instance $handler)))"#
        )
    }

    /// As a component.
    pub(crate) fn code(&self) -> Vec<u8> {
        wat::parse_str(self.text()).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A server with a component of this code under these lines of policy, and a neighbour. The component is called `hostile`, as
/// the one that all attacks come from.
pub(crate) fn start(code: &[u8], lines: &str) -> TestServer {
    let policy = format!("schema = 1\n{lines}\n");
    Setup::new(Arc::new(FakeInference::default())).guest("echo").made("hostile", code).policy("hostile", &policy).start()
}

#[test]
fn a_handmade_component_answers() {
    let server = start(&Handmade::default().code(), "");
    assert_eq!(server.failures, []);
    let reply = server.get("/c/hostile/any");
    assert_eq!((reply.status, reply.text().as_str()), (200, "ok"));
}
