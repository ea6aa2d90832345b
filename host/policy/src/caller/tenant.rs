//! What tenants may do: `policies/tenants/NAME.toml`.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::scope::Selection;
use crate::LoadError;
use crate::name::{ComponentName, ModelName, Tenant};
use crate::quota::Quota;

/// Most tenants that have files.
const FILES_MAX: usize = 10_000;

/// `policies/tenants/NAME.toml` as an operator writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantFile {
    schema: u32,
    #[serde(default = "all")]
    components: Selection<ComponentName>,
    #[serde(default = "all")]
    models: Selection<ModelName>,
    quota: Option<Quota>,
}

fn all<N>() -> Selection<N> {
    Selection::All
}

/// What a tenant may do, all its callers together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantPolicy {
    file: String,
    text: String,
    components: Selection<ComponentName>,
    models: Selection<ModelName>,
    quota: Quota,
}

impl TenantPolicy {
    /// Reads a tenant's policy; `file` is its name in errors.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(file: &Path, text: &str) -> Result<TenantPolicy, LoadError> {
        let malformed = |cause| LoadError::Malformed { file: file.into(), cause: Box::new(cause) };
        let TenantFile { schema, components, models, quota } = toml::from_str(text).map_err(malformed)?;
        if schema != 1 {
            return Err(LoadError::Schema { file: file.into(), schema });
        }
        let quota = quota.unwrap_or_else(Quota::unlimited);
        Ok(TenantPolicy { file: file.display().to_string(), text: text.into(), components, models, quota })
    }

    /// The file an operator edits to change it, which may be that of all tenants without one.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The text of that file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Components that its requests may go to.
    pub fn components(&self) -> &Selection<ComponentName> {
        &self.components
    }

    /// Models that may run for it.
    pub fn models(&self) -> &Selection<ModelName> {
        &self.models
    }

    /// What it may use in a minute, of all components together.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }
}

/// The policies of all tenants, as their files were at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenants {
    named: HashMap<Tenant, Arc<TenantPolicy>>,
    default: Arc<TenantPolicy>,
}

impl Default for Tenants {
    fn default() -> Self {
        Tenants { named: HashMap::new(), default: Arc::new(unbounded("policies/tenants/default.toml".as_ref())) }
    }
}

impl Tenants {
    /// Reads every `NAME.toml` of a folder; `default.toml` is for tenants without a file, and hidden files are none. A folder that
    /// is not there has none.
    ///
    /// # Errors
    /// When a file is unreadable, malformed or of a name that no tenant can have.
    pub fn read(folder: &Path) -> Result<Tenants, LoadError> {
        let mut tenants = Tenants { named: HashMap::new(), default: Arc::new(unbounded(&folder.join("default.toml"))) };
        let unreadable = |file: &Path, cause| LoadError::Unreadable { file: file.into(), cause };
        let entries = match std::fs::read_dir(folder) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(tenants),
            entries => entries.map_err(|cause| unreadable(folder, cause))?,
        };
        for entry in entries {
            let file = entry.map_err(|cause| unreadable(folder, cause))?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let Some(name) = name.strip_suffix(".toml").filter(|name| !name.starts_with('.')) else { continue };
            let refused = |reason| LoadError::Value { file: file.clone(), reason };
            let tenant: Tenant = name.parse().map_err(|error: crate::NameError| refused(error.to_string()))?;
            let text = std::fs::read_to_string(&file).map_err(|cause| unreadable(&file, cause))?;
            let policy = Arc::new(TenantPolicy::parse(&file, &text)?);
            if tenant.as_str() == "default" {
                tenants.default = policy.clone();
            }
            tenants.named.insert(tenant, policy);
            if tenants.named.len() > FILES_MAX {
                return Err(refused(format!("a folder may hold {FILES_MAX} tenants: give the rest `default.toml`")));
            }
        }
        Ok(tenants)
    }

    /// What a tenant may do: its own file, or that of all without one, or all that components' policies allow.
    pub fn of(&self, tenant: &Tenant) -> &Arc<TenantPolicy> {
        self.named.get(tenant).unwrap_or(&self.default)
    }
}

/// What a tenant may do where no file says anything about it.
fn unbounded(file: &Path) -> TenantPolicy {
    let (components, models) = (Selection::All, Selection::All);
    TenantPolicy { file: file.display().to_string(), text: String::new(), components, models, quota: Quota::unlimited() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Tenant {
        name.parse().expect("a name")
    }

    #[test]
    fn a_tenant_has_its_own_file_or_the_one_for_all_others_or_no_bounds() {
        let folder = tempfile::tempdir().expect("a folder");
        for folder in [folder.path(), &folder.path().join("not-there")] {
            let tenants = Tenants::read(folder).expect("none");
            let policy = tenants.of(&tenant("acme"));
            assert_eq!((policy.components(), policy.models(), policy.quota()), (&all(), &all(), &Quota::unlimited()));
        }
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        write("default.toml", "schema = 1\nmodels = []\n");
        write("acme.toml", "schema = 1\n[quota]\nrequests_per_min_max = 7\n");
        write(".hidden.toml", "no policy");
        write("README.md", "no policy");
        let tenants = Tenants::read(folder.path()).expect("two files");
        assert_eq!(tenants.of(&tenant("other")).models(), &Selection::none());
        let acme = tenants.of(&tenant("acme"));
        assert_eq!((acme.models(), acme.quota().requests_per_min_max), (&all(), 7));
        assert!(acme.file().ends_with("acme.toml"));
    }

    #[test]
    fn what_is_no_policy_of_a_tenant_is_refused_by_name() {
        for (name, text, words) in [
            ("a.toml", "", "missing field `schema`"),
            ("a.toml", "schema = 2", "schema 2"),
            ("a.toml", "schema = 1\nmodel = []", "unknown field `model`"),
            ("a.toml", "schema = 1\ncomponents = [\"A B\"]", "is no component name"),
            ("a.toml", "schema = 1\n[quota]\nrequests = 1", "unknown field"),
            ("A b.toml", "schema = 1", "is no tenant name"),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::write(folder.path().join(name), text).expect("written");
            let error = Tenants::read(folder.path()).expect_err(text).to_string();
            assert!(error.contains(words) && error.contains(name), "{error}");
        }
    }
}
