//! Files, by std.

use std::fs::{self, File, OpenOptions};
use std::io;

use serde::Deserialize;
use serde_json::{Value, json};

/// `{"op": "read", "path": "/data/a"}`; `to` is the other path of an operation with two, `data` what is written, `count` how
/// many times a file is opened.
#[derive(Deserialize)]
pub(crate) struct Request {
    op: Operation,
    path: String,
    #[serde(default)]
    to: String,
    #[serde(default)]
    data: String,
    #[serde(default)]
    count: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Read,
    Write,
    Append,
    Truncate,
    List,
    Metadata,
    Readlink,
    Remove,
    Mkdir,
    Rmdir,
    Rename,
    /// Makes a link at `to` that says `path`.
    Symlink,
    /// Makes `to` another name of `path`.
    Hardlink,
    /// Opens a file so many times before it closes any.
    Hold,
}

impl Request {
    pub(crate) fn run(self) -> io::Result<Value> {
        let Request { op, path, to, data, count } = self;
        let done = |()| json!("done");
        match op {
            Operation::Read => fs::read(path).map(|bytes| json!(String::from_utf8_lossy(&bytes))),
            Operation::Write => fs::write(path, data).map(done),
            Operation::Append => append(&path, &data).map(done),
            Operation::Truncate => OpenOptions::new().write(true).truncate(true).open(path).map(|_| json!("done")),
            Operation::List => list(&path),
            Operation::Metadata => metadata(&path),
            Operation::Readlink => fs::read_link(path).map(|target| json!(target.to_string_lossy())),
            Operation::Remove => fs::remove_file(path).map(done),
            Operation::Mkdir => fs::create_dir(path).map(done),
            Operation::Rmdir => fs::remove_dir(path).map(done),
            Operation::Rename => fs::rename(path, to).map(done),
            Operation::Symlink => symlink(&path, &to).map(done),
            Operation::Hardlink => fs::hard_link(path, to).map(done),
            Operation::Hold => (0..count).map(|_| File::open(&path)).collect::<io::Result<Vec<_>>>().map(|_| json!("done")),
        }
    }
}

fn append(path: &str, data: &str) -> io::Result<()> {
    io::Write::write_all(&mut OpenOptions::new().append(true).open(path)?, data.as_bytes())
}

/// Names, sorted.
fn list(path: &str) -> io::Result<Value> {
    let name = |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names = fs::read_dir(path)?.map(name).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(json!(names))
}

/// Of a link itself, not of what it says.
fn metadata(path: &str) -> io::Result<Value> {
    let metadata = fs::symlink_metadata(path)?;
    let kind = match (metadata.is_dir(), metadata.is_symlink()) {
        (true, _) => "folder",
        (_, true) => "link",
        _ => "file",
    };
    Ok(json!({"kind": kind, "bytes": metadata.len()}))
}

#[expect(deprecated, reason = "the one function for links that std has on every platform")]
fn symlink(path: &str, to: &str) -> io::Result<()> {
    fs::soft_link(path, to)
}
