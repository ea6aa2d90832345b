//! Who is told how an ingest goes on: nobody, a client that listens, or a job that can be asked.

use serde::Serialize;
use tessera_sdk::handler::Closed;
use tessera_sdk::sse::{Event, Events};

use crate::job::Journal;
use crate::report::{FileReport, answer};

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Step<'a> {
    /// A file's turn has come, from 1.
    Started { file: &'a str, number: usize, of: usize },
    /// Its text is there.
    Parsed { file: &'a str, format: &'a str, pages: u32, characters: usize },
    /// So many of its chunks are embedded.
    Embedded { file: &'a str, chunks: usize, of: usize },
    /// It is over, well or not.
    Finished {
        file: &'a str,
        #[serde(flatten)]
        report: &'a FileReport,
    },
}

impl Step<'_> {
    fn name(&self) -> &'static str {
        match self {
            Step::Started { .. } => "started",
            Step::Parsed { .. } => "parsed",
            Step::Embedded { .. } => "embedded",
            Step::Finished { .. } => "finished",
        }
    }
}

/// Who is told.
#[derive(Debug)]
pub(crate) enum Observer {
    Nobody,
    Client(Box<Events>),
    Job(Box<Journal>),
}

impl Observer {
    /// Tells a step.
    ///
    /// # Errors
    /// [`Closed`] if the one who listened went away, so that there is no need to go on.
    pub(crate) async fn tell(&mut self, step: Step<'_>) -> Result<(), Closed> {
        match self {
            Observer::Nobody => Ok(()),
            Observer::Client(events) => events.send(Event::json(&step).named(step.name())).await,
            Observer::Job(journal) => {
                journal.note(step).await;
                Ok(())
            }
        }
    }

    /// Tells the end: the answer that a request without events gets.
    ///
    /// # Errors
    /// [`Closed`] if the one who listened went away.
    pub(crate) async fn finish(self, files: &[FileReport]) -> Result<(), Closed> {
        match self {
            Observer::Nobody => Ok(()),
            Observer::Client(mut events) => {
                let (status, mut body) = answer(files);
                body["status"] = status.into();
                events.send(Event::json(&body).named("done")).await?;
                events.finish()
            }
            Observer::Job(journal) => {
                journal.end(files).await;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_step_tells_its_name_and_its_file() {
        let step = Step::Embedded { file: "a.txt", chunks: 16, of: 20 };
        let expected = json!({"event": "embedded", "file": "a.txt", "chunks": 16, "of": 20});
        assert_eq!((step.name(), serde_json::to_value(step).expect("JSON")), ("embedded", expected));
    }
}
