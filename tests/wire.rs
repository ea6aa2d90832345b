//! A client that writes every byte itself: for requests that a good client can't send, and to read while sending.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a read or write may take: only a failing test takes as long.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A connection. Dropping it closes it.
pub struct Wire {
    stream: TcpStream,
    /// What has come so far.
    received: Vec<u8>,
}

impl Wire {
    /// Connects.
    pub fn open(address: SocketAddr) -> Wire {
        Wire::accepted(TcpStream::connect(address).expect("the server listens"))
    }

    /// The other end of a connection, for a test that plays a server itself.
    pub fn accepted(stream: TcpStream) -> Wire {
        stream.set_read_timeout(Some(WAIT_MAX)).expect("a timeout can be set");
        stream.set_write_timeout(Some(WAIT_MAX)).expect("a timeout can be set");
        Wire { stream, received: Vec::new() }
    }

    /// Connects and sends the head of a request: its first line without the version, and more header lines.
    pub fn request(address: SocketAddr, line: &str, headers: &[&str]) -> Wire {
        let mut wire = Wire::open(address);
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        wire.send(format!("{line} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").as_bytes());
        wire
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes it");
    }

    /// Sends one piece of a chunked body; an empty one ends it.
    pub fn send_chunk(&mut self, bytes: &[u8]) {
        self.send(format!("{:x}\r\n", bytes.len()).as_bytes());
        self.send(bytes);
        self.send(b"\r\n");
    }

    /// Reads until this text has come.
    ///
    /// # Panics
    /// When the connection ends before.
    pub fn read_until(&mut self, text: &str) {
        let has = |received: &[u8]| received.windows(text.len()).any(|window| window == text.as_bytes());
        let mut buffer = [0; 4096];
        while !has(&self.received) {
            let read = self.stream.read(&mut buffer).expect("the server answers in time");
            assert!(read > 0, "the connection ended without {text:?}: {:?}", String::from_utf8_lossy(&self.received));
            self.received.extend(&buffer[..read]);
        }
    }

    /// Everything that has been read.
    pub fn received(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    /// Waits for the other side to close the connection, a clean end or not.
    ///
    /// # Panics
    /// When it doesn't in time.
    pub fn wait_for_end(mut self) {
        let ended = self.stream.read_to_end(&mut self.received);
        let is_open = ended.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        assert!(!is_open, "the connection is still open after {:?}", self.received());
    }

    /// Reads to the end of the connection, a clean one or not, and gives everything that came on it.
    pub fn read_to_end(mut self) -> String {
        // An error here is a reset, which ends a connection too; what matters is what came before.
        drop(self.stream.read_to_end(&mut self.received));
        String::from_utf8_lossy(&self.received).into_owned()
    }
}
