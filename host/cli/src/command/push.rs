//! `tessera push`: a component into an OCI registry.

use std::io::Write;

use anyhow::ensure;
use runtime::PackageLimits;

use crate::component_source::component_from;
use crate::oci::login::Login;
use crate::oci::{self, Registry};

/// Push a component into an OCI registry, where `wkg` finds it too.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The component: its folder, a package, or its code.
    #[arg(value_name = "DIR|FILE")]
    component: String,
    /// Where to, as oci://registry.example/team/chat:1.2.3; on this machine without TLS.
    #[arg(value_name = "OCI_ADDRESS")]
    address: String,
    #[command(flatten)]
    login: Login,
}

/// Runs the command.
///
/// # Errors
/// When there is no component, or the registry doesn't take it.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let Args { component, address, login } = args;
    ensure!(!oci::is_address(&component), "{component} is in a registry already: `tessera pull` it first");
    let limits = PackageLimits::of(&super::serve::read_config(None)?);
    let package = component_from(&component, &login, &limits)?;
    let manifest = package.manifest()?;
    let digest = Registry::open(&address, &login)?.push(&package)?;
    writeln!(std::io::stdout(), "{} {}: pushed to {address}\n  {digest}", manifest.name, manifest.version)?;
    Ok(())
}
