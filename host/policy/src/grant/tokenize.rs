//! `[tokenize]`: which models' tokens a component may use.

use crate::permit::{Permit, Tokenize};
use crate::{Denial, Snapshot};

pub(super) const LINES: &str = "[tokenize]\nmodels = [\"smollm2-135m-instruct\"]";

impl Snapshot {
    /// Whether the component may turn text into a model's tokens and back; none asks for the default.
    ///
    /// # Errors
    /// A [`Denial`] that names the key to edit.
    pub fn tokenize(&self, model: Option<&str>) -> Result<Permit<Tokenize>, Denial> {
        let model = super::choose_model("tokenize", self.grants().tokenize.as_ref(), model, self.file())?;
        Ok(Permit::new(Tokenize { model }))
    }
}
