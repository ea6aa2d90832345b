//! What tests of the whole crate share: a component under a policy, on a server that isn't there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::rule::Rules;
use crate::snapshot::Source;
use crate::{
    Authority, CAPABILITIES, Caller, ComponentName, Denied, Facts, Ledger, LoadError, Mode, ModelName, Reason, SecretSource,
    Snapshot, Witness,
};

/// A server as a test wants it.
pub(crate) struct FakeFacts {
    pub(crate) device: &'static str,
    pub(crate) digests: BTreeMap<&'static str, String>,
    /// Values of environment variables.
    pub(crate) secrets: BTreeMap<&'static str, &'static str>,
}

impl Default for FakeFacts {
    fn default() -> Self {
        FakeFacts { device: "flex", digests: BTreeMap::new(), secrets: [("KEY", "sesame"), ("OTHER", "open")].into() }
    }
}

impl Facts for FakeFacts {
    fn device(&self) -> &str {
        self.device
    }

    fn model_digest(&self, model: &ModelName) -> Option<String> {
        self.digests.get(model.as_str()).cloned()
    }

    fn secret(&self, source: &SecretSource) -> Option<String> {
        match source {
            SecretSource::Env(name) => self.secrets.get(name.as_str()).map(|&value| value.into()),
            SecretSource::File(_) => None,
        }
    }

    fn token(&self, component: &ComponentName, secret: &str) -> String {
        format!("<{component}.{secret}>")
    }
}

/// A denial that was told, with what cannot outlive it in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) action: String,
    pub(crate) reason: Reason,
    pub(crate) is_enforced: bool,
    pub(crate) explanation: String,
    pub(crate) remedy: String,
}

/// A component under a policy.
pub(crate) struct World {
    pub(crate) policy: Snapshot,
    pub(crate) ledger: Arc<Ledger>,
    caller: Caller,
    told: RefCell<Vec<Told>>,
}

impl Witness for World {
    fn denied(&self, denied: &Denied<'_>) {
        self.told.borrow_mut().push(Told {
            action: denied.action.to_string(),
            reason: denied.reason,
            is_enforced: denied.is_enforced,
            explanation: denied.explain(),
            remedy: denied.remedy(),
        });
    }
}

impl World {
    /// The component `chat`, which wants all there is, under `policies/chat.toml` with this text after its `schema = 1`.
    pub(crate) fn new(text: &str) -> World {
        World::of(&format!("schema = 1\n{text}"), &CAPABILITIES, &FakeFacts::default()).expect("a good policy")
    }

    /// As [`new`](Self::new), with the whole text, what the component wants and the server.
    pub(crate) fn of(text: &str, wanted: &[&str], facts: &FakeFacts) -> Result<World, LoadError> {
        let file = "policies/chat.toml";
        World::from(Source { file: file.into(), origin: file.into(), text: text.into() }, wanted, &Rules::default(), facts)
    }

    pub(crate) fn from(source: Source, wanted: &[&str], rules: &Rules, facts: &FakeFacts) -> Result<World, LoadError> {
        let wanted: Vec<String> = wanted.iter().map(|&capability| capability.into()).collect();
        let policy = Snapshot::new(&"chat".parse().expect("a name"), &wanted, source, rules, facts)?;
        let ledger = Ledger::default();
        let log = policy.grants().log.clone().unwrap_or_default();
        ledger.set(policy.quota(), log.bytes_per_min_max, policy.mode() == Mode::Enforce);
        Ok(World { policy, ledger: Arc::new(ledger), caller: Caller::local(), told: RefCell::default() })
    }

    /// The same, asked by another than who is on this machine.
    pub(crate) fn asked_by(self, caller: Caller) -> World {
        World { caller, ..self }
    }

    pub(crate) fn authority(&self) -> Authority<'_> {
        let World { policy, ledger, caller, .. } = self;
        Authority { policy, ledger, caller, witness: self, now: None }
    }

    /// What was told since this was asked before.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.take()
    }

    /// The one denial that was told.
    pub(crate) fn told_once(&self) -> Told {
        let told = self.told();
        assert_eq!(told.len(), 1, "{told:?}");
        told.into_iter().next().expect("one")
    }
}
