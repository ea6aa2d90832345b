//! What `tessera new` writes: the files of a language and a kind, with the plugin's name filled in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use policy::ComponentName;

use super::Language;
use super::files::TEMPLATES;

/// Length of a plugin's name: it is part of file names and of its WIT package's name.
const NAME_LENGTH_MAX: usize = 64;

/// What a plugin is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Serves HTTP: JSON in and out, streamed answers.
    Service,
    /// Looks at what goes into other components and comes out of them.
    Guard,
    /// Gives typed functions: each is an HTTP endpoint and an MCP tool.
    Tool,
    /// Serves HTTP in several steps: embeds, sorts, writes.
    Pipeline,
}

/// A plugin to be made.
#[derive(Debug)]
pub(crate) struct New {
    pub(crate) name: ComponentName,
    pub(crate) language: Language,
    pub(crate) kind: Kind,
    /// The Rust SDK's folder; none takes the published version.
    pub(crate) sdk: Option<PathBuf>,
}

impl New {
    /// Writes the plugin's folder, which must not be there yet.
    ///
    /// # Errors
    /// When the name is none that a WIT package can have, or a file can't be written.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let name = self.name.as_str();
        ensure!(
            is_kebab_case(name),
            "`{name}` is no name for a plugin: use up to {NAME_LENGTH_MAX} of the characters a-z, 0-9 and single - between words that begin \
             with a letter"
        );
        ensure!(!folder.exists(), "{} is there already: choose another name, or delete it", folder.display());
        for (path, text) in self.files() {
            let file = folder.join(path);
            let parent = file.parent().context("a file has a folder")?;
            std::fs::create_dir_all(parent).with_context(|| format!("{} can't be made", parent.display()))?;
            std::fs::write(&file, self.filled(text)).with_context(|| format!("{} can't be written", file.display()))?;
        }
        Ok(())
    }

    /// Path and text of each file; what is of the language and the kind goes before what several share.
    fn files(&self) -> BTreeMap<&'static str, &'static str> {
        let language = match self.language {
            Language::Rust => "rust",
            Language::JavaScript => "javascript",
            Language::Python => "python",
        };
        let kind = match self.kind {
            Kind::Service => "service",
            Kind::Guard => "guard",
            Kind::Tool => "tool",
            Kind::Pipeline => "pipeline",
        };
        let folders = [format!("common/{kind}/"), format!("{language}/common/"), format!("{language}/{kind}/")];
        let mut files = BTreeMap::new();
        for folder in &folders {
            for (path, text) in TEMPLATES {
                if let Some(path) = path.strip_prefix(folder.as_str()) {
                    files.insert(if path == "gitignore" { ".gitignore" } else { path }, *text);
                }
            }
        }
        files.extend(TEMPLATES.iter().filter_map(|(path, text)| (*path == "common/README.md").then_some(("README.md", *text))));
        files
    }

    fn filled(&self, text: &str) -> String {
        let sdk = match &self.sdk {
            Some(folder) => format!("{{ path = {:?} }}", folder.display().to_string()),
            None => format!("{:?}", env!("CARGO_PKG_VERSION")),
        };
        text.replace("{{name}}", self.name.as_str())
            .replace("{{name_snake}}", &self.name.as_str().replace('-', "_"))
            .replace("{{language}}", self.language.name())
            .replace("\"{{sdk}}\"", &sdk)
    }
}

/// Whether a name is one that a WIT package can have.
fn is_kebab_case(name: &str) -> bool {
    let is_word = |word: &str| {
        let is_plain = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        is_plain && word.starts_with(|c: char| c.is_ascii_lowercase())
    };
    name.len() <= NAME_LENGTH_MAX && name.split('-').all(is_word)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use runtime::Manifest;

    use super::*;

    fn new(name: &str, language: Language, kind: Kind) -> New {
        New { name: name.parse().expect("a name"), language, kind, sdk: None }
    }

    #[test]
    fn every_template_is_a_plugin_of_its_name() {
        for language in Language::value_variants() {
            for kind in Kind::value_variants() {
                let parent = tempfile::tempdir().expect("a folder");
                let folder = parent.path().join("my-plugin");
                new("my-plugin", *language, *kind).write(&folder).expect("writes");
                let manifest = std::fs::read_to_string(folder.join("component.toml")).expect("a manifest");
                let manifest: Manifest = toml::from_str(&manifest).expect("a good manifest");
                assert_eq!((manifest.name.as_str(), manifest.guard.is_some()), ("my-plugin", *kind == Kind::Guard));
                assert_eq!(Language::of(&folder).expect("a language"), *language);
                assert!(folder.join("cases").is_dir() && folder.join(".gitignore").is_file());
                let policy = std::fs::read_to_string(folder.join("policy.toml")).expect("a policy");
                let policy = policy::PolicyFile::parse(Path::new("policy.toml"), &policy).expect("a good policy");
                assert!(manifest.capabilities.iter().all(|capability| policy.has_section(capability)), "{language:?} {kind:?}");
                let filled = new("my-plugin", *language, *kind).files();
                for (path, text) in filled {
                    let text = new("my-plugin", *language, *kind).filled(text);
                    assert!(!text.contains("{{"), "{path} of {language:?} {kind:?} has a place that is not filled in");
                }
            }
        }
    }

    #[test]
    fn a_folder_that_is_there_is_not_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = new("a", Language::Rust, Kind::Service).write(folder.path()).expect_err("refused").to_string();
        assert!(refused.contains("there already"), "{refused}");
    }

    #[test]
    fn a_name_is_one_that_wit_takes() {
        assert!(is_kebab_case("my-plugin2"));
        for bad in ["My", "a_b", "a--b", "-a", "a-", "2a", "a-2", ""] {
            assert!(!is_kebab_case(bad), "{bad}");
        }
    }
}
