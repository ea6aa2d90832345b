//! What makes an entry ours: HMAC-SHA256 (RFC 2104) over its name and the SHA-256 of its content,
//! with a key that this server made for itself.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use policy::Digest;
use ring::hmac::{self, HMAC_SHA256};

use super::make_private;

/// The file of the key in the data folder.
const FILE: &str = "compiled.key";
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 32;

/// The key of a data folder; made where there is none.
pub(super) fn key(data: &Path) -> Result<hmac::Key> {
    let file = data.join(FILE);
    let key = match read(&file) {
        Ok(key) => key,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
            if error.kind() == ErrorKind::InvalidData {
                tracing::warn!(%error, file = %file.display(), "makes a new key: all components are compiled again");
                std::fs::remove_file(&file)?;
            }
            make(data, &file)?
        }
        Err(error) => return Err(error),
    };
    Ok(hmac::Key::new(HMAC_SHA256, &key))
}

/// Reads a key that nobody else can have read.
fn read(file: &Path) -> Result<[u8; KEY_BYTES]> {
    let file = File::open(file)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        return Err(Error::new(ErrorKind::InvalidData, "the key is open to others than its owner"));
    }
    let mut key = Vec::new();
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut key)?;
    key.try_into().map_err(|_| Error::new(ErrorKind::InvalidData, "the key is damaged"))
}

/// Makes a key, unless another server of this folder was faster; then gives that one.
fn make(data: &Path, file: &Path) -> Result<[u8; KEY_BYTES]> {
    make_private(data)?;
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key)?;
    let mut name = [0; 8];
    getrandom::fill(&mut name)?;
    let draft = data.join(format!("{FILE}.{:016x}", u64::from_ne_bytes(name)));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
    let written = written.and_then(|mut draft| draft.write_all(&key).and_then(|()| draft.sync_all()));
    // A link is made only where nothing is, and shows the whole file at once.
    let linked = written.and_then(|()| std::fs::hard_link(&draft, file));
    drop(std::fs::remove_file(&draft)); // if it is there
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read(file),
        linked => linked.map(|()| key),
    }
}

/// An entry: the authentication code, then the content.
pub(super) fn seal(key: &hmac::Key, name: &str, content: &[u8]) -> Vec<u8> {
    [hmac::sign(key, message(name, content).as_bytes()).as_ref(), content].concat()
}

/// The content of an entry; none if it was not sealed with this key under this name.
pub(super) fn unseal<'a>(key: &hmac::Key, name: &str, sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (tag, content) = sealed.split_at_checked(TAG_BYTES)?;
    hmac::verify(key, message(name, content).as_bytes(), tag).is_ok().then_some(content)
}

fn message(name: &str, content: &[u8]) -> String {
    format!("tessera compiled v1\n{name}\n{}\n", Digest::of(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let sealed = seal(&key(&data).expect("a key"), "a", b"content");
        assert_eq!(unseal(&key(&data).expect("the key"), "a", &sealed), Some(&b"content"[..]));
        assert_eq!(unseal(&key(&data).expect("the key"), "b", &sealed), None);
        let mode = |file: &Path| std::fs::metadata(file).expect("is there").permissions().mode() & 0o777;
        assert_eq!((mode(&data), mode(&data.join(FILE))), (0o700, 0o600));
        assert_eq!(std::fs::read_dir(&data).expect("lists").count(), 1, "no draft is left");
    }

    #[test]
    fn a_key_that_is_damaged_or_open_to_others_is_made_anew() {
        let data = tempfile::tempdir().expect("a folder");
        let file = data.path().join(FILE);
        let sealed = seal(&key(data.path()).expect("a key"), "a", b"content");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("changes");
        assert_eq!(unseal(&key(data.path()).expect("a new key"), "a", &sealed), None);
        for damaged in [&b""[..], &[0; 31], &[0; 33]] {
            std::fs::write(&file, damaged).expect("writes");
            key(data.path()).expect("a new key");
            assert_eq!(std::fs::metadata(&file).expect("is there").len(), KEY_BYTES as u64);
        }
    }

    #[test]
    fn servers_that_start_together_have_one_key() {
        let data = tempfile::tempdir().expect("a folder");
        let sealed = std::thread::scope(|scope| {
            let seals = |_| scope.spawn(|| seal(&key(data.path()).expect("a key"), "a", b"content"));
            let threads: Vec<_> = (0..8).map(seals).collect();
            threads.into_iter().map(|thread| thread.join().expect("ends well")).collect::<Vec<_>>()
        });
        assert!(sealed.iter().all(|one| *one == sealed[0]));
    }
}
