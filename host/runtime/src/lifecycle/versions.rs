//! The versions of components that have run, kept to go back to: `versions/NAME/ID` in the data folder.

use std::io::{Error, Result};
use std::path::{Path, PathBuf};

use crate::component::LoadError;
use crate::component::files::{ComponentFiles, Contents};
use crate::component::record::Run;
use crate::sandbox::Sandbox;

/// The folder of kept versions.
pub(crate) struct Versions {
    folder: PathBuf,
    /// The latest of each component that are kept.
    kept_max: usize,
}

impl Versions {
    /// Those in a data folder, which need not be there yet.
    pub(crate) fn at(data: &Path, kept_max: usize) -> Versions {
        Versions { folder: data.join("versions"), kept_max }
    }

    /// Keeps what runs from now on. Where that fails it runs all the same.
    pub(crate) fn keep(&self, files: &ComponentFiles) {
        if let Err(error) = self.write(files) {
            let component = &files.manifest.name;
            tracing::warn!(%component, %error, "this version can't be kept: there is no going back to it");
        }
    }

    fn write(&self, files: &ComponentFiles) -> Result<()> {
        let of_component = self.folder.join(files.manifest.name.as_str());
        let kept = of_component.join(files.identity.id());
        let draft = of_component.join(format!(".{}.{}", files.identity.id(), std::process::id()));
        let Contents { manifest, code, signature } = &files.contents;
        if kept.is_dir() {
            // The same may have been signed again, by another key.
            return match signature {
                Some(signature) => {
                    std::fs::write(&draft, signature).and_then(|()| std::fs::rename(draft, kept.join("component.sig")))
                }
                None => Ok(()),
            };
        }
        crate::component::make_private(&of_component)?;
        drop(std::fs::remove_dir_all(&draft)); // of a server that was killed
        std::fs::create_dir(&draft)?;
        let all =
            [("component.toml", manifest.as_ref()), ("component.sig", signature.as_ref()), ("component.wasm", Some(code))];
        for (name, bytes) in all {
            bytes.map_or(Ok(()), |bytes| std::fs::write(draft.join(name), bytes))?;
        }
        std::fs::rename(draft, &kept)
    }

    /// Forgets what of these components ran too long ago.
    pub(crate) fn prune<'a>(&self, sandbox: &Sandbox, components: impl IntoIterator<Item = &'a str>) {
        let Ok(runs) = sandbox.record.runs() else { return }; // that it can't be read was told as it was to be written
        for component in components {
            let latest = runs.get(component).into_iter().flat_map(|runs| runs.iter().rev().take(self.kept_max).map(Run::id));
            let latest: Vec<String> = latest.collect();
            if let Err(error) = self.retain(component, &latest) {
                tracing::warn!(component, %error, "old versions can't be deleted");
            }
        }
    }

    fn retain(&self, component: &str, latest: &[String]) -> Result<()> {
        for entry in std::fs::read_dir(self.folder.join(component))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !latest.contains(&name) && !name.starts_with('.') {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Whether a version can be gone back to.
    pub(crate) fn has(&self, component: &str, run: &Run) -> bool {
        self.folder.join(component).join(run.id()).is_dir()
    }

    /// The files of a version.
    ///
    /// # Errors
    /// When they are not there, or not what ran.
    pub(crate) fn read(&self, component: &str, run: &Run, code_bytes_max: u64) -> std::result::Result<Contents, LoadError> {
        let folder = self.folder.join(component).join(run.id());
        let code = folder.join("component.wasm");
        let is_bare = !folder.join("component.toml").is_file();
        let contents = Contents::read(if is_bare { &code } else { &folder }, code_bytes_max)?;
        match run.is_of(&contents) {
            true => Ok(contents),
            false => {
                let cause = Error::other("it is not what ran under that version");
                Err(LoadError::Unreadable { file: folder, cause })
            }
        }
    }
}
