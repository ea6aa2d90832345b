//! What is to be said of a component's policy before anything runs under it.

use std::path::Path;

use crate::explain::{place_of, remedy_for};
use crate::{CAPABILITIES, Mode, ModelName, PolicyFile, Route, Snapshot};

/// Something to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The component does not load like this.
    Error {
        /// What is wrong.
        text: String,
        /// The lines to change, with headings.
        remedy: String,
    },
    /// It loads; somebody may want to know.
    Warning(String),
}

/// What is on the machine that the server will run on.
pub trait Site {
    /// Whether there is a folder, by its place on the host.
    fn has_folder(&self, folder: &Path) -> bool;

    /// Whether there is a model.
    fn has_model(&self, model: &ModelName) -> bool;
}

/// Looks at a component's policy: whether it grants what `component.toml` wants, with its routes, and what of it has no effect.
/// What the component's code imports is not looked at.
pub fn check(policy: &Snapshot, routes: &[Route], site: &dyn Site) -> Vec<Finding> {
    let mut findings: Vec<Finding> = not_granted(policy, routes).into_iter().collect();
    if policy.mode() == Mode::Observe {
        let place = place_of(policy, &["mode"]);
        findings.push(Finding::Warning(format!("{place} is mode = \"observe\": denials are told and have no effect")));
    }
    let warnings = [not_wanted(policy), unset_secrets(policy), absent_folders(policy, site), absent_models(policy, site)];
    findings.extend(warnings.into_iter().flatten().map(Finding::Warning));
    findings
}

fn not_granted(policy: &Snapshot, routes: &[Route]) -> Option<Finding> {
    if let Some(unknown) = policy.wanted().iter().find(|wanted| !CAPABILITIES.contains(&wanted.as_str())) {
        let text = format!("component.toml wants the capability `{unknown}`; there are {}", CAPABILITIES.join(", "));
        return Some(Finding::Error { text, remedy: String::new() });
    }
    let wanted = CAPABILITIES.into_iter().filter(|capability| policy.wants(capability));
    let missing: Vec<&str> = wanted.filter(|capability| !policy.grants().has_section(capability)).collect();
    let (_, refused) = policy.routes(routes);
    let names = missing.iter().map(|name| format!("`{name}`")).chain(refused.iter().map(|route| format!("`{route}`")));
    let names = names.collect::<Vec<_>>().join(", ");
    let remedy = remedy_for(policy, &missing, &refused);
    match (names.is_empty(), policy.mode()) {
        (true, _) => None,
        (false, Mode::Enforce) => {
            Some(Finding::Error { text: format!("it wants {names}, which {} does not grant", policy.origin()), remedy })
        }
        (false, Mode::Observe) => {
            Some(Finding::Warning(format!("it wants {names}, which {} would not grant", policy.origin())))
        }
    }
}

/// Sections without effect. `default.toml` is for many, and grants what some of them want.
fn not_wanted(policy: &Snapshot) -> Vec<String> {
    let Ok(written) = PolicyFile::parse(policy.origin().as_ref(), policy.text()) else { return Vec::new() };
    let is_own = policy.origin() == policy.file();
    let is_needless = |capability: &&str| is_own && written.has_section(capability) && !policy.wants(capability);
    let needless = CAPABILITIES.into_iter().filter(is_needless);
    let text =
        |name: &str| format!("{} grants `{name}`, which component.toml does not want: no effect", place_of(policy, &[name]));
    needless.map(text).collect()
}

fn unset_secrets(policy: &Snapshot) -> Vec<String> {
    let text = |name: &str, source: &dyn std::fmt::Display| {
        format!("{} takes its value from {source}, which has none here", place_of(policy, &["secret", name, "source"]))
    };
    policy.unset_secrets().map(|(name, source)| text(name, source)).collect()
}

fn absent_folders(policy: &Snapshot, site: &dyn Site) -> Vec<String> {
    let folders = policy.grants().fs.iter().flat_map(|fs| &fs.allow).enumerate();
    let absent = folders.filter(|(_, folder)| !site.has_folder(&folder.host));
    let place = |index: usize| place_of(policy, &["fs", "allow", &index.to_string()]);
    absent.map(|(index, folder)| format!("{} names {}, which is no folder here", place(index), folder.host.display())).collect()
}

fn absent_models(policy: &Snapshot, site: &dyn Site) -> Vec<String> {
    let mut warnings = Vec::new();
    for capability in CAPABILITIES {
        let (Some(grant), Some(held)) = (policy.grants().models(capability), policy.models().of(capability)) else { continue };
        for (index, model) in grant.models.iter().enumerate() {
            let place = place_of(policy, &[capability, "models", &index.to_string()]);
            if !site.has_model(&model.name) {
                warnings.push(format!("{place} names {}, which is not here: `tessera pull {}`", model.name, model.name));
            } else if let (Some(asked), Some(found)) = (&model.digest, held.found_digest(model.name.as_str()))
                && asked != found
            {
                warnings.push(format!("{place} asks for {model}; the one here is sha256:{found}"));
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Rules;
    use crate::snapshot::Source;
    use crate::testing::{FakeFacts, World};

    struct Here;

    impl Site for Here {
        fn has_folder(&self, folder: &Path) -> bool {
            folder == Path::new("here")
        }

        fn has_model(&self, model: &ModelName) -> bool {
            model.as_str() == "m"
        }
    }

    fn findings(text: &str, wanted: &[&str], routes: &[&str]) -> Vec<Finding> {
        let facts = FakeFacts { digests: [("m", "a".repeat(64))].into(), ..FakeFacts::default() };
        let world = World::of(&format!("schema = 1\n{text}"), wanted, &facts).expect("a good policy");
        let routes: Vec<Route> = routes.iter().map(|route| route.parse().expect("a route")).collect();
        check(&world.policy, &routes, &Here)
    }

    #[test]
    fn a_policy_that_grants_what_is_wanted_needs_no_words() {
        let text = "[routes]\nallow = [\"* /v1/*\"]\n[embed]\nmodels = [\"m\"]\n\
            [fs]\nallow = [{ host = \"here\", guest = \"/a\" }]\n\
            [secret.K]\nsource = { env = \"KEY\" }\nhosts = []\nheaders = []";
        assert_eq!(findings(text, &["embed", "fs", "secret"], &["GET /v1/x", "GET /c/chat/x"]), []);
        assert_eq!(findings("", &[], &[]), []);
    }

    #[test]
    fn what_is_wanted_and_not_granted_is_an_error_with_all_the_lines() {
        let found = findings("[log]\n", &["log", "http", "config"], &["GET /v1/x"]);
        let text = "it wants `config`, `http`, `GET /v1/x`, which policies/chat.toml does not grant".into();
        let remedy = "add to policies/chat.toml:\n\n\
            [routes]\nallow = [\"GET /v1/x\"]\n\n[config]\n# key = \"value\"\n\n[http]\n\
            allow = [{ host = \"api.example.com\", methods = [\"GET\"], paths = [\"/v1/\"] }]\n";
        assert_eq!(found, [Finding::Error { text, remedy: remedy.into() }]);
        let found = findings("[routes]\nallow = []\n[embed]\nmodels = [\"m\"]", &["log", "embed"], &["GET /v1/x"]);
        let remedy = "change line 3 of policies/chat.toml to:\n\nallow = [\"GET /v1/x\"]\n\n\
            add to policies/chat.toml:\n\n[log]\nbytes_per_min_max = 65536\n";
        assert!(matches!(&found[..], [Finding::Error { remedy: lines, .. }] if lines == remedy), "{found:?}");
        let found = findings("mode = \"observe\"", &["log"], &[]);
        let place = "policies/chat.toml";
        let words = [
            format!("it wants `log`, which {place} would not grant"),
            format!("{place}:2 is mode = \"observe\": denials are told and have no effect"),
        ];
        assert_eq!(found, words.map(Finding::Warning));
    }

    #[test]
    fn a_capability_that_there_is_not_is_an_error() {
        let found = findings("", &["log", "fly"], &[]);
        assert!(
            matches!(&found[..], [Finding::Error { text, .. }] if text.contains("`fly`; there are blob, call, classify, config")),
            "{found:?}"
        );
    }

    #[test]
    fn what_has_no_effect_or_is_not_here_is_a_warning() {
        let digest = "b".repeat(64);
        let text = format!(
            "[log]\n[embed]\nmodels = [\"m\",\n  \"x\", \"m@sha256:{digest}\"]\n\
            [fs]\nallow = [{{ host = \"there\", guest = \"/a\" }}]\n\
            [secret.K]\nsource = {{ env = \"UNSET\" }}\nhosts = []\nheaders = []\n"
        );
        let expected = [
            "policies/chat.toml:2 grants `log`, which component.toml does not want: no effect".to_owned(),
            "policies/chat.toml:9 takes its value from the environment variable UNSET, which has none here".to_owned(),
            "policies/chat.toml:7 names there, which is no folder here".to_owned(),
            "policies/chat.toml:5 names x, which is not here: `tessera pull x`".to_owned(),
            format!("policies/chat.toml:5 asks for m@sha256:{digest}; the one here is sha256:{}", "a".repeat(64)),
        ];
        assert_eq!(findings(&text, &["embed", "fs", "secret"], &[]), expected.map(Finding::Warning));
    }

    #[test]
    fn the_policy_for_all_others_may_grant_more_than_one_wants() {
        let text = "schema = 1\n[log]\n".into();
        let source = Source { file: "p/chat.toml".into(), origin: "p/default.toml".into(), text };
        let world = World::from(source, &["config"], &Rules::default(), &FakeFacts::default()).expect("a good policy");
        let found = check(&world.policy, &[], &Here);
        let remedy = "make p/chat.toml:\n\nschema = 1\n[log]\n\n[config]\n# key = \"value\"\n".into();
        assert_eq!(found, [Finding::Error { text: "it wants `config`, which p/default.toml does not grant".into(), remedy }]);
    }
}
