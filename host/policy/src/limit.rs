//! What a component may use at most.

use serde::{Deserialize, Serialize};

/// Section `[limits]` of a policy. Every key has a default that is safe for a component nobody has looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Linear memory of one instance, summed over its memories, in bytes.
    pub memory_bytes_max: usize,
    /// Time from a request's arrival to the last byte of its answer, in milliseconds.
    pub wall_ms_max: u64,
    /// Length of one request body, in bytes; more is answered 413.
    pub request_body_bytes_max: u64,
    /// Requests inside the component at one time; more are answered 503.
    pub concurrency_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory_bytes_max: 64 << 20, wall_ms_max: 30_000, request_body_bytes_max: 2 << 20, concurrency_max: 64 }
    }
}
