//! What is told where it is not the component's policy that denies, but the caller's key, token or tenant.

use super::remedy::{Place, Remedy};
use super::text::{Item, Text, quoted};
use super::{Why, granting, quota_key};
use crate::caller::Bound;
use crate::quota::Exhausted;
use crate::{Action, Caller, ComponentName, Denied, Reason, Resource, TenantPolicy};

impl Denied<'_> {
    pub(super) fn out_of_scope(&self, bound: Bound) -> Why {
        if let Action::Call(callee) = self.action {
            return Why::of(component_bound(self.caller, callee.component(), bound));
        }
        let (caller, tenant) = (self.caller, self.caller.tenant());
        match (bound, caller.tenant_policy()) {
            (Bound::Tenant, Some(policy)) => {
                let line = Text::parse(policy.text()).and_then(|text| text.line(&["models"]));
                let place = line.map_or(policy.file().into(), |line| format!("{}:{line}", policy.file()));
                Why { words: format!("{place} does not list it for the tenant {tenant}"), line }
            }
            _ if caller.id().starts_with("key:") => Why::of(format!(
                "{caller} of the tenant {tenant} is limited to other models: `tessera key create --models …` makes a key that is not"
            )),
            _ => {
                Why::of(format!("the token of {caller} of the tenant {tenant} does not hold `model:{}`", self.action.target()))
            }
        }
    }

    pub(super) fn tenant_used_up(&self, exhausted: Exhausted) -> Why {
        let Some(policy) = self.caller.tenant_policy() else { return Why::of("its tenant's quota is used up".into()) };
        let (section, key) = quota_key(exhausted.resource);
        let line = Text::parse(policy.text()).and_then(|text| text.line(&[section, key]));
        let place = line.map_or(policy.file().into(), |line| format!("{}:{line}", policy.file()));
        let (max, tenant) = (max(policy, exhausted.resource), self.caller.tenant());
        let seconds = exhausted.retry_after.as_secs_f64().ceil();
        let words = format!(
            "{place} allows the tenant {tenant} [{section}] {key} = {max}, which is used up: there is more in {seconds} s"
        );
        Why { words, line }
    }

    /// The change of the tenant's file that allows it.
    pub(super) fn of_tenant(&self) -> Option<Remedy> {
        let policy = self.caller.tenant_policy()?;
        let after = match self.reason {
            Reason::NotInScope(Bound::Tenant) => {
                let (list, name) = match self.action {
                    Action::Call(callee) => ("components", callee.component().as_str()),
                    _ => ("models", self.action.target()),
                };
                Text::parse(policy.text())?.with_item(&[], list, Item::Value(quoted(name)))?
            }
            Reason::TenantQuota(exhausted) => {
                let (section, key) = quota_key(exhausted.resource);
                let more = max(policy, exhausted.resource).max(500).saturating_mul(2).min(i64::MAX as u64);
                granting::with_value(policy.text(), section, key, &more.to_string())?
            }
            _ => return None,
        };
        TenantPolicy::parse(policy.file().as_ref(), &after).ok()?;
        Some(match policy.text() {
            "" => Remedy { file: policy.file().into(), place: Place::NewFile, lines: after },
            before => Remedy::between(policy.file(), before, &after),
        })
    }
}

fn max(policy: &TenantPolicy, resource: Resource) -> u64 {
    let quota = policy.quota();
    match resource {
        Resource::Requests => quota.requests_per_min_max,
        Resource::InputTokens => quota.input_tokens_per_min_max,
        Resource::OutputTokens => quota.output_tokens_per_min_max,
        Resource::DeviceTime => quota.device_ms_per_min_max,
        Resource::Egress => quota.egress_bytes_per_min_max,
        Resource::Log => u64::MAX,
    }
}

/// Who may not send requests to a component, and what to change: in one line, for the log.
pub(crate) fn component_refused(caller: &Caller, component: &ComponentName, bound: Bound) -> String {
    let (tenant, why) = (caller.tenant(), component_bound(caller, component, bound));
    format!("denied: {caller} of the tenant {tenant} may not ask component \"{component}\": {why}")
}

/// What keeps a caller from a component.
fn component_bound(caller: &Caller, component: &ComponentName, bound: Bound) -> String {
    match (bound, caller.tenant_policy()) {
        (Bound::Tenant, Some(policy)) => format!("{} does not list it in `components`: add it there", policy.file()),
        _ if caller.id().starts_with("key:") => {
            "the key is limited to other components: `tessera key create --components …` makes one that is not".into()
        }
        _ => format!("the token does not hold `component:{component}`"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::World;
    use crate::{Cost, Ledger, Scope, Selection};

    fn caller(id: &str, scope: Scope, tenant: &str) -> Caller {
        let policy = TenantPolicy::parse("tenants/acme.toml".as_ref(), tenant).expect("a tenant's policy");
        let ledger = Ledger::default();
        ledger.set(policy.quota(), 0, true);
        Caller::bounded(id.into(), "acme".parse().expect("a name"), Arc::new(scope), Arc::new(policy), Arc::new(ledger))
    }

    fn told(caller: Caller, mode: &str) -> crate::testing::Told {
        let world = World::new(&format!("mode = \"{mode}\"\n[embed]\nmodels = [\"m\"]")).asked_by(caller);
        let denial = world.authority().embed(Some("m"), Cost::of_text(4)).expect_err("not for this caller");
        assert!(matches!(denial.code(), "denied" | "quota"));
        let told = world.told_once();
        assert!(told.is_enforced, "no mode of a component lets a caller do more");
        told
    }

    #[test]
    fn an_operator_is_told_which_file_or_key_to_change() {
        let narrow = || Scope { models: Selection::none(), ..Scope::everything() };
        for mode in ["enforce", "observe"] {
            let by_tenant = told(caller("key:a", Scope::everything(), "schema = 1\nmodels = [\"x\"]\n"), mode);
            assert!(
                by_tenant.explanation.contains("tenants/acme.toml:2 does not list it for the tenant acme"),
                "{by_tenant:?}"
            );
            assert!(by_tenant.explanation.contains("change that line to: models = [\"x\", \"m\"]"), "{by_tenant:?}");
            let by_key = told(caller("key:a", narrow(), "schema = 1"), mode);
            assert!(by_key.explanation.contains("key:a of the tenant acme is limited to other models"), "{by_key:?}");
            assert!(by_key.explanation.contains("tessera key create --models"), "{by_key:?}");
            let by_token = told(caller("oidc:a#b", narrow(), "schema = 1"), mode);
            assert!(by_token.explanation.contains("does not hold `model:m`"), "{by_token:?}");
        }
    }

    #[test]
    fn a_tenants_quota_is_told_with_its_file() {
        let text = "schema = 1\n[quota]\ninput_tokens_per_min_max = 0\n";
        let told = told(caller("key:a", Scope::everything(), text), "enforce");
        assert!(told.explanation.contains("tenants/acme.toml:3 allows the tenant acme [quota] input_tokens"), "{told:?}");
        assert!(told.remedy.contains("input_tokens_per_min_max = 1000"), "{told:?}");
    }

    #[test]
    fn who_may_not_ask_a_component_is_told_in_one_line() {
        let component = "chat".parse().expect("a name");
        let caller = caller("key:a", Scope::everything(), "schema = 1\ncomponents = []");
        let text = component_refused(&caller, &component, caller.may_ask(&component).expect_err("not listed"));
        assert!(text.contains("tenants/acme.toml does not list it in `components`"), "{text}");
    }
}
