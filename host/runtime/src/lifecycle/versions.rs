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
    pub(crate) fn keep_all<'a>(&self, components: impl IntoIterator<Item = &'a ComponentFiles>, sandbox: &Sandbox) {
        let runs = sandbox.record.runs().unwrap_or_default(); // that it can't be read was told as it was to be written
        for files in components {
            let name = files.manifest.name.as_str();
            if let Err(error) = self.keep(files, runs.get(name).map_or(&[], Vec::as_slice)) {
                tracing::warn!(component = name, %error, "this version can't be kept: there is no going back to it");
            }
        }
    }

    /// Keeps what runs from now on, and forgets what ran too long ago; `runs` are all that are known, the latest last.
    ///
    /// # Errors
    /// When it can't be written.
    fn keep(&self, files: &ComponentFiles, runs: &[Run]) -> Result<()> {
        let of_component = self.folder.join(files.manifest.name.as_str());
        let kept = of_component.join(files.identity.id());
        if !kept.is_dir() {
            crate::component::make_private(&of_component)?;
            let draft = of_component.join(format!(".{}.{}", files.identity.id(), std::process::id()));
            drop(std::fs::remove_dir_all(&draft)); // of a server that was killed
            std::fs::create_dir(&draft)?;
            let Contents { manifest, code, signature } = &files.contents;
            let all =
                [("component.toml", manifest.as_ref()), ("component.sig", signature.as_ref()), ("component.wasm", Some(code))];
            for (name, bytes) in all {
                bytes.map_or(Ok(()), |bytes| std::fs::write(draft.join(name), bytes))?;
            }
            std::fs::rename(draft, &kept)?;
        }
        let latest: Vec<String> = runs.iter().rev().take(self.kept_max).map(Run::id).collect();
        for entry in std::fs::read_dir(of_component)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !latest.contains(&name) && name != files.identity.id() && !name.starts_with('.') {
                std::fs::remove_dir_all(kept.with_file_name(name))?;
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
