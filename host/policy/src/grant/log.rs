//! `[log]`: what a component may write to the host's log.

use serde::{Deserialize, Serialize};

use crate::Snapshot;

pub(super) const LINES: &str = "[log]\nbytes_per_min_max = 65536";

/// How serious a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// How much a component may log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

impl Snapshot {
    /// The component's log limits; none if it may not log.
    pub fn log(&self) -> Option<&LogGrant> {
        self.grants().log.as_ref()
    }
}
