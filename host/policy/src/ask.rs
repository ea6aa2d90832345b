//! Questions to a policy, as people write them, and what it answers.

use std::cell::RefCell;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use http::Method;
use url::Url;

use crate::explain::{self, DEFAULT_MODEL};
use crate::{
    Action, Authority, Callee, CalleeError, Caller, Cost, Denial, Denied, Ledger, Mode, ModelName, NameError, Reason, Route,
    RouteError, Rule, Snapshot, StoreName, StoreVerb, Witness,
};

/// Something that a component could want to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Use a model for a capability; without a name the default.
    Model {
        /// One of those that run models.
        capability: &'static str,
        /// Its registry name.
        model: Option<ModelName>,
    },
    /// Send a request to another host.
    Http {
        /// With this method.
        method: Method,
        /// To there.
        url: Url,
    },
    /// Look at a file, by the path that the component knows.
    Read(String),
    /// Change a file, by the path that the component knows.
    Write(String),
    /// Use a secret.
    Secret(String),
    /// Call functions of another component.
    Call(Callee),
    /// Use a place where data is kept.
    Store(StoreVerb, StoreName),
    /// Read a setting.
    Config(String),
    /// Write to the log.
    Log,
    /// Answer requests.
    Route(Route),
}

/// Why a question was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// There is no such action.
    #[error("`{0}` is no action: there are {actions}", actions = Ask::NAMES.join(", "))]
    Action(String),
    /// The action needs a target.
    #[error("`{action}` needs to know {what}, as in `{action} {example}`")]
    NoTarget {
        /// The action.
        action: &'static str,
        /// What is missing.
        what: &'static str,
        /// How it is written.
        example: &'static str,
    },
    /// The action has none.
    #[error("`log` has no target: leave `{0}` out")]
    NeedlessTarget(String),
    /// The model, or the place, has no name that one can have.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The request is none.
    #[error("`{0}` is no request: write `https://host/path`, or a method, a space and that, as `POST https://host/path`")]
    Http(String),
    /// Nobody can be called like that.
    #[error(transparent)]
    Callee(#[from] CalleeError),
    /// The route is none.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The time is none.
    #[error("`{0}` is no time: write it as 2026-12-31T22:00:00Z or 2026-12-31T23:00:00+01:00")]
    Time(String),
}

/// How something is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// By this caller.
    pub caller: Caller,
    /// At this time; none is now.
    pub now: Option<SystemTime>,
}

impl Default for Circumstances {
    fn default() -> Self {
        Circumstances { caller: Caller::local(), now: None }
    }
}

/// What a policy answers.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// Whether it would be done. In the mode `observe` it is, even where it is not granted.
    pub is_allowed: bool,
    /// Who may or may not do what, by which line or rule; where it is denied, what to change. One line.
    pub explanation: String,
    /// The lines to change with headings; nothing where it is allowed or nothing helps.
    pub remedy: String,
    /// Why it is denied, or would be.
    pub reason: Option<Reason>,
    /// The rule that forbids it.
    pub rule: Option<Rule>,
}

impl Ask {
    /// The names of actions.
    #[rustfmt::skip]
    pub const NAMES: [&'static str; 26] = [
        "blob-delete", "blob-get", "blob-list", "blob-put", "call", "classify", "config", "embed", "generate", "http", "kv-delete", "kv-get",
        "kv-list", "kv-set", "log", "nn", "read", "rerank", "route", "secret", "tokenize", "vector-delete", "vector-find",
        "vector-list", "vector-upsert", "write",
    ];

    /// Reads an action and its target: `embed all-minilm-l6-v2` (without a name, the default model), `http "POST https://…"`
    /// (without a method, GET), `read /data/x`, `secret NAME`, `config KEY`, `call NAME/INTERFACE`, `kv-get NAME` and the like, `log`,
    /// `route "POST /v1/x"`.
    ///
    /// # Errors
    /// When there is no such action, or the target is none of its kind.
    pub fn parse(action: &str, target: Option<&str>) -> Result<Ask, AskError> {
        let named = |action, what, example| target.map(String::from).ok_or(AskError::NoTarget { action, what, example });
        let model = |capability| Ok(Ask::Model { capability, model: target.map(str::parse).transpose()? });
        match action {
            "classify" => model("classify"),
            "embed" => model("embed"),
            "generate" => model("generate"),
            "rerank" => model("rerank"),
            "tokenize" => model("tokenize"),
            "nn" => named("nn", "which model", "all-minilm-l6-v2").and_then(|_| model("nn")),
            "http" => request(&named("http", "which request", "\"POST https://api.example.com/v1/x\"")?),
            "read" => named("read", "which path", "/data/x").map(Ask::Read),
            "write" => named("write", "which path", "/data/x").map(Ask::Write),
            "secret" => named("secret", "which secret", "API_KEY").map(Ask::Secret),
            "call" => Ok(Ask::Call(named("call", "whom", "calculator/acme:math/ops")?.parse()?)),
            "config" => named("config", "which key", "language").map(Ask::Config),
            "route" => Ok(Ask::Route(named("route", "which route", "\"POST /v1/x\"")?.parse()?)),
            "log" => target.map_or(Ok(Ask::Log), |target| Err(AskError::NeedlessTarget(cut(target)))),
            _ => {
                let verb = StoreVerb::ALL.into_iter().find(|verb| verb.name() == action);
                let verb = verb.ok_or_else(|| AskError::Action(cut(action)))?;
                Ok(Ask::Store(verb, named(verb.name(), verb.which(), "documents")?.parse()?))
            }
        }
    }

    /// What a policy answers. Quotas are as if nothing had been used, and of the host of a request only its name is looked at.
    pub fn decide(&self, policy: &Snapshot, circumstances: &Circumstances) -> Decision {
        if let Ask::Route(route) = self {
            return decide_route(policy, route);
        }
        let ledger = Ledger::default();
        let log = policy.grants().log.clone().unwrap_or_default();
        ledger.set(policy.quota(), log.bytes_per_min_max, policy.mode() == Mode::Enforce);
        let (ledger, witness) = (Arc::new(ledger), Record::default());
        let Circumstances { caller, now } = circumstances;
        let used = self.with(Authority { policy, ledger: &ledger, caller, witness: &witness, now: *now });
        match (used, witness.0.into_inner()) {
            (Ok(explanation), None) => Decision::allowed(explanation),
            (used, told) => Decision { is_allowed: used.is_ok(), ..told.unwrap_or_default() },
        }
    }

    /// Does it, and says what allowed it.
    fn with(&self, rights: Authority<'_>) -> Result<String, Denial> {
        let used;
        let action = match self {
            Ask::Model { capability, model } => {
                used = use_model(rights, capability, model.as_ref().map(ModelName::as_str))?;
                model_action(capability, used.as_str())
            }
            Ask::Http { method, url } => rights.http(method, url, 1).map(|_| Action::Http { method, url })?,
            Ask::Read(path) => rights.read_file(path).map(|()| Action::Read(path))?,
            Ask::Write(path) => rights.write_file(path).map(|()| Action::Write(path))?,
            Ask::Secret(name) => rights.secret(name).map(|_| Action::Secret(name))?,
            Ask::Call(callee) => rights.call(callee).map(|_| Action::Call(callee))?,
            Ask::Store(verb, name) => {
                match *verb {
                    StoreVerb::Blob(verb) => rights.blob(verb, name).map(drop),
                    StoreVerb::Kv(verb) => rights.kv(verb, name).map(drop),
                    StoreVerb::Vector(verb) => rights.vector(verb, name).map(drop),
                }?;
                Action::Store { verb: *verb, name: name.as_str() }
            }
            Ask::Config(key) => rights.config(key).map(|_| Action::Config(key))?,
            Ask::Log | Ask::Route(_) => rights.log().map(|_| Action::Log)?,
        };
        let place = explain::place_of_grant(rights.policy, &action);
        let more = match action {
            Action::Http { url, .. } if url.domain().is_some() => "; the addresses of its host are checked when it is sent",
            _ => "",
        };
        Ok(format!("allowed: component \"{}\" may {} by {place}{more}", rights.policy.component(), explain::phrase(&action)))
    }
}

fn use_model(rights: Authority<'_>, capability: &str, model: Option<&str>) -> Result<ModelName, Denial> {
    let cost = Cost { input_tokens: 1, output_tokens: 0 };
    Ok(match capability {
        "embed" => rights.embed(model, cost)?.redeem().model,
        "classify" => rights.classify(model, cost)?.redeem().model,
        "rerank" => rights.rerank(model, cost)?.redeem().model,
        "tokenize" => rights.tokenize(model, cost)?.redeem().model,
        "nn" => rights.nn(model.unwrap_or(DEFAULT_MODEL), cost)?.redeem().model,
        _ => rights.generate(model, Cost { output_tokens: 1, ..cost })?.redeem().model,
    })
}

fn model_action<'a>(capability: &str, model: &'a str) -> Action<'a> {
    match capability {
        "embed" => Action::Embed(model),
        "classify" => Action::Classify(model),
        "rerank" => Action::Rerank(model),
        "tokenize" => Action::Tokenize(model),
        "nn" => Action::Nn(model),
        _ => Action::Generate(model),
    }
}

fn decide_route(policy: &Snapshot, route: &Route) -> Decision {
    let component = policy.component();
    if Route::of_component(component).covers(route) {
        return Decision::allowed(format!("allowed: component \"{component}\" may answer {route}: it is its own"));
    }
    if policy.allows_route(route) {
        let place = explain::place_of(policy, &["routes", "allow"]);
        return Decision::allowed(format!("allowed: component \"{component}\" may answer {route} by {place}"));
    }
    let (explanation, remedy) = explain::refused_route(policy, route);
    Decision { explanation, remedy, reason: Some(Reason::NotListed), ..Decision::default() }
}

impl Decision {
    fn allowed(explanation: String) -> Decision {
        Decision { is_allowed: true, explanation, ..Decision::default() }
    }
}

/// Keeps the first denial.
#[derive(Default)]
struct Record(RefCell<Option<Decision>>);

impl Witness for Record {
    fn denied(&self, denied: &Denied<'_>) {
        let rule = match denied.reason {
            Reason::Forbidden(rule) => denied.policy.all_rules().rule(rule).cloned(),
            _ => None,
        };
        self.0.borrow_mut().get_or_insert_with(|| Decision {
            is_allowed: false,
            explanation: denied.explain(),
            remedy: denied.remedy(),
            reason: Some(denied.reason),
            rule,
        });
    }
}

/// Reads a time as RFC 3339 has it.
///
/// # Errors
/// When it is none.
pub fn parse_time(text: &str) -> Result<SystemTime, AskError> {
    chrono::DateTime::parse_from_rfc3339(text).map(SystemTime::from).map_err(|_| AskError::Time(cut(text)))
}

fn request(text: &str) -> Result<Ask, AskError> {
    let refused = || AskError::Http(cut(text));
    let (method, url) = text.trim().split_once(' ').unwrap_or(("GET", text.trim()));
    let method = Method::from_str(method).map_err(|_| refused())?;
    Ok(Ask::Http { method, url: url.trim().parse().map_err(|_| refused())? })
}

fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeFacts, World};

    fn ask(action: &str, target: &str) -> Ask {
        Ask::parse(action, Some(target).filter(|target| !target.is_empty())).expect("a question")
    }

    #[test]
    fn what_is_no_question_is_told_how_to_ask() {
        let cases = [
            ("fly", None, "`fly` is no action: there are blob-delete, blob-get,"),
            ("log", Some("x"), "leave `x` out"),
            ("nn", None, "`nn` needs to know which model"),
            ("http", None, "`http` needs to know which request, as in `http \"POST https://"),
            ("read", None, "as in `read /data/x`"),
            ("secret", None, "which secret"),
            ("call", None, "`call` needs to know whom"),
            ("call", Some("a/b"), "`a/b` is no interface"),
            ("config", None, "which key"),
            ("kv-get", None, "`kv-get` needs to know which store, as in `kv-get documents`"),
            ("vector-find", Some("a b"), "`a b` is no store, collection or container name"),
            ("route", None, "which route"),
            ("embed", Some("a/b"), "`a/b` is no model name"),
            ("http", Some("a.example"), "`a.example` is no request"),
            ("http", Some("PO(ST https://a.example/"), "is no request"),
            ("http", Some("GET"), "`GET` is no request"),
            ("route", Some("/v1"), "`/v1` is no route"),
        ];
        for (action, target, words) in cases {
            let error = Ask::parse(action, target).expect_err(action).to_string();
            assert!(error.contains(words), "{words} is not in: {error}");
        }
    }

    #[test]
    fn every_name_is_an_action() {
        for name in Ask::NAMES {
            assert!(!matches!(Ask::parse(name, None), Err(AskError::Action(_))), "{name}");
        }
        let actions: Vec<&str> = Ask::NAMES.into_iter().filter(|name| *name != "route").collect();
        assert_eq!(actions, Action::NAMES);
    }

    #[test]
    fn a_method_may_be_left_out_of_a_request() {
        let url: Url = "https://a.example/x".parse().expect("a URL");
        assert_eq!(ask("http", "https://a.example/x"), Ask::Http { method: Method::GET, url: url.clone() });
        assert_eq!(ask("http", " PATCH  https://a.example/x"), Ask::Http { method: Method::PATCH, url });
    }

    #[test]
    fn times_are_read_with_their_zone() {
        let utc = parse_time("2026-01-02T03:04:05Z").expect("a time");
        assert_eq!(parse_time("2026-01-02T04:04:05+01:00"), Ok(utc));
        assert_eq!(utc, SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_767_323_045));
        for text in ["", "now", "2026-01-02", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z"] {
            assert_eq!(parse_time(text), Err(AskError::Time(text.into())));
        }
    }

    const POLICY: &str = r#"[routes]
allow = ["POST /v1/x"]
[blob]
allow = [{ container = "b", verbs = ["get", "list", "put", "delete"] }]
[kv]
allow = [{ store = "k", verbs = ["get", "list", "set", "delete"] }]
[vector]
allow = [{ collection = "v", verbs = ["find", "list", "upsert", "delete"] }]
[call]
allow = ["x"]
[config]
language = "en"
[embed]
models = ["e"]
[fs]
allow = [
  { host = "a", guest = "/a" },
  { host = "b", guest = "/b", access = "read-write" },
]
[generate]
models = ["g"]
[http]
allow = [{ host = "a.example" }]
[log]
[nn]
models = ["n"]
[rerank]
models = ["r"]
[secret.KEY]
source = { env = "KEY" }
hosts = []
headers = []
[tokenize]
models = ["t"]
[classify]
models = ["c"]
"#;

    #[test]
    fn every_action_is_allowed_by_the_line_that_grants_it_and_else_denied() {
        let (granted, bare) = (World::new(POLICY), World::new(""));
        let cases = [
            ("blob-delete", "b", "delete files of the container b by policies/chat.toml:5"),
            ("blob-get", "b", "get files of the container b by policies/chat.toml:5"),
            ("blob-list", "b", "list the container b by policies/chat.toml:5"),
            ("blob-put", "b", "put files into the container b by policies/chat.toml:5"),
            ("call", "x/a:b/c", "call x/a:b/c by policies/chat.toml:11"),
            ("classify", "c", "classify with c by policies/chat.toml:37"),
            ("config", "language", "read the setting language by policies/chat.toml:13"),
            ("embed", "", "embed with e by policies/chat.toml:15"),
            ("generate", "g", "generate g by policies/chat.toml:22"),
            ("http", "HEAD https://a.example/?q", "send HEAD https://a.example/ by policies/chat.toml:24; the addresses"),
            ("kv-delete", "k", "delete values of the store k by policies/chat.toml:7"),
            ("kv-get", "k", "get values of the store k by policies/chat.toml:7"),
            ("kv-list", "k", "list the store k by policies/chat.toml:7"),
            ("kv-set", "k", "set values of the store k by policies/chat.toml:7"),
            ("log", "", "log by policies/chat.toml:25"),
            ("nn", "n", "run n by wasi:nn by policies/chat.toml:27"),
            ("read", "/b/x", "read /b/x by policies/chat.toml:19"),
            ("rerank", "r", "rerank with r by policies/chat.toml:29"),
            ("route", "POST /v1/x", "answer POST /v1/x by policies/chat.toml:3"),
            ("secret", "KEY", "use the secret KEY by policies/chat.toml:30"),
            ("tokenize", "t", "tokenize t by policies/chat.toml:35"),
            ("vector-delete", "v", "delete from the collection v by policies/chat.toml:9"),
            ("vector-find", "v", "find in the collection v by policies/chat.toml:9"),
            ("vector-list", "v", "list the collection v by policies/chat.toml:9"),
            ("vector-upsert", "v", "write documents to the collection v by policies/chat.toml:9"),
            ("write", "/b/x", "write /b/x by policies/chat.toml:19"),
        ];
        assert_eq!(cases.map(|(action, ..)| action), Ask::NAMES);
        for (action, target, words) in cases {
            let question = ask(action, target);
            let decision = question.decide(&granted.policy, &Circumstances::default());
            assert!(decision.is_allowed && decision.reason.is_none() && decision.remedy.is_empty(), "{decision:?}");
            let start = format!("allowed: component \"chat\" may {words}");
            assert!(decision.explanation.starts_with(&start), "{start}: {}", decision.explanation);
            let decision = question.decide(&bare.policy, &Circumstances::default());
            assert!(!decision.is_allowed && !decision.remedy.is_empty() && decision.reason.is_some(), "{decision:?}");
            assert!(decision.explanation.starts_with("denied: component \"chat\" may not "), "{}", decision.explanation);
        }
    }

    #[test]
    fn a_refused_route_is_told_with_the_line_to_change() {
        let decision = ask("route", "GET /v2").decide(&World::new(POLICY).policy, &Circumstances::default());
        let expected = "denied: component \"chat\" may not answer GET /v2: policies/chat.toml:3 does not list it; \
            change that line to: allow = [\"POST /v1/x\", \"GET /v2\"]";
        assert_eq!(decision.explanation, expected);
        let decision = ask("route", "GET /c/chat/x").decide(&World::new("").policy, &Circumstances::default());
        assert!(decision.is_allowed && decision.explanation.ends_with("it is its own"));
    }

    #[test]
    fn in_the_mode_observe_it_is_allowed_and_told_what_enforce_would_do() {
        let world = World::new("mode = \"observe\"");
        let decision = ask("embed", "m").decide(&world.policy, &Circumstances::default());
        assert!(decision.is_allowed && decision.explanation.starts_with("would deny: "), "{decision:?}");
        assert_eq!(decision.reason, Some(Reason::NoSection));
        assert!(!ask("secret", "X").decide(&world.policy, &Circumstances::default()).is_allowed);
    }

    #[test]
    fn a_quota_of_0_denies() {
        let grants = "[embed]\nmodels = [\"m\"]\n[generate]\nmodels = [\"m\"]\n[http]\nallow = [{ host = \"*\" }]\n[quota]\n";
        let cases = [
            ("embed", "", "input_tokens_per_min_max"),
            ("generate", "", "output_tokens_per_min_max"),
            ("http", "https://a.example", "egress_bytes_per_min_max"),
        ];
        for (action, target, key) in cases {
            let world = World::new(&format!("{grants}{key} = 0"));
            let decision = ask(action, target).decide(&world.policy, &Circumstances::default());
            assert!(!decision.is_allowed && decision.explanation.contains(key), "{decision:?}");
        }
    }

    #[test]
    fn rules_are_asked_with_the_time_and_the_tenant_that_are_given() {
        let folder = tempfile::tempdir().expect("a folder");
        let rules = "forbid (principal, action == Action::\"log\", resource)\n\
            when { context.now.toTime() < duration(\"8h\") || context.tenant == \"guest\" };\n";
        std::fs::write(folder.path().join("hours.cedar"), rules).expect("written");
        std::fs::write(folder.path().join("chat.toml"), "schema = 1\n[log]\n").expect("written");
        let policies = crate::Policies::read(folder.path()).expect("good rules");
        let facts = FakeFacts::default();
        let policy = policies.snapshot(&"chat".parse().expect("a name"), &["log".into()], &facts).expect("a good policy");
        let at = |time: &str, tenant: &str| Circumstances {
            now: Some(parse_time(time).expect("a time")),
            caller: Caller::new("local", tenant.parse().expect("a name")),
        };
        assert!(Ask::Log.decide(&policy, &at("2026-01-02T08:00:00Z", "local")).is_allowed);
        for circumstances in [at("2026-01-02T07:59:59Z", "local"), at("2026-01-02T08:00:00Z", "guest")] {
            let decision = Ask::Log.decide(&policy, &circumstances);
            assert!(!decision.is_allowed && decision.remedy.is_empty());
            assert_eq!(decision.rule.map(|rule| (rule.line, rule.id)), Some((1, "policy0".into())));
        }
    }
}
