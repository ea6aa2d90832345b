//! `tessera wit`: the reference of the host's interfaces.

use std::io::Write;

/// Runs the command.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn run() -> anyhow::Result<()> {
    Ok(write!(std::io::stdout(), "{}", crate::plugin::reference::markdown()?)?)
}
