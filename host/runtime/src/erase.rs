//! Deleting what belongs to a tenant.
//!
//! The audit log is not among it: it holds names and no contents, and it has to say afterwards that the rest was deleted.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use policy::audit::{Kind, Record, shorten};
use serde_json::{Value, json};

/// A place in the data folder that holds something of tenants.
struct Place {
    /// Its name in records.
    name: &'static str,
    /// Deletes a tenant's part and says how many entries that were. To do it again changes nothing.
    erase: fn(&Path, &str) -> Result<u64, EraseError>,
}

/// All of them. A store that keeps rows of tenants has its line here.
const PLACES: [Place; 2] = [Place { name: "keys", erase: erase_keys }, Place { name: "files", erase: erase_folder }];

/// Longest name of a tenant, in bytes.
const TENANT_BYTES_MAX: usize = 128;

/// What was deleted in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// The place: `keys`, `files`.
    pub place: &'static str,
    /// Keys or files that were deleted.
    pub entries: u64,
}

/// Why a tenant's data could not be deleted, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// It is no name of a tenant.
    #[error("`{0}` is no name of a tenant: it has up to {TENANT_BYTES_MAX} letters, digits and `-_.`, and begins with no dot")]
    Name(String),
    /// A file can't be read or deleted.
    #[error("{file} can't be read or deleted: {cause}. Mend that and erase again")]
    File {
        /// The file or folder.
        file: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A file has a form that is not known.
    #[error("{0} names the tenant in a way that is not known here: take those entries out by hand and erase again")]
    Form(PathBuf),
}

/// Deletes everything that a data folder holds of a tenant, but for the audit log. Where it fails it can be done again.
///
/// # Errors
/// As [`EraseError`] says; some of it may be deleted then.
pub fn erase_tenant(data: &Path, tenant: &str) -> Result<Vec<Erased>, EraseError> {
    check(tenant)?;
    PLACES.iter().map(|place| Ok(Erased { place: place.name, entries: (place.erase)(data, tenant)? })).collect()
}

/// The record of an erasure: `begin` before it, `done` or `failed` after it.
pub fn erasure(action: &str, tenant: &str, erased: &[Erased]) -> Record {
    let counts: serde_json::Map<String, Value> =
        erased.iter().map(|erased| (erased.place.to_owned(), json!(erased.entries))).collect();
    let record = Record {
        action: Some(action.into()),
        target: Some(shorten(tenant)),
        tenant: Some(shorten(tenant)),
        ..Record::new(Kind::Erase)
    };
    if counts.is_empty() { record } else { record.with_detail([("erased", Value::Object(counts))]) }
}

/// Whether a name can be a tenant's, and none that leads out of a folder.
pub(crate) fn check(tenant: &str) -> Result<(), EraseError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = (1..=TENANT_BYTES_MAX).contains(&tenant.len()) && !tenant.starts_with('.') && tenant.bytes().all(is_plain);
    if is_name { Ok(()) } else { Err(EraseError::Name(shorten(tenant).escape_debug().to_string())) }
}

/// The tenant's entries of `keys.toml`.
fn erase_keys(data: &Path, tenant: &str) -> Result<u64, EraseError> {
    let file = data.join("keys.toml");
    let failed = |cause| EraseError::File { file: file.clone(), cause };
    let text = match std::fs::read_to_string(&file) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(0),
        text => text.map_err(failed)?,
    };
    let (left, erased) = without_tenant(&text, tenant);
    let names_it = left.parse::<toml::Table>().map(|table| names(&toml::Value::Table(table), tenant));
    if !names_it.is_ok_and(|names_it| !names_it) {
        return Err(EraseError::Form(file));
    }
    if erased > 0 {
        let draft = file.with_extension("toml.draft");
        let written = std::fs::copy(&file, &draft).and_then(|_| std::fs::write(&draft, left)); // which keeps its permissions
        written.and_then(|()| std::fs::rename(&draft, &file)).map_err(failed)?;
    }
    Ok(erased)
}

/// A file of TOML without the sections that say `tenant = "…"`, those below them included, and how many there were of the former.
fn without_tenant(text: &str, tenant: &str) -> (String, u64) {
    let (mut left, mut erased) = (String::new(), 0);
    let mut parent: Option<String> = None;
    for section in sections(text) {
        let path = header(section).unwrap_or_default();
        let is_below = parent.as_ref().is_some_and(|parent| path.starts_with(&format!("{parent}.")));
        let values = section.split_once('\n').map_or("", |(_, values)| values);
        let is_its = !path.is_empty()
            && values
                .parse::<toml::Table>()
                .is_ok_and(|table| table.get("tenant").is_some_and(|it| it.as_str() == Some(tenant)));
        if is_its {
            erased += 1;
            parent = Some(path.into());
        } else if !is_below {
            left.push_str(section);
            parent = None;
        }
    }
    (left, erased)
}

/// What is before the first header, and each header with what follows it.
fn sections(text: &str) -> Vec<&str> {
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if header(line).is_some() && at > 0 {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(start, end)| &text[*start..end]).collect()
}

/// The path in the header that a text begins with.
fn header(text: &str) -> Option<&str> {
    let line = text.lines().next()?.split('#').next()?.trim();
    let path = line.strip_prefix("[[").and_then(|line| line.strip_suffix("]]"));
    path.or_else(|| line.strip_prefix('[').and_then(|line| line.strip_suffix(']'))).map(str::trim)
}

/// Whether a value names a tenant anywhere.
fn names(value: &toml::Value, tenant: &str) -> bool {
    match value {
        toml::Value::Table(table) => {
            table.get("tenant").is_some_and(|it| it.as_str() == Some(tenant))
                || table.values().any(|value| names(value, tenant))
        }
        toml::Value::Array(values) => values.iter().any(|value| names(value, tenant)),
        _ => false,
    }
}

/// The tenant's own folder, `tenants/NAME`.
fn erase_folder(data: &Path, tenant: &str) -> Result<u64, EraseError> {
    let folder = data.join("tenants").join(tenant);
    let failed = |cause| EraseError::File { file: folder.clone(), cause };
    if !folder.is_dir() {
        return Ok(0);
    }
    let files = count(&folder).map_err(failed)?;
    std::fs::remove_dir_all(&folder).map_err(failed)?;
    Ok(files)
}

/// Files in a folder and those below it.
fn count(folder: &Path) -> std::io::Result<u64> {
    let mut files = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        files += if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 };
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &str = "schema = 1\n\n# of t\n[[key]]\nid = \"a\"\ntenant = \"t\"\n\n[key.limits]\nx = 1\n\n[[key]] # kept\nid = \"b\"\n\
        tenant = \"u\"\n\n[[key]]\ntenant = \"t\"\nid = \"c\"\n";

    fn data(keys: &str) -> tempfile::TempDir {
        let data = tempfile::tempdir().expect("a folder");
        std::fs::write(data.path().join("keys.toml"), keys).expect("written");
        std::fs::create_dir_all(data.path().join("tenants/t/deep")).expect("made");
        std::fs::create_dir_all(data.path().join("tenants/u")).expect("made");
        for file in ["t/one", "t/deep/two", "u/three"] {
            std::fs::write(data.path().join("tenants").join(file), "x").expect("written");
        }
        data
    }

    #[test]
    fn a_tenants_keys_and_files_are_deleted_and_those_of_others_stay() {
        let data = data(KEYS);
        let erased =
            |tenant| erase_tenant(data.path(), tenant).expect("deletes").iter().map(|one| one.entries).collect::<Vec<_>>();
        assert_eq!(erased("t"), [2, 2]);
        let keys = std::fs::read_to_string(data.path().join("keys.toml")).expect("is there");
        assert_eq!(keys, "schema = 1\n\n# of t\n[[key]] # kept\nid = \"b\"\ntenant = \"u\"\n\n");
        assert!(!data.path().join("tenants/t").exists() && data.path().join("tenants/u/three").exists());
        assert_eq!(erased("t"), [0, 0]);
        assert_eq!(erased("u"), [1, 1]);
    }

    #[test]
    fn what_is_no_tenant_deletes_nothing() {
        let data = data(KEYS);
        for tenant in ["", ".", "..", "../tenants/t", "a/b", "a\0", &"a".repeat(129)] {
            assert!(matches!(erase_tenant(data.path(), tenant), Err(EraseError::Name(_))), "{tenant}");
        }
        assert!(data.path().join("tenants/t/one").exists());
    }

    #[test]
    fn entries_of_an_unknown_form_are_told_and_left() {
        for keys in ["key = [{ tenant = \"t\" }]\n", "[[key]]\ntenant = \"t\n"] {
            let data = data(keys);
            assert!(matches!(erase_tenant(data.path(), "t"), Err(EraseError::Form(_))), "{keys}");
            assert_eq!(std::fs::read_to_string(data.path().join("keys.toml")).expect("is there"), keys);
        }
    }

    #[test]
    fn a_folder_with_nothing_in_it_is_no_error() {
        let data = tempfile::tempdir().expect("a folder");
        let erased = erase_tenant(data.path(), "t").expect("deletes");
        assert!(erased.iter().all(|erased| erased.entries == 0));
    }
}
