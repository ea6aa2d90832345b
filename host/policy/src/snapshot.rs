//! A component's policy, read, checked and fixed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{ComponentName, Limits, Route, RoutesGrant};

/// `policies/NAME.toml` as an operator writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Version of this format: 1.
    pub schema: u32,
    /// `[routes]`: where the component may answer.
    #[serde(default)]
    pub routes: RoutesGrant,
    /// `[limits]`: what it may use.
    #[serde(default)]
    pub limits: Limits,
    /// `[config]`, see [`ConfigGrant`](crate::ConfigGrant).
    #[serde(default)]
    pub config: Option<crate::ConfigGrant>,
    /// `[embed]`, see [`ModelsGrant`](crate::ModelsGrant).
    #[serde(default)]
    pub embed: Option<crate::ModelsGrant>,
    /// `[generate]`, see [`ModelsGrant`](crate::ModelsGrant).
    #[serde(default)]
    pub generate: Option<crate::ModelsGrant>,
    /// `[log]`, see [`LogGrant`](crate::LogGrant).
    #[serde(default)]
    pub log: Option<crate::LogGrant>,
    /// `[nn]`, see [`ModelsGrant`](crate::ModelsGrant).
    #[serde(default)]
    pub nn: Option<crate::ModelsGrant>,
    /// `[rerank]`, see [`ModelsGrant`](crate::ModelsGrant).
    #[serde(default)]
    pub rerank: Option<crate::ModelsGrant>,
    /// `[tokenize]`, see [`ModelsGrant`](crate::ModelsGrant).
    #[serde(default)]
    pub tokenize: Option<crate::ModelsGrant>,
}

/// What one component may do: immutable, shared by every call that began under it.
#[derive(Debug)]
pub struct Snapshot {
    component: ComponentName,
    file: String,
    policy: PolicyFile,
}

/// Why a policy could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is there but can't be read.
    #[error("policy {file} can't be read: {cause}")]
    Unreadable {
        /// The policy file.
        file: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file is not a policy.
    #[error("policy {file} is refused: {cause}\nEvery key is described in policies/README.md")]
    Malformed {
        /// The policy file.
        file: PathBuf,
        /// Line, column and reason.
        cause: toml::de::Error,
    },
    /// The file is of another version of the format.
    #[error("policy {file} has schema {schema}; this version of tessera reads schema 1")]
    Schema {
        /// The policy file.
        file: PathBuf,
        /// The version it says.
        schema: u32,
    },
}

/// What a component with no policy file and no `default.toml` gets: its own route and nothing else.
const NOTHING: &str = "schema = 1\n";

impl Snapshot {
    /// Reads the policy of a component from a folder: `NAME.toml`, or else `default.toml`, and keeps of it what the
    /// component wants.
    ///
    /// # Errors
    /// When the file is unreadable or says something unknown.
    pub fn load(folder: &Path, component: &ComponentName, wanted: &[String]) -> Result<Snapshot, LoadError> {
        let own = folder.join(format!("{component}.toml"));
        let default = folder.join("default.toml");
        for file in [&own, &default] {
            match std::fs::read_to_string(file) {
                Ok(text) => {
                    let policy = parse(file, &text)?;
                    return Ok(Snapshot::new(component.clone(), own.display().to_string(), policy, wanted));
                }
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
                Err(cause) => return Err(LoadError::Unreadable { file: file.clone(), cause }),
            }
        }
        let policy = parse(&default, NOTHING)?;
        Ok(Snapshot::new(component.clone(), own.display().to_string(), policy, wanted))
    }

    /// A snapshot of a policy for a component; `file` is the name that denials tell the operator to edit.
    pub fn new(component: ComponentName, file: String, policy: PolicyFile, wanted: &[String]) -> Snapshot {
        Snapshot { component, file, policy: policy.only(wanted) }
    }

    /// The component this is about.
    pub fn component(&self) -> &ComponentName {
        &self.component
    }

    /// The policy file an operator edits to change it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What the component may use at most.
    pub fn limits(&self) -> &Limits {
        &self.policy.limits
    }

    /// The capabilities that are both wanted and granted.
    pub fn grants(&self) -> &PolicyFile {
        &self.policy
    }

    pub(crate) fn allowed_routes(&self) -> &[Route] {
        &self.policy.routes.allow
    }
}

fn parse(file: &Path, text: &str) -> Result<PolicyFile, LoadError> {
    let policy: PolicyFile = toml::from_str(text).map_err(|cause| LoadError::Malformed { file: file.into(), cause })?;
    match policy.schema {
        1 => Ok(policy),
        schema => Err(LoadError::Schema { file: file.into(), schema }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str, wanted: &[&str]) -> Snapshot {
        let wanted: Vec<String> = wanted.iter().map(|&want| want.into()).collect();
        let policy = parse(Path::new("p.toml"), text).expect("a good policy");
        Snapshot::new("chat".parse().expect("a name"), "policies/chat.toml".into(), policy, &wanted)
    }

    const EMBED: &str = "schema = 1\n[embed]\nmodels = [\"a\", \"b\"]";

    #[test]
    fn a_granted_model_gets_a_permit_for_that_model() {
        let policy = snapshot(EMBED, &["embed"]);
        assert_eq!(policy.embed(Some("b")).expect("granted").redeem().model.as_str(), "b");
        assert_eq!(policy.embed(None).expect("granted").redeem().model.as_str(), "a");
    }

    #[test]
    fn a_model_that_is_not_listed_is_denied_with_the_key_to_edit() {
        let denial = snapshot(EMBED, &["embed"]).embed(Some("c\n")).expect_err("not granted");
        assert_eq!(denial.to_string(), "embed of `c\\n` is not granted: add it to `[embed] models` in policies/chat.toml");
    }

    #[test]
    fn a_grant_for_one_capability_is_none_for_another() {
        let policy = snapshot(EMBED, &["embed", "generate", "nn", "rerank", "tokenize"]);
        assert!(policy.rerank(Some("a")).is_err());
        assert!(policy.generate(Some("a")).is_err());
        assert!(policy.tokenize(Some("a")).is_err());
        assert!(policy.nn("a").is_err());
    }

    #[test]
    fn each_capability_that_runs_models_has_a_list_of_its_own() {
        let text = "schema = 1\n[generate]\nmodels = [\"g\"]\n[tokenize]\nmodels = [\"t\"]\n[nn]\nmodels = [\"n\"]";
        let policy = snapshot(text, &["generate", "nn", "tokenize"]);
        assert_eq!(policy.generate(None).expect("granted").redeem().model.as_str(), "g");
        assert_eq!(policy.tokenize(Some("t")).expect("granted").redeem().model.as_str(), "t");
        assert_eq!(policy.nn("n").expect("granted").redeem().model.as_str(), "n");
        for denial in [policy.generate(Some("t")).err(), policy.tokenize(Some("n")).err(), policy.nn("g").err()] {
            assert!(denial.expect("not granted").remedy.contains("models` in policies/chat.toml"));
        }
    }

    #[test]
    fn what_the_manifest_does_not_want_is_not_granted() {
        let policy = snapshot(EMBED, &[]);
        assert!(policy.embed(Some("a")).is_err());
        assert!(!policy.grants().has_section("embed"));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        for text in
            ["schema = 1\nfoo = 1", "schema = 1\n[embed]\nmodel = []", "schema = 1\n[limits]\nx = 1", "[embed]\nmodels=[]"]
        {
            assert!(parse(Path::new("p.toml"), text).is_err(), "{text}");
        }
        assert!(matches!(parse(Path::new("p.toml"), "schema = 2"), Err(LoadError::Schema { schema: 2, .. })));
    }

    #[test]
    fn routes_outside_its_own_need_a_grant() {
        let policy = snapshot("schema = 1\n[routes]\nallow = [\"POST /v1/*\"]", &[]);
        let wanted: Vec<Route> = ["POST /v1/x", "GET /v1/x", "GET /c/chat/y"].map(|r| r.parse().expect("a route")).into();
        let (given, refused) = policy.routes(&wanted);
        assert_eq!(given, [&wanted[0], &wanted[2]]);
        assert_eq!(refused, [&wanted[1]]);
    }

    #[test]
    fn without_any_file_a_component_gets_nothing() {
        let folder = std::env::temp_dir().join("tessera-policy-that-is-not-there");
        let policy = Snapshot::load(&folder, &"x".parse().expect("a name"), &["log".into()]).expect("loads");
        assert!(!policy.grants().has_section("log"));
    }
}
