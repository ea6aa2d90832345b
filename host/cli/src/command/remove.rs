//! `tessera remove`, `tessera disable` and `tessera enable`: a component goes, or is turned off and on.

use std::io::Write;

use super::admin::ServerArgs;

/// Which component.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The component.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Takes it out of the server's folder; requests inside finish, and its versions are kept.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    args.server.send("DELETE", &format!("/components/{}", args.name), None)?;
    Ok(writeln!(std::io::stdout(), "`{}` is removed; `tessera rollback {0}` brings it back", args.name)?)
}

/// Turns it off, until it is enabled again.
pub(crate) fn disable(args: Args) -> anyhow::Result<()> {
    args.server.send("POST", &format!("/components/{}/disable", args.name), None)?;
    Ok(writeln!(std::io::stdout(), "`{}` is disabled; its files stay", args.name)?)
}

/// Turns it on again.
pub(crate) fn enable(args: Args) -> anyhow::Result<()> {
    args.server.send("POST", &format!("/components/{}/enable", args.name), None)?;
    Ok(writeln!(std::io::stdout(), "`{}` serves", args.name)?)
}
