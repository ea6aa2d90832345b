//! What a component may take at one time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Section `[limits]` of a policy: what one instance or one request may take. The limits always hold, in the mode `observe` as
/// well, and every one has a default that is safe for a component nobody has looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Linear memory of one instance, summed over its memories, in bytes. Growing beyond it fails inside the component.
    pub memory_bytes_max: usize,
    /// Elements of the tables of one instance, together.
    pub table_elements_max: usize,
    /// Core modules that one instance may be made of.
    pub core_instances_max: usize,
    /// Handles that one instance may hold: streams, bodies, files, pollables, generations.
    pub handles_max: usize,
    /// Bytes that one host call may copy out of the component.
    pub hostcall_bytes_max: usize,
    /// Time that the component's code may run for one request, in milliseconds; more is answered 504.
    pub cpu_ms_max: u64,
    /// Time from a request's arrival to the last byte of its answer, in milliseconds; more is answered 504.
    pub wall_ms_max: u64,
    /// Time that the component may go on after a request's answer, in milliseconds. It counts as inside meanwhile, and each of its
    /// instances serves one request at a time then. With 0 what goes on has no rights.
    pub background_ms_max: u64,
    /// Requests inside the component at one time.
    pub concurrency_max: usize,
    /// Requests that wait for a place inside; more are answered 503.
    pub queue_max: usize,
    /// Length of the header lines of one request or answer, in bytes; more is answered 431, or 502 where it is the component's.
    pub header_bytes_max: usize,
    /// Length of one request body, in bytes; more is answered 413.
    pub request_body_bytes_max: u64,
    /// Length of one response body, in bytes; there it breaks off.
    pub response_body_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory_bytes_max: 64 << 20,
            table_elements_max: 100_000,
            core_instances_max: 32,
            handles_max: 4096,
            hostcall_bytes_max: 16 << 20,
            cpu_ms_max: 10_000,
            wall_ms_max: 30_000,
            background_ms_max: 0,
            concurrency_max: 64,
            queue_max: 64,
            header_bytes_max: 32 << 10,
            request_body_bytes_max: 2 << 20,
            response_body_bytes_max: 256 << 20,
        }
    }
}
