//! `[rerank]`: which models a component may rerank with.

use serde::{Deserialize, Serialize};

use crate::permit::{Permit, Rerank};
use crate::{Denial, ModelName, Snapshot};

pub(super) const LINES: &str = "[rerank]\nmodels = [\"all-minilm-l6-v2\"]";

/// Models by registry name; the first is the one used when a component names none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerankGrant {
    /// At least one model, or the section grants nothing.
    pub models: Vec<ModelName>,
}

impl Snapshot {
    /// Whether the component may rerank with a model; none asks for the default.
    ///
    /// # Errors
    /// A [`Denial`] that names the key to edit.
    pub fn rerank(&self, model: Option<&str>) -> Result<Permit<Rerank>, Denial> {
        let models = self.grants().rerank.as_ref().map_or(&[][..], |grant| &grant.models);
        let model = super::choose_model("rerank", models, model, self.file())?;
        Ok(Permit::new(Rerank { model }))
    }
}
