//! `tessera build`: a plugin's sources to `component.wasm`.

use std::io::Write;
use std::path::PathBuf;

use crate::plugin::Plugin;
use crate::plugin::build::{Built, build};

/// Which plugin.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The plugin's folder.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When a tool is missing, or the sources do not build.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let plugin = Plugin::open(&args.folder)?;
    let built = build(&plugin)?;
    writeln!(std::io::stdout(), "{}", told(&plugin, &built))?;
    Ok(())
}

/// One line on what was built.
pub(crate) fn told(plugin: &Plugin, built: &Built) -> String {
    let changed = if built.is_new { "" } else { ", the same as before" };
    let megabytes = built.bytes as f64 / 1e6;
    format!("{}: component.wasm, {megabytes:.1} MB in {:.1} s{changed}", plugin.name(), built.took.as_secs_f64())
}
