//! `[call]`: functions of other components that a component may call, inside the server and without HTTP.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::denial::Reason;
use crate::permit::{Call, Permit};
use crate::{Action, ComponentName, Denial, NameError, Snapshot};

pub(super) const LINES: &str = "[call]\nallow = [\"calculator\"]";

/// Longest name of an interface, in bytes.
const INTERFACE_BYTES_MAX: usize = 256;

/// Section `[call]` of a policy: components whose functions the component may call, where `component.toml` says by `[[imports]]`
/// that it wants to. A call has the rights of the component that is called, and no more than the caller of the request may have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CallGrant {
    /// Components by name, each with all its interfaces, as `"calculator"`, or with one of them, as
    /// `"calculator/acme:math/ops"`: in whatever version.
    pub allow: Vec<Callee>,
}

/// A component that is called, or one interface of it: `calculator` or `calculator/acme:math/ops`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Callee {
    text: String,
    component: ComponentName,
}

/// Why somebody to call was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalleeError {
    /// The component has no name that a component can have.
    #[error(transparent)]
    Component(#[from] NameError),
    /// What follows is no interface.
    #[error("`{0}` is no interface: write a component's name, a slash and the interface, as `calculator/acme:math/ops`")]
    Interface(String),
    /// It has a version.
    #[error("`{0}` has a version: leave it out, a grant is for all of them")]
    Version(String),
}

impl Callee {
    /// An interface of a component, whose version doesn't matter: `acme:math/ops@1.0.0`.
    ///
    /// # Errors
    /// When it is no interface's name.
    pub fn new(component: &ComponentName, interface: &str) -> Result<Callee, CalleeError> {
        let name = interface.split('@').next().unwrap_or(interface);
        format!("{component}/{name}").parse()
    }

    /// The component.
    pub fn component(&self) -> &ComponentName {
        &self.component
    }

    /// The one interface that is meant, without a version; none means all.
    pub fn interface(&self) -> Option<&str> {
        self.text.get(self.component.as_str().len() + 1..)
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn covers(&self, other: &Callee) -> bool {
        let is_of_it = self.interface().is_none() || self.interface() == other.interface();
        self.component == other.component && is_of_it
    }
}

impl FromStr for Callee {
    type Err = CalleeError;

    fn from_str(text: &str) -> Result<Callee, CalleeError> {
        let shown = || text.chars().take(80).collect();
        let (component, interface) = text.split_once('/').map_or((text, None), |(one, rest)| (one, Some(rest)));
        let component = component.parse()?;
        if let Some(interface) = interface {
            if interface.contains('@') {
                return Err(CalleeError::Version(shown()));
            }
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '/');
            let parts = interface.split_once(':').and_then(|(namespace, rest)| Some((namespace, rest.split_once('/')?)));
            let is_whole = parts.is_some_and(|(namespace, (package, name))| ![namespace, package, name].contains(&""));
            if !is_whole || interface.len() > INTERFACE_BYTES_MAX || !interface.chars().all(is_allowed) {
                return Err(CalleeError::Interface(shown()));
            }
        }
        Ok(Callee { text: text.into(), component })
    }
}

impl TryFrom<String> for Callee {
    type Error = CalleeError;

    fn try_from(text: String) -> Result<Callee, CalleeError> {
        text.parse()
    }
}

impl From<Callee> for String {
    fn from(callee: Callee) -> String {
        callee.text
    }
}

impl fmt::Display for Callee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl JsonSchema for Callee {
    fn schema_name() -> Cow<'static, str> {
        "Callee".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}

impl CallGrant {
    /// The place of the entry that lets a component call another.
    pub(crate) fn entry(&self, callee: &Callee) -> Option<usize> {
        self.allow.iter().position(|entry| entry.covers(callee))
    }
}

impl Snapshot {
    /// Whether the policy lets the component call another; rules and the caller of a request may still forbid it.
    pub fn lists_callee(&self, callee: &Callee) -> bool {
        self.grants().call.as_ref().is_some_and(|grant| grant.entry(callee).is_some())
    }
}

impl Authority<'_> {
    /// Whether the component may call another one, in a request of this caller: who may not ask the other component itself has
    /// nobody ask it for them, whatever the mode.
    ///
    /// # Errors
    /// A [`Denial`].
    pub fn call(&self, callee: &Callee) -> Result<Permit<Call>, Denial> {
        let action = Action::Call(callee);
        let section = self.policy.section(&self.policy.grants().call, "call");
        self.decide(action, section.and_then(|grant| grant.entry(callee).map(drop).ok_or(Reason::NotListed)))?;
        self.decide_always(action, self.caller.may_ask(callee.component()).map_err(Reason::NotInScope))?;
        self.tell_allowed(action);
        Ok(Permit::new(Call { component: callee.component().clone() }, self.books().reserve_nothing()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::{FakeFacts, World};
    use crate::{Bound, Caller, Scope, Selection, TenantPolicy};

    fn callee(text: &str) -> Callee {
        text.parse().expect("a callee")
    }

    fn calls(world: &World, to: &str) -> Result<String, Reason> {
        let permit = world.authority().call(&callee(to)).map_err(|denial| denial.reason)?;
        Ok(permit.redeem().component.to_string())
    }

    #[test]
    fn a_component_is_granted_whole_or_by_an_interface() {
        let world = World::new("[call]\nallow = [\"whole\", \"part/acme:math/ops\"]");
        for to in ["whole", "whole/acme:math/ops", "whole/x:y/z"] {
            assert_eq!(calls(&world, to).as_deref(), Ok("whole"));
        }
        assert_eq!(calls(&world, "part/acme:math/ops").as_deref(), Ok("part"));
        assert_eq!(world.told(), []);
        for to in ["part", "part/acme:math/op", "part/acme:math/ops2", "other/acme:math/ops"] {
            assert_eq!(calls(&world, to), Err(Reason::NotListed), "{to}");
            assert!(world.told_once().is_enforced);
        }
    }

    #[test]
    fn a_grant_is_for_all_versions_of_an_interface() {
        let world = World::new("[call]\nallow = [\"part/acme:math/ops\"]");
        let part: ComponentName = "part".parse().expect("a name");
        for version in ["", "@1.0.0", "@0.2.0-rc.1"] {
            let callee = Callee::new(&part, &format!("acme:math/ops{version}")).expect("an interface");
            assert!(world.authority().call(&callee).is_ok(), "{version}");
        }
    }

    #[test]
    fn without_a_grant_nobody_is_called() {
        assert_eq!(calls(&World::new(""), "a"), Err(Reason::NoSection));
        assert_eq!(calls(&World::new("[call]"), "a"), Err(Reason::NotListed));
        let undeclared = World::of("schema = 1\n[call]\nallow = [\"a\"]", &[], &FakeFacts::default()).expect("a good policy");
        assert_eq!(calls(&undeclared, "a"), Err(Reason::Undeclared));
        let observed = World::new("mode = \"observe\"");
        assert_eq!(calls(&observed, "a").as_deref(), Ok("a"));
        assert!(!observed.told_once().is_enforced);
    }

    #[test]
    fn who_may_not_ask_a_component_has_nobody_ask_it_for_them() {
        let limited = |components: &str, tenant: &str| {
            let components: Selection<ComponentName> = components.parse().expect("a list");
            let scope = Scope { components, ..Scope::everything() };
            let policy = TenantPolicy::parse("tenants/acme.toml".as_ref(), tenant).expect("a tenant's policy");
            let tenant = "acme".parse().expect("a name");
            Caller::bounded("key:x".into(), tenant, Arc::new(scope), Arc::new(policy), Arc::default())
        };
        for mode in ["enforce", "observe"] {
            let world = |caller| World::new(&format!("mode = \"{mode}\"\n[call]\nallow = [\"a\"]")).asked_by(caller);
            let by_key = world(limited("chat", "schema = 1"));
            assert_eq!(calls(&by_key, "a/x:y/z"), Err(Reason::NotInScope(Bound::Credential)));
            let told = by_key.told_once();
            assert!(told.is_enforced && told.explanation.contains("tessera key create --components"), "{told:?}");
            let by_tenant = world(limited("*", "schema = 1\ncomponents = [\"chat\"]\n"));
            assert_eq!(calls(&by_tenant, "a/x:y/z"), Err(Reason::NotInScope(Bound::Tenant)));
            let told = by_tenant.told_once();
            assert!(told.remedy.contains("components = [\"chat\", \"a\"]"), "{told:?}");
            assert_eq!(calls(&world(limited("a,chat", "schema = 1")), "a/x:y/z").as_deref(), Ok("a"));
        }
    }

    #[test]
    fn what_names_no_component_or_interface_is_refused() {
        for (text, words) in [
            ("", "no component name"),
            ("A/b:c/d", "no component name"),
            ("a/", "no interface"),
            ("a/b", "no interface"),
            ("a/b:c", "no interface"),
            ("a/:c/d", "no interface"),
            ("a/b:c/d e", "no interface"),
            ("a/b:c/d@1.0.0", "leave it out"),
        ] {
            let refused = text.parse::<Callee>().expect_err(text).to_string();
            assert!(refused.contains(words), "{refused}");
            assert!(World::of(&format!("schema = 1\n[call]\nallow = [{text:?}]"), &[], &FakeFacts::default()).is_err());
        }
        assert_eq!((callee("a").interface(), callee("a/b:c/d").interface()), (None, Some("b:c/d")));
    }
}
