//! `tessera verify`: what a component is, who has signed it, and whether the policies let it run.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use policy::{ComponentName, Facts, ModelName, Policies, Protected, SecretSource};
use runtime::{ComponentFiles, ComponentRecord, Package, PackageLimits};

use crate::component_source;

/// Which component, and by which policies.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The component's folder, or a package.
    #[arg(value_name = "DIR|FILE")]
    component: PathBuf,
    /// Settings file; `tessera.toml` is read if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder with a policy file for each component, and signers.toml.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Folder for what the server keeps: it knows which versions have run.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the policies don't let the component run.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    args.run(&mut std::io::stdout())
}

/// A server without models or secrets: what decides whether a component may run at all asks for none.
struct Nothing {
    /// The folders that the server would keep from components.
    protected: Vec<Protected>,
}

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

    fn protected(&self) -> Vec<Protected> {
        self.protected.clone()
    }
}

impl Args {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let config = super::serve::read_config(self.config.as_deref())?;
        let facts = Nothing { protected: runtime::protected(&config) };
        let policies = Policies::read(self.policies.as_ref().unwrap_or(&config.policies))?;
        let record = ComponentRecord::at(self.data.as_ref().unwrap_or(&config.data));
        let files = self.files(&PackageLimits::of(&config))?;
        let manifest = files.manifest();
        writeln!(out, "component       {} {}", manifest.name, manifest.version)?;
        writeln!(out, "component.wasm  {}", files.code_digest())?;
        writeln!(out, "component.toml  {}", files.manifest_digest())?;
        let policy = policies.snapshot(&manifest.name, &manifest.wanted(), &facts)?;
        let admitted = files.admit(&policies, &policy, &record)?;
        match (admitted.signer, files.signature()) {
            (Some(signer), _) => writeln!(out, "signature       signed by `{signer}`")?,
            (None, Some(signature)) => {
                writeln!(out, "signature       of `{}`, a key that is not in signers.toml", signature.key().escape_debug())?;
            }
            (None, None) => writeln!(out, "signature       not signed")?,
        }
        writeln!(out, "policy          {} lets it run: it may run", policy.origin())?;
        Ok(())
    }

    fn files(&self, limits: &PackageLimits) -> anyhow::Result<ComponentFiles> {
        if self.component.is_file() {
            let bytes = component_source::read(&self.component, limits.archive_bytes_max())?;
            let package = Package::read(&bytes, limits).with_context(|| self.component.display().to_string())?;
            return Ok(ComponentFiles::of_package(&package)?);
        }
        // The folder's name is the component's: `.` has to be looked up.
        let folder = self.component.canonicalize();
        let folder = folder.with_context(|| format!("there is no folder or package {}", self.component.display()))?;
        Ok(ComponentFiles::read(&folder, limits.code_bytes_max)?)
    }
}

#[cfg(test)]
impl Args {
    pub(super) fn of(component: PathBuf, policies: PathBuf, data: PathBuf) -> Args {
        Args { component, config: None, policies: Some(policies), data: Some(data) }
    }

    pub(super) fn run_to_text(&self) -> anyhow::Result<String> {
        let mut out = Vec::new();
        self.run(&mut out)?;
        Ok(String::from_utf8(out)?)
    }
}
