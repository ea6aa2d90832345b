//! `[routes]`: where a component may answer besides its own `/c/NAME/*`.

use serde::{Deserialize, Serialize};

use crate::{Route, Snapshot};

/// Routes a component may claim; a prefix allows every route below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutesGrant {
    /// Such as `POST /v1/embeddings` or `* /ui/*`.
    pub allow: Vec<Route>,
}

impl Snapshot {
    /// Divides the routes a component wants into those it gets and those it is refused.
    pub fn routes<'a>(&self, wanted: &'a [Route]) -> (Vec<&'a Route>, Vec<&'a Route>) {
        let own = Route::of_component(self.component());
        let allowed = |route: &&Route| own.covers(route) || self.allowed_routes().iter().any(|allow| allow.covers(route));
        wanted.iter().partition(allowed)
    }
}
