//! `[generate]`: which models a component may have generate text.

use crate::permit::{Generate, Permit};
use crate::{Denial, Snapshot};

pub(super) const LINES: &str = "[generate]\nmodels = [\"smollm2-135m-instruct\"]";

impl Snapshot {
    /// Whether the component may have a model generate; none asks for the default.
    ///
    /// # Errors
    /// A [`Denial`] that names the key to edit.
    pub fn generate(&self, model: Option<&str>) -> Result<Permit<Generate>, Denial> {
        let model = super::choose_model("generate", self.grants().generate.as_ref(), model, self.file())?;
        Ok(Permit::new(Generate { model }))
    }
}
