//! Encrypted connections.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use runtime::TlsConfig;
use tests::{FakeInference, Setup, TestServer, eventually};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::fixtures::{CERTIFICATE_KEY_ONE, CERTIFICATE_KEY_TWO, CERTIFICATE_ONE, CERTIFICATE_TWO};
use super::for_two_looks;

fn pem(kind: &str, base64: &str) -> String {
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

/// Writes one file after the other, as tools do that renew certificates.
fn write(folder: &Path, certificate: &str, key: &str) -> TlsConfig {
    let files = TlsConfig { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
    std::fs::write(&files.certificate, pem("CERTIFICATE", certificate)).expect("writes");
    std::fs::write(&files.key, pem("PRIVATE KEY", key)).expect("writes");
    files
}

/// A server with the first certificate.
fn start(folder: &Path) -> TestServer {
    let files = write(folder, CERTIFICATE_ONE, CERTIFICATE_KEY_ONE);
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("echo");
    setup.configure(|config| (config.tls, config.header_ms_max) = (Some(files), 2000)).start()
}

/// Connects to who has this certificate.
async fn connect(address: SocketAddr, trusted: &str, protocols: &[&str]) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(STANDARD.decode(trusted).expect("base64"))).expect("a certificate");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().into()).collect();
    let stream = tokio::net::TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// What `/c/echo/hello` says over HTTP/2.
async fn hello(stream: TlsStream<tokio::net::TcpStream>) -> String {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = hyper::Request::get("https://localhost/c/echo/hello").body(Empty::<hyper::body::Bytes>::new());
    let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.version()), (200, hyper::Version::HTTP_2));
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

#[test]
fn a_client_may_speak_either_version_of_http_encrypted() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path());
    block_on(async {
        let stream = connect(server.address, CERTIFICATE_ONE, &["h2", "http/1.1"]).await.expect("a connection");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        assert_eq!(hello(stream).await, "hello");
        for protocols in [&["http/1.1"][..], &[]] {
            let mut stream = connect(server.address, CERTIFICATE_ONE, protocols).await.expect("a connection");
            let request = b"GET /c/echo/hello HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.expect("written");
            let mut answer = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await.expect("an answer");
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
        }
    });
}

#[test]
fn another_certificate_counts_as_soon_as_both_of_its_files_are_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path());
    let is_of = |certificate| block_on(async { connect(server.address, certificate, &["h2"]).await.is_ok() });
    assert!(is_of(CERTIFICATE_ONE) && !is_of(CERTIFICATE_TWO));
    std::fs::write(folder.path().join("key.pem"), "half of a save").expect("writes");
    for_two_looks(|| assert!(is_of(CERTIFICATE_ONE), "what held before still holds"));
    write(folder.path(), CERTIFICATE_TWO, CERTIFICATE_KEY_TWO);
    eventually(|| is_of(CERTIFICATE_TWO).then_some(()));
    assert!(!is_of(CERTIFICATE_ONE));
}

#[test]
fn who_speaks_no_tls_or_says_nothing_is_closed_and_holds_up_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path());
    let mut silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(server.address).expect("a connection")).collect();
    let mut plain = TcpStream::connect(server.address).expect("a connection");
    plain.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("written");
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).ok(); // closed or reset
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    let stream = block_on(async {
        let stream = connect(server.address, CERTIFICATE_ONE, &["h2"]).await.expect("a connection");
        hello(stream).await
    });
    assert_eq!(stream, "hello");
    for connection in &mut silent {
        connection.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
        let is_closed = match connection.read(&mut [0; 16]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(is_closed, "after `header_ms_max`");
    }
}
