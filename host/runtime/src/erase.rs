//! Deleting what belongs to a tenant.
//!
//! The audit log is not among it: it holds names and no contents, and it has to say afterwards that the rest was deleted.

use std::path::{Path, PathBuf};

use policy::audit::{Kind, Record, shorten};
use policy::{KeyError, Keys, NameError, Tenant};
use serde_json::{Value, json};

use crate::config::KEYS_FILE;
use crate::stores::Erase;

/// A place that holds something of tenants.
struct Place {
    /// Its name in records.
    name: &'static str,
    /// Deletes a tenant's part and says how many entries that were. To do it again changes nothing.
    erase: fn(&Kept<'_>, &Tenant) -> Result<u64, EraseError>,
}

/// What there is to delete from.
pub struct Kept<'a> {
    /// The server's data folder.
    pub data: &'a Path,
    /// What components keep.
    pub stores: &'a dyn Erase,
    /// Is called when the keys are deleted: has a server that runs take none of them from then on.
    pub forget_keys: &'a dyn Fn(),
}

/// All of them. The keys go first: nobody comes with one of them then and writes anew. Requests that run, and callers by a token,
/// still may.
const PLACES: [Place; 3] = [
    Place { name: "keys", erase: erase_keys },
    Place { name: "store", erase: erase_store },
    Place { name: "files", erase: erase_folder },
];

/// What was deleted in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// The place: `keys`, `store`, `files`.
    pub place: &'static str,
    /// Keys, rows or files that were deleted.
    pub entries: u64,
}

/// Why a tenant's data could not be deleted, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// It is no name of a tenant.
    #[error("no tenant has that name: {0}")]
    Name(#[from] NameError),
    /// The keys can't be changed.
    #[error("the keys can't be changed: {0}. Mend that and erase again")]
    Keys(#[from] KeyError),
    /// What components keep of it can't be deleted.
    #[error("what components keep of it can't be deleted: {0}. Mend that, or stop what else uses the folder, and erase again")]
    Store(#[from] store::StoreError),
    /// A file can't be read or deleted.
    #[error("{file} can't be read or deleted: {cause}. Mend that and erase again")]
    File {
        /// The file or folder.
        file: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
}

/// Deletes everything that a data folder and its stores hold of a tenant, but for the audit log. What requests that run meanwhile
/// write may be left. It can be done again, then as well as where it fails. Blocks.
///
/// # Errors
/// As [`EraseError`] says; some of it may be deleted then.
pub fn erase_tenant(kept: &Kept<'_>, tenant: &str) -> Result<Vec<Erased>, EraseError> {
    let tenant = tenant.parse()?;
    PLACES.iter().map(|place| Ok(Erased { place: place.name, entries: (place.erase)(kept, &tenant)? })).collect()
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

/// The tenant's keys.
fn erase_keys(kept: &Kept<'_>, tenant: &Tenant) -> Result<u64, EraseError> {
    let file = kept.data.join(KEYS_FILE);
    if !file.exists() {
        return Ok(0);
    }
    let keys = Keys::change(&file, |keys| Ok(keys.forget(tenant)))?;
    (kept.forget_keys)();
    Ok(keys)
}

/// The tenant's values, files and documents.
fn erase_store(kept: &Kept<'_>, tenant: &Tenant) -> Result<u64, EraseError> {
    let name = tenant.as_str().parse().map_err(|error: store::NameError| store::StoreError::Invalid(error.to_string()))?;
    Ok(kept.stores.erase(&name)?)
}

/// The tenant's own folder, `tenants/NAME`.
fn erase_folder(kept: &Kept<'_>, tenant: &Tenant) -> Result<u64, EraseError> {
    let folder = kept.data.join("tenants").join(tenant.as_str());
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
    use std::cell::Cell;
    use std::sync::Mutex;

    use policy::{Labels, NewKey, Selection};

    use super::*;

    /// A store with one row of a tenant.
    struct FakeStore(Mutex<Vec<&'static str>>);

    impl Erase for FakeStore {
        fn erase(&self, tenant: &store::Name) -> store::Result<u64> {
            let mut rows = self.0.lock().expect("nobody panics with it");
            let before = rows.len();
            rows.retain(|row| *row != tenant.as_str());
            Ok((before - rows.len()) as u64)
        }
    }

    fn stores() -> FakeStore {
        FakeStore(Mutex::new(vec!["t", "u"]))
    }

    fn erase(data: &tempfile::TempDir, stores: &FakeStore, tenant: &str) -> Result<Vec<Erased>, EraseError> {
        erase_tenant(&Kept { data: data.path(), stores, forget_keys: &|| {} }, tenant)
    }

    fn data() -> tempfile::TempDir {
        let data = tempfile::tempdir().expect("a folder");
        for tenant in ["t", "u", "t"].map(|tenant| tenant.parse::<Tenant>().expect("a name")) {
            let (name, components, models) = (String::new(), Selection::All, Selection::All);
            let new = NewKey { name, tenant, components, models, is_admin: false, labels: Labels::default(), seconds: None };
            Keys::change(&data.path().join(KEYS_FILE), |keys| keys.add(new.make(0)?.0)).expect("written");
        }
        std::fs::create_dir_all(data.path().join("tenants/t/deep")).expect("made");
        std::fs::create_dir_all(data.path().join("tenants/u")).expect("made");
        for file in ["t/one", "t/deep/two", "u/three"] {
            std::fs::write(data.path().join("tenants").join(file), "x").expect("written");
        }
        data
    }

    #[test]
    fn a_tenants_keys_rows_and_files_are_deleted_and_those_of_others_stay() {
        let (data, stores) = (data(), stores());
        let erased = |tenant| {
            let erased = erase(&data, &stores, tenant).expect("deletes");
            erased.iter().map(|one| one.entries).collect::<Vec<_>>()
        };
        assert_eq!(erased("t"), [2, 1, 2]);
        let keys = Keys::read(&data.path().join(KEYS_FILE)).expect("is there");
        assert_eq!(keys.iter().map(|key| key.tenant.as_str()).collect::<Vec<_>>(), ["u"]);
        assert!(!data.path().join("tenants/t").exists() && data.path().join("tenants/u/three").exists());
        assert_eq!(erased("t"), [0, 0, 0]);
        assert_eq!(erased("u"), [1, 1, 1]);
    }

    #[test]
    fn keys_are_forgotten_before_anything_else_is_deleted() {
        let (data, stores, rows) = (data(), stores(), Cell::new(0));
        let forget_keys = || {
            let keys = Keys::read(&data.path().join(KEYS_FILE)).expect("is there");
            assert!(keys.iter().all(|key| key.tenant.as_str() != "t"));
            rows.set(stores.0.lock().expect("nobody panics with it").len());
        };
        erase_tenant(&Kept { data: data.path(), stores: &stores, forget_keys: &forget_keys }, "t").expect("deletes");
        assert_eq!((rows.get(), stores.0.lock().expect("nobody panics with it").len()), (2, 1));
    }

    #[test]
    fn what_is_no_tenant_deletes_nothing() {
        let data = data();
        for tenant in ["", ".", "..", "../tenants/t", "a/b", "a\0", &"a".repeat(129)] {
            assert!(matches!(erase(&data, &stores(), tenant), Err(EraseError::Name(_))), "{tenant}");
        }
        assert!(data.path().join("tenants/t/one").exists());
    }

    #[test]
    fn keys_that_can_not_be_read_are_told_and_left() {
        let data = data();
        std::fs::write(data.path().join(KEYS_FILE), "[[key]]\ntenant = \"t\"\n").expect("written");
        assert!(matches!(erase(&data, &stores(), "t"), Err(EraseError::Keys(_))));
    }

    #[test]
    fn a_folder_with_nothing_in_it_is_no_error() {
        let data = tempfile::tempdir().expect("a folder");
        let erased = erase(&data, &FakeStore(Mutex::default()), "t").expect("deletes");
        assert!(erased.iter().all(|erased| erased.entries == 0));
    }
}
