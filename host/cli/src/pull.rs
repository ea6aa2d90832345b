//! Brings models into the models folder: from the first source that has the right files, checked, all or nothing.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, bail, ensure};
use policy::ModelName;

use crate::catalog::{Entry, Origin};
use digest::Pin;
use engine::Digest;
use progress::Progress;
use record::Record;
use source::{Format, Source};
use stage::Stage;

pub(crate) mod digest;
mod http;
mod hub;
pub(crate) mod local;
mod package;
mod pip;
pub(crate) mod progress;
pub(crate) mod record;
pub(crate) mod source;
mod stage;
#[cfg(test)]
mod test_server;
mod url;
mod wheel;

/// A model that someone asked for.
#[derive(Debug)]
pub(crate) struct Order {
    /// Its folder.
    pub(crate) name: ModelName,
    /// What was asked for: a name of the catalog, or a source.
    pub(crate) asked: String,
    /// Its licence, where known.
    pub(crate) licence: Option<String>,
    /// Where it can be had, best first.
    pub(crate) origins: Vec<Origin>,
    /// Files that it must have.
    pub(crate) pins: Vec<Pin>,
    /// What its only weights file must hash to.
    pub(crate) weights: Option<Digest>,
    /// Who asked for it.
    pub(crate) added_by: Option<String>,
    /// Whether to fetch it though it is there.
    pub(crate) is_forced: bool,
}

impl Order {
    /// Orders a model of the catalog.
    pub(crate) fn of_entry(entry: Entry) -> Self {
        let Entry { name, licence, files, sources, .. } = entry;
        let asked = name.to_string();
        let (weights, added_by, is_forced) = (None, None, false);
        Self { name, asked, licence: Some(licence), origins: sources, pins: files, weights, added_by, is_forced }
    }

    /// Orders what `source` has.
    ///
    /// # Errors
    /// When the source has no name for a model and `name` is none either.
    pub(crate) fn of_source(source: Source, name: Option<ModelName>) -> anyhow::Result<Self> {
        let name = name.map_or_else(|| source.name(), Ok)?;
        let asked = source.to_string();
        let origin = Origin { from: source, download_bytes: None, files: Vec::new() };
        let (licence, pins, weights, added_by, is_forced) = (None, Vec::new(), None, None, false);
        Ok(Self { name, asked, licence, origins: vec![origin], pins, weights, added_by, is_forced })
    }
}

/// What became of an order.
#[derive(Debug)]
pub(crate) enum Outcome {
    AlreadyThere(Record),
    Pulled(Record),
}

/// Brings the ordered model to its folder in `models`, unless it is there.
///
/// # Errors
/// When no source has it, with what each of them answered; when the folder is taken by something else.
pub(crate) fn pull(order: &Order, models: &Path, progress: Progress) -> anyhow::Result<Outcome> {
    let _turn = stage::lock(models, progress)?;
    let folder = models.join(order.name.as_str());
    if let Some(record) = present(order, &folder, progress)? {
        return Ok(Outcome::AlreadyThere(record));
    }
    let mut failures = String::new();
    for (index, origin) in order.origins.iter().enumerate() {
        progress.note(&format!("{}: pulling from {}", order.name, origin.from));
        match pull_from(order, origin, models, progress) {
            Ok(record) => return Ok(Outcome::Pulled(record)),
            Err(error) => {
                if index + 1 < order.origins.len() {
                    progress.note(&format!("{}: not from there: {error:#}", order.name));
                }
                failures += &format!("\n- {}: {error:#}", origin.from);
            }
        }
    }
    bail!(
        "no source gave {name}:{failures}\nWhat came stays for the next run. A copy from another machine will do: \
         tessera pull PATH --as {name}",
        name = order.name
    )
}

/// The record of the ordered model, if all of it is in `folder`: by size and recorded hash, without reading it.
fn present(order: &Order, folder: &Path, progress: Progress) -> anyhow::Result<Option<Record>> {
    if !folder.exists() {
        return Ok(None);
    }
    let shown = folder.display();
    let record = match Record::read(folder) {
        Err(error) if order.is_forced => {
            progress.note(&format!("{error:#}: pulling it again"));
            return Ok(None);
        }
        record => record?,
    };
    let record = record.with_context(|| {
        format!("{shown} is there and was not pulled by tessera: move it away, or choose another name with --as NAME")
    })?;
    let is_right = record.satisfies(&order.pins);
    // Someone may have put a model of their own under a name of the catalog: that is theirs to undo.
    let is_ours = record.asked == order.asked || (is_right && !order.pins.is_empty());
    ensure!(is_ours, "{shown} came from {}: choose another name with --as NAME, or delete it", record.asked);
    if order.is_forced {
        return Ok(None);
    }
    if !is_right || !record.is_whole(folder) {
        progress.note(&format!("{shown} is damaged or out of date: pulling it again"));
        return Ok(None);
    }
    if let Some(expected) = &order.weights {
        let (file, found) = record.weights()?;
        let found = &found.sha256;
        ensure!(found == expected, "{shown}/{file} is there with sha256 {found}, not {expected}: delete it to pull anew");
    }
    Ok(Some(record))
}

fn pull_from(order: &Order, origin: &Origin, models: &Path, progress: Progress) -> anyhow::Result<Record> {
    let mut stage = Stage::open(models, &order.name, &origin.from, progress)?;
    stage.pins = order.pins.iter().chain(&origin.files).cloned().collect();
    stage.download_bytes = origin.download_bytes;
    let revision = origin.from.fetch(&stage)?;
    let files = engine::contents(&stage.files).with_context(|| format!("cannot read {}", stage.files.display()))?;
    let format = files.keys().find_map(|path| Format::of(path)).context("it holds no .gguf, .safetensors or .onnx file")?;
    let record = Record {
        name: order.name.clone(),
        format,
        asked: order.asked.clone(),
        origin: engine::Origin {
            source: origin.from.to_string(),
            revision,
            licence: order.licence.clone(),
            added_by: order.added_by.clone(),
            added_unix_s: unix_s(),
        },
        files,
    };
    if let Err(error) = verify(&record, order.weights.as_ref(), &stage) {
        stage.forget()?;
        return Err(error);
    }
    record.write(&stage.files)?;
    stage.install(&models.join(order.name.as_str()))?;
    Ok(record)
}

/// Now, in seconds of Unix time.
pub(crate) fn unix_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Checks what was fetched against what is known; a file that is wrong is deleted.
fn verify(record: &Record, weights: Option<&Digest>, stage: &Stage) -> anyhow::Result<()> {
    for pin in &stage.pins {
        let found = record.files.get(&pin.path).with_context(|| format!("it lacks {}", pin.path))?;
        digest::expect(&stage.files.join(&pin.path), &pin.sha256, &found.sha256)?;
    }
    if let Some(expected) = weights {
        let (file, found) = record.weights()?;
        digest::expect(&stage.files.join(file), expected, &found.sha256)?;
    }
    let weights = record.files.keys().filter_map(|path| Format::of(path).map(|format| (path, format)));
    weights.into_iter().try_for_each(|(path, format)| verify_head(&stage.files.join(path), format))
}

/// Catches what is often stored in place of weights: an error page, or the pointer of a clone without Git LFS.
fn verify_head(path: &Path, format: Format) -> anyhow::Result<()> {
    let mut head = Vec::new();
    let reading = || format!("cannot read {}", path.display());
    File::open(path).with_context(reading)?.take(64).read_to_end(&mut head).with_context(reading)?;
    if Format::of_head(&head) == Some(format) {
        return Ok(());
    }
    fs::remove_file(path).with_context(|| format!("cannot delete {}", path.display()))?;
    let file = path.file_name().unwrap_or_default().display();
    ensure!(!head.starts_with(b"version https://git-lfs"), "{file} is a Git LFS pointer: run `git lfs pull` there first");
    bail!("{file} does not begin as a {format:?} file does, so it was deleted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_server::{Reply, Server};

    const WEIGHTS: &[u8] = b"GGUF and then some weights";

    fn order(urls: &[String], pinned: Option<&[u8]>) -> anyhow::Result<Order> {
        let origin = |url: &String| -> anyhow::Result<Origin> {
            Ok(Origin { from: url.parse()?, download_bytes: None, files: Vec::new() })
        };
        let pin = |bytes: &[u8]| Pin { path: "model.gguf".to_owned(), bytes: bytes.len() as u64, sha256: Digest::of(bytes) };
        Ok(Order {
            name: "m".parse()?,
            asked: "m-of-the-catalog".to_owned(),
            licence: Some("Apache-2.0".to_owned()),
            origins: urls.iter().map(origin).collect::<anyhow::Result<_>>()?,
            pins: pinned.map(pin).into_iter().collect(),
            weights: None,
            added_by: Some("somebody".to_owned()),
            is_forced: false,
        })
    }

    fn serve(bytes: &'static [u8]) -> anyhow::Result<(Server, String)> {
        let server = Server::start(move |_| Reply::whole(bytes))?;
        let url = server.url("/m.gguf");
        Ok((server, url))
    }

    #[test]
    fn second_pull_is_already_there_and_asks_nobody() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let (server, url) = serve(WEIGHTS)?;
        let order = order(&[url], Some(WEIGHTS))?;
        assert!(matches!(pull(&order, models.path(), Progress::Silent)?, Outcome::Pulled(_)));
        assert!(matches!(pull(&order, models.path(), Progress::Silent)?, Outcome::AlreadyThere(_)));
        assert_eq!(server.requests().len(), 1);
        let record = Record::read(&models.path().join("m"))?.context("a record")?;
        assert_eq!(record.files["model.gguf"].sha256, Digest::of(WEIGHTS));
        assert_eq!(record.origin.licence.as_deref(), Some("Apache-2.0"));
        assert_eq!(record.origin.added_by.as_deref(), Some("somebody"));
        Ok(())
    }

    #[test]
    fn source_with_wrong_content_gives_way_to_the_next() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let (_bad, bad) = serve(b"GGUF and then some viruses")?;
        let (_good, good) = serve(WEIGHTS)?;
        let Outcome::Pulled(record) = pull(&order(&[bad, good.clone()], Some(WEIGHTS))?, models.path(), Progress::Silent)?
        else {
            bail!("nothing was there before");
        };
        assert_eq!(record.origin.source, good);
        Ok(())
    }

    #[test]
    fn wrong_content_everywhere_leaves_no_model_and_names_the_hashes() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let (_server, url) = serve(b"GGUF and then some viruses")?;
        let error = pull(&order(&[url], Some(WEIGHTS))?, models.path(), Progress::Silent).expect_err("wrong");
        let error = format!("{error:#}");
        assert!(error.contains("model.gguf has the wrong content"), "{error}");
        assert!(error.contains(&Digest::of(WEIGHTS).to_string()), "{error}");
        assert!(!models.path().join("m").exists());
        Ok(())
    }

    #[test]
    fn damaged_model_is_pulled_again() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let (_server, url) = serve(WEIGHTS)?;
        let order = order(&[url], Some(WEIGHTS))?;
        pull(&order, models.path(), Progress::Silent)?;
        fs::write(models.path().join("m/model.gguf"), "GGUF")?;
        assert!(matches!(pull(&order, models.path(), Progress::Silent)?, Outcome::Pulled(_)));
        assert_eq!(fs::read(models.path().join("m/model.gguf"))?, WEIGHTS);
        Ok(())
    }

    #[test]
    fn altered_file_of_the_same_size_is_replaced_by_force_alone() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let (_server, url) = serve(WEIGHTS)?;
        let order = order(&[url], Some(WEIGHTS))?;
        pull(&order, models.path(), Progress::Silent)?;
        let file = models.path().join("m/model.gguf");
        fs::write(&file, WEIGHTS.to_ascii_uppercase())?;
        assert!(matches!(pull(&order, models.path(), Progress::Silent)?, Outcome::AlreadyThere(_)));
        let forced = Order { is_forced: true, ..order };
        assert!(matches!(pull(&forced, models.path(), Progress::Silent)?, Outcome::Pulled(_)));
        assert_eq!(fs::read(file)?, WEIGHTS);
        fs::write(models.path().join("m").join(engine::RECORD), "{")?;
        assert!(matches!(pull(&forced, models.path(), Progress::Silent)?, Outcome::Pulled(_)));
        Ok(())
    }

    #[test]
    fn folder_of_someone_else_is_not_touched() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        fs::create_dir(models.path().join("m"))?;
        let (_server, url) = serve(WEIGHTS)?;
        let error = pull(&order(&[url], None)?, models.path(), Progress::Silent).expect_err("taken").to_string();
        assert!(error.contains("--as NAME"), "{error}");
        Ok(())
    }

    #[test]
    fn model_of_ones_own_under_a_known_name_is_not_replaced() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let (_own, own) = serve(b"GGUF of my own")?;
        let (_known, known) = serve(WEIGHTS)?;
        let mine = Order { asked: own.clone(), ..order(std::slice::from_ref(&own), None)? };
        pull(&mine, models.path(), Progress::Silent)?;
        let error = pull(&order(&[known], Some(WEIGHTS))?, models.path(), Progress::Silent).expect_err("taken");
        assert!(error.to_string().contains(&format!("came from {own}")), "{error}");
        Ok(())
    }

    #[test]
    fn page_in_place_of_weights_is_no_model() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let (_server, url) = serve(b"<html>please log in</html>")?;
        let error = pull(&order(&[url], None)?, models.path(), Progress::Silent).expect_err("a page").to_string();
        assert!(error.contains("does not begin as a Gguf file"), "{error}");
        Ok(())
    }

    #[test]
    fn weights_given_by_hash_are_checked() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let (_server, url) = serve(WEIGHTS)?;
        let wrong = Order { weights: Some(Digest::of(b"other")), ..order(std::slice::from_ref(&url), None)? };
        assert!(pull(&wrong, models.path(), Progress::Silent).is_err());
        let right = Order { weights: Some(Digest::of(WEIGHTS)), ..order(&[url], None)? };
        assert!(matches!(pull(&right, models.path(), Progress::Silent)?, Outcome::Pulled(_)));
        assert!(pull(&wrong, models.path(), Progress::Silent).is_err(), "the one that is there is another");
        Ok(())
    }
}
