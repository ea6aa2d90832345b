//! `tessera policy reference`: every key of a policy.

use std::io::Write;

/// How to print it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print a JSON Schema instead, for editors.
    #[arg(long)]
    json_schema: bool,
}

impl Args {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let text = if self.json_schema { policy::schema() } else { policy::reference() };
        writeln!(out, "{}", text.trim_end())?;
        Ok(())
    }
}
