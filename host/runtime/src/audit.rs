//! The audit log of a server: what is told to it, and who waits for it.
//!
//! A record goes into a bounded buffer, from there a thread writes it: [`writer`]. What is of a closed class gets a ticket, and
//! neither the head of an answer nor a request to another host leaves the server before the log is that far.

mod config;
mod decision;
mod trace;
mod trail;
mod writer;

use std::sync::Arc;

use policy::audit::{ArgumentsKey, Disk, Kind, Log, LogError, Record, Storage};
use serde_json::json;

pub(crate) use config::Class;
pub use config::{AuditConfig, Recording};
pub(crate) use decision::Asked;
pub(crate) use trace::{Trace, unavailable};
pub(crate) use trail::Trail;
use writer::Writer;
pub(crate) use writer::{Ticket, Unavailable};

use crate::config::ServerConfig;
use crate::telemetry::Metrics;

/// The folder of the log in the server's data.
pub const AUDIT_FOLDER: &str = "audit";

/// The log, or none.
pub(crate) struct Audit {
    config: AuditConfig,
    kept: Option<Kept>,
}

struct Kept {
    writer: Writer,
    arguments: ArgumentsKey,
}

impl Audit {
    /// Opens the log in a storage, or else in the server's data folder.
    ///
    /// # Errors
    /// When there is one that can't be gone on with.
    pub(crate) fn open(
        config: &ServerConfig,
        storage: Option<Box<dyn Storage>>,
        metrics: &Metrics,
    ) -> Result<Arc<Audit>, LogError> {
        let settings = config.audit.clone();
        if settings.is_off() {
            return Ok(Arc::new(Audit { config: settings, kept: None }));
        }
        let storage = match storage {
            Some(storage) => storage,
            None => Box::new(Disk::open(&config.data.join(AUDIT_FOLDER))?),
        };
        let log = Log::open(storage, settings.bytes_max, std::time::SystemTime::now())?;
        let arguments = log.arguments_key().clone();
        let writer = Writer::start(log, &settings, metrics.audit_lost())?;
        Ok(Arc::new(Audit { config: settings, kept: Some(Kept { writer, arguments }) }))
    }

    /// Whether a class is recorded at all: without that nothing needs to be put together.
    pub(crate) fn takes(&self, class: Class) -> bool {
        self.kept.is_some() && self.config.of(class) != Recording::Off
    }

    /// Records something. Gives a ticket to wait with, 0 where nobody has to.
    ///
    /// # Errors
    /// When the class is closed and there is no room for its record.
    pub(crate) fn tell(&self, class: Class, record: Record) -> Result<Ticket, Unavailable> {
        let Some(kept) = self.kept.as_ref().filter(|_| self.takes(class)) else { return Ok(0) };
        match self.config.of(class) {
            Recording::Closed => kept.writer.push(record, true),
            _ => Ok(kept.writer.push(record, false).map_or(0, |_| 0)), // what is lost is counted
        }
    }

    /// Whether requests may be served: where some of them have to be recorded, only while that works.
    pub(crate) fn is_available(&self) -> bool {
        !self.config.requests_need_it() || self.kept.as_ref().is_none_or(|kept| kept.writer.is_available())
    }

    /// Waits until a record is durable. With ticket 0 there is nothing to wait for.
    ///
    /// # Errors
    /// When it could not be written.
    pub(crate) async fn written(&self, ticket: Ticket) -> Result<(), Unavailable> {
        match &self.kept {
            Some(kept) if ticket > 0 => kept.writer.durable(ticket).await,
            _ => Ok(()),
        }
    }

    /// Records something of the server itself, and waits for it where that is asked for.
    ///
    /// # Errors
    /// When it could not be written and must be.
    pub(crate) async fn administered(&self, record: Record) -> Result<(), Unavailable> {
        let ticket = self.tell(Class::Admin, record)?;
        self.written(ticket).await
    }

    /// Records something of the server itself that counts whether it can be written or not.
    pub(crate) fn note(&self, record: Record) {
        drop(self.tell(Class::Admin, record)); // what is lost is counted
    }

    /// A keyed digest of what was asked.
    pub(crate) fn digest(&self, parts: &[&[u8]]) -> Option<Arc<str>> {
        self.kept.as_ref().map(|kept| kept.arguments.digest(parts).into())
    }

    /// Writes and signs what there is, and closes the log. It blocks.
    pub(crate) fn stop(&self) {
        if let Some(kept) = &self.kept {
            kept.writer.stop();
        }
    }
}

/// A record of the server itself: `start` or `stop`.
pub(crate) fn of_server(action: &str) -> Record {
    let version = [("version", json!(env!("CARGO_PKG_VERSION"))), ("pid", json!(std::process::id()))];
    Record { action: Some(action.into()), ..Record::new(Kind::Server) }.with_detail(version)
}
