//! `tessera new`: a plugin's folder, to begin with.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use policy::ComponentName;

use crate::plugin::Language;
use crate::plugin::template::{Kind, New};

/// What to make.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The plugin's name, which is its folder's as well.
    #[arg(value_name = "NAME")]
    name: ComponentName,
    /// What it is written in.
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    lang: Language,
    /// What it is for.
    #[arg(long, value_enum, value_name = "KIND", default_value = "service")]
    template: Kind,
    /// Folder of the Rust SDK; the one that this program was built beside, where it still is.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the folder is there already, or can't be written.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let sdk = match args.sdk {
        Some(folder) => {
            let there = folder.canonicalize().with_context(|| format!("there is no folder {}", folder.display()))?;
            ensure!(there.join("Cargo.toml").is_file(), "{} holds no Cargo.toml: it is not the Rust SDK", there.display());
            Some(there)
        }
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk").canonicalize().ok(),
    };
    let folder = PathBuf::from(args.name.as_str());
    let new = New { name: args.name, language: args.lang, kind: args.template, sdk };
    new.write(&folder)?;
    let name = folder.display();
    writeln!(std::io::stdout(), "{name}/ is a plugin in {}. Build it and run its cases:", new.language.name())?;
    writeln!(std::io::stdout(), "\n    cd {name}\n    tessera build\n    tessera check\n    tessera test")?;
    Ok(())
}
