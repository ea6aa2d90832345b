//! `tessera:log`: lines in the host's log, escaped and limited.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use policy::LogGrant;
use wasmtime::AsContextMut;
use wasmtime::component::{Access, HasSelf};

use crate::bindings::tessera::log::log::{Host, HostWithStore, Level};
use crate::call;
use crate::sandbox::Ctx;

const WINDOW: Duration = Duration::from_secs(60);

impl Host for Ctx {}

impl HostWithStore<Ctx> for HasSelf<Ctx> {
    fn write(mut host: Access<'_, Ctx, Self>, level: Level, message: String) {
        let Some(call) = call::current(host.as_context_mut()) else { return };
        let Some(grant) = call.policy.log() else { return };
        if rank(level) < grant.level_min {
            return;
        }
        let line = escape(&message, grant.line_bytes_max);
        let ctx = host.get();
        if !ctx.log.take(line.len(), grant, Instant::now()) {
            ctx.sandbox.metrics.dropped_log_line(call.policy.component().as_str());
            return;
        }
        let (component, request) = (call.policy.component(), &call.id);
        match level {
            Level::Debug => tracing::debug!(target: "component", %component, %request, "{line}"),
            Level::Info => tracing::info!(target: "component", %component, %request, "{line}"),
            Level::Warn => tracing::warn!(target: "component", %component, %request, "{line}"),
            Level::Error => tracing::error!(target: "component", %component, %request, "{line}"),
        }
    }
}

fn rank(level: Level) -> policy::Level {
    match level {
        Level::Debug => policy::Level::Debug,
        Level::Info => policy::Level::Info,
        Level::Warn => policy::Level::Warn,
        Level::Error => policy::Level::Error,
    }
}

/// One line without control characters, cut to a length in bytes: a guest can't forge lines or move a terminal's cursor.
pub(crate) fn escape(message: &str, bytes_max: usize) -> String {
    let mut line = String::new();
    for character in message.chars() {
        let start = line.len();
        match character.is_control()
            || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            true => line.extend(character.escape_default()),
            false => line.push(character),
        }
        if line.len() > bytes_max {
            line.truncate(start);
            line.push('…');
            break;
        }
    }
    line
}

/// What a component may still log in this minute, all its instances together.
#[derive(Debug, Default)]
pub(crate) struct Budget(Mutex<Option<Spent>>);

#[derive(Debug)]
struct Spent {
    since: Instant,
    bytes: u64,
}

impl Budget {
    /// Takes the bytes of one line, or refuses it.
    pub(super) fn take(&self, bytes: usize, grant: &LogGrant, now: Instant) -> bool {
        let mut spent = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let spent = match &mut *spent {
            Some(spent) if now.saturating_duration_since(spent.since) < WINDOW => spent,
            other => other.insert(Spent { since: now, bytes: 0 }),
        };
        let bytes = spent.bytes.saturating_add(bytes as u64);
        let fits = bytes <= grant.bytes_per_min_max;
        if fits {
            spent.bytes = bytes;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_long_lines_cut() {
        assert_eq!(escape("a\n2026 INFO forged\u{1b}[31m", 100), "a\\n2026 INFO forged\\u{1b}[31m");
        assert_eq!(escape("äääää", 4), "ää…");
        assert_eq!(escape("\u{202e}abc", 100), "\\u{202e}abc");
    }

    #[test]
    fn a_minutes_bytes_are_refused_beyond_the_grant_and_come_back() {
        let grant = LogGrant { bytes_per_min_max: 10, ..LogGrant::default() };
        let (budget, start) = (Budget::default(), Instant::now());
        assert!(budget.take(6, &grant, start));
        assert!(!budget.take(6, &grant, start));
        assert!(budget.take(4, &grant, start));
        assert!(budget.take(6, &grant, start + WINDOW));
    }
}
