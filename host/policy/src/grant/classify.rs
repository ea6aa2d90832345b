//! `[classify]`: which models a component may classify with.

use crate::authority::Authority;
use crate::permit::{Classify, Permit};
use crate::{Action, Cost, Denial};

pub(super) const LINES: &str = "[classify]\nmodels = [\"rampart-pii\"]";

impl Authority<'_> {
    /// Whether the component may classify with a model; none asks for the default.
    ///
    /// # Errors
    /// A [`Denial`]: no right, or no quota left.
    pub fn classify(&self, model: Option<&str>, cost: Cost) -> Result<Permit<Classify>, Denial> {
        self.model(&self.policy.models().classify, model, |name| Action::Classify(name), cost, |model| Classify { model })
    }
}
