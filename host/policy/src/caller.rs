//! Who a request comes from.

mod key;
mod label;
mod scope;
mod tenant;
mod token;

use std::fmt;
use std::sync::{Arc, LazyLock};

pub use self::key::{Key, KeyError, KeyId, Keys, NewKey, digest_of_key, rfc3339};
pub use self::label::{Label, LabelError, Labels};
pub use self::scope::{Scope, Selection};
pub use self::tenant::{TenantPolicy, Tenants};
pub use self::token::{KeySet, TenantSource, TokenError, TokenRules, VerifiedToken, issuer_of};
use crate::name::{ComponentName, ModelName, Tenant};
use crate::quota::Ledger;

impl Tenant {
    /// The one tenant of a server where nobody has to say who they are.
    pub fn local() -> Tenant {
        Caller::local().tenant
    }
}

/// Who makes a request, and for which tenant.
#[derive(Debug, Clone)]
pub struct Caller {
    id: Arc<str>,
    tenant: Tenant,
    /// What the credential says that it came with; none without one.
    credential: Option<Arc<Scope>>,
    /// None where nothing but the components' policies sets bounds.
    bounds: Option<Bounds>,
}

/// What bounds a caller besides the components' policies.
#[derive(Debug, Clone)]
struct Bounds {
    scope: Arc<Scope>,
    policy: Arc<TenantPolicy>,
    ledger: Arc<Ledger>,
}

/// What keeps a caller from something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The key or token that it came with.
    Credential,
    /// Its tenant's file.
    Tenant,
}

impl Caller {
    /// Somebody on this machine, where nobody has to say who they are.
    pub fn local() -> Caller {
        static LOCAL: LazyLock<Caller> =
            LazyLock::new(|| Caller::new("local", "local".parse().expect("`local` is a name that a tenant can have")));
        LOCAL.clone()
    }

    /// A caller by an id that tells it from all others. Nothing bounds it but the components' policies.
    pub fn new(id: &str, tenant: Tenant) -> Caller {
        Caller { id: id.into(), tenant, credential: None, bounds: None }
    }

    /// A caller with a credential: bounded by that and by its tenant's policy, and counted in its tenant's book.
    pub fn bounded(id: Arc<str>, tenant: Tenant, scope: Arc<Scope>, policy: Arc<TenantPolicy>, ledger: Arc<Ledger>) -> Caller {
        Caller { id, tenant, credential: Some(scope.clone()), bounds: Some(Bounds { scope, policy, ledger }) }
    }

    /// The same caller for what the host itself does in its name, as a guard's work: no bound of its own counts. It sees no more than
    /// before.
    pub fn unbounded(&self) -> Caller {
        Caller { bounds: None, ..self.clone() }
    }

    /// Its id, for logs and rules: `local`, `public`, `key:ID` or `oidc:ISSUER#SUBJECT`, the issuer without its scheme.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it is anybody in particular, and not who came without a credential by a public route.
    pub fn is_somebody(&self) -> bool {
        &*self.id != "public"
    }

    /// Its labels: what it finds of documents that have some. None where nobody has to say who they are, who find everything.
    pub fn labels(&self) -> Option<&Labels> {
        self.credential.as_ref().map(|scope| &scope.labels)
    }

    /// Whose data and quota its requests are about.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The book of its tenant, where there are tenants.
    pub fn ledger(&self) -> Option<&Arc<Ledger>> {
        self.bounds.as_ref().map(|bounds| &bounds.ledger)
    }

    /// What its tenant may do, where there are tenants.
    pub fn tenant_policy(&self) -> Option<&TenantPolicy> {
        self.bounds.as_ref().map(|bounds| &*bounds.policy)
    }

    /// Whether it may read what only operators may: `/admin` and `/metrics`.
    pub fn is_admin(&self) -> bool {
        self.bounds.as_ref().is_none_or(|bounds| bounds.scope.is_admin)
    }

    /// Whether it may send requests to a component.
    ///
    /// # Errors
    /// What keeps it from that.
    pub fn may_ask(&self, component: &ComponentName) -> Result<(), Bound> {
        self.check(|bounds| (bounds.scope.components.contains(component), bounds.policy.components().contains(component)))
    }

    /// Whether models may run for it, as far as it is a matter of the caller.
    ///
    /// # Errors
    /// What keeps it from that.
    pub fn may_use(&self, model: &ModelName) -> Result<(), Bound> {
        self.check(|bounds| (bounds.scope.models.contains(model), bounds.policy.models().contains(model)))
    }

    /// What an operator is told where [`may_ask`](Self::may_ask) is refused, and what to change: one line.
    pub fn explain_refusal(&self, component: &ComponentName, bound: Bound) -> String {
        crate::explain::component_refused(self, component, bound)
    }

    fn check(&self, allowed: impl FnOnce(&Bounds) -> (bool, bool)) -> Result<(), Bound> {
        match self.bounds.as_ref().map_or((true, true), allowed) {
            (true, true) => Ok(()),
            (true, false) => Err(Bound::Tenant),
            (false, _) => Err(Bound::Credential),
        }
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Caller) -> bool {
        let bounds = |caller: &Caller| caller.bounds.as_ref().map(|bounds| (bounds.scope.clone(), bounds.policy.clone()));
        let parts = |caller: &Caller| (caller.id.clone(), caller.tenant.clone(), caller.credential.clone(), bounds(caller));
        parts(self) == parts(other)
    }
}

impl Eq for Caller {}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(scope: Scope, tenant: &str) -> Caller {
        let policy = TenantPolicy::parse("t.toml".as_ref(), tenant).expect("a tenant's policy");
        let tenant = "acme".parse().expect("a name");
        Caller::bounded("key:x".into(), tenant, Arc::new(scope), Arc::new(policy), Arc::default())
    }

    #[test]
    fn a_caller_may_what_both_its_credential_and_its_tenant_allow() {
        let all = "schema = 1";
        let [chat, other]: [ComponentName; 2] = ["chat", "other"].map(|name| name.parse().expect("a name"));
        let model: ModelName = "m".parse().expect("a name");
        let narrow = Scope { components: "chat".parse().expect("a list"), models: Selection::none(), ..Scope::everything() };
        let cases = [
            (Scope::everything(), all, Ok(()), Ok(()), Ok(())),
            (narrow.clone(), all, Ok(()), Err(Bound::Credential), Err(Bound::Credential)),
            (Scope::everything(), "schema = 1\ncomponents = [\"chat\"]", Ok(()), Err(Bound::Tenant), Ok(())),
            (Scope::everything(), "schema = 1\nmodels = []", Ok(()), Ok(()), Err(Bound::Tenant)),
            (narrow, "schema = 1\ncomponents = []", Err(Bound::Tenant), Err(Bound::Credential), Err(Bound::Credential)),
        ];
        for (scope, tenant, of_chat, of_other, of_model) in cases {
            let caller = bounded(scope, tenant);
            assert_eq!((caller.may_ask(&chat), caller.may_ask(&other), caller.may_use(&model)), (of_chat, of_other, of_model));
            assert!(!caller.is_admin());
        }
    }

    #[test]
    fn what_a_caller_sees_stays_the_same_where_nothing_else_bounds_it() {
        let scope = Scope { labels: "hr".parse().expect("labels"), ..Scope::everything() };
        let caller = bounded(scope.clone(), "schema = 1");
        assert_eq!(caller.labels(), Some(&scope.labels));
        assert_eq!(caller.unbounded().labels(), Some(&scope.labels));
        assert_eq!(Caller::local().labels(), None);
    }

    #[test]
    fn nothing_but_policies_bounds_who_is_on_this_machine() {
        let local = Caller::local();
        assert!(local.is_admin() && local.ledger().is_none() && local.tenant_policy().is_none());
        assert_eq!(local.may_use(&"m".parse().expect("a name")), Ok(()));
    }
}
