//! A component's policy, read, checked and fixed.

mod hash;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admission::{SIGNERS, Signers};
use crate::denial::Reason;
use crate::grant::models::Models;
use crate::grant::secret::Secrets;
use crate::protected::{self, Protected};
use crate::rule::{ComponentRules, RuleError, Rules};
use crate::{
    BlobGrant, CAPABILITIES, CallGrant, ComponentName, ComponentPins, ConfigGrant, EnvGrant, FsGrant, Guard, HttpGrant,
    KvGrant, Limits, LogGrant, ModelName, ModelsGrant, Quota, RoutesGrant, SecretGrant, SecretSource, Tenants, VectorGrant,
};

/// `policies/NAME.toml` as an operator writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// The format of this file: 1.
    pub schema: u32,
    /// Whether denials count: `"enforce"`, or `"observe"`, in which what would be denied is recorded and done all the same.
    /// `[limits]` hold in both.
    #[serde(default)]
    pub mode: Mode,
    /// Words about the component that rules can ask for, as `"pii"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Which component runs under this policy: its digest, who has signed it, its version. What doesn't fit is not loaded, and
    /// stops where it runs already. It holds in the mode `observe` as well.
    #[serde(default)]
    pub component: ComponentPins,
    /// Where the component may answer besides its own `/c/NAME/*`.
    #[serde(default)]
    pub routes: RoutesGrant,
    /// What one instance or one request may take. The limits hold without this section, and in the mode `observe`, as well.
    #[serde(default)]
    pub limits: Limits,
    /// What the component may use in a minute, all its instances together. A minute's worth may be used at once, and comes back
    /// evenly. Beyond it requests are answered 429, and host calls fail with the error `quota`. It holds without this section
    /// as well; in the mode `observe` it is only counted.
    #[serde(default)]
    pub quota: Quota,
    /// Components that check what goes into this one and comes out of it, see *Guards* below. They hold whatever the component
    /// wants, whoever calls it, and in the mode `observe` as well.
    #[serde(default)]
    pub guard: Guard,
    /// Containers of files that the component may use, by `tessera:blob`.
    pub blob: Option<BlobGrant>,
    /// Components whose functions the component may call, inside the server and without HTTP, where its `component.toml` says by
    /// `[[imports]]` that it wants to. A call has the rights of the component that is called, and no more than the caller of the
    /// request may have.
    pub call: Option<CallGrant>,
    /// Models that the component may classify texts with, or find parts of texts with, by `tessera:classify`.
    pub classify: Option<ModelsGrant>,
    /// Keys of your own with strings as values: what the component may read by `tessera:config`.
    pub config: Option<ConfigGrant>,
    /// Models that the component may embed with, by `tessera:embed`.
    pub embed: Option<ModelsGrant>,
    /// Environment variables that the component sees, by `wasi:cli/environment`. Of the server's own it sees none but those
    /// named here.
    pub env: Option<EnvGrant>,
    /// Folders of the host that the component sees, by `wasi:filesystem`, and nothing above them.
    pub fs: Option<FsGrant>,
    /// Language models that the component may have write, by `tessera:generate`. Give `[limits] wall_ms_max` the time that a
    /// long answer takes.
    pub generate: Option<ModelsGrant>,
    /// Requests that the component may send to other hosts, by `tessera:http` and `wasi:http` alike.
    pub http: Option<HttpGrant>,
    /// Stores of small values that the component may use, by `tessera:kv`.
    pub kv: Option<KvGrant>,
    /// What the component may write to the server's log, by `tessera:log`.
    pub log: Option<LogGrant>,
    /// Models that the component may load by name through standard `wasi:nn`, and run on token ids of its own: up to 64 rows at
    /// once, and 64 MiB of tensors in a request, outputs included.
    pub nn: Option<ModelsGrant>,
    /// Models that the component may rerank with, by `tessera:rerank`. Any embedding model can rerank, by late interaction; a
    /// cross-encoder does it better.
    pub rerank: Option<ModelsGrant>,
    /// Credentials that the component may use and never sees, by `tessera:secret`: a section `[secret.NAME]` for each. The
    /// component gets a placeholder, and the server puts the value in its place in the named headers of requests to the named
    /// hosts.
    pub secret: Option<BTreeMap<String, SecretGrant>>,
    /// Models whose tokens the component may count, make and read, by `tessera:tokenize`.
    pub tokenize: Option<ModelsGrant>,
    /// Collections of documents that the component may use, by `tessera:vector`. What of them a request finds is a matter of its
    /// caller's labels as well.
    pub vector: Option<VectorGrant>,
}

/// What a denial does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What is not granted is refused.
    #[default]
    Enforce,
    /// What is not granted is recorded, and done all the same where that is possible.
    Observe,
}

/// What a policy is held against: the server it runs on.
pub trait Facts {
    /// The device that models run on, as `flex` or `cuda:0`.
    fn device(&self) -> &str;

    /// SHA-256 of a model's files in hexadecimal digits; none if there is no such model.
    fn model_digest(&self, model: &ModelName) -> Option<String>;

    /// What a source of a secret holds; none if nothing.
    fn secret(&self, source: &SecretSource) -> Option<String>;

    /// A word that stands for a component's secret: always the same, and not to be guessed.
    fn token(&self, component: &ComponentName, secret: &str) -> String;

    /// The server's own folders and files, which no component is shown.
    fn protected(&self) -> Vec<Protected> {
        Vec::new()
    }
}

/// A folder of policies: rules that concern all components, and a file for each.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    pub(crate) folder: PathBuf,
    pub(crate) rules: Rules,
    pub(crate) signers: Signers,
    pub(crate) tenants: Tenants,
}

/// What one component may do: immutable, shared by every operation that began under it.
#[derive(Debug)]
pub struct Snapshot {
    component: ComponentName,
    /// The file an operator edits.
    file: String,
    /// Where the policy was read: `file`, or `default.toml`, or nothing.
    origin: String,
    text: String,
    wanted: Vec<String>,
    policy: PolicyFile,
    models: ModelTables,
    secrets: Secrets,
    all_rules: Rules,
    rules: ComponentRules,
    hash: Arc<str>,
}

/// The models of each capability that runs them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ModelTables {
    pub(crate) classify: Models,
    pub(crate) embed: Models,
    pub(crate) generate: Models,
    pub(crate) nn: Models,
    pub(crate) rerank: Models,
    pub(crate) tokenize: Models,
}

impl ModelTables {
    /// Those of a capability, if it runs models.
    pub(crate) fn of(&self, capability: &str) -> Option<&Models> {
        match capability {
            "classify" => Some(&self.classify),
            "embed" => Some(&self.embed),
            "generate" => Some(&self.generate),
            "nn" => Some(&self.nn),
            "rerank" => Some(&self.rerank),
            "tokenize" => Some(&self.tokenize),
            _ => None,
        }
    }
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
        cause: Box<toml::de::Error>,
    },
    /// The file is of another version of the format.
    #[error("policy {file} has schema {schema}; this version of tessera reads schema 1")]
    Schema {
        /// The policy file.
        file: PathBuf,
        /// The version it says.
        schema: u32,
    },
    /// A value makes no sense.
    #[error("policy {file} is refused: {reason}")]
    Value {
        /// The policy file.
        file: PathBuf,
        /// The key and what is wrong with it.
        reason: String,
    },
    /// The rules can't be used.
    #[error(transparent)]
    Rules(#[from] RuleError),
}

/// What a component with no policy file and no `default.toml` gets: its own route and nothing else.
const NOTHING: &str = "schema = 1\n";

impl Policies {
    /// Reads the rules, trusted keys and tenants of a folder; the files of components are read by [`snapshot`](Self::snapshot).
    ///
    /// # Errors
    /// When a rule, a key or a tenant's policy is malformed.
    pub fn read(folder: &Path) -> Result<Policies, LoadError> {
        let tenants = Tenants::read(&folder.join("tenants"))?;
        Ok(Policies { folder: folder.into(), rules: Rules::read(folder)?, signers: Signers::read(folder)?, tenants })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The rules that concern all components.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What each tenant may do.
    pub fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// Reads the policy of a component: `NAME.toml`, or else `default.toml`, and keeps of it what the component wants.
    ///
    /// # Errors
    /// When the file is unreadable or says something unknown.
    pub fn snapshot(&self, component: &ComponentName, wanted: &[String], facts: &dyn Facts) -> Result<Snapshot, LoadError> {
        Snapshot::new(component, wanted, self.source(component)?, &self.rules, facts)
    }

    /// The same by a policy file of any name and place.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot), and when the file is not there.
    pub fn snapshot_by(
        &self,
        file: &Path,
        component: &ComponentName,
        wanted: &[String],
        facts: &dyn Facts,
    ) -> Result<Snapshot, LoadError> {
        let text = std::fs::read_to_string(file).map_err(|cause| LoadError::Unreadable { file: file.into(), cause })?;
        let source = Source { file: file.into(), origin: file.into(), text };
        Snapshot::new(component, wanted, source, &self.rules, facts)
    }

    /// A policy that grants a component nothing, whatever the files say.
    pub fn nothing(&self, component: &ComponentName, facts: &dyn Facts) -> Snapshot {
        let file = self.folder.join(format!("{component}.toml"));
        let source = Source { origin: file.clone(), file, text: NOTHING.into() };
        Snapshot::new(component, &[], source, &self.rules, facts).expect("an empty policy is a good one")
    }

    /// The policy of a component as it is written, whatever the component wants.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot).
    pub fn file(&self, component: &ComponentName) -> Result<PolicyFile, LoadError> {
        let source = self.source(component)?;
        PolicyFile::parse(&source.origin, &source.text)
    }

    /// The names of the policy files without their ending, sorted, `default` among them; none where there is no such folder.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn names(&self) -> std::io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        let files = files.iter().filter(|file| file.is_file() && file.extension().is_some_and(|extension| extension == "toml"));
        let names = files.filter_map(|file| Some(file.file_stem()?.to_string_lossy().into_owned()));
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.retain(|name| name != SIGNERS);
        names.sort();
        Ok(names)
    }

    /// Reads the text of a component's policy.
    fn source(&self, component: &ComponentName) -> Result<Source, LoadError> {
        if component.as_str() == SIGNERS {
            let reason = "it holds the trusted keys: give the component another name".into();
            return Err(LoadError::Value { file: self.folder.join(format!("{SIGNERS}.toml")), reason });
        }
        let own = self.folder.join(format!("{component}.toml"));
        let default = self.folder.join("default.toml");
        for origin in [&own, &default] {
            match std::fs::read_to_string(origin) {
                Ok(text) => return Ok(Source { file: own.clone(), origin: origin.clone(), text }),
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
                Err(cause) => return Err(LoadError::Unreadable { file: origin.clone(), cause }),
            }
        }
        Ok(Source { file: own, origin: default, text: NOTHING.into() })
    }
}

/// A policy's text, and where it is from.
pub(crate) struct Source {
    /// The file an operator edits.
    pub(crate) file: PathBuf,
    /// Where it was read.
    pub(crate) origin: PathBuf,
    pub(crate) text: String,
}

impl Snapshot {
    /// Reads a policy, and keeps of it what the component wants.
    pub(crate) fn new(
        component: &ComponentName,
        wanted: &[String],
        source: Source,
        rules: &Rules,
        facts: &dyn Facts,
    ) -> Result<Snapshot, LoadError> {
        let policy = PolicyFile::parse(&source.origin, &source.text)?.only(wanted);
        let models = |capability| Models::new(policy.models(capability), facts);
        let models = ModelTables {
            classify: models("classify"),
            embed: models("embed"),
            generate: models("generate"),
            nn: models("nn"),
            rerank: models("rerank"),
            tokenize: models("tokenize"),
        };
        let hash = hash::of(&source, wanted, rules, &models).into();
        let Source { file, origin, text } = source;
        let named = |reason| LoadError::Value { file: origin.clone(), reason };
        protected::check(&policy, facts).map_err(named)?;
        Ok(Snapshot {
            component: component.clone(),
            file: file.display().to_string(),
            origin: origin.display().to_string(),
            wanted: wanted.to_vec(),
            models,
            secrets: Secrets::new(&policy, component, facts).map_err(named)?,
            rules: rules.of(component, &policy.labels),
            all_rules: rules.clone(),
            policy,
            text,
            hash,
        })
    }
}

impl PolicyFile {
    /// Reads a policy; `file` is its name in errors.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(file: &Path, text: &str) -> Result<PolicyFile, LoadError> {
        let malformed = |cause| LoadError::Malformed { file: file.into(), cause: Box::new(cause) };
        let policy: PolicyFile = toml::from_str(text).map_err(malformed)?;
        match policy.schema {
            1 => policy.check().map_err(|reason| LoadError::Value { file: file.into(), reason }).map(|()| policy),
            schema => Err(LoadError::Schema { file: file.into(), schema }),
        }
    }

    /// The section of a capability that runs models.
    pub fn models(&self, capability: &str) -> Option<&ModelsGrant> {
        match capability {
            "classify" => self.classify.as_ref(),
            "embed" => self.embed.as_ref(),
            "generate" => self.generate.as_ref(),
            "nn" => self.nn.as_ref(),
            "rerank" => self.rerank.as_ref(),
            "tokenize" => self.tokenize.as_ref(),
            _ => None,
        }
    }

    /// Checks what types can't say.
    fn check(&self) -> Result<(), String> {
        for capability in CAPABILITIES {
            let checked = self.models(capability).map_or(Ok(()), ModelsGrant::check);
            checked.map_err(|reason| format!("`[{capability}]` {reason}"))?;
        }
        self.guard.check()?;
        self.fs.as_ref().map_or(Ok(()), FsGrant::check)?;
        self.http.as_ref().map_or(Ok(()), HttpGrant::check)
    }
}

impl Snapshot {
    /// The component this is about.
    pub fn component(&self) -> &ComponentName {
        &self.component
    }

    /// The policy file an operator edits to change it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The policy file that it was read from, which may be `default.toml`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The text of that file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A name for all that it says, for the audit log: SHA-256 in hexadecimal digits.
    pub fn hash(&self) -> &Arc<str> {
        &self.hash
    }

    /// What a denial does.
    pub fn mode(&self) -> Mode {
        self.policy.mode
    }

    /// What one instance or request may take.
    pub fn limits(&self) -> &Limits {
        &self.policy.limits
    }

    /// What the component may use in a minute.
    pub fn quota(&self) -> &Quota {
        &self.policy.quota
    }

    /// The capabilities that are both wanted and granted.
    pub fn grants(&self) -> &PolicyFile {
        &self.policy
    }

    /// The models that a capability may use, by its name, in the policy's order.
    pub fn usable_models(&self, capability: &str) -> impl Iterator<Item = &ModelName> {
        self.models.of(capability).into_iter().flat_map(Models::usable)
    }

    /// Environment variables that hold placeholders of secrets.
    pub fn secret_env(&self) -> impl Iterator<Item = (&str, &str)> {
        self.secrets.env()
    }

    /// Names of granted secrets whose source has no value.
    pub fn unset_secrets(&self) -> impl Iterator<Item = (&str, &SecretSource)> {
        self.secrets.unset()
    }

    /// Whether another snapshot was made of the same files and facts.
    pub fn is_same(&self, other: &Snapshot) -> bool {
        let one = (&self.origin, &self.text, &self.models, &self.secrets, &self.all_rules);
        one == (&other.origin, &other.text, &other.models, &other.secrets, &other.all_rules)
    }

    /// Whether `component.toml` says that it wants a capability.
    pub fn wants(&self, capability: &str) -> bool {
        self.wanted.iter().any(|want| want == capability)
    }

    /// The capabilities that `component.toml` wants.
    pub fn wanted(&self) -> &[String] {
        &self.wanted
    }

    /// All rules of the folder, to tell which one forbade something.
    pub fn all_rules(&self) -> &Rules {
        &self.all_rules
    }

    /// Why there is no section for a capability.
    pub(crate) fn missing(&self, capability: &str) -> Reason {
        if self.wants(capability) { Reason::NoSection } else { Reason::Undeclared }
    }

    pub(crate) fn models(&self) -> &ModelTables {
        &self.models
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    pub(crate) fn rules(&self) -> &ComponentRules {
        &self.rules
    }
}

#[cfg(test)]
mod tests;
