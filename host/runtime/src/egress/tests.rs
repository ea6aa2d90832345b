//! Requests over real sockets on the loopback interface, to hosts that do as they please.

mod hostile;
mod limits;
mod rights;
mod tls;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::Request;
use http_body_util::BodyExt;
use policy::{Authority, Caller, ComponentName, Denied, Facts, Ledger, ModelName, Policies, Snapshot, Witness};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connect::Tls;
use super::{Answer, Body, Egress, EgressError, Resolve, Rights, Terms};

/// What comes soon or not at all.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("within 20 s")
}

/// A host that answers each request with what a function says, as it stands.
struct Host {
    port: u16,
    connections: Arc<AtomicUsize>,
    /// Requests, as they came.
    heard: AsyncMutex<mpsc::UnboundedReceiver<String>>,
    /// What came on connections that ended, since their last whole request.
    closed: AsyncMutex<mpsc::UnboundedReceiver<String>>,
}

impl Host {
    async fn answering<F>(answer: F) -> Host
    where
        F: Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let ((hears, heard), (closes, closed)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let (connections, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (answer, hears, closes) = (answer.clone(), hears.clone(), closes.clone());
                tokio::spawn(async move { closes.send(converse(stream, &*answer, &hears).await) });
            }
        });
        Host { port, connections, heard: AsyncMutex::new(heard), closed: AsyncMutex::new(closed) }
    }

    /// A host that says one thing, whatever it is asked.
    async fn saying(answer: impl Into<Vec<u8>>) -> Host {
        let answer = answer.into();
        Host::answering(move |_| answer.clone()).await
    }

    async fn heard(&self) -> String {
        soon(async { self.heard.lock().await.recv().await }).await.expect("a request")
    }

    async fn closed(&self) -> String {
        soon(async { self.closed.lock().await.recv().await }).await.expect("an end")
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.port)
    }
}

/// Reads requests and answers them until the other side is gone; gives what was no whole request.
async fn converse<S>(mut stream: S, answer: &(dyn Fn(&str) -> Vec<u8> + Sync), hears: &mpsc::UnboundedSender<String>) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut text = String::new();
    let mut piece = vec![0; 16 << 10];
    loop {
        while let Some(length) = whole(&text) {
            let request: String = text.drain(..length).collect();
            let said = answer(&request);
            hears.send(request).ok();
            if stream.write_all(&said).await.is_err() {
                return text;
            }
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return text,
            Ok(length) => text.push_str(&String::from_utf8_lossy(&piece[..length])),
        }
    }
}

/// Reads the head of a request, whatever its body.
async fn read_head(stream: &mut TcpStream) {
    let mut heard = Vec::new();
    while !heard.windows(4).any(|window| window == b"\r\n\r\n") {
        assert!(stream.read_buf(&mut heard).await.expect("read") > 0);
    }
}

/// The length of the whole request that a text begins with.
fn whole(text: &str) -> Option<usize> {
    let head = text.find("\r\n\r\n")? + 4;
    let lower = text[..head].to_ascii_lowercase();
    if lower.contains("transfer-encoding: chunked") {
        return text[head..].find("0\r\n\r\n").map(|end| head + end + 5);
    }
    let length = lower.split_once("content-length: ").and_then(|(_, rest)| rest.split_once('\r'));
    let length: usize = length.map_or(0, |(length, _)| length.parse().expect("a length"));
    (text.len() >= head + length).then_some(head + length)
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into()
}

fn redirect(status: u16, location: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Elsewhere\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n").into()
}

/// Names and their addresses, an answer for each lookup; the last stays.
#[derive(Default)]
struct Names(Mutex<BTreeMap<String, VecDeque<Vec<IpAddr>>>>, AtomicUsize);

impl Names {
    fn new(names: &[(&str, &[&[&str]])]) -> Arc<Names> {
        let address = |address: &&str| address.parse().expect("an address");
        let answers = |answers: &[&[&str]]| answers.iter().map(|answer| answer.iter().map(address).collect()).collect();
        Arc::new(Names(
            Mutex::new(names.iter().map(|(name, given)| ((*name).into(), answers(given))).collect()),
            AtomicUsize::new(0),
        ))
    }

    fn lookups(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }
}

impl Resolve for Names {
    fn resolve(&self, host: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = names.get_mut(&host);
        let answer = answers.and_then(|answers| if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() });
        Box::pin(async move { answer.ok_or_else(|| std::io::Error::other("no such name")) })
    }
}

/// The usual names: all on this machine.
fn local_names() -> Arc<Names> {
    Names::new(&[("api.test", &[&["127.0.0.1"]]), ("other.test", &[&["127.0.0.1"]])])
}

/// The secret's value, and the word that stands for it.
const SECRET: &str = "s3cret-value";
const PLACEHOLDER: &str = "tessera-secret-fixed";

struct Fixed;

impl Facts for Fixed {
    fn device(&self) -> &str {
        "flex"
    }

    fn model_digest(&self, _: &ModelName) -> Option<String> {
        None
    }

    fn secret(&self, _: &policy::SecretSource) -> Option<String> {
        Some(SECRET.into())
    }

    fn token(&self, _: &ComponentName, _: &str) -> String {
        "fixed".into()
    }
}

/// Keeps what it is told of.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Witness for Told {
    fn denied(&self, denied: &Denied<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{:?}", denied.reason));
    }
}

/// A component with a policy.
struct Guest {
    egress: Egress,
    rights: Arc<Held>,
}

struct Held {
    policy: Snapshot,
    ledger: Arc<Ledger>,
    told: Told,
}

impl Rights for Held {
    fn authority(&self) -> Authority<'_> {
        static CALLER: std::sync::LazyLock<Caller> = std::sync::LazyLock::new(Caller::local);
        Authority { policy: &self.policy, ledger: &self.ledger, caller: &CALLER, now: None, witness: &self.told }
    }
}

fn snapshot(policy: &str) -> Snapshot {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("guest.toml"), policy).expect("written");
    let name: ComponentName = "guest".parse().expect("a name");
    let wanted = ["http".to_owned(), "secret".to_owned()];
    Policies::read(folder.path()).and_then(|policies| policies.snapshot(&name, &wanted, &Fixed)).expect("a policy")
}

impl Guest {
    /// May send anything to `api.test` and 127.0.0.1 at the hosts' ports. `more` are lines of `[http]` and further sections.
    fn of(hosts: &[&Host], names: Arc<dyn Resolve>, more: &str) -> Guest {
        Guest::with(hosts, names, more, Tls::of_system())
    }

    fn with(hosts: &[&Host], names: Arc<dyn Resolve>, more: &str, tls: Tls) -> Guest {
        let ports: Vec<u16> = hosts.iter().map(|host| host.port).collect();
        let anything = format!("schemes = [\"http\", \"https\"], ports = {ports:?}, methods = [\"*\"], paths = [\"/\"]");
        let rule = |host: &str| format!("{{ host = \"{host}\", {anything} }}");
        let allow = format!("allow = [{}, {}]", rule("api.test"), rule("127.0.0.1"));
        let policy = snapshot(&format!("schema = 1\n[http]\n{allow}\nprivate_networks = [\"127.0.0.0/8\"]\n{more}\n"));
        let ledger = Arc::new(Ledger::default());
        ledger.set(policy.quota(), 0, true);
        let egress = Egress::with(policy.http().expect("granted"), names, tls);
        Guest { egress, rights: Arc::new(Held { policy, ledger, told: Told::default() }) }
    }

    async fn send(&self, request: Request<Body>, terms: Terms) -> Result<Answer, EgressError> {
        soon(self.egress.send(self.rights.clone(), request, terms)).await
    }

    async fn get(&self, url: &str) -> Result<Answer, EgressError> {
        self.send(get(url), terms()).await
    }

    /// The answer's text, where there is a whole one.
    async fn text(&self, url: &str) -> Result<String, EgressError> {
        text(self.get(url).await?).await
    }

    fn told(&self) -> Vec<String> {
        self.rights.told.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn text(answer: Answer) -> Result<String, EgressError> {
    let bytes = soon(answer.response.into_body().collect()).await?.to_bytes();
    Ok(String::from_utf8(bytes.into()).expect("text"))
}

fn get(url: &str) -> Request<Body> {
    Request::get(url).body(Body::Whole(Bytes::new())).expect("a request")
}

fn post(url: &str, body: Body) -> Request<Body> {
    Request::post(url).body(body).expect("a request")
}

/// Follow redirects, end some day.
fn terms() -> Terms {
    let deadline = Instant::now() + Duration::from_secs(60);
    Terms { redirects_max: 10, connect_max: None, deadline, gone: CancellationToken::new() }
}

fn is_denied<T>(result: &Result<T, EgressError>) -> bool {
    result.as_ref().err().is_some_and(|error| matches!(error, EgressError::Denied(_)) && error.to_string() == "denied")
}
