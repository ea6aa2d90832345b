//! What to change so that something denied is allowed.

use super::granting::{self, granted};
use super::remedy::{Place, Remedy};
use super::text::{Item, Text, quoted};
use super::{quota_key, quota_max};
use crate::address;
use crate::grant::http::host;
use crate::quota::Exhausted;
use crate::{Action, Denied, Detail, PolicyFile, Reason, Resource, Route, Snapshot};

impl Denied<'_> {
    /// What to change, a remedy for each file; none where nothing helps.
    pub(super) fn remedies(&self) -> Vec<Remedy> {
        let is_hopeless = matches!(
            self.reason,
            Reason::Metadata
                | Reason::Malformed
                | Reason::NoValue
                | Reason::Anonymous
                | Reason::Unsupported
                | Reason::Forbidden(_)
        );
        if is_hopeless {
            return Vec::new();
        }
        if let Reason::NotInScope(_) | Reason::TenantQuota(_) = self.reason {
            return self.of_tenant().into_iter().collect();
        }
        let is_wanted = self.policy.wants(self.action.capability());
        let declaration = (!is_wanted).then(|| self.declaration());
        declaration.into_iter().chain(changed(self.policy, |text| self.mended(text))).collect()
    }

    /// The line of `component.toml` that wants the capability.
    fn declaration(&self) -> Remedy {
        let wanted = self.policy.wanted().iter().map(String::as_str).chain([self.action.capability()]);
        let mut wanted: Vec<String> = wanted.map(quoted).collect();
        wanted.sort();
        let file = format!("component.toml of {}", self.policy.component());
        Remedy { file, place: Place::Key, lines: format!("capabilities = [{}]", wanted.join(", ")) }
    }

    /// The policy's text as it would have to be.
    fn mended(&self, text: &str) -> Option<String> {
        let Denied { policy, action, .. } = self;
        let component = policy.component();
        match (self.reason, action, self.detail) {
            (Reason::NotListed, Action::Secret(name), Detail::Sent { .. }) => self.sent(text, name),
            (Reason::Undeclared | Reason::NoSection | Reason::NotListed | Reason::ReadOnly, ..) => {
                granted(text, component, action)
            }
            (Reason::OtherDigest, ..) => self.with_digest(text),
            (Reason::OtherDevice, ..) => {
                let device = policy.models().of(action.capability())?.device();
                granting::with_item(text, action.capability(), "devices", Item::Value(quoted(device)))
            }
            (Reason::Private, Action::Http { url, .. }, detail) => {
                let network = address::network(detail, url)?.to_string();
                // An address is refused before the rest is looked at.
                granted(
                    &granting::with_item(text, "http", "private_networks", Item::Value(quoted(&network)))?,
                    component,
                    action,
                )
            }
            (Reason::Plaintext, Action::Secret(name), _) => {
                Text::parse(text)?.with_value(&["secret", name], "plaintext", "true")
            }
            (Reason::Quota(exhausted), ..) => more(text, policy, exhausted),
            _ => None,
        }
    }

    /// With the host and header that a secret went to.
    fn sent(&self, text: &str, name: &str) -> Option<String> {
        let Detail::Sent { url, header } = self.detail else { return None };
        let secret = self.policy.grants().secret.as_ref()?.get(name)?;
        let with = |text: String, key: &str, value: &str| {
            Text::parse(&text)?.with_item(&["secret", name], key, Item::Value(quoted(value)))
        };
        let text = if secret.is_for_host(url) { text.into() } else { with(text.into(), "hosts", host(url))? };
        if secret.is_for_header(header) { Some(text) } else { with(text, "headers", header.as_str()) }
    }

    /// With the digest of the model that is here.
    fn with_digest(&self, text: &str) -> Option<String> {
        let (capability, name) = (self.action.capability(), self.model());
        let digest = self.policy.models().of(capability)?.found_digest(name)?;
        let listed = &self.policy.grants().models(capability)?.models;
        let index = listed.iter().position(|model| model.name.as_str() == name)?.to_string();
        Text::parse(text)?.with_value(&[capability, "models"], &index, &quoted(&format!("{name}@sha256:{digest}")))
    }
}

/// With twice the quota.
fn more(text: &str, policy: &Snapshot, exhausted: Exhausted) -> Option<String> {
    let (section, key) = quota_key(exhausted.resource);
    let usual = if exhausted.resource == Resource::Log { 64 << 10 } else { 1000 };
    let max = match quota_max(policy, exhausted.resource) {
        0 => usual,
        max => max.saturating_mul(2).min(i64::MAX as u64), // TOML has no larger numbers
    };
    granting::with_value(text, section, key, &max.to_string())
}

/// What to change so that a component has all of some capabilities, as one usually has them, and routes.
pub(super) fn missing(policy: &Snapshot, capabilities: &[&str], routes: &[&Route]) -> Vec<Remedy> {
    let item = |route: &Route| Item::Value(quoted(&route.to_string()));
    let with_routes = |text: &str| {
        let with = |text: String, route: &&Route| granting::with_item(&text, "routes", "allow", item(route));
        routes.iter().try_fold(text.to_owned(), with)
    };
    let with_sections = |text: String| capabilities.iter().fold(text, |text, name| granting::with_section(&text, name));
    let at_once = changed(policy, |text| with_routes(text).map(with_sections));
    match at_once {
        // The list of routes is elsewhere than the end, where sections go.
        Some(Remedy { place: Place::Lines(..) | Place::After(_), .. }) => {
            let sections = changed(policy, |text| Some(with_sections(text.into())));
            changed(policy, with_routes).into_iter().chain(sections).collect()
        }
        at_once => at_once.into_iter().collect(),
    }
}

/// The change of a policy's text that makes a policy of it again.
fn changed(policy: &Snapshot, change: impl FnOnce(&str) -> Option<String>) -> Option<Remedy> {
    let is_own = policy.origin() == policy.file();
    let before = if is_own { policy.text().into() } else { without_comments(policy.text()) };
    let after = change(&before).filter(|after| PolicyFile::parse("".as_ref(), after).is_ok())?;
    match is_own {
        true if after == before => None,
        true => Some(Remedy::between(policy.file(), &before, &after)),
        // `default.toml` holds for it no longer, so it says all that stood there.
        false => Some(Remedy { file: policy.file().into(), place: Place::NewFile, lines: after.trim().into() }),
    }
}

/// A text without the lines that are comments, if it says the same then.
fn without_comments(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    let read = |text: &str| PolicyFile::parse("".as_ref(), text).ok();
    if read(&lines) == read(text) { lines } else { text.into() }
}
