//! `tessera run`: a command component, once, under a policy.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, ensure};
use engine::{Engine, EngineConfig};
use policy::{Policies, PolicyFile};
use runtime::{Command, CommandPolicy, ComponentFiles, PackageLimits, ServerConfig};

use crate::component_source::component_from;
use crate::oci::login::Login;

/// Capabilities that run models.
const MODELS: [&str; 6] = ["classify", "embed", "generate", "nn", "rerank", "tokenize"];

/// Run a component that exports `wasi:cli/run`, with this terminal's input and output and else only what a policy grants.
///
/// What it is denied is told on standard error. Its exit code is passed through; most toolchains give only 0 and 1.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What it may do: the name of a policy in the folder of policies, or a file [default: the policy of its name].
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
    /// Settings file; `tessera.toml` is read if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder with a policy file for each component.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Folder with a folder for each model; looked into where the policy grants models.
    #[arg(long, value_name = "DIR", env = "TESSERA_MODELS")]
    models: Option<PathBuf>,
    #[command(flatten)]
    login: Login,
    /// The command: its code, its package, its folder, or oci://REGISTRY/REPOSITORY:TAG. All that follows are its own arguments.
    #[arg(value_name = "FILE", trailing_var_arg = true, required = true)]
    command: Vec<String>,
}

/// Runs the command; gives its exit code.
///
/// # Errors
/// When it can't be run, fails, or is stopped at a limit.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    super::serve::log_to_stderr("warn,wasmtime_wasi_nn=off");
    let Args { policy, config, policies, models, login, command } = args;
    let (component, arguments) = command.split_first().context("name a command")?;
    let mut config = super::serve::read_config(config.as_deref())?;
    config.policies = policies.unwrap_or(config.policies);
    config.models = models.unwrap_or(config.models);
    config.compiler = Some(super::compile::command(&config)?);
    let scratch = Scratch::instead_of(&mut config.data)?;
    let package = component_from(component, &login, &PackageLimits::of(&config))?;
    let files = ComponentFiles::of_package(&package)?;
    let policies = Policies::read(&config.policies)?;
    let policy = choose(policy.as_deref(), &files, &policies)?;
    let engine = engine(&config, &policy_file(&policy, &policies)?)?;
    let name = Path::new(component).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let arguments = std::iter::once(name).chain(arguments.iter().cloned()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no threads for the command")?;
    let command = Command { files, arguments, policy };
    let ended = runtime.block_on(async {
        // On a task of its own, as compiling blocks.
        tokio::spawn(async move { runtime::run_command(command, &config, &policies, Arc::new(engine)).await }).await
    });
    runtime.shutdown_background(); // a thread may wait for input that nobody needs any more
    drop(scratch);
    Ok(ended.context("the command's task failed")??.into())
}

/// The policy that was asked for, or that of the component's name.
fn choose(policy: Option<&str>, files: &ComponentFiles, policies: &Policies) -> anyhow::Result<CommandPolicy> {
    let Some(policy) = policy else { return Ok(CommandPolicy::Of(files.manifest().name.clone())) };
    if policy.contains('/') || Path::new(policy).extension().is_some_and(|extension| extension == "toml") {
        return Ok(CommandPolicy::File(policy.into()));
    }
    let file = policies.folder().join(format!("{policy}.toml"));
    ensure!(file.is_file(), "there is no {}: write it, or name another with --policy NAME|FILE", file.display());
    Ok(CommandPolicy::Of(policy.parse()?))
}

/// What the policy says, whatever the component wants.
fn policy_file(policy: &CommandPolicy, policies: &Policies) -> anyhow::Result<PolicyFile> {
    match policy {
        CommandPolicy::Of(component) => Ok(policies.file(component)?),
        CommandPolicy::File(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?;
            Ok(PolicyFile::parse(file, &text)?)
        }
    }
}

/// An engine with the models of this machine, or with none where the policy grants none: loading takes a while.
fn engine(config: &ServerConfig, policy: &PolicyFile) -> anyhow::Result<Engine> {
    match MODELS.iter().any(|capability| policy.models(capability).is_some()) {
        true => super::serve::start_engine(config),
        false => Ok(Engine::start(&EngineConfig { models: PathBuf::new(), ..EngineConfig::default() })?),
    }
}

/// A folder for what a server would keep, where there is no server's: it goes when the command ends.
struct Scratch(Option<PathBuf>);

impl Scratch {
    fn instead_of(data: &mut PathBuf) -> anyhow::Result<Scratch> {
        if data.is_dir() {
            return Ok(Scratch(None));
        }
        let folder = std::env::temp_dir().join(format!("tessera-run-{}", std::process::id()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
        made.with_context(|| format!("{} can't be made", folder.display()))?;
        data.clone_from(&folder);
        Ok(Scratch(Some(folder)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            drop(std::fs::remove_dir_all(folder)); // what is left of it is in nobody's way
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use runtime::Package;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn files() -> anyhow::Result<ComponentFiles> {
        let manifest = "name = \"tool\"\nversion = \"0.1.0\"\ndescription = \"A test's.\"\n";
        let (code, manifest_text) = (b"\0asm\x0d\0\x01\0".to_vec(), manifest.into());
        Ok(ComponentFiles::of_package(&Package { manifest_text, code, signature: None, policy: None, readme: None })?)
    }

    #[test]
    fn what_follows_the_command_is_its_own() -> anyhow::Result<()> {
        let args = Line::try_parse_from(["run", "--policy", "tool", "tool.wasm", "--policy", "x", "-v", "--", "y"])?.args;
        assert_eq!(args.policy.as_deref(), Some("tool"));
        assert_eq!(args.command, ["tool.wasm", "--policy", "x", "-v", "--", "y"]);
        assert!(Line::try_parse_from(["run", "--policy", "tool"]).is_err());
        Ok(())
    }

    #[test]
    fn a_policy_is_named_or_a_file_and_one_that_is_missing_is_told() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        std::fs::write(root.path().join("other.toml"), "schema = 1\n[embed]\nmodels = [\"m\"]\n")?;
        let policies = Policies::read(root.path())?;
        let choose = |policy| choose(policy, &files()?, &policies);
        assert_eq!(choose(None)?, CommandPolicy::Of("tool".parse()?));
        assert_eq!(choose(Some("other"))?, CommandPolicy::Of("other".parse()?));
        assert!(policy_file(&choose(Some("other"))?, &policies)?.models("embed").is_some());
        assert_eq!(choose(Some("./x/tool"))?, CommandPolicy::File("./x/tool".into()));
        assert_eq!(choose(Some("tool.toml"))?, CommandPolicy::File("tool.toml".into()));
        assert!(choose(Some("missing")).is_err_and(|error| error.to_string().contains("missing.toml")));
        assert!(policy_file(&choose(Some("./none.toml"))?, &policies).is_err());
        Ok(())
    }
}
