//! The one choke point: every right that a component uses is decided here.

use std::sync::Arc;
use std::time::SystemTime;

use crate::ModelName;
use crate::action::Action;
use crate::caller::Caller;
use crate::denial::{Allowed, Denial, Denied, Detail, Reason, Witness};
use crate::explain::DEFAULT_MODEL;
use crate::grant::models::Models;
use crate::permit::Permit;
use crate::quota::{Books, Ledger, Overdrawn};
use crate::snapshot::{Mode, Snapshot};

/// What an operation will use of the models' quotas, as far as one can tell before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Tokens that a model will read.
    pub input_tokens: u64,
    /// Most tokens that a model will generate.
    pub output_tokens: u64,
}

impl Cost {
    /// The cost of reading texts of so many bytes: about four bytes make a token.
    pub fn of_text(bytes: usize) -> Cost {
        Cost { input_tokens: (bytes as u64).div_ceil(4), output_tokens: 0 }
    }
}

/// Somebody's power at one moment: what the component's policy grants, in a request of a caller.
///
/// Its methods, one for each capability in `grant/`, are all that makes a [`Permit`].
#[derive(Clone, Copy)]
pub struct Authority<'a> {
    /// What the component may do.
    pub policy: &'a Snapshot,
    /// What it has used.
    pub ledger: &'a Arc<Ledger>,
    /// Who asks, and for whom.
    pub caller: &'a Caller,
    /// Who is told of denials.
    pub witness: &'a dyn Witness,
    /// When it is for rules that ask; none is now.
    pub now: Option<SystemTime>,
}

impl Authority<'_> {
    /// Decides on an action that the component's policy grants or not: its rules may still forbid it. In the mode `observe`
    /// a denial is told and has no effect.
    pub(crate) fn decide(&self, action: Action<'_>, granted: Result<(), Reason>) -> Result<(), Denial> {
        let decision = granted.and_then(|()| match self.policy.rules().forbids(&action, self) {
            Some(rule) => Err(Reason::Forbidden(rule)),
            None => Ok(()),
        });
        let Err(reason) = decision else { return Ok(()) };
        let is_enforced = self.policy.mode() == Mode::Enforce;
        self.tell(action, Detail::None, reason, is_enforced);
        if is_enforced { Err(Denial::new(action.capability(), reason)) } else { Ok(()) }
    }

    /// Decides on what no policy and no mode can allow.
    pub(crate) fn decide_always(&self, action: Action<'_>, allowed: Result<(), Reason>) -> Result<(), Denial> {
        allowed.map_err(|reason| self.refuse(action, reason))
    }

    /// Refuses an action in every mode.
    pub(crate) fn refuse(&self, action: Action<'_>, reason: Reason) -> Denial {
        self.refuse_with(action, Detail::None, reason)
    }

    /// As [`refuse`](Self::refuse), and tells more about it.
    pub(crate) fn refuse_with(&self, action: Action<'_>, detail: Detail<'_>, reason: Reason) -> Denial {
        self.tell(action, detail, reason, true);
        Denial::new(action.capability(), reason)
    }

    /// Tells of a quota that is used up. Where quotas are not enforced the [`Ledger`] lets everything through.
    pub(crate) fn over_quota(&self, action: Action<'_>, overdrawn: Overdrawn) -> Denial {
        let reason = match overdrawn {
            Overdrawn::Component(exhausted) => Reason::Quota(exhausted),
            Overdrawn::Tenant(exhausted) => Reason::TenantQuota(exhausted),
        };
        self.refuse(action, reason)
    }

    /// The books that what happens under it counts in.
    pub fn books(&self) -> Books<'_> {
        Books { component: self.ledger, tenant: self.caller.ledger() }
    }

    /// Decides on the use of a model: which one, and whether there is quota for it.
    pub(crate) fn model<Act>(
        &self,
        models: &Models,
        asked: Option<&str>,
        action: fn(&str) -> Action<'_>,
        cost: Cost,
        permitted: impl FnOnce(ModelName) -> Act,
    ) -> Result<Permit<Act>, Denial> {
        let capability = action("").capability();
        let chosen = match self.policy.grants().has_section(capability) {
            true => models.choose(asked),
            false => Err(self.policy.missing(capability)),
        };
        let name = chosen.map_or(asked.unwrap_or(DEFAULT_MODEL), ModelName::as_str);
        let model = match (chosen, self.policy.mode()) {
            (Ok(model), _) => Ok(model.clone()),
            (Err(reason), Mode::Enforce) => Err(reason),
            // What is only observed is used by the name that was asked for; without one there is nothing to use.
            (Err(reason), Mode::Observe) => asked.and_then(|asked| asked.parse().ok()).ok_or(reason),
        };
        let model = model.map_err(|reason| self.refuse(action(name), reason))?;
        self.decide(action(name), chosen.map(|_| ()))?;
        let in_scope = self.caller.may_use(&model).map_err(Reason::NotInScope);
        self.decide_always(action(model.as_str()), in_scope)?;
        let reserved = self.books().reserve(cost.input_tokens, cost.output_tokens);
        let reservation = reserved.map_err(|overdrawn| self.over_quota(action(model.as_str()), overdrawn))?;
        let reservation = reservation.metered(self.witness.meter());
        self.tell_allowed(action(model.as_str()));
        Ok(Permit::new(permitted(model), reservation))
    }

    /// Tells that an action was granted: after the last check of it.
    pub(crate) fn tell_allowed(&self, action: Action<'_>) {
        let Authority { policy, caller, .. } = *self;
        self.witness.allowed(&Allowed { policy, action, caller });
    }

    fn tell(&self, action: Action<'_>, detail: Detail<'_>, reason: Reason, is_enforced: bool) {
        self.books().denied(is_enforced);
        let Authority { policy, caller, .. } = *self;
        self.witness.denied(&Denied { policy, action, detail, reason, is_enforced, caller });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CAPABILITIES;
    use crate::testing::{FakeFacts, Told, World};

    type Use = fn(Authority<'_>, &str) -> Result<ModelName, Denial>;

    const EACH: [(&str, Use); 6] = [
        ("classify", |rights, model| Ok(rights.classify(Some(model), Cost::default())?.redeem().model)),
        ("embed", |rights, model| Ok(rights.embed(Some(model), Cost::default())?.redeem().model)),
        ("generate", |rights, model| Ok(rights.generate(Some(model), Cost::default())?.redeem().model)),
        ("nn", |rights, model| Ok(rights.nn(model, Cost::default())?.redeem().model)),
        ("rerank", |rights, model| Ok(rights.rerank(Some(model), Cost::default())?.redeem().model)),
        ("tokenize", |rights, model| Ok(rights.tokenize(Some(model), Cost::default())?.redeem().model)),
    ];

    #[test]
    fn each_capability_that_runs_models_has_a_list_of_its_own() {
        let text = EACH.map(|(name, _)| format!("[{name}]\nmodels = [\"of-{name}\"]\n")).concat();
        let world = World::new(&text);
        for (name, act) in EACH {
            for (other, _) in EACH {
                let used = act(world.authority(), &format!("of-{other}"));
                match name == other {
                    true => assert_eq!(used.expect("granted").as_str(), format!("of-{name}")),
                    false => assert_eq!(used.expect_err("of another"), Denial::new(name, Reason::NotListed)),
                }
            }
        }
    }

    #[test]
    fn a_grant_for_one_capability_is_none_for_another() {
        for (granted, _) in EACH {
            let world = World::new(&format!("[{granted}]\nmodels = [\"m\"]"));
            for (name, act) in EACH {
                let expected = if name == granted { Ok("m") } else { Err(Denial::new(name, Reason::NoSection)) };
                assert_eq!(act(world.authority(), "m").as_ref().map(ModelName::as_str), expected.as_ref().copied());
            }
        }
    }

    #[test]
    fn what_the_manifest_does_not_want_is_not_granted() {
        let text = format!("schema = 1\n{}", EACH.map(|(name, _)| format!("[{name}]\nmodels = [\"m\"]\n")).concat());
        for (wanted, _) in EACH {
            let world = World::of(&text, &[wanted], &FakeFacts::default()).expect("a good policy");
            for (name, act) in EACH {
                let denial = act(world.authority(), "m").err();
                assert_eq!(denial, (name != wanted).then(|| Denial::new(name, Reason::Undeclared)), "{name} of {wanted}");
                assert_eq!(world.policy.grants().has_section(name), name == wanted);
            }
        }
    }

    #[test]
    fn who_names_no_model_gets_the_first_of_the_list() {
        let world = World::new("[embed]\nmodels = [\"b\", \"a\"]\n[rerank]\nmodels = []");
        assert_eq!(world.authority().embed(None, Cost::default()).expect("granted").action().model.as_str(), "b");
        assert_eq!(world.authority().embed(Some("a"), Cost::default()).expect("granted").action().model.as_str(), "a");
        let denial = world.authority().rerank(None, Cost::default()).expect_err("there is none");
        assert_eq!(denial.reason, Reason::NotListed);
        assert_eq!(world.told_once().action, "rerank (default model)");
    }

    #[test]
    fn a_guest_learns_nothing_of_the_reason() {
        let world = World::new("[embed]\nmodels = [\"a\"]");
        for denial in [
            world.authority().embed(Some("b"), Cost::default()).expect_err("not listed"),
            world.authority().generate(Some("b"), Cost::default()).expect_err("no section"),
        ] {
            assert_eq!((denial.to_string().as_str(), denial.retry_after()), ("denied", None));
        }
    }

    #[test]
    fn every_denial_is_told_once_and_counted() {
        let world = World::of("schema = 1", &["log", "embed"], &FakeFacts::default()).expect("a good policy");
        let rights = world.authority();
        rights.embed(Some("m"), Cost::default()).expect_err("no section");
        rights.embed(None, Cost::default()).expect_err("no section");
        rights.embed(Some("no\nname"), Cost::default()).expect_err("no section");
        rights.log().expect_err("no section");
        rights.read_file("/x").expect_err("undeclared");
        rights.config("x").expect_err("undeclared");
        rights.secret("x").expect_err("undeclared");
        let actions: Vec<String> = world.told().into_iter().map(|told| told.action).collect();
        let expected =
            ["embed m", "embed (default model)", "embed no\\nname", "log", "read /x", "config x", "secret x"].map(String::from);
        assert_eq!(actions, expected);
        assert_eq!((world.ledger.usage().denied, world.ledger.usage().would_deny), (7, 0));
    }

    #[test]
    fn what_is_granted_is_told_to_nobody() {
        let world = World::new("[embed]\nmodels = [\"m\"]\n[log]");
        world.authority().embed(Some("m"), Cost::default()).expect("granted");
        world.authority().log().expect("granted");
        assert_eq!((world.told(), world.ledger.usage().denied), (Vec::new(), 0));
    }

    #[test]
    fn in_the_mode_observe_what_is_not_granted_is_told_and_done() {
        let world = World::new("mode = \"observe\"");
        for (name, act) in EACH {
            assert_eq!(act(world.authority(), "m").expect("observed").as_str(), "m");
            let Told { reason, is_enforced, action, .. } = world.told_once();
            assert_eq!((reason, is_enforced, action), (Reason::NoSection, false, format!("{name} m")));
        }
        assert_eq!((world.ledger.usage().denied, world.ledger.usage().would_deny), (0, EACH.len() as u64));
    }

    #[test]
    fn in_the_mode_observe_what_can_not_be_done_is_denied_and_told_so() {
        let world = World::new("mode = \"observe\"");
        for model in [None, Some("no name")] {
            let denial = world.authority().embed(model, Cost::default()).expect_err("there is nothing to embed with");
            assert_eq!(denial.reason, Reason::NoSection);
            assert!(world.told_once().is_enforced);
        }
        assert_eq!((world.ledger.usage().denied, world.ledger.usage().would_deny), (2, 0));
    }

    #[test]
    fn a_quota_that_is_used_up_refuses_with_a_time_to_come_back() {
        let world = World::new("[generate]\nmodels = [\"m\"]\n[quota]\ninput_tokens_per_min_max = 60\n");
        let cost = Cost { input_tokens: 60, output_tokens: 0 };
        let permit = world.authority().generate(None, cost).expect("room for one");
        let denial = world.authority().generate(None, cost).expect_err("used up");
        assert_eq!(denial.code(), "quota");
        let seconds = denial.retry_after().expect("a time").as_secs_f64();
        assert!((55.0..=60.0).contains(&seconds), "{seconds}");
        assert!(matches!(world.told_once().reason, Reason::Quota(_)));
        drop(permit);
        world.authority().generate(None, cost).expect("what was set aside is back");
    }

    #[test]
    fn who_may_not_use_a_model_uses_no_quota_by_asking() {
        let world = World::new("[quota]\ninput_tokens_per_min_max = 1");
        for _ in 0..3 {
            let denial = world.authority().embed(Some("m"), Cost::of_text(4)).expect_err("no section");
            assert_eq!(denial.reason, Reason::NoSection);
        }
        assert_eq!(world.ledger.usage().over_quota, 0);
    }

    #[test]
    fn in_the_mode_observe_quotas_are_counted_only() {
        let world = World::new("mode = \"observe\"\n[embed]\nmodels = [\"m\"]\n[quota]\ninput_tokens_per_min_max = 0");
        world.authority().embed(None, Cost::of_text(1)).expect("observed");
        assert_eq!((world.ledger.usage().over_quota, world.told()), (1, Vec::new()));
    }

    #[test]
    fn sockets_are_refused_in_every_mode() {
        for mode in ["enforce", "observe"] {
            let world = World::new(&format!("mode = \"{mode}\"\n[http]\nallow = [{{ host = \"*\" }}]"));
            assert_eq!(world.authority().socket("1.1.1.1:53").reason, Reason::Unsupported);
            assert!(world.told_once().is_enforced);
        }
    }

    #[test]
    fn the_cost_of_a_text_is_about_a_token_for_four_bytes() {
        assert_eq!([0, 1, 4, 5].map(|bytes| Cost::of_text(bytes).input_tokens), [0, 1, 1, 2]);
    }

    #[test]
    fn there_is_an_action_for_every_capability_but_env() {
        let capability = |name: &'static str| match name.split_once('-') {
            Some((capability, _)) => capability,
            None if matches!(name, "read" | "write") => "fs",
            None => name,
        };
        let capabilities: std::collections::BTreeSet<&str> = Action::NAMES.into_iter().map(capability).collect();
        let expected = CAPABILITIES.into_iter().filter(|capability| *capability != "env").collect();
        assert_eq!(capabilities, expected);
    }
}
