//! One tenant's database, which is the truth: every index can be made from it again.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TransactionError, WriteTransaction,
};

use super::record::{Record, Run, ids};
use super::{failed, lock};
use crate::{Result, StoreError};

/// A name and an owner → the collection.
pub(super) const COLLECTIONS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("collections");
/// A collection and an id → the document.
pub(super) const DOCUMENTS: TableDefinition<(u64, &str), &[u8]> = TableDefinition::new("documents");
/// A chunk's id → what filters need of it.
pub(super) const ROWS: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");
/// A chunk's id → its text.
pub(super) const TEXTS: TableDefinition<u64, &str> = TableDefinition::new("texts");
/// A chunk's id → its vector of length 1, as f32, the lowest byte first.
pub(super) const VECTORS: TableDefinition<u64, &[u8]> = TableDefinition::new("vectors");
/// A chunk's id → the vectors of its tokens, in 8 bits a number.
pub(super) const TOKENS: TableDefinition<u64, &[u8]> = TableDefinition::new("tokens");
/// Chunks of no document: those of drafts that are being written, and those that were deleted and are not swept away yet.
pub(super) const LOOSE: TableDefinition<u64, &[u8]> = TableDefinition::new("loose");
/// A store, an owner and a key → a revision and the value.
pub(super) const VALUES: TableDefinition<(&str, &str, &[u8]), &[u8]> = TableDefinition::new("values");
/// A container, an owner and a name → the file.
pub(super) const FILES: TableDefinition<(&str, &str, &str), &[u8]> = TableDefinition::new("files");
/// A kind of place and a name → bytes in it.
pub(super) const USED: TableDefinition<(&str, &str), u64> = TableDefinition::new("used");
/// What is counted.
pub(super) const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");

/// The counter of ids: of collections, chunks and drafts.
pub(super) const NEXT_ID: &str = "next id";
/// The counter of the values' revisions.
pub(super) const REVISION: &str = "revision";
/// Tells this database from others: chosen by chance when it was made.
const LINEAGE: &str = "lineage";

/// Rows that one transaction sweeps away.
const SWEEP_ROWS: usize = 2048;

/// A database, with transactions that several wait for together.
pub(super) struct Truth {
    database: Database,
    queue: Mutex<Vec<Box<dyn Job>>>,
    turn: Mutex<()>,
    is_broken: AtomicBool,
}

/// Somebody's part of a transaction.
trait Job: Send {
    /// Does it; false if the database failed, so that nothing of the transaction is to stay.
    fn run(&mut self, transaction: &WriteTransaction) -> bool;
    /// Tells what came of it: it is on disk.
    fn publish(&mut self);
    fn fail(&mut self, error: &StoreError);
}

struct Waiting<T, F> {
    work: Option<F>,
    done: Option<Result<T>>,
    result: Arc<Mutex<Option<Result<T>>>>,
}

impl<T: Send, F: FnOnce(&WriteTransaction) -> Result<T> + Send> Job for Waiting<T, F> {
    fn run(&mut self, transaction: &WriteTransaction) -> bool {
        let Some(work) = self.work.take() else { return true };
        let result = work(transaction);
        let is_whole = !matches!(result, Err(StoreError::Failed(_)));
        self.done = Some(result);
        is_whole
    }

    fn publish(&mut self) {
        *lock(&self.result) = self.done.take();
    }

    fn fail(&mut self, error: &StoreError) {
        *lock(&self.result) = Some(Err(error.clone()));
    }
}

impl Truth {
    /// Takes a database, and makes its tables if they are not there.
    pub(super) fn new(database: Database) -> Result<Truth> {
        let truth = Truth { database, queue: Mutex::default(), turn: Mutex::default(), is_broken: AtomicBool::new(false) };
        truth.write(make_tables)?;
        Ok(truth)
    }

    /// What is there now, whatever is written meanwhile.
    pub(super) fn read(&self) -> Result<ReadTransaction> {
        self.database.begin_read().map_err(|error| self.broken(error))
    }

    /// Changes something; when this gives `Ok` it is on disk. Those who come while another transaction is under way share the
    /// next. A job that gives another error than `Failed` must not have written anything.
    pub(super) fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let result = Arc::new(Mutex::new(None));
        lock(&self.queue).push(Box::new(Waiting { work: Some(work), done: None, result: Arc::clone(&result) }));
        let turn = lock(&self.turn);
        if lock(&result).is_none() {
            let mut jobs = std::mem::take(&mut *lock(&self.queue));
            match self.run(&mut jobs) {
                Ok(()) => jobs.iter_mut().for_each(|job| job.publish()),
                Err(error) => jobs.iter_mut().for_each(|job| job.fail(&error)),
            }
        }
        drop(turn);
        let result = lock(&result).take();
        result.unwrap_or_else(|| Err(failed("the thread that wrote for this one panicked")))
    }

    fn run(&self, jobs: &mut [Box<dyn Job>]) -> Result<()> {
        let transaction = self.database.begin_write().map_err(|error| self.broken(error))?;
        for job in jobs.iter_mut() {
            if !job.run(&transaction) {
                return Err(self.broken("a row could not be read or written"));
            }
        }
        transaction.commit().map_err(|error| self.broken(error))
    }

    /// Changes something that need not be on disk before the next that has to.
    pub(super) fn write_soon<T>(&self, work: impl FnOnce(&WriteTransaction) -> Result<T>) -> Result<T> {
        let _turn = lock(&self.turn);
        let mut transaction = self.database.begin_write().map_err(|error| self.broken(error))?;
        transaction.set_durability(Durability::None).map_err(failed)?;
        let done = match work(&transaction) {
            Ok(done) => done,
            Err(error) => {
                drop(transaction);
                self.examine();
                return Err(error);
            }
        };
        transaction.commit().map_err(|error| self.broken(error))?;
        Ok(done)
    }

    /// Whether it failed, so that it has to be opened anew.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    /// Looks whether the database failed, after something did: from its first error on it reads nothing more.
    pub(super) fn examine(&self) {
        match self.database.try_begin_write() {
            // Somebody writes, who finds out.
            Ok(_) | Err(TransactionError::WouldBlock) => {}
            Err(error) => drop(self.broken(error)),
        }
    }

    fn broken(&self, error: impl std::fmt::Display) -> StoreError {
        self.is_broken.store(true, Ordering::Release);
        failed(error)
    }

    /// Deletes loose chunks of one id, a bounded number at a time.
    pub(super) fn sweep(&self, loose: u64) -> Result<()> {
        while self.write_soon(|transaction| sweep_some(transaction, loose))? {}
        Ok(())
    }

    /// The ids of all loose chunks.
    pub(super) fn loose(&self) -> Result<Vec<u64>> {
        let table = self.read()?.open_table(LOOSE).map_err(failed)?;
        table.iter().map_err(failed)?.map(|row| Ok(row.map_err(failed)?.0.value())).collect()
    }

    /// What tells this database from another, and how far its ids have come: an index of one with more is of another history.
    pub(super) fn history(&self) -> Result<(u64, u64)> {
        let table = self.read()?.open_table(COUNTERS).map_err(failed)?;
        let counter = |name| Ok(table.get(name).map_err(failed)?.map_or(0, |value| value.value()));
        Ok((counter(LINEAGE)?, counter(NEXT_ID)?))
    }

    /// How many documents, chunks, values and files there are.
    pub(super) fn rows(&self) -> Result<u64> {
        use redb::ReadableTableMetadata;
        let read = self.read()?;
        let documents = read.open_table(DOCUMENTS).map_err(failed)?.len().map_err(failed)?;
        let chunks = read.open_table(ROWS).map_err(failed)?.len().map_err(failed)?;
        let values = read.open_table(VALUES).map_err(failed)?.len().map_err(failed)?;
        let files = read.open_table(FILES).map_err(failed)?.len().map_err(failed)?;
        Ok(documents + chunks + values + files)
    }
}

fn make_tables(transaction: &WriteTransaction) -> Result<()> {
    transaction.open_table(COLLECTIONS).map_err(failed)?;
    transaction.open_table(DOCUMENTS).map_err(failed)?;
    transaction.open_table(ROWS).map_err(failed)?;
    transaction.open_table(TEXTS).map_err(failed)?;
    transaction.open_table(VECTORS).map_err(failed)?;
    transaction.open_table(TOKENS).map_err(failed)?;
    transaction.open_table(LOOSE).map_err(failed)?;
    transaction.open_table(VALUES).map_err(failed)?;
    transaction.open_table(FILES).map_err(failed)?;
    transaction.open_table(USED).map_err(failed)?;
    let mut counters = transaction.open_table(COUNTERS).map_err(failed)?;
    if counters.get(LINEAGE).map_err(failed)?.is_none() {
        let chance = std::hash::RandomState::new().build_hasher().finish();
        counters.insert(LINEAGE, chance).map_err(failed)?;
    }
    Ok(())
}

/// Takes so many numbers of a counter and gives the first; they begin with 1.
pub(super) fn take(transaction: &WriteTransaction, counter: &str, count: u64) -> Result<u64> {
    let mut counters = transaction.open_table(COUNTERS).map_err(failed)?;
    let first = counters.get(counter).map_err(failed)?.map_or(1, |value| value.value());
    counters.insert(counter, first.saturating_add(count)).map_err(failed)?;
    Ok(first)
}

/// Makes chunks loose, and gives the id under which they are to be swept away.
pub(super) fn loosen(transaction: &WriteTransaction, rows: &Vec<Run>) -> Result<u64> {
    let loose = take(transaction, NEXT_ID, 1)?;
    transaction.open_table(LOOSE).map_err(failed)?.insert(loose, rows.to_bytes().as_slice()).map_err(failed)?;
    Ok(loose)
}

/// Deletes some of loose chunks and says whether there are more.
fn sweep_some(transaction: &WriteTransaction, loose: u64) -> Result<bool> {
    let mut table = transaction.open_table(LOOSE).map_err(failed)?;
    let Some(runs) = table.get(loose).map_err(failed)?.map(|runs| Vec::<Run>::from_bytes(runs.value())).transpose()? else {
        return Ok(false);
    };
    let mut rows = transaction.open_table(ROWS).map_err(failed)?;
    let mut texts = transaction.open_table(TEXTS).map_err(failed)?;
    let mut vectors = transaction.open_table(VECTORS).map_err(failed)?;
    let mut tokens = transaction.open_table(TOKENS).map_err(failed)?;
    for id in ids(&runs).take(SWEEP_ROWS) {
        rows.remove(id).map_err(failed)?;
        texts.remove(id).map_err(failed)?;
        vectors.remove(id).map_err(failed)?;
        tokens.remove(id).map_err(failed)?;
    }
    let rest = without(&runs, SWEEP_ROWS as u64);
    match rest.is_empty() {
        true => table.remove(loose).map_err(failed)?,
        false => table.insert(loose, rest.to_bytes().as_slice()).map_err(failed)?,
    };
    Ok(!rest.is_empty())
}

/// Runs without so many at their beginning.
fn without(runs: &[Run], mut count: u64) -> Vec<Run> {
    let mut rest = Vec::new();
    for &(first, length) in runs {
        let gone = length.min(count);
        count -= gone;
        if gone < length {
            rest.push((first + gone, length - gone));
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_acknowledged_of_a_transaction_that_a_panic_ends() {
        let truth =
            Truth::new(Database::builder().create_with_backend(redb::backends::InMemoryBackend::new()).unwrap()).unwrap();
        let result = Arc::new(Mutex::new(None));
        let work = |transaction: &WriteTransaction| take(transaction, REVISION, 1);
        lock(&truth.queue).push(Box::new(Waiting { work: Some(work), done: None, result: Arc::clone(&result) }));
        let panicking = || truth.write(|_| -> Result<()> { panic!("as planned") });
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(panicking)).unwrap_err();
        assert_eq!(*lock(&result), None);
        assert_eq!(truth.write(work).unwrap(), 1);
    }
}
