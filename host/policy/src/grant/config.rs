//! `[config]`: settings that a component may read. The section is both the grant and the values.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::denial::Reason;
use crate::{Action, Denial};

pub(super) const LINES: &str = "[config]\n# key = \"value\"";

/// Section `[config]` of a policy: keys of your own with strings as values, which the component may read by `tessera:config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ConfigGrant(pub BTreeMap<String, String>);

impl<'a> Authority<'a> {
    /// One setting of the component, or none that is set.
    ///
    /// # Errors
    /// A [`Denial`] where the component may read none.
    pub fn config(&self, key: &str) -> Result<Option<&'a str>, Denial> {
        let section = self.policy.section(&self.policy.grants().config, "config");
        self.decide(Action::Config(key), section.map(|_| ()))?;
        self.tell_allowed(Action::Config(key));
        Ok(section.ok().and_then(|section| section.0.get(key)).map(String::as_str))
    }

    /// All settings of the component, sorted by key.
    ///
    /// # Errors
    /// A [`Denial`] where the component may read none.
    pub fn all_config(&self) -> Result<impl Iterator<Item = (&'a str, &'a str)>, Denial> {
        let section = self.policy.section(&self.policy.grants().config, "config");
        self.decide(Action::Config("*"), section.map(|_| ()))?;
        self.tell_allowed(Action::Config("*"));
        // Each key by itself, too: a rule may forbid one.
        let values = section.ok().into_iter().flat_map(|section| &section.0);
        let values = values.filter(|(key, _)| self.decide(Action::Config(key), Ok(())).is_ok());
        Ok(values.map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

impl crate::Snapshot {
    pub(crate) fn section<'a, T>(&self, section: &'a Option<T>, capability: &'static str) -> Result<&'a T, Reason> {
        section.as_ref().ok_or_else(|| self.missing(capability))
    }
}

#[cfg(test)]
mod tests {
    use crate::Reason;
    use crate::testing::{FakeFacts, World};

    #[test]
    fn settings_that_are_there_can_be_read() {
        let world = World::new("[config]\nlanguage = \"en\"\n\"a b\" = \"c\"");
        assert_eq!(world.authority().config("language"), Ok(Some("en")));
        assert_eq!(world.authority().config("colour"), Ok(None));
        let all: Vec<_> = world.authority().all_config().expect("granted").collect();
        assert_eq!(all, [("a b", "c"), ("language", "en")]);
        assert_eq!(world.told(), []);
    }

    #[test]
    fn without_the_section_asking_is_denied() {
        let world = World::new("[log]");
        assert_eq!(world.authority().config("x").expect_err("no section").reason, Reason::NoSection);
        assert_eq!(world.authority().all_config().map(|all| all.count()).expect_err("no section").reason, Reason::NoSection);
        let text = "schema = 1\n[config]\nx = \"y\"";
        let world = World::of(text, &[], &FakeFacts::default()).expect("a good policy");
        assert_eq!(world.authority().config("x").expect_err("not wanted").reason, Reason::Undeclared);
    }

    #[test]
    fn in_the_mode_observe_there_is_nothing_to_read_and_that_is_told() {
        let world = World::new("mode = \"observe\"");
        assert_eq!(world.authority().config("x"), Ok(None));
        assert_eq!(world.authority().all_config().expect("observed").count(), 0);
        assert!(world.told().iter().all(|told| !told.is_enforced));
        assert_eq!(world.ledger.usage().would_deny, 2);
    }

    #[test]
    fn values_are_text() {
        assert!(World::of("schema = 1\n[config]\nx = 1", &[], &FakeFacts::default()).is_err());
    }
}
