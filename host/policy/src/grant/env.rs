//! `[env]`: environment variables of a component, which it reads by `wasi:cli/environment`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) const LINES: &str = "[env]\nvalues = { NAME = \"value\" }";

/// Section `[env]` of a policy: the environment variables that the component sees. Of the server's own it sees none but those
/// named here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnvGrant {
    /// Variables and their values.
    pub values: BTreeMap<String, String>,
    /// Variables that are taken from the server's environment, where they are set when the policy is read.
    pub from_server: Vec<String>,
}
