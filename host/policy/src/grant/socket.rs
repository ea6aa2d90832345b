//! Sockets, which no policy can grant: `[http]` is the way out.

use crate::authority::Authority;
use crate::denial::Reason;
use crate::{Action, Denial};

impl Authority<'_> {
    /// Refuses a socket, or a name to be looked up for one, and tells of it.
    pub fn socket(&self, target: &str) -> Denial {
        self.refuse(Action::Socket(target), Reason::Unsupported)
    }
}
