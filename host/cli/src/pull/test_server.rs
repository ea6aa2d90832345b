//! A very small HTTP server for the tests of `pull`: one thread, one request a connection.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Serves on a port of its own until the test ends.
pub(crate) struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    headers: Vec<(String, String)>,
}

pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    sent_bytes: usize,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + 'static) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(request) = Request::read(&stream) else { continue };
                let reply = answer(&request);
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                let _ = reply.write(stream);
            }
        });
        Ok(Self { port, requests })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut lines = BufReader::new(stream).lines();
        let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
        let header = |line: String| line.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned()));
        let headers = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).filter_map(header).collect();
        Some(Self { path, headers })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Answers as a server should that has `body` under `tag`.
    pub(crate) fn ranged(&self, body: &[u8], tag: &str) -> Reply {
        if self.header("if-range").is_none_or(|wanted| wanted == tag) {
            return self.range_of(body, tag);
        }
        Reply::whole(body).with("etag", tag)
    }

    /// The same, whatever `If-Range` says.
    pub(crate) fn range_of(&self, body: &[u8], tag: &str) -> Reply {
        let start = self.header("range").and_then(|range| range[6..range.len() - 1].parse::<usize>().ok());
        let Some(start) = start.filter(|start| *start < body.len()) else {
            return Reply::whole(body).with("etag", tag);
        };
        let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
        Reply { status: 206, ..Reply::whole(&body[start..]) }.with("etag", tag).with("content-range", &range)
    }
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::whole(b"") }
    }

    pub(crate) fn whole(body: &[u8]) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.to_vec(), sent_bytes: body.len() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Closes the connection after `bytes` of the body.
    pub(crate) fn cut(self, bytes: usize) -> Self {
        Self { sent_bytes: bytes.min(self.body.len()), ..self }
    }

    fn write(&self, mut stream: TcpStream) -> std::io::Result<()> {
        write!(stream, "HTTP/1.1 {} X\r\nconnection: close\r\n", self.status)?;
        for (name, value) in &self.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        if self.status != 304 {
            write!(stream, "content-length: {}\r\n", self.body.len())?;
        }
        stream.write_all(b"\r\n")?;
        stream.write_all(&self.body[..self.sent_bytes])
    }
}
