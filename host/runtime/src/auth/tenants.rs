//! What tenants may do and have used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use policy::{Caller, Ledger, Scope, Tenant, TenantPolicy, Tenants};

use super::Refusal;
use crate::telemetry::Metrics;

/// Most tenants whose books are kept. Who comes later is turned away: with a lenient issuer the table would grow for ever.
const TENANTS_MAX: usize = 10_000;

/// The tenants that have called since the start.
pub(super) struct Accounts {
    open: ArcSwap<HashMap<Tenant, Account>>,
    /// The files, as they are now. Held while an account is opened or all are changed, never while one is looked up.
    tenants: Mutex<Tenants>,
    metrics: Arc<Metrics>,
}

#[derive(Clone)]
struct Account {
    policy: Arc<TenantPolicy>,
    ledger: Arc<Ledger>,
}

impl Accounts {
    pub(super) fn new(tenants: Tenants, metrics: Arc<Metrics>) -> Accounts {
        Accounts { open: ArcSwap::default(), tenants: Mutex::new(tenants), metrics }
    }

    /// A caller of a tenant.
    ///
    /// # Errors
    /// When there are too many tenants.
    pub(super) fn caller(&self, id: Arc<str>, tenant: Tenant, scope: Arc<Scope>) -> Result<Caller, Refusal> {
        let known = self.open.load().get(&tenant).cloned();
        let Account { policy, ledger } = known.map_or_else(|| self.open(&tenant), Ok)?;
        Ok(Caller::bounded(id, tenant, scope, policy, ledger))
    }

    fn open(&self, tenant: &Tenant) -> Result<Account, Refusal> {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let open = self.open.load();
        if let Some(account) = open.get(tenant) {
            return Ok(account.clone()); // by another request, just before
        }
        if open.len() >= TENANTS_MAX {
            return Err(Refusal::TooManyTenants);
        }
        let account = Account { policy: tenants.of(tenant).clone(), ledger: self.metrics.tenants().of(tenant.as_str()) };
        account.apply();
        let mut more = HashMap::clone(&open);
        more.insert(tenant.clone(), account.clone());
        self.open.store(Arc::new(more));
        Ok(account)
    }

    /// Other policies from now on; what was used stays counted.
    pub(super) fn govern(&self, tenants: &Tenants) {
        let mut current = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if *current == *tenants {
            return;
        }
        *current = tenants.clone();
        let again = |(tenant, account): (&Tenant, &Account)| {
            let account = Account { policy: tenants.of(tenant).clone(), ledger: account.ledger.clone() };
            account.apply();
            (tenant.clone(), account)
        };
        self.open.store(Arc::new(self.open.load().iter().map(again).collect()));
        tracing::info!("the tenants have other policies from now on");
    }
}

impl Account {
    fn apply(&self) {
        self.ledger.set(self.policy.quota(), u64::MAX, true);
    }
}
