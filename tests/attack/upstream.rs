//! Another host that a guest may or may not reach: it writes down what it is sent, byte by byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Longest head that is read.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A server of one request a connection, on a thread of its own until the process ends.
///
/// `/endless` is answered with a body that does not end, `/redirect?to=URL` with 302, anything else with `ok`. Bodies of
/// requests are read and thrown away.
pub(crate) struct Upstream {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    pub(crate) fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = heads.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = seen.clone();
                // A client that goes away in the middle is one of those that are tested.
                std::thread::spawn(move || drop(serve(stream, &seen)));
            }
        });
        Upstream { address, heads }
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Lines of a policy that grant requests to this server alone, and to these paths of it: `/ok`, `/endless`, `/redirect`.
    pub(crate) fn granted(&self) -> String {
        let (host, port) = (self.address.ip(), self.address.port());
        let rule = format!("host = \"{host}\", schemes = [\"http\"], ports = [{port}], methods = [\"GET\", \"PUT\", \"POST\"]");
        let paths = "paths = [\"/ok\", \"/endless\", \"/redirect\"]";
        format!("http.allow = [{{ {rule}, {paths} }}]\nhttp.private_networks = [\"{host}/32\"]")
    }

    /// Heads of all requests so far, each as it came.
    pub(crate) fn heads(&self) -> Vec<String> {
        lock(&self.heads).clone()
    }
}

fn serve(mut stream: TcpStream, heads: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let has_body = head.contains("content-length: ") || head.contains("transfer-encoding: ");
    lock(heads).push(head);
    if target.starts_with("/endless") {
        return endless(stream);
    }
    let answer = match target.split_once("/redirect?to=") {
        Some((_, to)) => format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
        None => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".to_owned(),
    };
    if has_body {
        read_body(&mut stream)?;
    }
    stream.write_all(answer.as_bytes())
}

/// Reads to the end of a body, as far as it takes: to the last chunk's mark, or until nothing is on its way.
fn read_body(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(std::time::Duration::from_millis(100)))?;
    let mut buffer = [0; 64 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) if buffer[..length].ends_with(b"0\r\n\r\n") => return Ok(()),
            Ok(_) => {}
            Err(_) => return Ok(()), // whole bodies have no mark
        }
    }
}

fn endless(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
    loop {
        stream.write_all(&[b'x'; 4096])?;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
