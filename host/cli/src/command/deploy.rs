//! `tessera deploy`: hands a component to a running server, which serves it from then on.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use policy::ComponentName;
use runtime::{Package, PackageLimits};

use super::admin::ServerArgs;
use crate::component_source::{self, component_from};
use crate::oci;
use crate::oci::login::Login;

/// What, and where to.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A component's folder, a package FILE.tessera, code alone FILE.wasm, or oci://REGISTRY/REPOSITORY:TAG.
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// The component's name, for code alone; else it is the file's.
    #[arg(long)]
    name: Option<ComponentName>,
    #[command(flatten)]
    login: Login,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let (path, body) = read(&args.source, args.name.as_ref(), &args.login)?;
    let report = args.server.send("PUT", &path, Some(body))?;
    let text = |key: &str| report[key].as_str().unwrap_or("-").to_owned();
    let mut out = std::io::stdout();
    writeln!(out, "`{}` {} serves ({})", text("name"), text("version"), text("id"))?;
    for route in report["routes"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str) {
        writeln!(out, "  {route}")?;
    }
    Ok(())
}

/// The path to send to, and the bytes.
fn read(source: &Path, name: Option<&ComponentName>, login: &Login) -> anyhow::Result<(String, Vec<u8>)> {
    let limits = PackageLimits::of(&super::serve::read_config(None)?);
    let path = |name: &ComponentName| format!("/components/{name}");
    if source.is_dir() || oci::is_address(&source.to_string_lossy()) {
        let package = component_from(&source.to_string_lossy(), login, &limits)?;
        return Ok((path(&package.manifest()?.name), package.write()?));
    }
    let bytes = component_source::read(source, limits.archive_bytes_max())?;
    if Package::is_package(&bytes) {
        let package = Package::read(&bytes, &limits)?;
        return Ok((path(&package.manifest()?.name), bytes));
    }
    ensure!(bytes.starts_with(b"\0asm"), "{} is neither a package nor WebAssembly", source.display());
    let name = name.cloned().map_or_else(|| component_source::name_of(source), Ok)?;
    Ok((path(&name), bytes))
}
