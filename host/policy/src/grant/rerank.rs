//! `[rerank]`: which models a component may rerank with.

use crate::authority::Authority;
use crate::permit::{Permit, Rerank};
use crate::{Action, Cost, Denial};

pub(super) const LINES: &str = "[rerank]\nmodels = [\"all-minilm-l6-v2\"]";

impl Authority<'_> {
    /// Whether the component may rerank with a model; none asks for the default.
    ///
    /// # Errors
    /// A [`Denial`]: no right, or no quota left.
    pub fn rerank(&self, model: Option<&str>, cost: Cost) -> Result<Permit<Rerank>, Denial> {
        self.model(&self.policy.models().rerank, model, |name| Action::Rerank(name), cost, |model| Rerank { model })
    }
}
