//! `[embed]`: which models a component may embed with.

use serde::{Deserialize, Serialize};

use crate::permit::{Embed, Permit};
use crate::{Denial, ModelName, Snapshot};

pub(super) const LINES: &str = "[embed]\nmodels = [\"all-minilm-l6-v2\"]";

/// Models by registry name; the first is the one used when a component names none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedGrant {
    /// At least one model, or the section grants nothing.
    pub models: Vec<ModelName>,
}

impl Snapshot {
    /// Whether the component may embed with a model; none asks for the default.
    ///
    /// # Errors
    /// A [`Denial`] that names the key to edit.
    pub fn embed(&self, model: Option<&str>) -> Result<Permit<Embed>, Denial> {
        let models = self.grants().embed.as_ref().map_or(&[][..], |grant| &grant.models);
        let model = super::choose_model("embed", models, model, self.file())?;
        Ok(Permit::new(Embed { model }))
    }
}
