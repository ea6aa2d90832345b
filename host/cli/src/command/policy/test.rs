//! `tessera policy test`: whether policies still answer as the cases in `policies/tests/` say.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use policy::{Case, Expect};

use super::{Places, Setup};

/// Which tests.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files with cases; those in the folder `tests` of the policies without one.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    places: Places,
}

impl Args {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let setup = self.places.setup()?;
        let files = if self.files.is_empty() { all(&setup.policies.folder().join("tests"))? } else { self.files.clone() };
        let (mut count, mut bad) = (0, 0);
        for file in files {
            let text = std::fs::read_to_string(&file).with_context(|| format!("{} can't be read", file.display()))?;
            for case in Case::parse(&file, &text)? {
                let failure = failure(&setup, &case)?;
                count += 1;
                bad += usize::from(failure.is_some());
                let (mark, expect) = (if failure.is_some() { "BAD" } else { "ok " }, expect(&case));
                writeln!(out, "{mark} {}  {} {}: {expect}", case.place, case.component, case.question)?;
                if let Some(failure) = failure {
                    writeln!(out, "    {failure}")?;
                }
            }
        }
        ensure!(bad == 0, "{bad} of {count} cases are not as expected, see above");
        writeln!(out, "\n{count} cases are as expected")?;
        Ok(())
    }
}

fn expect(case: &Case) -> &'static str {
    match case.expect {
        Expect::Allow => "allow",
        Expect::Deny => "deny",
    }
}

/// What is wrong with the answer to a case. A component that is not there wants nothing, unless the case says what.
fn failure(setup: &Setup, case: &Case) -> anyhow::Result<Option<String>> {
    let wanted = match &case.capabilities {
        Some(capabilities) => capabilities.clone(),
        None => setup.manifest(case.component.as_str())?.map(|manifest| manifest.wanted()).unwrap_or_default(),
    };
    Ok(case.run(&setup.snapshot(&case.component, &wanted)?).failure)
}

/// The files with cases of a folder, in order of name.
fn all(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))?;
    let files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()?;
    let mut files: Vec<PathBuf> =
        files.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "toml")).collect();
    files.sort();
    ensure!(!files.is_empty(), "there are no cases in {}", folder.display());
    Ok(files)
}
