//! What an operation counts in: its component's book, and its tenant's. What it takes it takes of both, or of neither.

use crate::meter::Meter;
use std::sync::Arc;

use super::{Exhausted, Ledger, Resource, Share};

/// The books that an operation counts in.
#[derive(Debug, Clone, Copy)]
pub struct Books<'a> {
    /// Its component's.
    pub component: &'a Arc<Ledger>,
    /// That of its caller's tenant, where there are tenants.
    pub tenant: Option<&'a Arc<Ledger>>,
}

/// The book in which a quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdrawn {
    /// The component's.
    Component(Exhausted),
    /// The tenant's.
    Tenant(Exhausted),
}

impl Overdrawn {
    /// Which quota it is, and when to ask again.
    pub fn exhausted(&self) -> Exhausted {
        match self {
            Overdrawn::Component(exhausted) | Overdrawn::Tenant(exhausted) => *exhausted,
        }
    }
}

impl Books<'_> {
    /// Uses an amount, if both quotas have room for it.
    ///
    /// # Errors
    /// When one has not: then nothing is used of the other.
    pub fn take(&self, resource: Resource, amount: u64) -> Result<(), Overdrawn> {
        self.component.take(resource, amount).map_err(Overdrawn::Component)?;
        let Some(tenant) = self.tenant else { return Ok(()) };
        tenant.take(resource, amount).map_err(|exhausted| {
            self.component.put_back(resource, amount);
            Overdrawn::Tenant(exhausted)
        })
    }

    /// Counts what was used, room or not; false when a quota is used up.
    pub fn charge(&self, resource: Resource, amount: u64) -> bool {
        let has_room = self.component.charge(resource, amount);
        self.tenant.is_none_or(|tenant| tenant.charge(resource, amount)) & has_room
    }

    /// Sets aside in both what an operation is about to use, as far as both have it: so many tokens to read and, if there is room
    /// for one at least, up to so many to generate.
    ///
    /// # Errors
    /// When a quota is used up: then nothing is set aside in the other.
    pub(crate) fn reserve(&self, input_tokens: u64, output_tokens: u64) -> Result<Reservation, Overdrawn> {
        let component = self.component.reserve(input_tokens, output_tokens).map_err(Overdrawn::Component)?;
        let of_tenant = |tenant: &Arc<Ledger>| tenant.reserve(input_tokens, output_tokens).map_err(Overdrawn::Tenant);
        Ok(Reservation { component, tenant: self.tenant.map(of_tenant).transpose()?, meter: None })
    }

    /// A reservation of nothing, for what is not counted in tokens.
    pub(crate) fn reserve_nothing(&self) -> Reservation {
        Reservation { component: Share::empty(self.component), tenant: self.tenant.map(Share::empty), meter: None }
    }

    /// Counts a denial, or what would be one if the mode were not `observe`.
    pub(crate) fn denied(&self, is_enforced: bool) {
        self.component.denied(is_enforced);
        if let Some(tenant) = self.tenant {
            tenant.denied(is_enforced);
        }
    }
}

/// Tokens that were set aside for one operation. What it uses is taken from them first; dropped, the rest comes back.
#[derive(Debug)]
pub struct Reservation {
    component: Share,
    tenant: Option<Share>,
    /// What counts for the one request.
    meter: Option<Arc<Meter>>,
}

impl Reservation {
    /// The same, which counts for one request as well.
    pub(crate) fn metered(self, meter: Option<Arc<Meter>>) -> Reservation {
        Reservation { meter, ..self }
    }

    /// Counts what a step of the operation used; false when a quota is used up and the operation should end.
    pub fn charge(&self, input_tokens: u64, output_tokens: u64, device_ns: u64) -> bool {
        if let Some(meter) = &self.meter {
            meter.charge(input_tokens, output_tokens, device_ns);
        }
        let charge = |share: &Share| share.charge(input_tokens, output_tokens, device_ns);
        let has_room = charge(&self.component);
        self.tenant.as_ref().is_none_or(charge) & has_room
    }

    /// Sets device memory aside for the operation, in bytes; false where its component or its tenant has none left.
    pub fn hold(&self, bytes: u64) -> bool {
        if !self.component.ledger.hold(bytes) {
            return false;
        }
        let is_held = self.tenant.as_ref().is_none_or(|tenant| tenant.ledger.hold(bytes));
        if !is_held {
            self.component.ledger.release(bytes);
        }
        is_held
    }

    /// Gives device memory back, in bytes, of what [`hold`](Self::hold) has set aside.
    pub fn release(&self, bytes: u64) {
        self.component.ledger.release(bytes);
        if let Some(tenant) = &self.tenant {
            tenant.ledger.release(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quota;

    fn ledger(quota: Quota) -> Arc<Ledger> {
        let ledger = Ledger::default();
        ledger.set(&quota, 0, true);
        Arc::new(ledger)
    }

    fn of(component: Quota, tenant: Quota) -> [Arc<Ledger>; 2] {
        [ledger(component), ledger(tenant)]
    }

    fn books(ledgers: &[Arc<Ledger>; 2]) -> Books<'_> {
        Books { component: &ledgers[0], tenant: Some(&ledgers[1]) }
    }

    #[test]
    fn what_one_book_refuses_is_taken_of_neither() {
        let few = || Quota { requests_per_min_max: 1, ..Quota::default() };
        let ledgers = of(few(), Quota::unlimited());
        assert_eq!(books(&ledgers).take(Resource::Requests, 1), Ok(()));
        assert!(matches!(books(&ledgers).take(Resource::Requests, 1), Err(Overdrawn::Component(_))));
        assert_eq!(ledgers.each_ref().map(|ledger| ledger.usage().requests), [1, 1]);
        let ledgers = of(Quota { requests_per_min_max: 2, ..Quota::default() }, few());
        assert_eq!(books(&ledgers).take(Resource::Requests, 1), Ok(()));
        for _ in 0..5 {
            assert!(matches!(books(&ledgers).take(Resource::Requests, 1), Err(Overdrawn::Tenant(_))));
        }
        assert_eq!(ledgers.each_ref().map(|ledger| ledger.usage().requests), [1, 1]);
        assert_eq!(ledgers[0].take(Resource::Requests, 1), Ok(()), "what was put back is there");
    }

    #[test]
    fn tokens_are_set_aside_in_both_or_in_neither() {
        let small = Quota { input_tokens_per_min_max: 10, ..Quota::default() };
        let ledgers = of(Quota { input_tokens_per_min_max: 20, ..Quota::default() }, small);
        let held = books(&ledgers).reserve(10, 0).expect("room in both");
        let refusal = books(&ledgers).reserve(5, 0).expect_err("none with the tenant");
        assert!(matches!(refusal, Overdrawn::Tenant(Exhausted { resource: Resource::InputTokens, .. })));
        assert!(ledgers[0].reserve(10, 0).is_ok(), "what was set aside with the component is back");
        assert!(held.charge(10, 0, 3));
        drop(held);
        assert_eq!(ledgers.each_ref().map(|ledger| ledger.usage().input_tokens), [10, 10]);
        assert_eq!(ledgers.each_ref().map(|ledger| ledger.usage().device_ns), [3, 3]);
        assert!(!books(&ledgers).reserve_nothing().charge(1, 0, 0), "the tenant has no more");
    }

    #[test]
    fn device_memory_is_held_in_both_or_in_neither() {
        let ledgers = of(Quota { device_bytes_max: 10, ..Quota::default() }, Quota { device_bytes_max: 6, ..Quota::default() });
        let one = books(&ledgers).reserve_nothing();
        assert!(one.hold(6) && !one.hold(4));
        assert_eq!(ledgers.each_ref().map(|ledger| ledger.usage().device_bytes), [6, 6]);
        one.release(6);
        assert_eq!(ledgers.each_ref().map(|ledger| ledger.usage().device_bytes), [0, 0]);
    }

    #[test]
    fn what_is_used_all_the_same_counts_in_both() {
        let ledgers = of(Quota::default(), Quota { egress_bytes_per_min_max: 5, ..Quota::default() });
        assert!(books(&ledgers).charge(Resource::Egress, 5));
        assert!(!books(&ledgers).charge(Resource::Egress, 1));
        assert_eq!(ledgers.each_ref().map(|ledger| ledger.usage().egress_bytes), [6, 6]);
    }
}
