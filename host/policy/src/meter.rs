//! What one request uses, besides the books of its component.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::audit::Usage;

/// Counts what models did for one request.
#[derive(Debug, Default)]
pub struct Meter {
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
    device_ns: AtomicU64,
}

impl Meter {
    pub(crate) fn charge(&self, input_tokens: u64, output_tokens: u64, device_ns: u64) {
        self.input_tokens.fetch_add(input_tokens, Ordering::Relaxed);
        self.output_tokens.fetch_add(output_tokens, Ordering::Relaxed);
        self.device_ns.fetch_add(device_ns, Ordering::Relaxed);
    }

    /// What was used until now, of what models use.
    pub fn usage(&self) -> Usage {
        Usage {
            input_tokens: self.input_tokens.load(Ordering::Relaxed),
            output_tokens: self.output_tokens.load(Ordering::Relaxed),
            device_ns: self.device_ns.load(Ordering::Relaxed),
            ..Usage::default()
        }
    }
}
