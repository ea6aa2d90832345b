//! What an operator grants: one file a capability, each a policy section with its checks.

pub(crate) mod config;
pub(crate) mod embed;
pub(crate) mod generate;
pub(crate) mod log;
pub(crate) mod nn;
pub(crate) mod rerank;
pub(crate) mod routes;
pub(crate) mod tokenize;

use serde::{Deserialize, Serialize};

use crate::{ModelName, PolicyFile};

/// Section of a capability that runs models: which of them a component may use for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelsGrant {
    /// At least one model by its registry name, or the section grants nothing; the first is the one used when a component names
    /// none.
    pub models: Vec<ModelName>,
}

impl PolicyFile {
    /// Whether there is a section for a capability, by its WIT name.
    pub fn has_section(&self, capability: &str) -> bool {
        match capability {
            "config" => self.config.is_some(),
            "embed" => self.embed.is_some(),
            "generate" => self.generate.is_some(),
            "log" => self.log.is_some(),
            "nn" => self.nn.is_some(),
            "rerank" => self.rerank.is_some(),
            "tokenize" => self.tokenize.is_some(),
            _ => false,
        }
    }

    /// The lines that would grant a capability, to show to an operator.
    pub fn lines_to_add(capability: &str) -> &'static str {
        match capability {
            "config" => config::LINES,
            "embed" => embed::LINES,
            "generate" => generate::LINES,
            "log" => log::LINES,
            "nn" => nn::LINES,
            "rerank" => rerank::LINES,
            "tokenize" => tokenize::LINES,
            _ => "# this version of tessera has no such capability",
        }
    }

    /// Takes away the sections of capabilities that the component does not declare it wants.
    pub(crate) fn only(mut self, wanted: &[String]) -> PolicyFile {
        let wants = |name: &str| wanted.iter().any(|want| want == name);
        self.config = self.config.filter(|_| wants("config"));
        self.embed = self.embed.filter(|_| wants("embed"));
        self.generate = self.generate.filter(|_| wants("generate"));
        self.log = self.log.filter(|_| wants("log"));
        self.nn = self.nn.filter(|_| wants("nn"));
        self.rerank = self.rerank.filter(|_| wants("rerank"));
        self.tokenize = self.tokenize.filter(|_| wants("tokenize"));
        self
    }
}

/// A refusal: what the guest may know and what the operator needs to know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{capability} of `{target}` is not granted: {remedy}")]
pub struct Denial {
    /// The capability, by its WIT name.
    pub capability: &'static str,
    /// What was asked for, shortened and escaped.
    pub target: String,
    /// The file and the key to edit. For the operator only.
    pub remedy: String,
}

/// The model to use: the one asked for if it is in the list, or else the list's first.
fn choose_model(
    capability: &'static str,
    grant: Option<&ModelsGrant>,
    asked: Option<&str>,
    policy_file: &str,
) -> Result<ModelName, Denial> {
    let models = grant.map_or(&[][..], |grant| &grant.models);
    let found = match asked {
        Some(asked) => models.iter().find(|model| model.as_str() == asked),
        None => models.first(),
    };
    found.cloned().ok_or_else(|| Denial {
        capability,
        target: asked.unwrap_or("(default model)").chars().take(128).flat_map(char::escape_default).collect(),
        remedy: format!("add it to `[{capability}] models` in {policy_file}"),
    })
}
