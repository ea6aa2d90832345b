//! The rules of one component, sorted by action and ready to be evaluated.

use std::collections::HashSet;
use std::time::SystemTime;

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet, Request,
    Response, RestrictedExpression,
};

use super::source::SCHEMA;
use super::target::{TYPES, entity, resource, text};
use super::{Rule, RuleId};
use crate::ComponentName;
use crate::action::Action;
use crate::authority::Authority;

/// What has to be left of the stack for rules to be evaluated, and what they get elsewhere where that is not left, in bytes.
///
/// Cedar gives an evaluation up, and a rule that is given up forbids, where it finds the stack used up. It looks for the end of
/// the thread's own stack; guests, and what they call, run on others.
const STACK_BYTES_MIN: usize = 128 << 10;
const STACK_BYTES: usize = 1 << 20;

/// The rules that concern one component, by action. Where there are none, asking costs one look into the table.
#[derive(Debug, Default)]
pub(crate) struct ComponentRules([Option<Box<ActionRules>>; Action::NAMES.len()]);

/// The rules that concern one component and action, with all that is known before a request.
#[derive(Debug)]
struct ActionRules {
    first: RuleId,
    policies: PolicySet,
    /// The component and the action.
    entities: Entities,
    component: EntityUid,
    action: EntityUid,
    labels: RestrictedExpression,
    /// Whether one of them asks for the time.
    is_timed: bool,
}

impl ComponentRules {
    pub(super) fn new(rules: &[Rule], component: &ComponentName, labels: &[String]) -> ComponentRules {
        let mut by_action = ComponentRules::default();
        for (index, slot) in by_action.0.iter_mut().enumerate() {
            let concerns = |(_, rule): &(RuleId, &Rule)| rule.forbid.concerns(component, index);
            let numbered = (0..).map(RuleId).zip(rules);
            *slot =
                ActionRules::new(numbered.filter(concerns).collect(), component, Action::NAMES[index], labels).map(Box::new);
        }
        by_action
    }

    /// The rule that forbids an action, if one does: the first where there are several.
    pub(crate) fn forbids(&self, action: &Action<'_>, authority: &Authority<'_>) -> Option<RuleId> {
        self.0[index(action)?].as_deref()?.forbids(action, authority)
    }
}

/// The place of an action in [`Action::NAMES`], which are in order; none if it can't be granted at all.
fn index(action: &Action<'_>) -> Option<usize> {
    Action::NAMES.binary_search(&action.name()).ok()
}

impl ComponentRules {
    /// A rule that may forbid looking at or changing files, if there is one.
    pub(crate) fn first_of_files(&self) -> Option<RuleId> {
        let of = |name| self.0[Action::NAMES.iter().position(|other| *other == name)?].as_ref().map(|rules| rules.first);
        ["read", "write"].into_iter().filter_map(of).min()
    }
}

impl ActionRules {
    /// None where there are no rules.
    fn new(rules: Vec<(RuleId, &Rule)>, component: &ComponentName, action: &str, labels: &[String]) -> Option<ActionRules> {
        let first = rules.first()?.0;
        let permit = Policy::parse(Some(PolicyId::new("permit")), "permit (principal, action, resource);");
        let forbids = rules.iter().map(|(id, rule)| rule.forbid.policy().new_id(PolicyId::new(id.0.to_string())));
        let all = forbids.chain([permit.expect("the policy is well-formed")]);
        let labels = RestrictedExpression::new_set(labels.iter().cloned().map(RestrictedExpression::new_string));
        let (component, action) = (entity(&TYPES.component, component.as_str()), entity(&TYPES.action, action));
        let attributes = [(String::from("labels"), labels.clone())];
        let principal = Entity::new_with_tags(component.clone(), attributes, [], []).expect("strings are values");
        let groups = SCHEMA.actions.ancestors(&action).into_iter().flatten().cloned().collect::<HashSet<_>>();
        let entities = [principal, Entity::new_no_attrs(action.clone(), groups)];
        Some(ActionRules {
            first,
            policies: PolicySet::from_policies(all).expect("numbers and `permit` are different ids"),
            entities: Entities::from_entities(entities, None).expect("a component is no action"),
            component,
            action,
            labels,
            is_timed: rules.iter().any(|(_, rule)| rule.forbid.is_timed),
        })
    }

    fn forbids(&self, action: &Action<'_>, authority: &Authority<'_>) -> Option<RuleId> {
        let response = stacker::maybe_grow(STACK_BYTES_MIN, STACK_BYTES, || self.response(action, authority));
        // What can't be asked is forbidden, by the first that would have been.
        let Some(response) = response else { return Some(self.first) };
        let diagnostics = response.diagnostics();
        // A rule that fails, as by an overflow, would be left out by Cedar; here it forbids.
        let failed = diagnostics.errors().map(|AuthorizationError::PolicyEvaluationError(error)| error.policy_id());
        let number = |id: &PolicyId| AsRef::<str>::as_ref(id).parse().ok().map(RuleId);
        let forbidding = diagnostics.reason().chain(failed).filter_map(number).min();
        forbidding.or((response.decision() == Decision::Deny).then_some(self.first))
    }

    fn response(&self, action: &Action<'_>, authority: &Authority<'_>) -> Option<Response> {
        let (uid, attributes) = resource(action)?;
        let resource = Entity::new_with_tags(uid.clone(), attributes, [], []).ok()?;
        let entities = self.entities.clone().add_entities([resource], None).ok()?;
        let context = self.context(action, authority)?;
        let request = Request::new(self.component.clone(), self.action.clone(), uid, context, None).ok()?;
        Some(Authorizer::new().is_authorized(&request, &self.policies, &entities))
    }

    fn context(&self, action: &Action<'_>, authority: &Authority<'_>) -> Option<Context> {
        let now = || RestrictedExpression::new_datetime(utc(authority.now.unwrap_or_else(SystemTime::now)));
        let method = match action {
            Action::Http { method, .. } => Some(text("method", method.as_str())),
            _ => None,
        };
        let (caller, tenant) = (authority.caller.id(), authority.caller.tenant().as_str());
        let pairs = [text("tenant", tenant), text("caller", caller), ("labels".into(), self.labels.clone())];
        let now = self.is_timed.then(|| ("now".into(), now()));
        Context::from_pairs(pairs.into_iter().chain(now).chain(method)).ok()
    }
}

/// A moment as Cedar writes it: `2026-02-28T23:59:59.999Z`. Years before 1970 and after 9999 become these.
fn utc(moment: SystemTime) -> String {
    const MS_MAX: u128 = 253_402_300_799_999; // the last of the year 9999
    let since_epoch = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let ms = u64::try_from(since_epoch.as_millis().min(MS_MAX)).unwrap_or_default();
    let (days, ms) = (ms / 86_400_000, ms % 86_400_000);
    // Days into a date by the 400 years after which the calendar repeats, counted from a 1 March:
    // https://howardhinnant.github.io/date_algorithms.html#civil_from_days
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, is_next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + is_next_year;
    let (hour, minute, second, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http::Method;

    use super::*;
    use crate::{Caller, Denied, Facts, Ledger, ModelName, Policies, Rules, SecretSource, Snapshot, StoreVerb, Witness};

    /// A server without anything, and nobody who listens.
    pub(in crate::rule) struct Nothing;

    impl Facts for Nothing {
        fn device(&self) -> &str {
            "flex"
        }

        fn model_digest(&self, _: &ModelName) -> Option<String> {
            None
        }

        fn secret(&self, _: &SecretSource) -> Option<String> {
            None
        }

        fn token(&self, _: &ComponentName, _: &str) -> String {
            String::new()
        }
    }

    impl Witness for Nothing {
        fn denied(&self, _: &Denied<'_>) {}
    }

    /// The component `chat` with labels, under rules.
    struct Chat {
        rules: ComponentRules,
        policy: Snapshot,
        ledger: Arc<Ledger>,
        caller: Caller,
    }

    fn chat(labels: &[&str], rules: &str) -> Chat {
        let name = "chat".parse().expect("a name");
        let labels: Vec<_> = labels.iter().copied().map(String::from).collect();
        Chat {
            rules: Rules::parse([("rules.cedar", rules)]).expect("good rules").of(&name, &labels),
            policy: Policies::default().snapshot(&name, &[], &Nothing).expect("an empty policy"),
            ledger: Arc::default(),
            caller: Caller::local(),
        }
    }

    impl Chat {
        /// The number of the rule that forbids an action at a time, in seconds since 1970.
        fn forbids_at(&self, second: u64, action: Action<'_>) -> Option<u16> {
            let Chat { policy, ledger, caller, .. } = self;
            let now = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
            let authority = Authority { policy, ledger, caller, witness: &Nothing, now };
            self.rules.forbids(&action, &authority).map(|rule| rule.0)
        }

        fn forbids(&self, action: Action<'_>) -> Option<u16> {
            self.forbids_at(NOON, action)
        }

        fn forbids_http(&self, method: &str, url: &str) -> Option<u16> {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            self.forbids(Action::Http { method: &method, url: &url.parse().expect("a URL") })
        }
    }

    /// 2026-03-02, a Monday.
    const MIDNIGHT: u64 = 1_772_409_600;
    const HOUR: u64 = 3_600;
    const NOON: u64 = MIDNIGHT + 12 * HOUR;
    const EVERYTHING: &str = "forbid (principal, action, resource);";

    fn kept(place: usize) -> Action<'static> {
        Action::Store { verb: StoreVerb::ALL[place], name: "a" }
    }

    #[test]
    fn each_action_has_its_place_and_can_be_forbidden() {
        let url = "https://example.com".parse().expect("a URL");
        let callee = "a/b:c/d".parse().expect("a callee");
        let all = [
            kept(0),
            kept(1),
            kept(2),
            kept(3),
            Action::Call(&callee),
            Action::Classify("a"),
            Action::Config("a"),
            Action::Embed("a"),
            Action::Generate("a"),
            Action::Http { method: &Method::GET, url: &url },
            kept(4),
            kept(5),
            kept(6),
            kept(7),
            Action::Log,
            Action::Nn("a"),
            Action::Read("/a"),
            Action::Rerank("a"),
            Action::Secret("a"),
            Action::Tokenize("a"),
            kept(8),
            kept(9),
            kept(10),
            kept(11),
            Action::Write("/a"),
        ];
        assert_eq!(all.map(|action| action.name()), Action::NAMES);
        for action in all {
            assert_eq!(index(&action).map(|index| Action::NAMES[index]), Some(action.name()));
            assert_eq!(chat(&[], EVERYTHING).forbids(action), Some(0), "{action}");
            let one = format!("forbid (principal, action == Action::\"{}\", resource);", action.name());
            let rules = chat(&[], &one);
            let forbidden = all.into_iter().filter(|other| rules.forbids(*other).is_some());
            assert_eq!(forbidden.map(|action| action.name()).collect::<Vec<_>>(), [action.name()]);
        }
    }

    #[test]
    fn what_every_request_says_fits_the_schema() {
        let rules = chat(&["pii"], "forbid (principal, action, resource) when { context.now > datetime(\"2026-01-01\") };");
        let Chat { policy, ledger, caller, .. } = &rules;
        let authority = Authority { policy, ledger, caller, witness: &Nothing, now: None };
        let url = "https://example.com/x?q".parse().expect("a URL");
        let http = Action::Http { method: &Method::GET, url: &url };
        let callee = "a/b:c/d".parse().expect("a callee");
        for action in [
            http,
            Action::Call(&callee),
            Action::Log,
            Action::Nn("a"),
            Action::Read("/a"),
            Action::Secret("a"),
            Action::Config("a"),
            kept(0),
            kept(4),
            kept(8),
        ] {
            let prepared = rules.rules.0[index(&action).expect("a place")].as_deref().expect("a rule");
            let (uid, attributes) = resource(&action).expect("a resource");
            let context = prepared.context(&action, &authority).expect("a context");
            let schema = SCHEMA.validator.schema();
            let request = Request::new(prepared.component.clone(), prepared.action.clone(), uid.clone(), context, Some(schema));
            assert!(request.is_ok(), "{action}: {request:?}");
            let resource = Entity::new_with_tags(uid, attributes, [], []).expect("values");
            let entities = prepared.entities.iter().cloned().chain([resource]);
            let entities = Entities::from_entities(entities, Some(schema));
            assert!(entities.is_ok(), "{action}: {entities:?}");
        }
    }

    #[test]
    fn without_rules_nothing_is_forbidden_and_nothing_is_prepared() {
        let none = chat(&[], "");
        assert!(none.rules.0.iter().all(Option::is_none));
        assert_eq!(none.forbids(Action::Log), None);
        assert_eq!(chat(&[], EVERYTHING).forbids(Action::Socket("1.2.3.4:5")), None);
    }

    #[test]
    fn a_rule_of_another_component_or_action_prepares_nothing() {
        let rules = "forbid (principal == Component::\"embeddings\", action, resource);
                     forbid (principal, action == Action::\"log\", resource);";
        let chat = chat(&[], rules);
        let prepared = chat.rules.0.iter().zip(Action::NAMES).filter(|(rules, _)| rules.is_some());
        assert_eq!(prepared.map(|(_, name)| name).collect::<Vec<_>>(), ["log"]);
        assert_eq!((chat.forbids(Action::Embed("a")), chat.forbids(Action::Log)), (None, Some(1)));
    }

    #[test]
    fn the_first_rule_of_several_is_told() {
        let model = |name| format!("forbid (principal, action, resource == Model::\"{name}\");");
        let chat = chat(&[], &(model("a") + &model("b").repeat(11) + &model("a")));
        assert_eq!(chat.forbids(Action::Embed("a")), Some(0));
        assert_eq!(chat.forbids(Action::Embed("b")), Some(1));
        assert_eq!(chat.forbids(Action::Embed("c")), None);
    }

    #[test]
    fn groups_forbid_each_of_their_actions() {
        let grouped = chat(&[], "forbid (principal, action in [Action::\"model\", Action::\"file\"], resource);");
        for action in [
            Action::Classify("a"),
            Action::Embed("a"),
            Action::Generate("a"),
            Action::Nn("a"),
            Action::Rerank("a"),
            Action::Tokenize("a"),
        ] {
            assert_eq!(grouped.forbids(action), Some(0), "{action}");
        }
        assert_eq!((grouped.forbids(Action::Read("/a")), grouped.forbids(Action::Write("/a"))), (Some(0), Some(0)));
        assert_eq!((grouped.forbids(Action::Log), grouped.forbids(Action::Secret("a"))), (None, None));
        let in_condition = chat(&[], "forbid (principal, action, resource) when { action in Action::\"file\" };");
        assert_eq!((in_condition.forbids(Action::Read("/a")), in_condition.forbids(Action::Log)), (Some(0), None));
    }

    #[test]
    fn labels_decide_where_data_may_go() {
        let rule = "forbid (principal, action == Action::\"http\", resource)
                    when { principal.labels.contains(\"pii\") && resource.host != \"dlp.internal\" };";
        for rule in [rule, &rule.replace("principal.labels", "context.labels")] {
            let labelled = chat(&["eu", "pii"], rule);
            assert_eq!(labelled.forbids_http("GET", "https://api.example.com/"), Some(0));
            assert_eq!(labelled.forbids_http("GET", "https://dlp.internal.example.com/"), Some(0));
            assert_eq!(labelled.forbids_http("GET", "https://DLP.internal.:8443/"), None);
            assert_eq!(chat(&["eu"], rule).forbids_http("GET", "https://api.example.com/"), None);
        }
    }

    #[test]
    fn a_time_of_day_opens_and_closes() {
        let rule = "forbid (principal == Component::\"chat\", action == Action::\"generate\", resource == Model::\"big\")
            unless { context.now.toTime() >= duration(\"8h\") && context.now.toTime() < duration(\"18h\") };";
        let chat = chat(&[], rule);
        let at = |second, model| chat.forbids_at(second, Action::Generate(model));
        assert_eq!((at(MIDNIGHT + 8 * HOUR - 1, "big"), at(MIDNIGHT + 8 * HOUR, "big")), (Some(0), None));
        assert_eq!((at(MIDNIGHT + 18 * HOUR - 1, "big"), at(MIDNIGHT + 18 * HOUR, "big")), (None, Some(0)));
        assert_eq!(at(MIDNIGHT, "small"), None);
    }

    #[test]
    fn a_date_ends_a_right() {
        let rules = chat(&[], "forbid (principal, action, resource) when { context.now >= datetime(\"2026-03-02\") };");
        assert_eq!(rules.forbids_at(MIDNIGHT - 1, Action::Log), None);
        assert_eq!(rules.forbids_at(MIDNIGHT, Action::Log), Some(0));
    }

    #[test]
    fn a_rule_that_asks_for_the_time_is_told_however_it_writes_it() {
        for now in ["context.now", "context[\"now\"]", "context[\"n\\u{6f}w\"]"] {
            let rules =
                chat(&[], &format!("forbid (principal, action, resource) when {{ {now} == datetime(\"2026-03-02\") }};"));
            assert_eq!(
                (rules.forbids_at(MIDNIGHT, Action::Log), rules.forbids_at(NOON, Action::Log)),
                (Some(0), None),
                "{now}"
            );
        }
        for has in ["context has now", "context has \"n\\u{6f}w\""] {
            let rule = format!("forbid (principal, action, resource) when {{ {has} }};");
            assert_eq!(chat(&[], &rule).forbids(Action::Log), Some(0), "{has}");
        }
    }

    #[test]
    fn unless_told_the_time_it_is_now() {
        let past = chat(&[], "forbid (principal, action, resource) when { context.now > datetime(\"2025-01-01\") };");
        let Chat { policy, ledger, caller, .. } = &past;
        let authority = Authority { policy, ledger, caller, witness: &Nothing, now: None };
        assert_eq!(past.rules.forbids(&Action::Log, &authority), Some(RuleId(0)));
    }

    #[test]
    fn a_request_is_judged_by_its_parts() {
        let judged = |condition: &str, method: &str, url: &str| {
            let rule = format!("forbid (principal, action == Action::\"http\", resource) when {{ {condition} }};");
            chat(&[], &rule).forbids_http(method, url).is_some()
        };
        assert!(
            judged("context.method == \"PUT\"", "PUT", "https://a.com/")
                && !judged("context.method == \"PUT\"", "GET", "https://a.com/")
        );
        assert!(
            judged("resource.scheme == \"http\"", "GET", "http://a.com/")
                && !judged("resource.scheme == \"http\"", "GET", "https://a.com/")
        );
        assert!(
            judged("resource.port == 443", "GET", "https://a.com/")
                && !judged("resource.port == 443", "GET", "https://a.com:444/")
        );
        assert!(
            judged("resource.host like \"*.a.com\"", "GET", "https://b.a.com/")
                && !judged("resource.host like \"*.a.com\"", "GET", "https://a.com/")
        );
        for url in
            ["https://a.com/admin/x", "https://a.com/%61dmin/x", "https://a.com//admin/x", "https://a.com/b/..%2Fadmin/x"]
        {
            assert!(judged("resource.path like \"/admin/*\"", "GET", url), "{url}");
            assert!(judged("resource == Url::\"https://a.com/admin/x\"", "GET", url), "{url}");
        }
        assert!(!judged("resource.path like \"/admin/*\"", "GET", "https://a.com/b?/admin/x"));
    }

    #[test]
    fn names_of_models_files_secrets_and_settings_are_compared() {
        let rules = "forbid (principal, action, resource is Model) when { resource.name like \"qwen*\" };
                     forbid (principal, action == Action::\"write\", resource) unless { resource.path like \"/data/tmp/*\" };
                     forbid (principal, action, resource == Secret::\"KEY\");
                     forbid (principal, action, resource is Setting) when { resource.key == \"x\" };";
        let rules = chat(&[], rules);
        assert_eq!((rules.forbids(Action::Nn("qwen2")), rules.forbids(Action::Nn("smollm"))), (Some(0), None));
        assert_eq!((rules.forbids(Action::Write("/data/x")), rules.forbids(Action::Write("/data/tmp/x"))), (Some(1), None));
        assert_eq!(rules.forbids(Action::Write("/data/tmp/../x")), Some(1));
        assert_eq!(rules.forbids(Action::Read("/data/x")), None);
        assert_eq!((rules.forbids(Action::Secret("KEY")), rules.forbids(Action::Secret("key"))), (Some(2), None));
        assert_eq!((rules.forbids(Action::Config("x")), rules.forbids(Action::Config("y"))), (Some(3), None));
    }

    #[test]
    fn tenant_and_caller_are_known() {
        let of = |condition: &str| chat(&[], &format!("forbid (principal, action, resource) when {{ {condition} }};"));
        assert_eq!(of("context.tenant == \"local\" && context.caller == \"local\"").forbids(Action::Log), Some(0));
        assert_eq!(of("context.tenant != \"local\" || context.caller != \"local\"").forbids(Action::Log), None);
    }

    #[test]
    fn a_rule_that_fails_forbids() {
        let rules = "forbid (principal, action == Action::\"http\", resource is Url) when { resource.host == \"b.com\" };
                     forbid (principal, action == Action::\"http\", resource is Url)
                     when { resource.port + 9223372036854775000 < 0 };
                     forbid (principal, action == Action::\"http\", resource is Url) when { resource.port == 7000 };";
        let rules = chat(&[], rules);
        assert_eq!(rules.forbids_http("GET", "http://a.com/"), None);
        assert_eq!(rules.forbids_http("GET", "http://a.com:7000/"), Some(1));
        assert_eq!(rules.forbids_http("GET", "http://b.com:7000/"), Some(0));
        let unless =
            "forbid (principal, action, resource) unless { context.now.offset(duration(\"106751990000d\")) > context.now };";
        assert_eq!(chat(&[], unless).forbids(Action::Log), Some(0));
    }

    #[test]
    fn names_with_signs_of_cedar_are_only_names() {
        let name = "a\"; permit \\ \n\0 é *";
        let rules =
            chat(&["x\" || true", "\u{202e}"], "forbid (principal, action, resource) when { context.labels.contains(\"x\") };");
        for action in [Action::Generate(name), Action::Secret(name), Action::Config(name), Action::Read(name)] {
            assert_eq!(rules.forbids(action), None);
            assert_eq!(chat(&[], EVERYTHING).forbids(action), Some(0));
        }
    }

    #[test]
    fn moments_are_written_as_cedar_reads_them() {
        let written = |seconds, ms| utc(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(ms));
        assert_eq!(written(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(written(951_782_399, 999), "2000-02-28T23:59:59.999Z");
        assert_eq!(written(951_782_400, 0), "2000-02-29T00:00:00.000Z");
        assert_eq!(written(1_709_251_199, 5), "2024-02-29T23:59:59.005Z");
        assert_eq!(written(1_709_251_200, 0), "2024-03-01T00:00:00.000Z");
        assert_eq!(written(1_798_761_599, 0), "2026-12-31T23:59:59.000Z");
        assert_eq!(written(NOON + 62, 40), "2026-03-02T12:01:02.040Z");
        assert_eq!(written(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
        assert_eq!(written(253_402_300_800, 0), "9999-12-31T23:59:59.999Z");
        assert_eq!(utc(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let rules = "forbid (principal, action, resource) unless { context.now.toDate() == context.now };";
        let chat = chat(&[], rules);
        let mut dates = Vec::new();
        for day in (0..47_482).step_by(7) {
            dates.push(utc(SystemTime::UNIX_EPOCH + Duration::from_secs(day * 24 * HOUR)));
            assert_eq!(chat.forbids_at(day * 24 * HOUR, Action::Log), None, "{:?}", dates.last());
        }
        assert!(dates.is_sorted() && dates.last().is_some_and(|date| date.starts_with("2099-12-")), "{:?}", dates.last());
    }
}
