//! Who a request comes from.

use std::sync::{Arc, LazyLock};

/// The owner of data and quota that a request belongs to. Instances are never shared between tenants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The one tenant of a server that has no keys.
    pub fn local() -> Tenant {
        static LOCAL: LazyLock<Arc<str>> = LazyLock::new(|| "local".into());
        Tenant(LOCAL.clone())
    }

    /// The tenant of this name.
    pub fn named(name: &str) -> Tenant {
        Tenant(name.into())
    }

    /// The tenant's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who makes a request. Until there are keys, everybody on the loopback interface is `Local`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Somebody on this machine.
    Local,
}
