//! What a model is made of, in one number.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Bytes hashed at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Beside a model, and about where it came from: no part of it.
const RECORD: &str = "source.json";

/// SHA-256 of a model, in hexadecimal digits: that of a list of its files with theirs, each a line `DIGEST  PATH` as `sha256sum`
/// prints it, sorted by path. Hidden files and the record of where it came from are left out.
///
/// # Errors
/// When the folder or a file in it can't be read.
pub fn digest(folder: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    list(folder, &mut PathBuf::new(), &mut files)?;
    files.sort();
    let mut whole = Sha256::new();
    for file in files {
        whole.update(format!("{}  {file}\n", of_file(&folder.join(&file))?));
    }
    Ok(hex(&whole.finalize()))
}

fn of_file(file: &Path) -> io::Result<String> {
    let (mut file, mut sha, mut chunk) = (File::open(file)?, Sha256::new(), vec![0; CHUNK_BYTES]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex(&sha.finalize())),
            read => sha.update(&chunk[..read]),
        }
    }
}

/// Paths of the files in a folder and those below it, with `/` between their parts.
fn list(folder: &Path, below: &mut PathBuf, files: &mut Vec<String>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder.join(&*below))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| io::Error::other("a file's name is no text"))?;
        if name.starts_with('.') || name == RECORD {
            continue;
        }
        below.push(name);
        if entry.path().is_dir() {
            list(folder, below, files)?;
        } else {
            files.push(below.iter().filter_map(|part| part.to_str()).collect::<Vec<_>>().join("/"));
        }
        below.pop();
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_what_sha256sum_prints() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| std::fs::write(folder.path().join(path), text).expect("writes");
        std::fs::create_dir(folder.path().join("pooling")).expect("a folder");
        write("b", "2");
        write("a", "1");
        write("pooling/config.json", "{}");
        let before = digest(folder.path()).expect("readable");
        let listed = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b  a\n\
                      d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35  b\n\
                      44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a  pooling/config.json\n";
        assert_eq!(before, hex(&Sha256::digest(listed)));
        write(".hidden", "x");
        write("source.json", "x");
        assert_eq!(digest(folder.path()).expect("readable"), before);
        write("b", "3");
        assert_ne!(digest(folder.path()).expect("readable"), before);
    }
}
