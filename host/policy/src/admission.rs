//! Which components may run at all: by digest, by signature, by version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::signature::is_key_name;
use crate::{ComponentName, Digest, LoadError, Policies, PublicKey, Signature, Snapshot, Statement};

/// The file of trusted keys in the folder of policies, without its ending. No component has this name.
pub(crate) const SIGNERS: &str = "signers";
/// Keys in it.
const SIGNERS_MAX: usize = 256;

/// Section `[component]` of a policy: which component it lets run. It holds in the mode `observe` as well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ComponentPins {
    /// SHA-256 of `component.wasm`: it must be one of these, written `"sha256:…"`, as `tessera verify` prints them. Any if there
    /// are none.
    pub digests: Vec<Digest>,
    /// Keys of `signers.toml` by name: one of them must have signed the component. With none, any key of that file will do, and
    /// a signature is needed only where the file says `required = true`.
    pub signers: Vec<String>,
    /// The oldest version that runs, as `"1.2.0"`. Without it a component that has to be signed never runs in an older version
    /// than it has run in before.
    #[schemars(with = "Option<String>")]
    pub version_min: Option<Version>,
}

/// `policies/signers.toml`: keys whose signatures are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Signers {
    file: PathBuf,
    required: bool,
    keys: BTreeMap<String, PublicKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignersFile {
    schema: u32,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    signers: BTreeMap<String, PublicKey>,
}

impl Signers {
    /// Reads the keys of a folder of policies; one without the file trusts none and requires no signatures.
    pub(crate) fn read(folder: &Path) -> Result<Signers, LoadError> {
        let file = folder.join(format!("{SIGNERS}.toml"));
        match std::fs::read_to_string(&file) {
            Ok(text) => Signers::parse(&file, &text),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(Signers { file, ..Signers::default() }),
            Err(cause) => Err(LoadError::Unreadable { file, cause }),
        }
    }

    fn parse(file: &Path, text: &str) -> Result<Signers, LoadError> {
        let malformed = |cause| LoadError::Malformed { file: file.into(), cause: Box::new(cause) };
        let refused = |reason| LoadError::Value { file: file.into(), reason };
        let SignersFile { schema, required, signers } = toml::from_str(text).map_err(malformed)?;
        if schema != 1 {
            return Err(LoadError::Schema { file: file.into(), schema });
        }
        if let Some(name) = signers.keys().find(|name| !is_key_name(name)) {
            let reason = format!("`[signers]`: a key can't be called `{}`: use A-Z a-z 0-9 - _", name.escape_debug());
            return Err(refused(reason));
        }
        if signers.len() > SIGNERS_MAX {
            return Err(refused(format!("`[signers]` has {} keys; {SIGNERS_MAX} are the most", signers.len())));
        }
        if required && signers.is_empty() {
            return Err(refused("`required = true` without a key lets no component run: add one to `[signers]`".into()));
        }
        Ok(Signers { file: file.into(), required, keys: signers })
    }
}

/// What is known of a component before any of it is used: all of it is of the same bytes.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Its name.
    pub name: &'a ComponentName,
    /// Its version, as `component.toml` says it.
    pub version: &'a str,
    /// SHA-256 of `component.toml`.
    pub manifest: Digest,
    /// SHA-256 of `component.wasm`.
    pub code: Digest,
    /// `component.sig`, if it is there.
    pub signature: Option<&'a Signature>,
    /// The highest version that ran before where a signature was required, with what says so.
    pub floor: Option<(&'a Version, &'a Path)>,
}

/// A component that may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The trusted key that signed it; none where it is not signed, or by a key that nobody trusts.
    pub signer: Option<String>,
    /// Its version, where a signature was required: from now on no older one runs.
    pub floor: Option<Version>,
}

/// Why a component may not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is other code than the policy names.
    #[error(
        "component.wasm is {found}, and `[component] digests` in {file} has other digests only: put the right file there, or add the digest"
    )]
    Digest {
        /// Its digest.
        found: Digest,
        /// The policy file.
        file: String,
    },
    /// It has no signature.
    #[error("it is not signed, and {file} requires it: `tessera sign` makes component.sig with the key of {signers}")]
    Unsigned {
        /// What requires it.
        file: String,
        /// Keys that would do.
        signers: String,
    },
    /// It is signed by a key that doesn't count here.
    #[error("component.sig is of the key `{key}`, and {file} wants one of {signers}")]
    Signer {
        /// The key.
        key: String,
        /// What says so.
        file: String,
        /// Keys that would do.
        signers: String,
    },
    /// Its signature is about something else, or is none.
    #[error(
        "component.sig is not what the key `{key}` has signed: component.toml, component.wasm or the version is another, or the \
         signature is of another component"
    )]
    Signature {
        /// The key that it names.
        key: String,
    },
    /// The policy names a key that there is not.
    #[error("`[component] signers` in {file} names `{key}`, which is not in {signers}: add the key there")]
    UnknownSigner {
        /// The key.
        key: String,
        /// The policy file.
        file: String,
        /// The file of keys.
        signers: String,
    },
    /// Its version can't be compared.
    #[error("component.toml says version `{version}`, which can't be compared with others: write it as 1.2.3 ({cause})")]
    Version {
        /// The version.
        version: String,
        /// What is wrong with it.
        cause: String,
    },
    /// It is older than the policy allows.
    #[error("it is version {version}, and `[component] version_min` in {file} is {version_min}")]
    Old {
        /// Its version.
        version: Version,
        /// The oldest that runs.
        version_min: Version,
        /// The policy file.
        file: String,
    },
    /// It is older than one that has run.
    #[error(
        "it is version {version}, and {floor} has run here already, says {record}: what is signed is not taken back by itself. To go back, \
         put into {file}:\n\n[component]\nversion_min = \"{version}\"\n"
    )]
    Downgrade {
        /// Its version.
        version: Box<Version>,
        /// The highest that ran.
        floor: Box<Version>,
        /// Where that is written down.
        record: String,
        /// The policy file.
        file: String,
    },
}

impl Policies {
    /// Whether a component has to be signed under its policy.
    pub fn requires_signature(&self, policy: &Snapshot) -> bool {
        self.signers.required || !policy.grants().component.signers.is_empty()
    }

    /// Whether a component may run under its policy.
    ///
    /// # Errors
    /// When its digest, signature or version is not what the policies want.
    pub fn admit(&self, policy: &Snapshot, evidence: &Evidence<'_>) -> Result<Admitted, Refused> {
        let (pins, trusted) = (&policy.grants().component, &self.signers);
        let file = policy.origin();
        if !pins.digests.is_empty() && !pins.digests.contains(&evidence.code) {
            return Err(Refused::Digest { found: evidence.code, file: file.into() });
        }
        let is_required = self.requires_signature(policy);
        let key = evidence.signature.and_then(|signature| Some((signature, trusted.keys.get(signature.key())?)));
        let is_compared = is_required || pins.version_min.is_some() || key.is_some();
        let version = is_compared.then(|| parse(evidence.version)).transpose()?;
        let signer = match (key, &version) {
            (Some((signature, key)), Some(version)) => Some(check_signature(signature, key, version, evidence)?),
            _ => None,
        };
        if is_required {
            trusted.check_signer(pins, file, signer, evidence.signature)?;
        }
        if let Some(version) = &version {
            check_version(policy, version, evidence.floor.filter(|_| is_required))?;
        }
        Ok(Admitted { signer: signer.map(String::from), floor: version.filter(|_| is_required) })
    }
}

impl Signers {
    /// Checks that a component is signed by one of the keys that its policy wants.
    fn check_signer(
        &self,
        pins: &ComponentPins,
        file: &str,
        signer: Option<&str>,
        signature: Option<&Signature>,
    ) -> Result<(), Refused> {
        let own = self.file.display().to_string();
        if let Some(unknown) = pins.signers.iter().find(|name| !self.keys.contains_key(*name)) {
            return Err(Refused::UnknownSigner { key: unknown.clone(), file: file.into(), signers: own });
        }
        let (wanted, file): (Vec<&String>, String) = match pins.signers.is_empty() {
            true => (self.keys.keys().collect(), own),
            false => (pins.signers.iter().collect(), file.into()),
        };
        if signer.is_some_and(|signer| wanted.iter().any(|name| *name == signer)) {
            return Ok(());
        }
        let signers = wanted.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        Err(match signature {
            Some(signature) => Refused::Signer { key: signature.key().chars().take(64).collect(), file, signers },
            None => Refused::Unsigned { file, signers },
        })
    }
}

/// The name of the key, if it made the signature and about this component.
fn check_signature<'a>(
    signature: &'a Signature,
    key: &PublicKey,
    version: &Version,
    evidence: &Evidence<'_>,
) -> Result<&'a str, Refused> {
    let Evidence { name, manifest, code, .. } = *evidence;
    match signature.is_of(key, &Statement { name, version, manifest, code }) {
        true => Ok(signature.key()),
        false => Err(Refused::Signature { key: signature.key().into() }),
    }
}

fn parse(version: &str) -> Result<Version, Refused> {
    let cause = |error: semver::Error| error.to_string();
    Version::parse(version)
        .map_err(|error| Refused::Version { version: version.chars().take(80).collect(), cause: cause(error) })
}

/// The oldest version that runs is what the policy says, or else the highest that ran.
fn check_version(policy: &Snapshot, version: &Version, floor: Option<(&Version, &Path)>) -> Result<(), Refused> {
    match (&policy.grants().component.version_min, floor) {
        (Some(version_min), _) if version < version_min => {
            let (version, version_min) = (version.clone(), version_min.clone());
            Err(Refused::Old { version, version_min, file: policy.origin().into() })
        }
        (None, Some((floor, record))) if version < floor => {
            let (version, floor) = (version.clone().into(), floor.clone().into());
            Err(Refused::Downgrade { version, floor, record: record.display().to_string(), file: policy.file().into() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
