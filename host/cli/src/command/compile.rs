//! `tessera compile`: a component's code from standard input to standard output. The server starts it, and kills it where it takes
//! too long; it is not for people.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Context;
use runtime::ServerConfig;

/// The settings of the server that change what is compiled.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    stack_bytes_max: usize,
    #[arg(long)]
    component_bytes_max: u64,
    #[arg(long)]
    compile_ms_max: u64,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let Args { stack_bytes_max, component_bytes_max, compile_ms_max } = args;
    // The server may be gone by then, and nobody there to end this.
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(compile_ms_max));
        std::process::exit(1);
    });
    let config = ServerConfig { stack_bytes_max, component_bytes_max, ..ServerConfig::default() };
    // The server prints the reason after the component's name.
    runtime::compile_component(&config).map_err(|error| anyhow::anyhow!("{error:#}"))
}

/// The command that compiles for a server with these settings.
pub(crate) fn command(config: &ServerConfig) -> anyhow::Result<Vec<OsString>> {
    let program = std::env::current_exe().context("where this program is")?;
    let [stack, component] = [config.stack_bytes_max as u64, config.component_bytes_max].map(|number| number.to_string());
    let time = config.compile_ms_max.to_string();
    let arguments = ["compile", "--stack-bytes-max", &stack, "--component-bytes-max", &component, "--compile-ms-max", &time];
    Ok(std::iter::once(program.into()).chain(arguments.map(OsString::from)).collect())
}
