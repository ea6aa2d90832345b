//! The thread that writes the log: it takes what is there, writes it in one go, and says how far it is.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use policy::audit::{Kind, Log, Record};
use prometheus_client::metrics::counter::Counter;
use serde_json::json;
use tokio::sync::watch;

use super::AuditConfig;

/// Records that wait for others to come, where nobody waits for them.
const GATHERED_MAX: usize = 4096;

/// How long they wait.
const GATHERING_MAX: Duration = Duration::from_millis(100);

/// Records that one checkpoint signs at most.
const UNSIGNED_MAX: u64 = 1000;

/// How long a disk that failed is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// How long a record is waited for: a disk may hang instead of failing.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A place in the order of records: what comes before it is durable when it is.
pub(crate) type Ticket = u64;

/// How far the thread is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    /// Everything up to this is durable.
    durable: Ticket,
    /// Everything up to this was not, when it was tried last.
    failed: Ticket,
    is_failing: bool,
}

/// A ticket that never comes up, for a record that there was no room for.
pub(super) const NEVER: Ticket = Ticket::MAX;

/// The log can't be written.
#[derive(Debug, thiserror::Error)]
#[error("the audit log can't be written")]
pub(crate) struct Unavailable;

/// What the server sees of the thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Records that there is room for.
    waiting_max: usize,
    /// Records that the thread is woken for.
    gathered_max: usize,
    /// Records that could not be kept.
    lost: Counter,
}

#[derive(Default)]
struct Queue {
    records: VecDeque<(SystemTime, Record)>,
    /// When the first of them came.
    since: Option<Instant>,
    /// Records that were ever put in.
    taken: Ticket,
    /// Records that there was no room for, since that was recorded.
    lost: u64,
    /// Whether somebody waits.
    is_urgent: bool,
    is_stopping: bool,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(log: Log, settings: &AuditConfig, lost: Counter) -> io::Result<Writer> {
        let waiting_max = settings.waiting_max;
        let gathered_max = GATHERED_MAX.min(waiting_max.div_ceil(2));
        let interval = Duration::from_millis(settings.sync_ms);
        let shared = Arc::new(Shared { queue: Mutex::default(), wake: Condvar::new(), waiting_max, gathered_max, lost });
        let (told, progress) = watch::channel(Progress::default());
        let work = Work {
            log,
            interval,
            shared: shared.clone(),
            told,
            batch: VecDeque::new(),
            appended: 0,
            unsigned_since: None,
            lost: 0,
            retry: None,
        };
        let thread = std::thread::Builder::new().name("audit".into()).spawn(move || work.run())?;
        Ok(Writer { shared, progress, thread: Mutex::new(Some(thread)) })
    }

    /// Adds a record. Never waits for the disk.
    ///
    /// # Errors
    /// When there is no room: the record is lost, and counted.
    pub(super) fn push(&self, record: Record, is_urgent: bool) -> Result<Ticket, Unavailable> {
        let time = SystemTime::now();
        let mut queue = self.shared.lock();
        if queue.records.len() >= self.shared.waiting_max || queue.is_stopping {
            queue.lost += 1;
            self.shared.lost.inc();
            return Err(Unavailable);
        }
        queue.records.push_back((time, record));
        queue.taken += 1;
        let was_idle = queue.since.is_none();
        if was_idle {
            queue.since = Some(Instant::now());
        }
        let becomes_urgent = is_urgent && !queue.is_urgent;
        queue.is_urgent |= is_urgent;
        let ticket = queue.taken;
        let wakes = was_idle || becomes_urgent || queue.records.len() == self.shared.gathered_max;
        drop(queue);
        if wakes {
            self.shared.wake.notify_one();
        }
        Ok(ticket)
    }

    /// Whether the disk did what it was last asked for.
    pub(super) fn is_available(&self) -> bool {
        !self.progress.borrow().is_failing
    }

    /// Waits until a record is durable.
    ///
    /// # Errors
    /// When it could not be made so at the next attempt. It may become so later.
    pub(super) async fn durable(&self, ticket: Ticket) -> Result<(), Unavailable> {
        if ticket == NEVER {
            return Err(Unavailable);
        }
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|progress| progress.durable >= ticket || progress.failed >= ticket);
        match tokio::time::timeout(WAIT_MAX, reached).await {
            Ok(Ok(progress)) if progress.durable >= ticket => Ok(()),
            _ => Err(Unavailable),
        }
    }

    /// Writes and signs everything, and ends the thread. Later records are lost.
    pub(super) fn stop(&self) {
        self.shared.lock().is_stopping = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the audit log's thread failed");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread.
struct Work {
    log: Log,
    interval: Duration,
    shared: Arc<Shared>,
    told: watch::Sender<Progress>,
    /// Records that were taken and are not in the log.
    batch: VecDeque<(SystemTime, Record)>,
    /// Records that are in the log.
    appended: Ticket,
    /// Since when there are records that are not signed.
    unsigned_since: Option<Instant>,
    /// Records that there was no room for, and that no record tells of.
    lost: u64,
    /// When to try again, after a failure.
    retry: Option<Instant>,
}

/// What the thread is woken for.
struct Task {
    is_urgent: bool,
    is_stopping: bool,
}

impl Work {
    fn run(mut self) {
        loop {
            let task = self.wait();
            let done = self.step(&task);
            match &done {
                Ok(()) if self.retry.take().is_some() => tracing::info!("the audit log can be written again"),
                Ok(()) => {}
                Err(error) => {
                    if self.retry.is_none() {
                        tracing::error!(%error, "the audit log can't be written: what must be recorded is refused until it can");
                    }
                    self.retry = Some(Instant::now() + RETRY);
                    self.tell_failure();
                }
            }
            if task.is_stopping {
                let lost = self.batch.len();
                if done.is_err() || lost > 0 {
                    tracing::error!(lost, "the audit log ends without its last records");
                }
                return;
            }
        }
    }

    /// Waits for something to do, and takes what there is.
    fn wait(&mut self) -> Task {
        let shared = self.shared.clone();
        let mut queue = shared.lock();
        loop {
            let now = Instant::now();
            let has_records = !queue.records.is_empty();
            let is_due = match self.retry {
                Some(retry) => now >= retry,
                None => has_records && (queue.is_urgent || queue.records.len() >= shared.gathered_max),
            };
            let deadline = self.retry.or_else(|| {
                let gathered = queue.since.map(|since| since + GATHERING_MAX);
                let signing = self.unsigned_since.map(|since| since + self.interval);
                gathered.into_iter().chain(signing).min()
            });
            if is_due || queue.is_stopping || deadline.is_some_and(|deadline| now >= deadline) {
                break;
            }
            queue = match deadline {
                None => shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let waited = shared.wake.wait_timeout(queue, deadline - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        let task = Task { is_urgent: queue.is_urgent, is_stopping: queue.is_stopping };
        // While the disk fails the queue keeps what comes, as far as there is room.
        if self.retry.is_none() {
            self.take(&mut queue);
        }
        task
    }

    fn take(&mut self, queue: &mut Queue) {
        self.batch.append(&mut queue.records);
        (queue.since, queue.is_urgent) = (None, false);
        self.lost += std::mem::take(&mut queue.lost);
    }

    fn step(&mut self, task: &Task) -> io::Result<()> {
        if self.retry.is_some() {
            self.sign()?;
            let shared = self.shared.clone();
            self.take(&mut shared.lock());
        }
        while let Some((time, record)) = self.batch.pop_front() {
            self.log.append(time, &record);
            self.appended += 1;
            if self.log.unsigned() >= UNSIGNED_MAX {
                self.sign()?;
            }
        }
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            self.log.append(SystemTime::now(), &Record::new(Kind::Lost).with_detail([("count", json!(lost))]));
        }
        let is_unsigned = self.log.unsigned() > 0;
        let since = *self.unsigned_since.get_or_insert_with(Instant::now);
        if task.is_stopping || !is_unsigned || since.elapsed() >= self.interval {
            self.sign()
        } else if task.is_urgent {
            self.log.sync()?;
            self.tell_durable();
            Ok(())
        } else {
            self.log.write()
        }
    }

    /// Signs what there is, and with that makes it durable.
    fn sign(&mut self) -> io::Result<()> {
        self.log.checkpoint(SystemTime::now())?;
        self.unsigned_since = None;
        self.tell_durable();
        Ok(())
    }

    fn tell_durable(&self) {
        let durable = self.appended;
        self.told.send_modify(|progress| *progress = Progress { durable, is_failing: false, ..*progress });
    }

    fn tell_failure(&self) {
        let failed = self.shared.lock().taken;
        self.told.send_modify(|progress| *progress = Progress { failed, is_failing: true, ..*progress });
    }
}
