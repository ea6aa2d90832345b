//! `tessera audit verify`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use policy::audit::{Checks, Folder, Report, verify};

use super::Place;

/// Which log, and what to hold it against.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// The log's public key, kept elsewhere: without it the one beside the log is believed.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// A head that was shown before: the log may not be older.
    #[arg(long, value_name = "N", default_value_t = 0)]
    head: u64,
    /// Files of one log, in place of all of a data folder: they may begin anywhere.
    files: Vec<PathBuf>,
}

/// A server that writes may be in the middle of a line: how often to look again, and after how long.
const LOOKS: u32 = 5;
const BETWEEN: Duration = Duration::from_millis(100);

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (folder, only) = match args.files.first() {
        None => (args.place.folder()?, Vec::new()),
        Some(first) => {
            let folder = first.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            (Folder::new(folder), names(&args.files)?)
        }
    };
    let public_key = args.public_key.as_deref().map(read_key).transpose()?;
    let checks = Checks { public_key, head_min: args.head, only };
    let read = || verify(&folder, &checks).with_context(|| format!("{} can't be read", folder.path().display()));
    let mut report = read()?;
    for _ in 1..LOOKS {
        if report.torn.is_none() {
            break;
        }
        std::thread::sleep(BETWEEN);
        report = read()?;
    }
    print(&mut std::io::stdout(), &report)?;
    Ok(match (report.findings.is_empty(), &report.torn) {
        (false, _) => ExitCode::from(1),
        (true, Some(_)) => ExitCode::from(2),
        (true, None) => ExitCode::SUCCESS,
    })
}

/// The names of files of one folder.
fn names(files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    if files.iter().any(|file| file.parent() != files[0].parent()) {
        bail!("the files are not of one folder: verify each folder by itself");
    }
    let name = |file: &PathBuf| {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        name.filter(|_| file.is_file()).with_context(|| format!("{} is no file", file.display()))
    };
    files.iter().map(name).collect()
}

fn read_key(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?;
    Ok(text.trim().to_owned())
}

fn print(out: &mut impl Write, report: &Report) -> anyhow::Result<()> {
    for found in &report.findings {
        match found.line {
            0 => writeln!(out, "{}: {}", found.file, found.what)?,
            line => writeln!(out, "{}:{line}: record {}: {}", found.file, found.seq, found.what)?,
        }
    }
    if let Some(torn) = &report.torn {
        let (file, bytes, after) = (&torn.file, torn.bytes, torn.after);
        writeln!(out, "{file}: {bytes} bytes after record {after} are no whole record, as a crash leaves them")?;
    }
    for one in &report.recovered {
        writeln!(
            out,
            "record {}: {} bytes of an unfinished record were cut off after a crash, {}",
            one.seq, one.bytes, one.time
        )?;
    }
    if report.lost > 0 {
        writeln!(out, "{} records could not be written, as the log itself says", report.lost)?;
    }
    let Report { records, files, checkpoints, head, unsigned, .. } = report;
    let span = report.span.as_ref().map(|(first, last)| format!(", {first} to {last}")).unwrap_or_default();
    writeln!(out, "log {}: {records} records in {files} files{span}", report.log)?;
    writeln!(out, "head {head}, {checkpoints} checkpoints, {unsigned} records after the last one")?;
    match (report.findings.len(), &report.torn) {
        (0, None) => writeln!(out, "clean: nothing was changed since it was written")?,
        (0, Some(_)) => writeln!(out, "whole but for its end: the server mends that when it starts")?,
        (count, _) => writeln!(out, "TAMPERED: {count} findings")?,
    }
    Ok(())
}
