//! `tessera audit`: who did what, and whether the log that says so is as it was written. Each works while the server runs.

mod query;
mod show;
mod tail;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use policy::audit::Folder;
use runtime::{AUDIT_FOLDER, ServerConfig};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Check that no record was changed, taken out, put in, moved or cut off: 0 if none was, 1 if one was, 2 after a crash.
    Verify(verify::Args),
    /// Show the newest records.
    Tail(tail::Args),
    /// Show the records that fit.
    Query(query::Args),
}

/// Where the log is.
#[derive(clap::Args)]
pub(crate) struct Place {
    /// Settings file; `tessera.toml` is read if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server's data folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Place {
    /// The log's folder.
    fn folder(&self) -> anyhow::Result<Folder> {
        Ok(Folder::new(&self.data()?.join(AUDIT_FOLDER)))
    }

    /// The server's settings.
    pub(super) fn settings(&self) -> anyhow::Result<ServerConfig> {
        super::serve::read_config(self.config.as_deref())
    }

    /// The server's data folder.
    pub(super) fn data(&self) -> anyhow::Result<PathBuf> {
        match &self.data {
            Some(data) => Ok(data.clone()),
            None => Ok(self.settings()?.data),
        }
    }
}

pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Verify(args) => verify::run(args),
        Command::Tail(args) => tail::run(args).map(|()| ExitCode::SUCCESS),
        Command::Query(args) => query::run(args).map(|()| ExitCode::SUCCESS),
    }
}
