//! Files of a folder, and in the database which of them there are.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use redb::{ReadableTable, WriteTransaction};
use sha2::{Digest, Sha256};

use super::record::{FileRecord, Record};
use super::tenant::{Reservation, Tenant, owner_key};
use super::tenants::{Drafting, sync_folder};
use super::truth::{FILES, Truth, USED};
use super::{Embedded, Store, check, failed, now_ms};
use crate::blob::{Blobs, Body, FILES_MAX, Info, Page, Range};
use crate::{Place, Result, StoreError};

/// What [`USED`] calls containers.
const KIND: &str = "files";

/// What a row takes beside its file, about.
const ROW_BYTES: u64 = 128;

/// Bytes that are read or written at a time.
const PIECE_BYTES: usize = 256 << 10;

/// What files end with that are being written.
const PART: &str = "part";

impl Blobs for Embedded {
    fn put(&self, place: &Place, name: &str, content_type: &str, body: Body) -> BoxFuture<'static, Result<Info>> {
        let (store, place) = (Arc::clone(&self.store), place.clone());
        let (name, content_type) = (name.to_owned(), content_type.to_owned());
        async move {
            check::name("name", &name)?;
            check::content_type(&content_type)?;
            let upload = receive(&store, &place, &name, body).await?;
            let tenant = place.tenant.clone();
            store.with(tenant, move |tenant| upload.end(tenant, &place, name, content_type)).await
        }
        .boxed()
    }

    fn get(&self, place: &Place, name: &str, range: Range) -> BoxFuture<'static, Result<(Info, Body)>> {
        let (store, place, name) = (Arc::clone(&self.store), place.clone(), name.to_owned());
        let what = format!("file \"{name}\"");
        let opened = self.with_existing(&place.tenant.clone(), move |tenant| open(tenant, &place, &name, range));
        async move {
            let (info, file, bytes) = opened.await?.ok_or(StoreError::NotFound { what })?;
            Ok((info, read(store, file, bytes)))
        }
        .boxed()
    }

    fn stat(&self, place: &Place, name: &str) -> BoxFuture<'static, Result<Option<Info>>> {
        let (place, name) = (place.clone(), name.to_owned());
        self.with_existing(&place.tenant.clone(), move |tenant| {
            check::name("name", &name)?;
            Ok(row(tenant, &place, &name)?.map(|record| record.info))
        })
    }

    fn delete(&self, place: &Place, name: &str) -> BoxFuture<'static, Result<bool>> {
        let (place, name) = (place.clone(), name.to_owned());
        self.with_existing(&place.tenant.clone(), move |tenant| {
            check::name("name", &name)?;
            let old = tenant.truth.write(move |transaction| remove(transaction, &place, &name))?;
            old.iter().for_each(|old| discard(tenant, old.file));
            Ok(old.is_some())
        })
    }

    fn list(&self, place: &Place, prefix: &str, after: Option<&str>, files_max: usize) -> BoxFuture<'static, Result<Page>> {
        let (place, prefix, after) = (place.clone(), prefix.to_owned(), after.map(str::to_owned));
        self.with_existing(&place.tenant.clone(), move |tenant| list(tenant, &place, &prefix, after.as_deref(), files_max))
    }
}

/// A body that is written into a file that nobody knows of yet; dropped, it is deleted.
struct Upload {
    /// When the tenant's data were opened: a later one has deleted the file.
    instance: u64,
    number: u64,
    file: File,
    /// Where it is; none when it is no part any more.
    part: Option<PathBuf>,
    hasher: Sha256,
    bytes: u64,
    /// Bytes of the place without those of the file that this replaces.
    used: u64,
    bytes_max: u64,
    reservation: Reservation,
    _drafting: Drafting,
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.part.take().map(fs::remove_file) {
            tracing::debug!(%error, "a part of a file is deleted when the tenant's data are opened again");
        }
    }
}

async fn receive(store: &Arc<Store>, place: &Place, name: &str, mut body: Body) -> Result<Upload> {
    let (begun, at) = (Arc::clone(store), (place.clone(), name.to_owned()));
    let begin = move || {
        let tenant = begun.tenants.lease(&at.0.tenant)?;
        let drafting = tenant.drafting();
        tenant.work(|tenant| Upload::begin(tenant, drafting, &at.0, &at.1))
    };
    let mut upload = store.workers.run(begin).await?;
    let mut pieces = Vec::new();
    let mut length = 0;
    loop {
        let piece = body.next().await.transpose();
        let piece = piece.map_err(|error| StoreError::Invalid(format!("`body` broke off: {error}")))?;
        let is_last = piece.is_none();
        length += piece.as_ref().map_or(0, Bytes::len);
        pieces.extend(piece);
        if is_last || length >= PIECE_BYTES || pieces.len() >= PIECE_BYTES / 64 {
            let ready = std::mem::take(&mut pieces);
            length = 0;
            upload = store.workers.run_on(move || upload.add(&ready)).await?;
        }
        if is_last {
            return Ok(upload);
        }
    }
}

impl Upload {
    fn begin(tenant: &Tenant, drafting: Drafting, place: &Place, name: &str) -> Result<Upload> {
        let old = row(tenant, place, name)?.map_or(0, |old| bytes_of(&old.info, place));
        let used = tenant.truth.read()?.open_table(USED).map_err(failed)?;
        let used = used.get((KIND, place.name.as_str())).map_err(failed)?.map_or(0, |bytes| bytes.value());
        let number = tenant.next_file.fetch_add(1, Ordering::Relaxed);
        let part = path(tenant, number).with_extension(format!("{}.{PART}", tenant.instance));
        let file = File::create_new(&part).map_err(failed)?;
        Ok(Upload {
            instance: tenant.instance,
            number,
            file,
            part: Some(part),
            hasher: Sha256::new(),
            bytes: 0,
            used: used.saturating_sub(old),
            bytes_max: place.bytes_max,
            reservation: Reservation::new(tenant, KIND, &place.name),
            _drafting: drafting,
        })
    }

    fn add(mut self, pieces: &[Bytes]) -> Result<Upload> {
        for piece in pieces {
            self.reservation.grow(piece.len() as u64, self.used, self.bytes_max)?;
            self.hasher.update(piece);
            self.file.write_all(piece).map_err(failed)?;
            self.bytes += piece.len() as u64;
        }
        Ok(self)
    }

    fn end(mut self, tenant: &Tenant, place: &Place, name: String, content_type: String) -> Result<Info> {
        if tenant.instance != self.instance {
            return Err(StoreError::Conflict);
        }
        self.file.sync_all().map_err(failed)?;
        if let Some(part) = self.part.take() {
            fs::rename(part, path(tenant, self.number)).map_err(failed)?;
        }
        sync_folder(&tenant.folder.join("blobs"))?;
        let digest = self.hasher.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let info = Info { name, bytes: self.bytes, digest, content_type, changed_ms: now_ms() };
        let record = FileRecord { file: self.number, info: info.clone() };
        let place = place.clone();
        let put = tenant.truth.write(move |transaction| insert(transaction, &place, &record));
        match &put {
            Ok(old) => old.iter().for_each(|old| discard(tenant, old.file)),
            // After a failure of the disk nobody knows whether the row is there: the next opening finds out.
            Err(StoreError::Failed(_)) => {}
            Err(_) => discard(tenant, self.number),
        }
        put.map(|_| info)
    }
}

fn path(tenant: &Tenant, number: u64) -> PathBuf {
    tenant.folder.join("blobs").join(number.to_string())
}

fn bytes_of(info: &Info, place: &Place) -> u64 {
    info.bytes + ROW_BYTES + (info.name.len() + owner_key(place).len()) as u64
}

/// Deletes a file that is in no row. What fails is done when the tenant's data are opened again.
fn discard(tenant: &Tenant, number: u64) {
    if let Err(error) = fs::remove_file(path(tenant, number)) {
        tracing::warn!(tenant = %tenant.name, number, %error, "a file that is not needed can't be deleted");
    }
}

fn row(tenant: &Tenant, place: &Place, name: &str) -> Result<Option<FileRecord>> {
    let table = tenant.truth.read()?.open_table(FILES).map_err(failed)?;
    let row = table.get((place.name.as_str(), owner_key(place).as_str(), name)).map_err(failed)?;
    row.map(|row| FileRecord::from_bytes(row.value())).transpose()
}

/// Writes a file's row and gives the one it replaces.
fn insert(transaction: &WriteTransaction, place: &Place, record: &FileRecord) -> Result<Option<FileRecord>> {
    let (owner, name) = (owner_key(place), place.name.as_str());
    let mut table = transaction.open_table(FILES).map_err(failed)?;
    let at = (name, owner.as_str(), record.info.name.as_str());
    let old = table.get(at).map_err(failed)?.map(|row| FileRecord::from_bytes(row.value())).transpose()?;
    let old_bytes = old.as_ref().map_or(0, |old| bytes_of(&old.info, place));
    let mut used = transaction.open_table(USED).map_err(failed)?;
    let all = used.get((KIND, name)).map_err(failed)?.map_or(0, |bytes| bytes.value()).saturating_sub(old_bytes);
    let all = all + bytes_of(&record.info, place);
    if all > place.bytes_max {
        return Err(StoreError::Full { bytes_max: place.bytes_max });
    }
    used.insert((KIND, name), all).map_err(failed)?;
    table.insert(at, record.to_bytes().as_slice()).map_err(failed)?;
    Ok(old)
}

/// Deletes a file's row and gives it.
fn remove(transaction: &WriteTransaction, place: &Place, name: &str) -> Result<Option<FileRecord>> {
    let mut table = transaction.open_table(FILES).map_err(failed)?;
    let old = table.remove((place.name.as_str(), owner_key(place).as_str(), name)).map_err(failed)?;
    let Some(old) = old.map(|row| FileRecord::from_bytes(row.value())).transpose()? else { return Ok(None) };
    let mut used = transaction.open_table(USED).map_err(failed)?;
    let all = used.get((KIND, place.name.as_str())).map_err(failed)?.map_or(0, |bytes| bytes.value());
    used.insert((KIND, place.name.as_str()), all.saturating_sub(bytes_of(&old.info, place))).map_err(failed)?;
    Ok(Some(old))
}

fn list(tenant: &Tenant, place: &Place, prefix: &str, after: Option<&str>, files_max: usize) -> Result<Page> {
    check::page("files-max", files_max, FILES_MAX)?;
    let (name, owner) = (place.name.as_str(), owner_key(place));
    let first = after.map_or_else(String::new, |after| format!("{after}\0")).max(prefix.to_owned());
    let table = tenant.truth.read()?.open_table(FILES).map_err(failed)?;
    let mut page = Page::default();
    for row in table.range((name, owner.as_str(), first.as_str())..).map_err(failed)? {
        let (key, row) = row.map_err(failed)?;
        let (row_name, row_owner, file) = key.value();
        if row_name != name || row_owner != owner || !file.starts_with(prefix) {
            break;
        }
        if page.files.len() == files_max {
            page.has_more = true;
            break;
        }
        page.files.push(FileRecord::from_bytes(row.value())?.info);
    }
    Ok(page)
}

/// Opens a file at a range's beginning, and says how many bytes there are to read.
fn open(tenant: &Tenant, place: &Place, name: &str, range: Range) -> Result<Option<(Info, File, u64)>> {
    check::name("name", name)?;
    let mut missing = None;
    // A file that is replaced is deleted behind its row: then the row is another one.
    while let Some(FileRecord { file, info }) = row(tenant, place, name)? {
        match File::open(path(tenant, file)) {
            Ok(mut opened) => {
                let Some(rest) = info.bytes.checked_sub(range.start) else {
                    let (start, bytes) = (range.start, info.bytes);
                    return Err(StoreError::Invalid(format!("`start` is {start}, behind the end of a file of {bytes} bytes")));
                };
                opened.seek(SeekFrom::Start(range.start)).map_err(failed)?;
                return Ok(Some((info, opened, range.bytes.unwrap_or(u64::MAX).min(rest))));
            }
            Err(error) if missing == Some(file) => return Err(failed(format!("file {file} of the store: {error}"))),
            Err(_) => missing = Some(file),
        }
    }
    Ok(None)
}

/// The bytes of an open file, a piece at a time as they are asked for.
fn read(store: Arc<Store>, file: File, bytes: u64) -> Body {
    let next = |(store, file, left): (Arc<Store>, Option<File>, u64)| async move {
        let mut file = file.filter(|_| left > 0)?;
        let read = move || {
            let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(left).unwrap_or(PIECE_BYTES))];
            file.read_exact(&mut piece).map_err(failed)?;
            Ok((piece, file))
        };
        match store.workers.run_on(read).await {
            Ok((piece, file)) => {
                let left = left - piece.len() as u64;
                Some((Ok(Bytes::from(piece)), (store, Some(file), left)))
            }
            Err(error) => Some((Err(std::io::Error::other(error)), (store, None, 0))),
        }
    };
    stream::unfold((store, Some(file), bytes), next).boxed()
}

/// Deletes the files of a folder that are in no row, and gives the number for the next.
pub(super) fn clean(folder: &Path, truth: &Truth) -> Result<u64> {
    let table = truth.read()?.open_table(FILES).map_err(failed)?;
    let mut known = BTreeSet::new();
    for row in table.iter().map_err(failed)? {
        known.insert(FileRecord::from_bytes(row.map_err(failed)?.1.value())?.file.to_string());
    }
    let mut last = 0;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        match known.contains(&name) {
            true => last = last.max(name.parse().unwrap_or(0)),
            false => fs::remove_file(entry.path()).map_err(failed)?,
        }
    }
    Ok(last + 1)
}
