//! Small values in the database.

use bytes::Bytes;
use futures::future::BoxFuture;
use redb::{ReadableTable, WriteTransaction};

use super::tenant::{Tenant, owner_key};
use super::truth::{REVISION, USED, VALUES, take};
use super::{Embedded, check, failed};
use crate::kv::{ENTRIES_MAX, Entry, Expected, PAGE_BYTES_MAX, Page, Range, VALUE_BYTES_MAX, Values};
use crate::{Place, Result, StoreError};

/// What [`USED`] calls stores.
const KIND: &str = "values";

/// What a row takes beside its key and value, about.
const ROW_BYTES: u64 = 32;

impl Values for Embedded {
    fn get(&self, place: &Place, key: &str) -> BoxFuture<'static, Result<Option<Entry>>> {
        let (place, key) = (place.clone(), key.to_owned());
        self.with_existing(&place.tenant.clone(), move |tenant| {
            check::key(&key)?;
            let table = tenant.truth.read()?.open_table(VALUES).map_err(failed)?;
            let row = table.get((place.name.as_str(), owner_key(&place).as_str(), key.as_bytes())).map_err(failed)?;
            row.map(|row| entry(key.as_bytes(), row.value())).transpose()
        })
    }

    fn set(&self, place: &Place, key: &str, value: Bytes, expected: Expected) -> BoxFuture<'static, Result<u64>> {
        let (place, key) = (place.clone(), key.to_owned());
        self.with(&place.tenant.clone(), move |tenant| {
            check::key(&key)?;
            if value.len() > VALUE_BYTES_MAX {
                let length = value.len();
                return Err(StoreError::Invalid(format!("`value` has {length} bytes: send {VALUE_BYTES_MAX} at most")));
            }
            tenant.truth.write(move |transaction| set(transaction, &place, &key, &value, expected))
        })
    }

    fn delete(&self, place: &Place, key: &str) -> BoxFuture<'static, Result<bool>> {
        let (place, key) = (place.clone(), key.to_owned());
        self.with_existing(&place.tenant.clone(), move |tenant| {
            check::key(&key)?;
            tenant.truth.write(move |transaction| delete(transaction, &place, &key))
        })
    }

    fn list(&self, place: &Place, range: Range) -> BoxFuture<'static, Result<Page>> {
        let place = place.clone();
        self.with_existing(&place.tenant.clone(), move |tenant| list(tenant, &place, &range))
    }
}

fn set(transaction: &WriteTransaction, place: &Place, key: &str, value: &[u8], expected: Expected) -> Result<u64> {
    let owner = owner_key(place);
    let at = (place.name.as_str(), owner.as_str(), key.as_bytes());
    let mut table = transaction.open_table(VALUES).map_err(failed)?;
    let old = table.get(at).map_err(failed)?.map(|row| (row.value().len() as u64, revision(row.value())));
    let is_expected = match expected {
        Expected::Anything => true,
        Expected::Nothing => old.is_none(),
        Expected::Revision(revision) => old.is_some_and(|(_, old)| old == revision),
    };
    if !is_expected {
        return Err(StoreError::Conflict);
    }
    let overhead = ROW_BYTES + (key.len() + owner.len()) as u64;
    let old_bytes = old.map_or(0, |(bytes, _)| bytes + overhead);
    let bytes = value.len() as u64 + 8 + overhead;
    let mut used = transaction.open_table(USED).map_err(failed)?;
    let all = used.get((KIND, place.name.as_str())).map_err(failed)?.map_or(0, |bytes| bytes.value());
    let all = all.saturating_sub(old_bytes) + bytes;
    if all > place.bytes_max && bytes > old_bytes {
        return Err(StoreError::Full { bytes_max: place.bytes_max });
    }
    used.insert((KIND, place.name.as_str()), all).map_err(failed)?;
    let revision = take(transaction, REVISION, 1)?;
    let row = [revision.to_le_bytes().as_slice(), value].concat();
    table.insert(at, row.as_slice()).map_err(failed)?;
    Ok(revision)
}

fn delete(transaction: &WriteTransaction, place: &Place, key: &str) -> Result<bool> {
    let owner = owner_key(place);
    let mut table = transaction.open_table(VALUES).map_err(failed)?;
    let at = (place.name.as_str(), owner.as_str(), key.as_bytes());
    let Some(bytes) = table.remove(at).map_err(failed)?.map(|row| row.value().len() as u64) else { return Ok(false) };
    let bytes = bytes + ROW_BYTES + (key.len() + owner.len()) as u64;
    let mut used = transaction.open_table(USED).map_err(failed)?;
    let all = used.get((KIND, place.name.as_str())).map_err(failed)?.map_or(0, |bytes| bytes.value());
    used.insert((KIND, place.name.as_str()), all.saturating_sub(bytes)).map_err(failed)?;
    Ok(true)
}

fn list(tenant: &Tenant, place: &Place, range: &Range) -> Result<Page> {
    check::page("entries-max", range.entries_max, ENTRIES_MAX)?;
    let (name, owner) = (place.name.as_str(), owner_key(place));
    let (first, end) = bounds(range);
    let mut page = Page::default();
    if first >= end {
        return Ok(page);
    }
    let table = tenant.truth.read()?.open_table(VALUES).map_err(failed)?;
    let at = |key| (name, owner.as_str(), key);
    let mut rows = table.range(at(first.as_slice())..at(end.as_slice())).map_err(failed)?;
    let mut bytes = 0;
    while let Some(row) = if range.is_reversed { rows.next_back() } else { rows.next() } {
        let (key, value) = row.map_err(failed)?;
        let entry = entry(key.value().2, value.value())?;
        bytes += entry.key.len() + entry.value.len();
        if page.entries.len() == range.entries_max || (bytes > PAGE_BYTES_MAX && !page.entries.is_empty()) {
            page.has_more = true;
            break;
        }
        page.entries.push(entry);
    }
    Ok(page)
}

/// The first key that may be in a range, and the first behind it.
fn bounds(range: &Range) -> (Vec<u8>, Vec<u8>) {
    let mut first = range.prefix.clone().into_bytes();
    // No text has this byte.
    let mut end = [range.prefix.as_bytes(), &[0xff]].concat();
    match &range.after {
        Some(after) if range.is_reversed => end = end.min(after.clone().into_bytes()),
        Some(after) => first = first.max([after.as_bytes(), &[0]].concat()),
        None => {}
    }
    (first, end)
}

fn entry(key: &[u8], row: &[u8]) -> Result<Entry> {
    let (_, value) = row.split_first_chunk::<8>().ok_or_else(|| failed("a value of the database can't be read"))?;
    let key = std::str::from_utf8(key).map_err(failed)?.to_owned();
    Ok(Entry { key, value: Bytes::copy_from_slice(value), revision: revision(row) })
}

fn revision(row: &[u8]) -> u64 {
    row.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
