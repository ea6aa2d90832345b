//! Where a component finds the others: what is served at the moment.

use std::sync::{Arc, OnceLock, Weak};

use policy::ComponentName;

use crate::component::Component;
use crate::http::server::Shared;

/// The components beside one another. Empty until the server that they are of is there.
#[derive(Default)]
pub(crate) struct Peers(OnceLock<Weak<Shared>>);

impl Peers {
    /// They are this server's from now on.
    pub(crate) fn are_of(&self, server: &Arc<Shared>) {
        self.0.get_or_init(|| Arc::downgrade(server));
    }

    /// The component that requests for a name reach now; none where there is none, or it may not run any more.
    pub(crate) fn find(&self, name: &ComponentName) -> Option<Arc<Component>> {
        let server = self.0.get()?.upgrade()?;
        let registry = server.registry.load();
        registry.component(name.as_str()).filter(|component| !component.is_stopped()).cloned()
    }
}
