//! `[embed]`: which models a component may embed with.

use crate::permit::{Embed, Permit};
use crate::{Denial, Snapshot};

pub(super) const LINES: &str = "[embed]\nmodels = [\"all-minilm-l6-v2\"]";

impl Snapshot {
    /// Whether the component may embed with a model; none asks for the default.
    ///
    /// # Errors
    /// A [`Denial`] that names the key to edit.
    pub fn embed(&self, model: Option<&str>) -> Result<Permit<Embed>, Denial> {
        let model = super::choose_model("embed", self.grants().embed.as_ref(), model, self.file())?;
        Ok(Permit::new(Embed { model }))
    }
}
