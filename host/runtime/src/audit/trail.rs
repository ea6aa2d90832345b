//! What one request has told the log.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use policy::audit::{Counts, Record, Usage};
use policy::{Action, Meter};

use super::writer::NEVER;
use super::{Audit, Class, Ticket};

/// Decisions of one request that get a record each; those beyond are counted. A guest that asks in a loop fills no disk.
const RECORDS_MAX: u32 = 256;

/// Whether the use of a right has no record of its own: it is frequent and changes nothing outside.
pub(super) fn is_only_counted(action: &Action<'_>) -> bool {
    matches!(action, Action::Read(_) | Action::Config(_) | Action::Log)
}

/// In whose name a request's records are: the same in all of them.
#[derive(Debug, Clone)]
pub(super) struct Who {
    pub(super) request: Option<Arc<str>>,
    pub(super) client: Option<Arc<str>>,
    pub(super) tenant: Arc<str>,
    pub(super) caller: Arc<str>,
}

/// What a request has used and told until now.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    who: OnceLock<Who>,
    /// What models did for it.
    pub(crate) meter: Arc<Meter>,
    /// The last record that has to be durable before the head of the answer, or a request to another host, leaves the server.
    ticket: AtomicU64,
    records: AtomicU32,
    reads: AtomicU64,
    settings: AtomicU64,
    lines: AtomicU64,
    more: AtomicU64,
}

impl Trail {
    /// In whose name it is, which is found out once.
    pub(super) fn who(&self, find_out: impl FnOnce() -> Who) -> &Who {
        self.who.get_or_init(find_out)
    }

    /// Counts the use of a right that has no record of its own.
    pub(super) fn count(&self, action: &Action<'_>) {
        let counter = match action {
            Action::Read(_) => &self.reads,
            Action::Config(_) => &self.settings,
            Action::Log => &self.lines,
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there may be one more record of a decision. Requests that are sent to other hosts always get one: quotas limit them.
    pub(super) fn has_room(&self, action: &Action<'_>) -> bool {
        matches!(action, Action::Http { .. }) || self.has_room_for_one()
    }

    pub(super) fn has_room_for_one(&self) -> bool {
        let has_room = self.records.fetch_add(1, Ordering::Relaxed) < RECORDS_MAX;
        if !has_room {
            self.more.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    /// Records a guard's verdict; those beyond are counted.
    pub(crate) fn judged(&self, audit: &Audit, record: Record) {
        if audit.takes(Class::Deny) && self.has_room_for_one() {
            self.tell(audit, Class::Deny, record);
        }
    }

    /// Records something of the request, which waits for it where its class is closed.
    pub(super) fn tell(&self, audit: &Audit, class: Class, record: Record) {
        self.waits_for(audit.tell(class, record).unwrap_or(NEVER)); // so that the answer is refused
    }

    /// Waits for this record, too.
    pub(crate) fn waits_for(&self, ticket: Ticket) {
        self.ticket.fetch_max(ticket, Ordering::Relaxed);
    }

    /// The last record to wait for, 0 for none.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket.load(Ordering::Relaxed)
    }

    /// What it has used until now, but for time.
    pub(super) fn usage(&self) -> Usage {
        let counts = Counts {
            reads: self.reads.load(Ordering::Relaxed),
            settings: self.settings.load(Ordering::Relaxed),
            lines: self.lines.load(Ordering::Relaxed),
            more: self.more.load(Ordering::Relaxed),
        };
        Usage { counts, ..self.meter.usage() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_asks_in_a_loop_fills_no_disk() {
        let (trail, url) = (Trail::default(), "https://a.example/".parse().expect("a URL"));
        let told = |action: &Action<'_>| (0..300).filter(|_| trail.has_room(action)).count();
        assert_eq!((told(&Action::Embed("m")), told(&Action::Write("/x"))), (256, 0));
        assert_eq!(told(&Action::Http { method: &::http::Method::GET, url: &url }), 300);
        assert_eq!(trail.usage().counts.more, 44 + 300);
    }

    #[test]
    fn what_is_frequent_is_counted() {
        let trail = Trail::default();
        for action in [Action::Read("/x"), Action::Config("k"), Action::Log, Action::Log, Action::Secret("s")] {
            trail.count(&action);
        }
        assert_eq!(trail.usage().counts, Counts { reads: 1, settings: 1, lines: 2, more: 0 });
    }
}
