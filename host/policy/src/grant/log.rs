//! `[log]`: what a component may write to the host's log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::{Action, Denial};

pub(super) const LINES: &str = "[log]\nbytes_per_min_max = 65536";

/// How serious a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For the author.
    Debug,
    /// Usual events.
    Info,
    /// Something to look at.
    Warn,
    /// Something failed.
    Error,
}

/// Section `[log]` of a policy: what the component may write to the server's log by `tessera:log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogGrant {
    /// Lines below this level are dropped.
    pub level_min: Level,
    /// Longer lines are cut, in bytes.
    pub line_bytes_max: usize,
    /// Lines beyond this are dropped and counted, in bytes a minute.
    pub bytes_per_min_max: u64,
}

impl Default for LogGrant {
    fn default() -> Self {
        LogGrant { level_min: Level::Info, line_bytes_max: 4096, bytes_per_min_max: 64 << 10 }
    }
}

impl<'a> Authority<'a> {
    /// How the component may log; the bytes are taken from the book of [`Resource::Log`](crate::Resource::Log).
    ///
    /// # Errors
    /// A [`Denial`] where it may not at all.
    pub fn log(&self) -> Result<LogGrant, Denial> {
        let section = self.policy.section(&self.policy.grants().log, "log");
        self.decide(Action::Log, section.map(|_| ()))?;
        self.tell_allowed(Action::Log);
        Ok(section.cloned().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;
    use crate::testing::{FakeFacts, World};

    #[test]
    fn a_component_with_the_section_may_log_within_its_bounds() {
        let world = World::new("[log]\nlevel_min = \"warn\"\nline_bytes_max = 80");
        let expected = LogGrant { level_min: Level::Warn, line_bytes_max: 80, bytes_per_min_max: 64 << 10 };
        assert_eq!(world.authority().log(), Ok(expected));
        assert!(Level::Debug < Level::Info && Level::Info < Level::Warn && Level::Warn < Level::Error);
    }

    #[test]
    fn without_the_section_there_is_no_log() {
        assert_eq!(World::new("").authority().log().expect_err("no section").reason, Reason::NoSection);
        let world = World::of("schema = 1\n[log]", &[], &FakeFacts::default()).expect("a good policy");
        assert_eq!(world.authority().log().expect_err("not wanted").reason, Reason::Undeclared);
    }

    #[test]
    fn in_the_mode_observe_it_logs_within_the_usual_bounds() {
        let world = World::new("mode = \"observe\"");
        assert_eq!(world.authority().log(), Ok(LogGrant::default()));
        assert!(!world.told_once().is_enforced);
    }
}
