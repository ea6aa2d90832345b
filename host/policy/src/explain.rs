//! What an operator is told of a denial: what was denied to whom, why, where to look, and what to change.

mod granting;
mod mend;
pub(crate) mod remedy;
mod scope;
mod text;

use self::remedy::Remedy;
pub(crate) use self::scope::component_refused;
use self::text::{Text, quoted};
use crate::quota::Exhausted;
use crate::{Action, Denied, Detail, Reason, Resource, Route, RuleId, Snapshot};

/// What stands for the model's name where none was asked for and none can be taken.
pub(crate) const DEFAULT_MODEL: &str = "(default model)";

/// Longest line of a rule that is shown, in characters.
const RULE_CHARS_MAX: usize = 160;

impl Denied<'_> {
    /// The denial in one line, for the log: what, to whom, why, where to look and what to change. What came from the guest is
    /// shortened and escaped.
    pub fn explain(&self) -> String {
        let verdict = if self.is_enforced { "denied" } else { "would deny" };
        let why = self.why();
        let head =
            format!("{verdict}: component \"{}\" may not {}: {}", self.policy.component(), phrase(&self.action), why.words);
        with_remedies(head, why.line, &self.remedies())
    }

    /// What to change so that it is allowed, with a heading for each file: several lines, or nothing where nothing helps.
    pub fn remedy(&self) -> String {
        blocks(&self.remedies())
    }

    fn why(&self) -> Why {
        let Denied { policy, action, .. } = self;
        let capability = action.capability();
        let at = |path: &[&str]| At::of(policy, path);
        match self.reason {
            Reason::Undeclared => Why::of(format!("its component.toml does not want {capability}")),
            Reason::NoSection => Why::of(format!("{} has no [{capability}]", policy.origin())),
            Reason::NotListed => self.why_not_listed(),
            Reason::ReadOnly => {
                let folder = policy.grants().fs.as_ref().and_then(|fs| fs.folder(self.action.target()));
                let index = folder.map(|(index, _)| index.to_string()).unwrap_or_default();
                at(&["fs", "allow", &index]).say("lets it only read there")
            }
            Reason::OtherDigest => at(&[capability, "models"]).say(&self.other_digest()),
            Reason::OtherDevice => {
                let device = policy.models().of(capability).map_or("", |models| models.device());
                at(&[capability, "devices"]).say(&format!("does not name {device}, where this server runs models"))
            }
            Reason::Private => {
                let words = format!("names no network that holds {}, which is no public address", self.address());
                at(&["http", "private_networks"]).say(&words)
            }
            Reason::Metadata => {
                let address = self.address();
                Why::of(format!(
                    "{address} is link-local or of a metadata service, which hands out credentials: nobody may reach it"
                ))
            }
            Reason::Malformed if capability == "secret" => at(&["secret", self.action.target(), "source"])
                .say("names a source whose value has characters that no header can hold"),
            Reason::Malformed => Why::of("its URL has credentials in it, or no host, or is neither https nor http".into()),
            Reason::Plaintext => at(&["secret", self.action.target()])
                .say("lets it travel by https only: call the host by that, or if it has none"),
            Reason::NoValue => {
                let source = policy.grants().secret.as_ref().and_then(|secrets| secrets.get(self.action.target()));
                let source = source.map(|secret| secret.source.to_string()).unwrap_or_default();
                let words = format!("takes it from {source}, which has no value: set it where the server runs");
                at(&["secret", self.action.target(), "source"]).say(&words)
            }
            Reason::Anonymous => {
                let row = policy.grants().store_row_of(action).map(|(index, _)| index.to_string()).unwrap_or_default();
                at(&[capability, "allow", &row])
                    .say("gives each caller rows of their own, and this one came on a public route: let it bring a key")
            }
            Reason::Unsupported => Why::of("no policy can grant it; [http] is the way to other hosts".into()),
            Reason::Forbidden(rule) => Why::of(forbidden(policy, rule)),
            Reason::NotInScope(bound) => self.out_of_scope(bound),
            Reason::Quota(exhausted) => used_up(policy, exhausted),
            Reason::TenantQuota(exhausted) => self.tenant_used_up(exhausted),
        }
    }

    fn why_not_listed(&self) -> Why {
        let at = |path: &[&str]| At::of(self.policy, path);
        match (&self.action, self.detail) {
            (Action::Http { .. }, _) => at(&["http", "allow"]).say("allows no such request"),
            (Action::Read(path) | Action::Write(path), _) if path.split('/').any(|part| part == "..") => {
                Why::of("a path with `..` in it is never allowed".into())
            }
            (Action::Store { verb, .. }, _) => match self.policy.grants().store_row_of(&self.action) {
                Some((index, _)) => at(&[verb.capability(), "allow", &index.to_string()])
                    .say(&format!("does not list the verb \"{}\" for it", verb.written())),
                None => at(&[verb.capability(), "allow"]).say("does not list it"),
            },
            (Action::Call(_), _) => at(&["call", "allow"]).say("does not list it"),
            (Action::Read(_) | Action::Write(_), _) => at(&["fs", "allow"]).say("names no folder that holds it"),
            (Action::Secret(name), Detail::Sent { url, header }) => {
                let words = format!("does not let it go to {} in the header {header}; if it may", shown(url.host_str()));
                at(&["secret", name]).say(&words)
            }
            (Action::Secret(_), _) => at(&["secret"]).say("does not name it"),
            (action, _) => at(&[action.capability(), "models"]).say("does not list it"),
        }
    }

    /// The words about a model that is another than the policy says.
    fn other_digest(&self) -> String {
        let models = self.policy.models().of(self.action.capability());
        match models.and_then(|models| models.found_digest(self.model())) {
            Some(digest) => {
                format!("asks for another digest than this server's model has, sha256:{digest}; if that is the right one")
            }
            None => "asks for a digest, and there is no such model on this server: fetch it by `tessera pull`".into(),
        }
    }

    /// The name of the model; that of the default where none was asked for.
    fn model(&self) -> &str {
        let target = self.action.target();
        let models = self.policy.models().of(self.action.capability()).filter(|_| target == DEFAULT_MODEL);
        models.and_then(|models| models.first()).map_or(target, |first| first.as_str())
    }

    /// The address that is meant: the one that the host stands for, or else the host.
    fn address(&self) -> String {
        match (self.detail, &self.action) {
            (Detail::Address(address), _) => address.to_string(),
            (_, Action::Http { url, .. }) => shown(url.host_str()),
            _ => String::new(),
        }
    }
}

/// What is told where a route is refused that a component wants: as [`Denied::explain`] and [`Denied::remedy`].
pub(crate) fn refused_route(policy: &Snapshot, route: &Route) -> (String, String) {
    let why = At::of(policy, &["routes", "allow"]).say("does not list it");
    let remedies = mend::missing(policy, &[], &[route]);
    let head = format!("denied: component \"{}\" may not answer {route}: {}", policy.component(), why.words);
    (with_remedies(head, why.line, &remedies), blocks(&remedies))
}

/// File and line of what allows an action.
pub(crate) fn place_of_grant(policy: &Snapshot, action: &Action<'_>) -> String {
    let grants = policy.grants();
    let index = match action {
        Action::Http { method, url } => grants.http.as_ref().and_then(|http| http.entry(method, url)),
        Action::Read(path) | Action::Write(path) => grants.fs.as_ref().and_then(|fs| fs.folder(path)).map(|(index, _)| index),
        Action::Call(callee) => grants.call.as_ref().and_then(|call| call.entry(callee)),
        Action::Store { .. } => grants.store_row_of(action).map(|(index, _)| index),
        _ => None,
    };
    let (capability, index) = (action.capability(), index.map(|index| index.to_string()).unwrap_or_default());
    let At { place, .. } = match action {
        Action::Http { .. } | Action::Read(_) | Action::Write(_) | Action::Call(_) | Action::Store { .. } => {
            At::of(policy, &[capability, "allow", &index])
        }
        Action::Secret(name) | Action::Config(name) => At::of(policy, &[capability, name]),
        Action::Log | Action::Socket(_) => At::of(policy, &[capability]),
        _ => At::of(policy, &[capability, "models"]),
    };
    place
}

/// File and line of a key, or of what is above it.
pub(crate) fn place_of(policy: &Snapshot, path: &[&str]) -> String {
    At::of(policy, path).place
}

/// What to change so that a component has all of some capabilities and routes.
pub(crate) fn remedy_for(policy: &Snapshot, capabilities: &[&str], routes: &[&Route]) -> String {
    blocks(&mend::missing(policy, capabilities, routes))
}

/// What was said so far, which may name the line of a file, and what to change.
fn with_remedies(said: String, line: Option<usize>, remedies: &[Remedy]) -> String {
    remedies.iter().fold(said, |said, remedy| format!("{said}; {}", remedy.inline(&said, line)))
}

fn blocks(remedies: &[Remedy]) -> String {
    remedies.iter().map(Remedy::block).collect::<Vec<_>>().join("\n")
}

/// The reason in words, and the line that they name.
struct Why {
    words: String,
    line: Option<usize>,
}

impl Why {
    fn of(words: String) -> Why {
        Why { words, line: None }
    }
}

/// A place in a policy's text.
struct At {
    place: String,
    line: Option<usize>,
}

impl At {
    /// Where a key is, or else what is above it, or else the file alone.
    fn of(policy: &Snapshot, path: &[&str]) -> At {
        let text = Text::parse(policy.text());
        let line = text.and_then(|text| (1..=path.len()).rev().find_map(|length| text.line(&path[..length])));
        let place = line.map_or(policy.origin().into(), |line| format!("{}:{line}", policy.origin()));
        At { place, line }
    }

    fn say(self, words: &str) -> Why {
        Why { words: format!("{} {words}", self.place), line: self.line }
    }
}

/// The action as the end of "it may not".
pub(crate) fn phrase(action: &Action<'_>) -> String {
    let shown = action.to_string();
    let target = shown.split_once(' ').map_or("", |(_, target)| target);
    match action {
        Action::Http { .. } => format!("send {target}"),
        Action::Store { verb, .. } => format!("{} {target}", verb.phrase()),
        Action::Secret(_) => format!("use the secret {target}"),
        Action::Config(_) => format!("read the setting {target}"),
        Action::Socket(_) => format!("open a socket to {target}"),
        Action::Embed(_) => format!("embed with {target}"),
        Action::Classify(_) => format!("classify with {target}"),
        Action::Rerank(_) => format!("rerank with {target}"),
        Action::Nn(_) => format!("run {target} by wasi:nn"),
        _ => shown,
    }
}

/// A host, shortened and escaped.
fn shown(host: Option<&str>) -> String {
    host.unwrap_or_default().chars().take(RULE_CHARS_MAX).flat_map(char::escape_default).collect()
}

fn forbidden(policy: &Snapshot, rule: RuleId) -> String {
    let Some(rule) = policy.all_rules().rule(rule) else { return "a rule forbids it".into() };
    let text: String = rule.text.trim().chars().take(RULE_CHARS_MAX).collect();
    format!("{}:{} forbids it, rule {}: {text}", rule.file, rule.line, quoted(&rule.id))
}

fn used_up(policy: &Snapshot, exhausted: Exhausted) -> Why {
    let (section, key) = quota_key(exhausted.resource);
    let is_written = Text::parse(policy.text()).is_some_and(|text| text.line(&[section, key]).is_some());
    let allows = if is_written { "allows" } else { "says nothing else than" };
    let (max, seconds) = (quota_max(policy, exhausted.resource), exhausted.retry_after.as_secs_f64().ceil());
    let words = format!("{allows} [{section}] {key} = {max}, which is used up: there is more in {seconds} s");
    At::of(policy, &[section, key]).say(&words)
}

/// The section and key that limit a resource.
fn quota_key(resource: Resource) -> (&'static str, &'static str) {
    let (section, key) = resource.key().split_once(' ').unwrap_or(("", resource.key()));
    (section.trim_matches(['[', ']']), key)
}

/// What the policy says of a resource, in the unit of its key.
fn quota_max(policy: &Snapshot, resource: Resource) -> u64 {
    let quota = policy.quota();
    match resource {
        Resource::Requests => quota.requests_per_min_max,
        Resource::InputTokens => quota.input_tokens_per_min_max,
        Resource::OutputTokens => quota.output_tokens_per_min_max,
        Resource::DeviceTime => quota.device_ms_per_min_max,
        Resource::Egress => quota.egress_bytes_per_min_max,
        Resource::Log => policy.grants().log.clone().unwrap_or_default().bytes_per_min_max,
    }
}

#[cfg(test)]
mod tests;
