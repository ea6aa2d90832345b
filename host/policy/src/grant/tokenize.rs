//! `[tokenize]`: which models a component may use the tokens of.

use crate::authority::Authority;
use crate::permit::{Permit, Tokenize};
use crate::{Action, Cost, Denial};

pub(super) const LINES: &str = "[tokenize]\nmodels = [\"smollm2-135m-instruct\"]";

impl Authority<'_> {
    /// Whether the component may use the tokens of a model; none asks for the default.
    ///
    /// # Errors
    /// A [`Denial`]: no right, or no quota left.
    pub fn tokenize(&self, model: Option<&str>, cost: Cost) -> Result<Permit<Tokenize>, Denial> {
        self.model(&self.policy.models().tokenize, model, |name| Action::Tokenize(name), cost, |model| Tokenize { model })
    }
}
