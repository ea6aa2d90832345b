//! `[nn]`: which models a component may run by standard `wasi:nn`.

use crate::authority::Authority;
use crate::permit::{Nn, Permit};
use crate::{Action, Cost, Denial};

pub(super) const LINES: &str = "[nn]\nmodels = [\"all-minilm-l6-v2\"]";

impl Authority<'_> {
    /// Whether the component may run a model on tensors of its own. `wasi:nn` knows no default.
    ///
    /// # Errors
    /// A [`Denial`]: no right, or no quota left.
    pub fn nn(&self, model: &str, cost: Cost) -> Result<Permit<Nn>, Denial> {
        self.model(&self.policy.models().nn, Some(model), |name| Action::Nn(name), cost, |model| Nn { model })
    }
}
