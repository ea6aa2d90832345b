//! A very small OCI registry for tests: one thread, one request a connection, everything in memory.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use policy::Digest;

/// Serves on a port of its own until the test ends.
pub(crate) struct TestRegistry {
    port: u16,
    store: Arc<Mutex<Store>>,
}

/// How one has to log in.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Gate {
    #[default]
    Open,
    /// `ann` and `secret`.
    Basic,
    /// A token that `ann` and `secret` get.
    Token,
}

#[derive(Default)]
pub(crate) struct Store {
    gate: Gate,
    upload: Vec<u8>,
    pub(crate) blobs: HashMap<String, Vec<u8>>,
    /// By repository and tag or digest, as `team/chat@1.2.3`.
    pub(crate) manifests: HashMap<String, Vec<u8>>,
}

struct Request {
    method: String,
    path: String,
    query: String,
    authorization: String,
    body: Vec<u8>,
}

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const TOKEN: &str = "the-token";

impl TestRegistry {
    pub(crate) fn start(gate: Gate) -> anyhow::Result<TestRegistry> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let store = Arc::new(Mutex::new(Store { gate, ..Store::default() }));
        let served = store.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(request) = Request::read(&stream) else { continue };
                let reply = lock(&served).answer(request, port);
                let _ = reply.write(stream);
            }
        });
        Ok(TestRegistry { port, store })
    }

    /// An address there.
    pub(crate) fn address(&self, name: &str) -> String {
        format!("oci://127.0.0.1:{}/{name}", self.port)
    }

    /// What it has.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }
}

fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Request> {
        let mut reader = BufReader::new(stream);
        let mut line = || {
            let mut line = String::new();
            reader.read_line(&mut line).ok().map(|_| line.trim_end().to_owned())
        };
        let first = line()?;
        let (method, target) = first.split_once(' ')?;
        let target = target.split(' ').next()?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (mut authorization, mut length) = (String::new(), 0);
        while let Some((name, value)) = line()?.split_once(": ") {
            match name.to_lowercase().as_str() {
                "authorization" => authorization = value.into(),
                "content-length" => length = value.parse().ok()?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(Request { method: method.into(), path: path.into(), query: query.into(), authorization, body })
    }
}

impl Store {
    fn answer(&mut self, request: Request, port: u16) -> Reply {
        let basic = format!("Basic {}", BASE64_STANDARD.encode("ann:secret"));
        if request.path == "/token" {
            return match request.authorization == basic {
                true => Reply::new(200, format!("{{\"token\": \"{TOKEN}\"}}")),
                false => Reply::new(401, ""),
            };
        }
        let (wanted, challenge) = match self.gate {
            Gate::Open => (String::new(), String::new()),
            Gate::Basic => (basic, "Basic realm=\"test\"".into()),
            Gate::Token => {
                (format!("Bearer {TOKEN}"), format!("Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"test\""))
            }
        };
        if self.gate != Gate::Open && request.authorization != wanted {
            return Reply::error(401, "UNAUTHORIZED").with("www-authenticate", challenge);
        }
        self.serve(request)
    }

    fn serve(&mut self, request: Request) -> Reply {
        let Request { method, path, query, body, .. } = request;
        let path = path.trim_start_matches("/v2/");
        if path.is_empty() {
            return Reply::new(200, "");
        }
        if let Some((repository, _)) = path.split_once("/blobs/uploads/") {
            let upload = format!("/v2/{repository}/blobs/uploads/1");
            match method.as_str() {
                "POST" => self.upload.clear(),
                "PATCH" => self.upload.extend(body),
                _ => {
                    self.upload.extend(body);
                    let digest = query.trim_start_matches("digest=").replace("%3A", ":");
                    if digest != Digest::of(&self.upload).to_string() {
                        return Reply::error(400, "DIGEST_INVALID");
                    }
                    self.blobs.insert(digest.clone(), std::mem::take(&mut self.upload));
                    return Reply::new(201, "").with("location", format!("/v2/{repository}/blobs/{digest}"));
                }
            }
            return Reply::new(202, "").with("location", upload);
        }
        if let Some((_, digest)) = path.split_once("/blobs/") {
            return self
                .blobs
                .get(digest)
                .map_or_else(|| Reply::error(404, "BLOB_UNKNOWN"), |blob| Reply::new(200, blob.clone()));
        }
        let Some((repository, tag)) = path.split_once("/manifests/") else { return Reply::error(404, "NAME_UNKNOWN") };
        if method == "PUT" {
            let digest = Digest::of(&body).to_string();
            self.manifests.insert(format!("{repository}@{digest}"), body.clone());
            self.manifests.insert(format!("{repository}@{tag}"), body);
            return Reply::new(201, "").with("location", format!("/v2/{repository}/manifests/{digest}"));
        }
        match self.manifests.get(&format!("{repository}@{tag}")) {
            Some(manifest) => Reply::new(200, manifest.clone()).with("content-type", MANIFEST.into()),
            None => Reply::error(404, "MANIFEST_UNKNOWN"),
        }
    }
}

impl Reply {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, headers: Vec::new(), body: body.into() }
    }

    fn error(status: u16, code: &str) -> Reply {
        Reply::new(status, format!("{{\"errors\": [{{\"code\": \"{code}\", \"message\": \"no\"}}]}}"))
    }

    fn with(mut self, name: &'static str, value: String) -> Reply {
        self.headers.push((name, value));
        self
    }

    fn write(self, mut stream: TcpStream) -> std::io::Result<()> {
        write!(stream, "HTTP/1.1 {} X\r\nconnection: close\r\ncontent-length: {}\r\n", self.status, self.body.len())?;
        for (name, value) in &self.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        stream.write_all(b"\r\n")?;
        stream.write_all(&self.body)
    }
}
