//! `[nn]`: which models a component may run by standard `wasi:nn`.

use crate::permit::{Nn, Permit};
use crate::{Denial, Snapshot};

pub(super) const LINES: &str = "[nn]\nmodels = [\"all-minilm-l6-v2\"]";

impl Snapshot {
    /// Whether the component may run a model on tensors of its own. `wasi:nn` knows no default.
    ///
    /// # Errors
    /// A [`Denial`] that names the key to edit.
    pub fn nn(&self, model: &str) -> Result<Permit<Nn>, Denial> {
        let model = super::choose_model("nn", self.grants().nn.as_ref(), Some(model), self.file())?;
        Ok(Permit::new(Nn { model }))
    }
}
