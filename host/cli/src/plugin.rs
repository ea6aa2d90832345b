//! A plugin as its author has it: a folder with `component.toml`, sources, cases, and the policy that the operator is asked for.

pub(crate) mod build;
pub(crate) mod case;
pub(crate) mod docs;
pub(crate) mod fake;
pub(crate) mod files;
pub(crate) mod look;
pub(crate) mod patch;
pub(crate) mod record;
pub(crate) mod reference;
pub(crate) mod serve;
pub(crate) mod template;
pub(crate) mod toolchain;
pub(crate) mod wit;
pub(crate) mod world;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use runtime::Manifest;

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    /// Rust, built by cargo.
    Rust,
    /// JavaScript, built by componentize-qjs.
    #[value(name = "js", alias = "javascript")]
    JavaScript,
    /// Python, built by componentize-py.
    #[value(alias = "py")]
    Python,
}

impl Language {
    /// All of them, with the file that tells each.
    const MARKERS: [(Language, &str); 3] =
        [(Language::Rust, "Cargo.toml"), (Language::JavaScript, "package.json"), (Language::Python, "pyproject.toml")];

    /// The language of the sources in a folder.
    ///
    /// # Errors
    /// When no file tells it.
    pub(crate) fn of(folder: &Path) -> anyhow::Result<Language> {
        let found = Language::MARKERS.into_iter().find(|(_, marker)| folder.join(marker).is_file());
        let Some((language, _)) = found else {
            bail!("{} has neither Cargo.toml, package.json nor pyproject.toml: nothing tells what to build", folder.display());
        };
        Ok(language)
    }

    /// Its name as people write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Language::Rust => "Rust",
            Language::JavaScript => "JavaScript",
            Language::Python => "Python",
        }
    }
}

/// A plugin's folder.
#[derive(Debug)]
pub(crate) struct Plugin {
    /// Where it lies, as an absolute path.
    pub(crate) folder: PathBuf,
    /// What `component.toml` says.
    pub(crate) manifest: Manifest,
}

impl Plugin {
    /// Reads `component.toml` of a folder.
    ///
    /// # Errors
    /// When it is not there or malformed.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Plugin> {
        let folder = folder.canonicalize().with_context(|| format!("there is no folder {}", folder.display()))?;
        let file = folder.join("component.toml");
        let text = std::fs::read_to_string(&file);
        let text = text.with_context(|| format!("{} can't be read: `tessera new` makes a plugin", file.display()))?;
        let manifest = toml::from_str(&text).with_context(|| file.display().to_string())?;
        Ok(Plugin { folder, manifest })
    }

    /// The component's name.
    pub(crate) fn name(&self) -> &str {
        self.manifest.name.as_str()
    }

    /// The folder for all that is made of the sources.
    pub(crate) fn made(&self) -> PathBuf {
        self.folder.join("build")
    }

    /// `component.wasm`.
    pub(crate) fn code(&self) -> PathBuf {
        self.folder.join("component.wasm")
    }

    /// `policy.toml`: what the author asks the operator for; by default nothing.
    ///
    /// # Errors
    /// When it is there and can't be read.
    pub(crate) fn policy(&self) -> anyhow::Result<String> {
        let file = self.folder.join("policy.toml");
        match std::fs::read_to_string(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok("schema = 1\n".into()),
            read => read.with_context(|| format!("{} can't be read", file.display())),
        }
    }
}
