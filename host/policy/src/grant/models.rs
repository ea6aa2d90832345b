//! What the sections of capabilities that run models have in common.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::denial::Reason;
use crate::snapshot::Facts;
use crate::{ModelName, NameError};

/// Section of a capability that runs models: which of them a component may use for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelsGrant {
    /// Models by their registry name, each on its own or with the digest it must have: `"NAME@sha256:DIGEST"` (`tessera model
    /// digest NAME` prints it). The first is the one used when a component names none.
    pub models: Vec<ModelRef>,
    /// Devices that they may run on: `"flex"` (the CPU), `"wgpu"`, `"cuda"`, `"rocm"`, each any of its kind or, as `"cuda:1"`,
    /// that one. Any device if the key is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<String>>,
}

/// A model by name, and by digest where it must be that very one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelRef {
    /// Its registry name.
    pub name: ModelName,
    /// 64 hexadecimal digits.
    pub digest: Option<String>,
}

/// Why a reference to a model was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelRefError {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What follows `@` is no digest.
    #[error("`{0}` is no digest: write `NAME@sha256:` and 64 hexadecimal digits, as `tessera model digest NAME` prints it")]
    Digest(String),
}

impl FromStr for ModelRef {
    type Err = ModelRefError;

    fn from_str(text: &str) -> Result<ModelRef, ModelRefError> {
        let Some((name, digest)) = text.split_once('@') else { return Ok(ModelRef { name: text.parse()?, digest: None }) };
        let hex = digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let hex = hex.ok_or_else(|| ModelRefError::Digest(digest.chars().take(80).collect()))?;
        Ok(ModelRef { name: name.parse()?, digest: Some(hex.to_ascii_lowercase()) })
    }
}

impl TryFrom<String> for ModelRef {
    type Error = ModelRefError;

    fn try_from(text: String) -> Result<ModelRef, ModelRefError> {
        text.parse()
    }
}

impl From<ModelRef> for String {
    fn from(model: ModelRef) -> String {
        model.to_string()
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_str())?;
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@sha256:{digest}"))
    }
}

impl JsonSchema for ModelRef {
    fn schema_name() -> Cow<'static, str> {
        "ModelRef".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}

/// A [`ModelsGrant`] held against the server's models and device: what of it can be used.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Models {
    entries: Vec<Entry>,
    /// The server's device.
    device: String,
}

/// One entry of the list.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: ModelName,
    /// The digest of the server's model, where the entry asks for one and there is such a model.
    found: Option<String>,
    flaw: Option<Reason>,
}

impl Models {
    pub(crate) fn new(grant: Option<&ModelsGrant>, facts: &dyn Facts) -> Models {
        let Some(grant) = grant else { return Models::default() };
        let is_here = grant.devices.as_ref().is_none_or(|devices| devices.iter().any(|named| is_device(named, facts.device())));
        let entry = |model: &ModelRef| {
            let found = model.digest.as_ref().and_then(|_| facts.model_digest(&model.name));
            let flaw = match &model.digest {
                _ if !is_here => Some(Reason::OtherDevice),
                Some(_) if found != model.digest => Some(Reason::OtherDigest),
                _ => None,
            };
            Entry { name: model.name.clone(), found, flaw }
        };
        Models { entries: grant.models.iter().map(entry).collect(), device: facts.device().into() }
    }

    /// The model that is asked for, or else the first of the list. Where one is listed with several digests, each will do.
    pub(crate) fn choose(&self, asked: Option<&str>) -> Result<&ModelName, Reason> {
        let asked = asked.or_else(|| self.first().map(ModelName::as_str)).ok_or(Reason::NotListed)?;
        let listed = || self.entries.iter().filter(|entry| entry.name.as_str() == asked);
        let flaw = listed().find_map(|entry| entry.flaw).unwrap_or(Reason::NotListed);
        listed().find(|entry| entry.flaw.is_none()).map(|entry| &entry.name).ok_or(flaw)
    }

    /// Those that can be used, each once.
    pub(crate) fn usable(&self) -> impl Iterator<Item = &ModelName> {
        let is_new = |(index, entry): &(usize, &Entry)| {
            let before = &self.entries[..*index];
            !before.iter().any(|other| other.flaw.is_none() && other.name == entry.name)
        };
        let usable = self.entries.iter().enumerate().filter(|(_, entry)| entry.flaw.is_none());
        usable.filter(is_new).map(|(_, entry)| &entry.name)
    }

    /// The one that is used where none is named.
    pub(crate) fn first(&self) -> Option<&ModelName> {
        self.entries.first().map(|entry| &entry.name)
    }

    /// The digest of the server's model, where its entry asks for one and there is such a model.
    pub(crate) fn found_digest(&self, name: &str) -> Option<&str> {
        self.entries.iter().filter(|entry| entry.name.as_str() == name).find_map(|entry| entry.found.as_deref())
    }

    /// The server's device.
    pub(crate) fn device(&self) -> &str {
        &self.device
    }
}

/// Whether a device is one that a policy names: `cuda` names every one of its kind, `cuda:1` that one.
fn is_device(named: &str, device: &str) -> bool {
    let (named, named_index) = kind_and_index(named);
    let (kind, index) = kind_and_index(device);
    // In settings `cuda` is `cuda:0`; `wgpu` is whichever the system prefers.
    let index = index.or((kind != "wgpu").then_some("0"));
    named == kind && (named_index.is_none() || named_index == index)
}

fn kind_and_index(device: &str) -> (&str, Option<&str>) {
    let (kind, index) = device.split_once(':').map_or((device, None), |(kind, index)| (kind, Some(index)));
    (if kind == "cpu" { "flex" } else { kind }, index)
}

impl ModelsGrant {
    /// Checks what types can't say.
    pub(crate) fn check(&self) -> Result<(), String> {
        let is_known = |device: &&String| match kind_and_index(device) {
            ("flex", index) => index.is_none(),
            ("wgpu" | "cuda" | "rocm", index) => index.is_none_or(|index| index.parse::<u16>().is_ok()),
            _ => false,
        };
        match self.devices.iter().flatten().find(|device| !is_known(device)) {
            Some(unknown) => Err(format!(
                "`devices`: `{unknown}` is none of flex, wgpu, cuda and rocm, the last three with or without :INDEX"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeFacts, World};
    use crate::{Cost, Denial};

    fn embed(text: &str, facts: &FakeFacts, model: Option<&str>) -> Result<String, Denial> {
        let world = World::of(&format!("schema = 1\n[embed]\n{text}"), &["embed"], facts).expect("a good policy");
        let permit = world.authority().embed(model, Cost::default())?;
        Ok(permit.redeem().model.to_string())
    }

    #[test]
    fn a_reference_is_read_back_as_it_was_written() {
        let digest = "0123456789abcdef".repeat(4);
        for text in ["all-MiniLM_L6.v2".into(), format!("m@sha256:{digest}")] {
            assert_eq!(text.parse::<ModelRef>().expect("a model").to_string(), text);
        }
        assert_eq!(
            format!("m@sha256:{}", "AB".repeat(32)).parse(),
            format!("m@sha256:{}", "ab".repeat(32)).parse::<ModelRef>()
        );
    }

    #[test]
    fn references_that_name_no_model_or_digest_are_refused() {
        for text in ["", "a/b", "m@", "m@sha256:", "m@sha256:12", "m@md5:00", "@sha256:00"] {
            assert!(text.parse::<ModelRef>().is_err(), "{text}");
        }
        assert!(format!("m@sha256:{}", "g".repeat(64)).parse::<ModelRef>().is_err());
    }

    #[test]
    fn a_model_with_a_digest_has_to_be_that_very_one() {
        let (right, wrong) = ("a".repeat(64), "b".repeat(64));
        let facts = FakeFacts { digests: [("m", right.clone())].into(), ..FakeFacts::default() };
        let with = |digest: &str| embed(&format!("models = [\"m@sha256:{digest}\"]"), &facts, None);
        assert_eq!(with(&right), Ok("m".into()));
        assert_eq!(with(&wrong), Err(Denial::new("embed", Reason::OtherDigest)));
        let absent = embed(&format!("models = [\"x@sha256:{right}\"]"), &facts, Some("x"));
        assert_eq!(absent, Err(Denial::new("embed", Reason::OtherDigest)));
        let either = format!("models = [\"m@sha256:{wrong}\", \"m@sha256:{right}\"]");
        assert_eq!(embed(&either, &facts, Some("m")), Ok("m".into()));
        assert_eq!(embed(&either, &facts, None), Ok("m".into()));
    }

    #[test]
    fn a_model_without_a_digest_may_be_any() {
        assert_eq!(embed("models = [\"m\"]", &FakeFacts::default(), None), Ok("m".into()));
    }

    #[test]
    fn the_device_has_to_be_one_that_is_named() {
        let cases = [
            ("[\"flex\"]", "flex", true),
            ("[\"flex\"]", "cpu", true),
            ("[\"cpu\"]", "flex", true),
            ("[\"flex\"]", "cuda:0", false),
            ("[\"cuda\"]", "cuda:0", true),
            ("[\"cuda\"]", "cuda:3", true),
            ("[\"cuda:0\"]", "cuda", true),
            ("[\"cuda:1\"]", "cuda", false),
            ("[\"cuda:1\"]", "cuda:11", false),
            ("[\"cuda:1\", \"cuda:11\"]", "cuda:11", true),
            ("[\"wgpu:0\"]", "wgpu", false),
            ("[\"wgpu\"]", "wgpu", true),
            ("[]", "flex", false),
        ];
        for (devices, device, is_allowed) in cases {
            let facts = FakeFacts { device, ..FakeFacts::default() };
            let expected = if is_allowed { Ok("m".into()) } else { Err(Denial::new("embed", Reason::OtherDevice)) };
            assert_eq!(embed(&format!("models = [\"m\"]\ndevices = {devices}"), &facts, None), expected, "{devices} {device}");
        }
    }

    #[test]
    fn devices_that_there_are_not_are_refused() {
        for device in ["gpu", "cuda:", "cuda:x", "flex:0", "", "CUDA"] {
            let text = format!("schema = 1\n[nn]\nmodels = []\ndevices = [\"{device}\"]");
            let error = World::of(&text, &[], &FakeFacts::default()).err().expect("refused").to_string();
            assert!(error.contains("`[nn]` `devices`"), "{error}");
        }
    }

    #[test]
    fn what_can_be_used_is_listed_once_and_in_order() {
        let (right, wrong) = ("a".repeat(64), "b".repeat(64));
        let facts = FakeFacts { digests: [("m", right.clone())].into(), ..FakeFacts::default() };
        let models =
            format!("models = [\"z\", \"m@sha256:{wrong}\", \"m@sha256:{right}\", \"z\", \"x@sha256:{wrong}\", \"a\"]");
        let world = World::of(&format!("schema = 1\n[embed]\n{models}"), &["embed"], &facts).expect("a good policy");
        let usable: Vec<&str> = world.policy.usable_models("embed").map(ModelName::as_str).collect();
        assert_eq!(usable, ["z", "m", "a"]);
        assert_eq!(world.policy.usable_models("log").count() + world.policy.usable_models("rerank").count(), 0);
    }
}
