//! `tessera:log`: lines in the host's log, escaped and limited.

use policy::Resource;
use wasmtime::AsContextMut;
use wasmtime::component::{Access, HasSelf};

use crate::bindings::tessera::log::log::{Host, HostWithStore, Level};
use crate::call;
use crate::sandbox::Ctx;

impl Host for Ctx {}

impl HostWithStore<Ctx> for HasSelf<Ctx> {
    fn write(mut host: Access<'_, Ctx, Self>, level: Level, message: String) {
        let Some(call) = call::current(host.as_context_mut()) else { return };
        let Ok(grant) = call.ask(|authority| authority.log()) else { return };
        if rank(level) < grant.level_min {
            return;
        }
        let line = escape(&message, grant.line_bytes_max);
        let component = call.governance.component();
        if call.governance.ledger.take(Resource::Log, line.len() as u64).is_err() {
            host.get().sandbox.metrics.dropped_log_line(component.as_str());
            return;
        }
        let request = &call.id;
        call.governance.journal.log(name(level), request.as_str(), &line);
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

fn name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_long_lines_cut() {
        assert_eq!(escape("a\n2026 INFO forged\u{1b}[31m", 100), "a\\n2026 INFO forged\\u{1b}[31m");
        assert_eq!(escape("äääää", 4), "ää…");
        assert_eq!(escape("\u{202e}abc", 100), "\\u{202e}abc");
    }
}
