//! Jobs: what goes on behind an answer, and can be asked for.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tessera_sdk::kv::{self, Expected, Range};
use tessera_sdk::{Error, id, log, store};

use crate::progress::Step;
use crate::report::{FileReport, FileStatus};

const STORE: &str = "dataprep-jobs";

/// How often a job's state is written while it works, at most.
const WRITE_MS_MIN: u64 = 1000;

/// A job that has not written for so long has no one who works on it, beside the time that one file may take.
const SILENCE_MS_MAX: u64 = 60_000;

/// How long a job can be asked for.
const KEPT_MS: u64 = 7 * 24 * 3600 * 1000;

/// Jobs that are looked at for being too old when a new one begins.
const SWEPT_MAX: u32 = 50;

/// What is known of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) state: State,
    pub(crate) index_name: String,
    /// Milliseconds since 1970.
    pub(crate) created_ms: u64,
    pub(crate) changed_ms: u64,
    pub(crate) files_total: usize,
    pub(crate) files_done: usize,
    /// The file that is worked on, with its chunks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<Current>,
    /// Files that are over.
    pub(crate) files: Vec<FileReport>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Running,
    Succeeded,
    PartlyFailed,
    Failed,
    /// The server that worked on it is gone. What was finished is stored; the same request again does the rest.
    Interrupted,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Current {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pages: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks_done: Option<usize>,
}

impl Job {
    fn new(id: String, index_name: &str, files_total: usize, now_ms: u64) -> Self {
        Self {
            id,
            state: State::Running,
            index_name: index_name.to_owned(),
            created_ms: now_ms,
            changed_ms: now_ms,
            files_total,
            files_done: 0,
            current: None,
            files: Vec::new(),
        }
    }

    /// The job of an id, as it is now; none if there is none.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn find(id: &str, file_ms_max: u64) -> Result<Option<Self>, Error> {
        let Some(entry) = kv::get(STORE, id).await? else { return Ok(None) };
        let job: Self = serde_json::from_slice(&entry.value).map_err(|_| Error::internal("this job's state can't be read"))?;
        Ok(Some(job.at(now_ms(), file_ms_max)))
    }

    /// One that nobody has worked on for too long is interrupted.
    fn at(mut self, now_ms: u64, file_ms_max: u64) -> Self {
        let silence_ms = now_ms.saturating_sub(self.changed_ms);
        if self.state == State::Running && silence_ms > SILENCE_MS_MAX + file_ms_max {
            self.state = State::Interrupted;
        }
        self
    }

    fn take(&mut self, step: Step<'_>) {
        match step {
            Step::Started { file, .. } => self.current = Some(Current { file: file.to_owned(), ..Current::default() }),
            Step::Parsed { pages, .. } => self.current.get_or_insert_default().pages = Some(pages),
            Step::Embedded { chunks, of, .. } => {
                let current = self.current.get_or_insert_default();
                (current.chunks, current.chunks_done) = (Some(of), Some(chunks));
            }
            Step::Finished { report, .. } => {
                self.current = None;
                self.files_done += 1;
                self.files.push(report.clone());
            }
        }
    }
}

/// Writes down how a job goes on.
#[derive(Debug)]
pub(crate) struct Journal {
    job: Job,
    written_ms: u64,
}

impl Journal {
    /// Begins a job.
    ///
    /// # Errors
    /// Those of the store: without its state nobody could ask for the job.
    pub(crate) async fn begin(index_name: &str, files_total: usize) -> Result<Self, Error> {
        let now_ms = now_ms();
        sweep(now_ms).await;
        // Ids grow with time, so that the oldest jobs are listed first.
        let job = Job::new(id::new(), index_name, files_total, now_ms);
        write(&job).await?;
        Ok(Self { job, written_ms: now_ms })
    }

    pub(crate) fn job(&self) -> &Job {
        &self.job
    }

    /// Takes note of a step.
    pub(crate) async fn note(&mut self, step: Step<'_>) {
        let is_due = matches!(step, Step::Finished { .. } | Step::Started { .. });
        self.job.take(step);
        let now_ms = now_ms();
        if is_due || now_ms.saturating_sub(self.written_ms) >= WRITE_MS_MIN {
            self.written_ms = now_ms;
            self.write(now_ms).await;
        }
    }

    /// Takes note of the end.
    pub(crate) async fn end(mut self, files: &[FileReport]) {
        let failed = files.iter().filter(|file| file.status == FileStatus::Failed).count();
        self.job.state = match failed {
            0 => State::Succeeded,
            _ if failed == files.len() => State::Failed,
            _ => State::PartlyFailed,
        };
        self.job.current = None;
        self.write(now_ms()).await;
    }

    async fn write(&mut self, now_ms: u64) {
        self.job.changed_ms = now_ms;
        // The work itself goes on: only who asks would not learn of it.
        if let Err(error) = write(&self.job).await {
            log::warn(&format!("the state of a job was not written: {}", error.message));
        }
    }
}

async fn write(job: &Job) -> Result<(), store::Error> {
    let value =
        serde_json::to_vec(job).map_err(|error| store::Error::new(store::ErrorCode::InvalidInput, error.to_string()))?;
    kv::set(STORE, &job.id, value, Expected::Anything).await.map(|_| ())
}

/// Deletes some jobs that are too old.
async fn sweep(now_ms: u64) {
    let Ok(page) = kv::list(STORE, Range { entries_max: SWEPT_MAX, ..Range::default() }).await else { return };
    for entry in page.entries {
        let changed_ms = serde_json::from_slice(&entry.value).map_or(0, |job: Job| job.changed_ms);
        if now_ms.saturating_sub(changed_ms) > KEPT_MS {
            // What is not deleted now is the next time.
            let _ = kv::delete(STORE, &entry.key).await;
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted() {
        let mut job = Job::new("x".into(), "documents", 2, 5);
        job.take(Step::Started { file: "a", number: 1, of: 2 });
        job.take(Step::Parsed { file: "a", format: "pdf", pages: 3, characters: 9 });
        job.take(Step::Embedded { file: "a", chunks: 16, of: 20 });
        let current = Current { file: "a".into(), pages: Some(3), chunks: Some(20), chunks_done: Some(16) };
        assert_eq!((job.current.as_ref(), job.files_done), (Some(&current), 0));
        let error = crate::report::FileError { code: "c".into(), message: "m".into(), status: 400 };
        let report = FileReport::failed("a", error);
        job.take(Step::Finished { file: "a", report: &report });
        assert_eq!((job.current, job.files_done, job.files), (None, 1, vec![report]));
    }

    #[test]
    fn a_job_nobody_works_on_is_interrupted() {
        let job = Job::new("x".into(), "documents", 1, 1000);
        assert_eq!(job.clone().at(1000 + SILENCE_MS_MAX + 500, 500).state, State::Running);
        assert_eq!(job.clone().at(1001 + SILENCE_MS_MAX + 500, 500).state, State::Interrupted);
        let over = Job { state: State::Succeeded, ..job };
        assert_eq!(over.at(u64::MAX, 0).state, State::Succeeded);
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let job = Job::new("x".into(), "documents", 1, 1000);
        let text = serde_json::to_vec(&job).expect("JSON");
        assert_eq!(serde_json::from_slice::<Job>(&text).expect("JSON"), job);
    }
}
