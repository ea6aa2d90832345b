//! The folder of components: what lies in it, and how something is put there.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Error, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};

use policy::ComponentName;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::component::LoadError;
use crate::component::files::{ComponentFiles, Contents, name_of_path};
use crate::watch::{Stamp, stamp};

/// The files of a component's folder, in the order in which they are put there.
const FILES: [&str; 3] = ["component.sig", "component.toml", "component.wasm"];

/// What the host puts into a component's folder, or finds there without minding it; a folder with more is somebody's work.
const HARMLESS: [&str; 5] = ["component.sig", "component.toml", "component.wasm", "policy.toml", "README.md"];

/// A component as it lies in the folder: a folder with a `component.toml`, or a file `NAME.wasm` or `NAME.tessera`.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// The component's name.
    pub(crate) name: String,
    path: PathBuf,
    /// What its files were when it was looked at.
    pub(crate) stamps: Stamps,
    /// Whether there is a folder and a file of that name.
    is_twice: bool,
}

/// Tells whether a component's files have changed.
pub(crate) type Stamps = [Stamp; 4];

impl Source {
    fn at(name: String, path: PathBuf) -> Source {
        let stamps = match path.is_dir() {
            true => [&path.join(FILES[0]), &path.join(FILES[1]), &path.join(FILES[2])].map(|file| stamp(file)),
            false => [stamp(&path), None, None],
        };
        let stamps = [stamps[0], stamps[1], stamps[2], None];
        Source { name, path, stamps, is_twice: false }
    }

    /// Reads its files.
    ///
    /// # Errors
    /// When one is missing or malformed, or they changed meanwhile.
    pub(crate) fn read(&self, code_bytes_max: u64) -> std::result::Result<ComponentFiles, LoadError> {
        if self.is_twice {
            return Err(LoadError::Twice(self.name.clone()));
        }
        let files = ComponentFiles::read(&self.path, code_bytes_max);
        match Source::at(self.name.clone(), self.path.clone()).stamps == self.stamps {
            true => files,
            false => Err(LoadError::Unfinished),
        }
    }

    /// Whether one of these files is its own.
    pub(crate) fn is_among(&self, files: &HashSet<PathBuf>) -> bool {
        files.iter().any(|file| file == &self.path || file.parent() == Some(&self.path))
    }
}

/// Every component of a folder, by name. A folder that isn't there holds none.
pub(crate) fn list(folder: &Path) -> Result<BTreeMap<String, Source>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries?.collect::<Result<Vec<_>>>()?,
    };
    let mut sources: BTreeMap<String, Source> = BTreeMap::new();
    for path in entries.iter().map(std::fs::DirEntry::path) {
        let Some(name) = name_of(&path) else { continue };
        let source = Source::at(name.clone(), path);
        match sources.get_mut(&name) {
            None => drop(sources.insert(name, source)),
            Some(first) => {
                first.is_twice = true;
                first.stamps[3] = source.stamps.into_iter().flatten().next();
            }
        }
    }
    Ok(sources)
}

/// The name of the component that a path holds, if it holds one. What begins with a dot is not looked at.
fn name_of(path: &Path) -> Option<String> {
    let is_file = || ["wasm", "tessera"].iter().any(|kind| path.extension() == Some(OsStr::new(kind))) && path.is_file();
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let is_component = !is_hidden && (path.join("component.toml").is_file() || is_file());
    is_component.then(|| name_of_path(path))
}

/// Where a component that is handed in would lie: as a folder, or as a file if it is code alone.
pub(crate) fn place_of(folder: &Path, name: &ComponentName, contents: &Contents) -> PathBuf {
    match contents.manifest {
        Some(_) => folder.join(name.as_str()),
        None => folder.join(format!("{name}.wasm")),
    }
}

/// Puts a component into the folder, in the place of what is there of that name.
///
/// # Errors
/// When a file can't be written. What is there is then as it was, but where only some of its files could be replaced.
pub(crate) fn place(folder: &Path, name: &ComponentName, contents: &Contents) -> Result<Source> {
    let path = place_of(folder, name, contents);
    let Contents { manifest, code, signature } = contents;
    for other in paths_of(folder, name.as_str())?.iter().filter(|other| **other != path && other.is_dir()) {
        refuse_foreign(other)?;
    }
    let files = [("component.sig", signature.as_ref()), ("component.toml", manifest.as_ref()), ("component.wasm", Some(code))];
    if manifest.is_none() {
        write(&path, code)?;
    } else if path.is_dir() && foreign(&path)?.is_some() {
        for (file, bytes) in files {
            let file = path.join(file);
            bytes.map_or_else(|| remove_file(&file), |bytes| write(&file, bytes))?;
        }
    } else {
        let draft = draft(&path);
        drop(std::fs::remove_dir_all(&draft)); // of a server that was killed
        std::fs::create_dir_all(&draft)?;
        for (file, bytes) in files {
            bytes.map_or(Ok(()), |bytes| write(&draft.join(file), bytes))?;
        }
        put(&draft, &path).inspect_err(|_| drop(std::fs::remove_dir_all(&draft)))?;
    }
    remove_others(folder, name.as_str(), Some(&path))?;
    Ok(Source::at(name.to_string(), path))
}

/// Takes a component out of the folder.
///
/// # Errors
/// When its folder holds files that are not a component's, as its sources, or they can't be removed.
pub(crate) fn remove(folder: &Path, name: &str) -> Result<()> {
    remove_others(folder, name, None)
}

/// Puts a folder into the place of another, or where none is; at no moment is there half of one.
fn put(draft: &Path, path: &Path) -> Result<()> {
    match renameat_with(CWD, draft, CWD, path, RenameFlags::EXCHANGE) {
        Ok(()) => std::fs::remove_dir_all(draft),
        Err(Errno::NOENT) => std::fs::rename(draft, path),
        // File systems that can't exchange: for an instant there is none.
        Err(_) => {
            remove_folder(path)?;
            std::fs::rename(draft, path)
        }
    }
}

/// What holds a component of a name.
fn paths_of(folder: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let paths = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| name_of(path).as_deref() == Some(name)).collect())
}

/// Removes what holds a component of a name, but for one path.
fn remove_others(folder: &Path, name: &str, but: Option<&Path>) -> Result<()> {
    for path in paths_of(folder, name)?.iter().filter(|path| Some(path.as_path()) != but) {
        if path.is_dir() { remove_folder(path)? } else { remove_file(path)? }
    }
    Ok(())
}

fn refuse_foreign(path: &Path) -> Result<()> {
    let Some(file) = foreign(path)? else { return Ok(()) };
    let (path, file) = (path.display(), file.display());
    Err(Error::other(format!("{path} holds more than a component, as {file}: remove it by hand, or disable it")))
}

fn remove_folder(path: &Path) -> Result<()> {
    refuse_foreign(path)?;
    // Out of sight at once, then gone.
    let away = path.with_file_name(format!(".{}.{}.away", path.file_name().unwrap_or_default().display(), std::process::id()));
    drop(std::fs::remove_dir_all(&away)); // of a server that was killed
    std::fs::rename(path, &away)?;
    std::fs::remove_dir_all(away)
}

/// Something in a component's folder that is no part of it.
fn foreign(path: &Path) -> Result<Option<PathBuf>> {
    if path.is_symlink() {
        return Ok(Some(path.into()));
    }
    let names = std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>>>()?;
    Ok(names.into_iter().find(|name| !HARMLESS.iter().any(|harmless| name == harmless)).map(PathBuf::from))
}

/// A hidden neighbour of a path, which is no component.
fn draft(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.draft", std::process::id()))
}

/// Writes a file under another name first: whoever reads sees all of it or what was before.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let draft = draft(path);
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(draft, path)
}

fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(code: &str, has_manifest: bool) -> Contents {
        let manifest = "name = \"a\"\nversion = \"0.1.0\"\ndescription = \"Made by a test.\"\n";
        let manifest = has_manifest.then(|| manifest.as_bytes().to_vec());
        Contents { manifest, code: code.into(), signature: None }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        names.iter().map(|name| name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn folders_and_files_are_components_and_the_rest_is_not() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path();
        std::fs::create_dir_all(folder.join("a")).expect("made");
        std::fs::create_dir_all(folder.join("empty")).expect("made");
        for file in ["a/component.toml", "b.wasm", "c-0.1.0.tessera", "notes.txt", ".d.wasm"] {
            std::fs::write(folder.join(file), "x").expect("written");
        }
        let found = list(folder).expect("lists");
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        let open = HashSet::from([folder.join("a/component.wasm"), folder.join("c.wasm")]);
        assert!(found["a"].is_among(&open) && !found["b"].is_among(&open));
        assert!(list(&folder.join("none")).expect("an empty one").is_empty());
    }

    #[test]
    fn a_component_that_is_there_twice_is_not_read() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(root.path().join("a")).expect("made");
        std::fs::write(root.path().join("a/component.toml"), "x").expect("written");
        std::fs::write(root.path().join("a.wasm"), "x").expect("written");
        let found = list(root.path()).expect("lists");
        assert!(matches!(found["a"].read(9), Err(LoadError::Twice(_))));
    }

    #[test]
    fn what_is_placed_is_there_whole_and_nothing_else() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, name) = (root.path(), "a".parse().expect("a name"));
        for (code, has_manifest) in [("1", true), ("2", true), ("3", false), ("4", false), ("5", true)] {
            let placed = place(folder, &name, &contents(code, has_manifest)).expect("placed");
            let found = list(folder).expect("lists");
            assert_eq!(found["a"].stamps, placed.stamps);
            assert_eq!(found["a"].read(9).expect("reads").contents, contents(code, has_manifest));
            assert_eq!(names(folder), [if has_manifest { "a" } else { "a.wasm" }]);
        }
        remove(folder, "a").expect("removed");
        assert!(names(folder).is_empty());
    }

    #[test]
    fn a_folder_with_somebodys_work_is_not_thrown_away() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, name) = (root.path(), "a".parse().expect("a name"));
        place(folder, &name, &contents("1", true)).expect("placed");
        std::fs::write(folder.join("a/lib.rs"), "fn main() {}").expect("written");
        place(folder, &name, &contents("2", true)).expect("placed");
        assert_eq!(names(&folder.join("a")), ["component.toml", "component.wasm", "lib.rs"]);
        let error = remove(folder, "a").expect_err("refused").to_string();
        assert!(error.contains("lib.rs"), "{error}");
        assert!(folder.join("a/component.wasm").is_file());
    }
}
