//! Connections, and those that wait to be used again.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;
use url::Origin;

use super::body::Outgoing;

/// How long a connection waits to be used again. Servers mostly wait for a minute.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// A connection to an address that was checked. It is closed, with all that it does, when its last holder drops it.
pub(super) struct Connection {
    pub(super) origin: Origin,
    pub(super) address: IpAddr,
    pub(super) wire: Wire,
    pub(super) alive: Arc<DropGuard>,
}

/// How it speaks.
pub(super) enum Wire {
    /// One exchange at a time.
    Http1(http1::SendRequest<Outgoing>),
    /// Many at once.
    Http2(http2::SendRequest<Outgoing>),
}

impl Connection {
    /// Sends a request, whose form must be that of the wire, and waits for the head of the answer. A request that nothing was
    /// sent of comes back with the error.
    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<http::Response<Incoming>, TrySendError<Request<Outgoing>>> {
        // One that has failed says so when it is asked to send.
        match &mut self.wire {
            Wire::Http1(sender) => {
                sender.ready().await.ok();
                sender.try_send_request(request).await
            }
            Wire::Http2(sender) => {
                sender.ready().await.ok();
                sender.try_send_request(request).await
            }
        }
    }

    /// Whether the next request can be sent now.
    pub(super) fn is_ready(&self) -> bool {
        match &self.wire {
            Wire::Http1(sender) => sender.is_ready(),
            Wire::Http2(sender) => sender.is_ready(),
        }
    }

    /// Waits until the next request can be sent; false if that will never be.
    pub(super) async fn ready(&mut self) -> bool {
        match &mut self.wire {
            Wire::Http1(sender) => sender.ready().await.is_ok(),
            Wire::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    fn is_closed(&self) -> bool {
        match &self.wire {
            Wire::Http1(sender) => sender.is_closed(),
            Wire::Http2(sender) => sender.is_closed(),
        }
    }

    /// The same connection once more, where it can serve many exchanges.
    pub(super) fn shared(&self) -> Option<Connection> {
        let Wire::Http2(sender) = &self.wire else { return None };
        let (origin, alive) = (self.origin.clone(), self.alive.clone());
        Some(Connection { origin, address: self.address, wire: Wire::Http2(sender.clone()), alive })
    }
}

/// Connections of one component that can be used again.
pub(super) struct Pool {
    idle_max: usize,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// With the time of its last use. Those that many exchanges share are here while they are used, too.
    connections: Vec<(Connection, Instant)>,
    is_watched: bool,
}

impl Pool {
    pub(super) fn new(idle_max: usize) -> Pool {
        Pool { idle_max, idle: Mutex::default() }
    }

    /// A connection to an origin, the one that was used last.
    pub(super) fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = self.lock();
        idle.connections.retain(|(connection, _)| !connection.is_closed());
        let usable = |(connection, _): &(Connection, Instant)| connection.origin == *origin && connection.is_ready();
        let place = idle.connections.iter().rposition(usable)?;
        let (connection, used) = idle.connections.get_mut(place)?;
        match connection.shared() {
            Some(shared) => {
                *used = Instant::now();
                Some(shared)
            }
            None => Some(idle.connections.remove(place).0),
        }
    }

    /// Keeps a connection for later. It goes when it was idle for its time, or when there are too many.
    pub(super) fn add(self: &Arc<Pool>, connection: Connection) {
        let mut idle = self.lock();
        idle.connections.retain(|(other, _)| !other.is_closed());
        if idle.connections.len() >= self.idle_max && !idle.connections.is_empty() {
            idle.connections.remove(0);
        }
        idle.connections.push((connection, Instant::now()));
        if !std::mem::replace(&mut idle.is_watched, true) {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Takes a connection back after an exchange. A shared one is here already, unless it was retired.
    pub(super) fn give_back(self: &Arc<Pool>, connection: Connection) {
        if matches!(connection.wire, Wire::Http1(_)) {
            return self.add(connection);
        }
        for (other, used) in &mut self.lock().connections {
            if Arc::ptr_eq(&other.alive, &connection.alive) {
                *used = Instant::now();
            }
        }
    }

    /// Gives a connection to no further exchange.
    pub(super) fn retire(&self, connection: &Connection) {
        self.lock().connections.retain(|(other, _)| !Arc::ptr_eq(&other.alive, &connection.alive));
    }

    /// Closes what has been idle for its time; says whether anything is left.
    pub(super) fn sweep(&self, now: Instant) -> bool {
        let mut idle = self.lock();
        let is_used = |connection: &Connection| Arc::strong_count(&connection.alive) > 1;
        idle.connections.retain(|(connection, used)| {
            !connection.is_closed() && (is_used(connection) || now.saturating_duration_since(*used) < IDLE_MAX)
        });
        idle.is_watched = !idle.connections.is_empty();
        idle.is_watched
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().connections.len()
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        // No code under this lock can panic half-way.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sweeps a pool as long as there is something in it.
async fn watch(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE_MAX / 2).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.sweep(Instant::now()) {
            return;
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("idle", &self.lock().connections.len()).finish()
    }
}
