//! `[config]`: settings that a component may read. The section is both the grant and the values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Snapshot;

pub(super) const LINES: &str = "[config]\n# key = \"value\"";

/// Keys and values, all text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfigGrant(pub BTreeMap<String, String>);

impl Snapshot {
    /// The settings the component may read, sorted by key.
    pub fn config(&self) -> impl Iterator<Item = (&str, &str)> {
        let values = self.grants().config.iter().flat_map(|grant| &grant.0);
        values.map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// One setting.
    pub fn config_value(&self, key: &str) -> Option<&str> {
        self.grants().config.as_ref()?.0.get(key).map(String::as_str)
    }
}
