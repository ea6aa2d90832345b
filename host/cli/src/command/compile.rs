//! `tessera compile`: a component's code from standard input to standard output. The server starts it, and kills it where it takes
//! too long; it is not for people.

use std::ffi::OsString;

use anyhow::Context;
use runtime::ServerConfig;

/// The settings of the server that change what is compiled.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    stack_bytes_max: usize,
    #[arg(long)]
    component_bytes_max: u64,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let Args { stack_bytes_max, component_bytes_max } = args;
    let config = ServerConfig { stack_bytes_max, component_bytes_max, ..ServerConfig::default() };
    // The server prints the reason after the component's name.
    runtime::compile_component(&config).map_err(|error| anyhow::anyhow!("{error:#}"))
}

/// The command that compiles for a server with these settings.
pub(crate) fn command(config: &ServerConfig) -> anyhow::Result<Vec<OsString>> {
    let program = std::env::current_exe().context("where this program is")?;
    let (stack, component) = (config.stack_bytes_max.to_string(), config.component_bytes_max.to_string());
    let arguments = ["compile", "--stack-bytes-max", &stack, "--component-bytes-max", &component];
    Ok(std::iter::once(program.into()).chain(arguments.map(OsString::from)).collect())
}
