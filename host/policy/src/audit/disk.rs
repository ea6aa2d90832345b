//! A log in a folder.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::{CURRENT, Files, LogError, Storage};

/// The file that the one who writes has locked.
const LOCK: &str = "lock";

/// A log's folder, to read: by anybody, while it is written as well.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at a path, which need not be there.
    pub fn new(path: &Path) -> Folder {
        Folder(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Files for Folder {
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.0) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.0.join(name)) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            bytes => bytes.map(Some),
        }
    }
}

/// A log's folder, to write: by one process at a time, which holds a lock on it.
#[derive(Debug)]
pub struct Disk {
    folder: Folder,
    current: File,
    _lock: File,
}

impl Disk {
    /// Takes a folder, which is made if it isn't there, for its owner alone.
    ///
    /// # Errors
    /// [`LogError::Locked`] while another process writes there, and what the system says.
    pub fn open(path: &Path) -> Result<Disk, LogError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)?;
        let lock = private().truncate(false).open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LogError::Locked(path.into())),
            Err(TryLockError::Error(cause)) => return Err(cause.into()),
        }
        let current = current(path)?;
        Ok(Disk { folder: Folder::new(path), current, _lock: lock })
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder.0)?.sync_all()
    }

    /// Writes a file under a name of its own, durably.
    fn draft(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let draft = self.folder.0.join(format!("{name}.draft"));
        let mut file = private().truncate(true).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(draft)
    }
}

/// How files are opened that others have no business with.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn current(folder: &Path) -> io::Result<File> {
    let file = private().append(true).open(folder.join(CURRENT))?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

impl Files for Disk {
    fn names(&self) -> io::Result<Vec<String>> {
        self.folder.names()
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.folder.read(name)
    }
}

impl Storage for Disk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.current.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.current.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.current.set_len(length)
    }

    fn rotate(&mut self, name: &str) -> io::Result<()> {
        let (from, to) = (self.folder.0.join(CURRENT), self.folder.0.join(name));
        // Where it was renamed before, only the new file is missing.
        if !to.exists() {
            std::fs::rename(from, to)?;
        }
        self.current = current(&self.folder.0)?;
        Ok(())
    }

    fn create(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let draft = self.draft(name, bytes)?;
        let linked = std::fs::hard_link(&draft, self.folder.0.join(name)); // fails where there is one
        std::fs::remove_file(&draft)?;
        linked?;
        self.sync_folder()
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let draft = self.draft(name, bytes)?;
        std::fs::rename(draft, self.folder.0.join(name))?;
        self.sync_folder()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn two_can_not_write_one_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(folder.path()).expect("free");
        assert!(matches!(Disk::open(folder.path()), Err(LogError::Locked(_))));
        drop(disk);
        Disk::open(folder.path()).expect("free again");
    }

    #[test]
    fn what_is_made_is_for_the_owner_and_made_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b");
        let mut disk = Disk::open(&path).expect("free");
        disk.create("k", b"1").expect("made");
        assert_eq!(disk.create("k", b"2").map_err(|cause| cause.kind()), Err(ErrorKind::AlreadyExists));
        assert_eq!(disk.read("k").expect("read"), Some(b"1".to_vec()));
        disk.replace("k", b"3").expect("replaced");
        assert_eq!(disk.read("k").expect("read"), Some(b"3".to_vec()));
        let mode = |path: &Path| std::fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("k")), mode(&path.join(CURRENT))), (0o700, 0o600, 0o600));
        assert!(!disk.names().expect("listed").iter().any(|name| name.ends_with(".draft")));
    }

    #[test]
    fn a_rotation_that_was_done_by_half_is_finished() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut disk = Disk::open(folder.path()).expect("free");
        disk.append(b"old").expect("written");
        std::fs::rename(folder.path().join(CURRENT), folder.path().join("audit-1.jsonl")).expect("renamed");
        disk.rotate("audit-1.jsonl").expect("finished");
        disk.append(b"new").expect("written");
        assert_eq!(disk.read("audit-1.jsonl").expect("read"), Some(b"old".to_vec()));
        assert_eq!(disk.read(CURRENT).expect("read"), Some(b"new".to_vec()));
    }
}
