//! `tessera audit tail`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use policy::audit::{CURRENT, Entry, Files, files};

use super::{Place, show};

/// How many, and whether to wait for more.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// How many.
    #[arg(short, long, value_name = "N", default_value_t = 20)]
    number: usize,
    /// Show new ones as they come.
    #[arg(short, long)]
    follow: bool,
}

/// How often it is looked whether there are new ones.
const LOOK: Duration = Duration::from_millis(200);

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let folder = args.place.folder()?;
    let names = files(&folder)?;
    if names.is_empty() {
        bail!("there is no audit log in {}: start the server, or say --data DIR", folder.path().display());
    }
    let mut newest: Vec<String> = Vec::new();
    let mut seen = 0;
    for name in names.iter().rev() {
        let bytes = folder.read(name)?.unwrap_or_default();
        let (lines, whole) = whole_lines(&bytes);
        if name == CURRENT {
            seen = whole;
        }
        let missing = args.number - newest.len();
        newest.extend(lines.iter().rev().take(missing).map(|line| shown(line)));
        if newest.len() >= args.number {
            break;
        }
    }
    let mut out = std::io::stdout();
    for line in newest.iter().rev() {
        writeln!(out, "{line}")?;
    }
    if args.follow { follow(&folder.path().join(CURRENT), seen, &mut out) } else { Ok(()) }
}

/// The whole lines of a file, and their length.
fn whole_lines(bytes: &[u8]) -> (Vec<&[u8]>, u64) {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    (bytes[..end].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect(), end as u64)
}

fn shown(line: &[u8]) -> String {
    match Entry::parse(line) {
        Ok(entry) => show::line(&entry),
        Err(_) => "(a line that is no record: see `tessera audit verify`)".into(),
    }
}

/// Shows what comes after so many bytes, for as long as somebody reads it.
fn follow(file: &Path, mut seen: u64, out: &mut impl Write) -> anyhow::Result<()> {
    let open = || File::open(file).with_context(|| format!("{} can't be read", file.display()));
    let mut current = open()?;
    loop {
        current.seek(SeekFrom::Start(seen))?;
        let mut bytes = Vec::new();
        current.read_to_end(&mut bytes)?;
        let (lines, whole) = whole_lines(&bytes);
        for line in lines {
            writeln!(out, "{}", shown(line))?;
        }
        seen += whole;
        // A full file gets another name, and the next one takes its place.
        let is_replaced = std::fs::metadata(file).is_ok_and(|now| current.metadata().is_ok_and(|was| was.ino() != now.ino()));
        if is_replaced && whole == 0 {
            (current, seen) = (open()?, 0);
        } else {
            std::thread::sleep(LOOK);
        }
    }
}
