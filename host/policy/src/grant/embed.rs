//! `[embed]`: which models a component may embed with.

use crate::authority::Authority;
use crate::permit::{Embed, Permit};
use crate::{Action, Cost, Denial};

pub(super) const LINES: &str = "[embed]\nmodels = [\"all-minilm-l6-v2\"]";

impl Authority<'_> {
    /// Whether the component may embed with a model; none asks for the default.
    ///
    /// # Errors
    /// A [`Denial`]: no right, or no quota left.
    pub fn embed(&self, model: Option<&str>, cost: Cost) -> Result<Permit<Embed>, Denial> {
        self.model(&self.policy.models().embed, model, |name| Action::Embed(name), cost, |model| Embed { model })
    }
}
