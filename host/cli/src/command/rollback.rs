//! `tessera rollback`: goes back to a version of a component that has run before.

use std::io::Write;

use super::admin::ServerArgs;

/// Which component, and to what.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The component.
    #[arg(value_name = "NAME")]
    name: String,
    /// The version's id, as `tessera list NAME` shows; without it the version before the one that serves.
    #[arg(long, value_name = "ID")]
    to: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let to = args.to.map_or_else(String::new, |id| format!("?to={id}"));
    let report = args.server.send("POST", &format!("/components/{}/rollback{to}", args.name), None)?;
    let text = |key: &str| report[key].as_str().unwrap_or("-").to_owned();
    Ok(writeln!(std::io::stdout(), "`{}` {} serves again ({})", text("name"), text("version"), text("id"))?)
}
