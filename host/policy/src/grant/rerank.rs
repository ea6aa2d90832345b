//! `[rerank]`: which models a component may rerank with.

use crate::permit::{Permit, Rerank};
use crate::{Denial, Snapshot};

pub(super) const LINES: &str = "[rerank]\nmodels = [\"all-minilm-l6-v2\"]";

impl Snapshot {
    /// Whether the component may rerank with a model; none asks for the default.
    ///
    /// # Errors
    /// A [`Denial`] that names the key to edit.
    pub fn rerank(&self, model: Option<&str>) -> Result<Permit<Rerank>, Denial> {
        let model = super::choose_model("rerank", self.grants().rerank.as_ref(), model, self.file())?;
        Ok(Permit::new(Rerank { model }))
    }
}
