//! Who a request comes from.

use std::fmt;
use std::sync::{Arc, LazyLock};

/// The owner of data and quota that a request belongs to. Instances are never shared between tenants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The one tenant of a server that has no keys.
    pub fn local() -> Tenant {
        Caller::local().tenant
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

/// Who makes a request, and for which tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    id: Arc<str>,
    tenant: Tenant,
}

impl Caller {
    /// Somebody on this machine, where nobody has to say who they are.
    pub fn local() -> Caller {
        static LOCAL: LazyLock<Caller> = LazyLock::new(|| Caller::new("local", Tenant::named("local")));
        LOCAL.clone()
    }

    /// A caller by an id that tells it from all others.
    pub fn new(id: &str, tenant: Tenant) -> Caller {
        Caller { id: id.into(), tenant }
    }

    /// Its id, for logs and rules: `local`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whose data and quota its requests are about.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}
