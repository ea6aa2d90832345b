//! Encrypted connections.

use std::convert::Infallible;

use http::Response;
use http_body_util::{Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::ring};
use tokio_rustls::server::TlsStream;

use super::*;

/// A certificate for `api.test`, `other.test` and 127.0.0.1, from 2020 to 2120, signed by itself, and its key. Made by
/// `openssl` for these tests: nobody else trusts it.
const CERTIFICATE: &str = "\
    MIIBaDCCAQ+gAwIBAgIBATAKBggqhkjOPQQDAjARMQ8wDQYDVQQDDAZlZ3Jlc3MwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBEx\
    DzANBgNVBAMMBmVncmVzczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABE1sxsqhe40P4x0HcnR4/db+2mBRZ+EbV0EZ9Fmyx2fdCPtW6MnNmwWE\
    iXcM02JpFhV9PeWm7ppdYcEAivRJQMGjVjBUMCUGA1UdEQQeMByCCGFwaS50ZXN0ggpvdGhlci50ZXN0hwR/AAABMAwGA1UdEwEB/wQCMAAwHQYD\
    VR0OBBYEFBMM7hI9c8zTgm9xw+6MBQX65aUrMAoGCCqGSM49BAMCA0cAMEQCICrQbvmt3D4RZxEy+7LfIBQLRH0Ezx4nXl2FnZmMkKq1AiBCsRpf\
    HUGuiiYRWJMcEMRMEIUagS8U4VxSKj7wyXwYZw==";
const KEY: &str = "\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgyOu2vt2z3nYABzJx464trgJImVu2zLGDy0E1srVCQsyhRANCAARNbMbKoXuND+Md\
    B3J0eP3W/tpgUWfhG1dBGfRZssdn3Qj7VujJzZsFhIl3DNNiaRYVfT3lpu6aXWHBAIr0SUDB";

fn pem(kind: &str, base64: &str) -> String {
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem("CERTIFICATE", CERTIFICATE).as_bytes()).expect("a certificate")
}

fn trusting() -> Tls {
    let mut roots = RootCertStore::empty();
    roots.add(certificate()).expect("a certificate");
    Tls::trusting(roots)
}

/// A host that takes encrypted connections and leaves them to a function.
async fn encrypted<F, Work>(protocols: &[&str], serve: F) -> Host
where
    F: Fn(TlsStream<TcpStream>) -> Work + Send + 'static,
    Work: Future<Output = ()> + Send + 'static,
{
    let key = PrivateKeyDer::from_pem_slice(pem("PRIVATE KEY", KEY).as_bytes()).expect("a key");
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let mut config = builder.with_single_cert(vec![certificate()], key).expect("a pair");
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().into()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (closes, closed) = mpsc::unbounded_channel();
    let host = Host { port, closed: AsyncMutex::new(closed), ..Host::saying("").await };
    let count = host.connections.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            if let Ok(stream) = acceptor.accept(stream).await {
                let (served, closes) = (serve(stream), closes.clone());
                tokio::spawn(async move {
                    served.await;
                    closes.send(String::new())
                });
            }
        }
    });
    host
}

type Said = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// A host that speaks HTTP/2.
async fn http2(answer: impl Fn(Request<Incoming>) -> Response<Said> + Clone + Send + Sync + 'static) -> Host {
    encrypted(&["h2"], move |stream| {
        let answer = answer.clone();
        let service = service_fn(move |request| std::future::ready(Ok::<_, Infallible>(answer(request))));
        let served =
            hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
        async move { served.await.unwrap_or(()) }
    })
    .await
}

fn said(text: String) -> Response<Said> {
    Response::new(Full::new(text.into()).boxed_unsync())
}

/// A body that begins and never ends, and tells when nobody wants it.
fn endless(alive: mpsc::UnboundedSender<()>) -> Response<Said> {
    let pieces = futures::stream::unfold((true, alive), |(is_first, alive)| async move {
        if !is_first {
            std::future::pending::<()>().await;
        }
        Some((Ok(http_body::Frame::data(Bytes::from_static(b"ab"))), (false, alive)))
    });
    Response::new(StreamBody::new(pieces).boxed_unsync())
}

fn https(host: &Host, name: &str) -> String {
    host.url(name, "/a?b").replace("http:", "https:")
}

#[tokio::test]
async fn exchanges_share_an_http2_connection() {
    let host = http2(|request| {
        let has_host = request.headers().contains_key("host");
        said(format!("{:?} {} {has_host}", request.version(), request.uri()))
    })
    .await;
    let guest = Guest::with(&[&host], local_names(), "", trusting());
    let expected = format!("HTTP/2.0 https://api.test:{}/a?b false", host.port);
    let url = https(&host, "api.test");
    assert_eq!(guest.text(&url).await, Ok(expected.clone()));
    let (first, second) = (guest.get(&url).await.expect("an answer"), guest.get(&url).await.expect("an answer"));
    assert_eq!((text(first).await, text(second).await), (Ok(expected.clone()), Ok(expected)));
    assert_eq!(host.connections(), 1);
    assert!(!guest.egress.means.pool.sweep(Instant::now() + Duration::from_secs(40)));
    host.closed().await;
}

#[tokio::test]
async fn an_encrypted_http1_connection_is_used_again() {
    let host = encrypted(&["http/1.1"], async |stream| {
        drop(converse(stream, &|_: &str| ok("x"), &mpsc::unbounded_channel().0).await);
    })
    .await;
    let guest = Guest::with(&[&host], local_names(), "", trusting());
    for _ in 0..3 {
        assert_eq!(guest.text(&https(&host, "api.test")).await, Ok("x".into()));
    }
    assert_eq!(host.connections(), 1);
    assert_eq!(guest.text(&https(&host, "127.0.0.1")).await, Ok("x".into()), "an address can have a certificate, too");
}

#[tokio::test]
async fn a_certificate_for_another_name_or_of_nobody_is_refused() {
    let host = http2(|_| said("x".into())).await;
    let names = Names::new(&[("api.test", &[&["127.0.0.1"]]), ("third.test", &[&["127.0.0.1"]])]);
    let mut guest = Guest::with(&[&host], names.clone(), "", trusting());
    let policy = snapshot(&guest.rights.policy.text().replace("api.test", "third.test"));
    guest.rights = Arc::new(Held { policy, ledger: Arc::default(), told: Told::default() });
    assert_eq!(guest.text(&https(&host, "third.test")).await, Err(EgressError::Tls));
    let mistrusting = Guest::with(&[&host], names, "", Tls::trusting(RootCertStore::empty()));
    assert_eq!(mistrusting.text(&https(&host, "api.test")).await, Err(EgressError::Tls));
}

#[tokio::test]
async fn a_host_that_speaks_no_tls_is_refused() {
    let host = Host::saying(ok("x")).await;
    let plain = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = Host { port: plain.local_addr().expect("an address").port(), ..host };
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.expect("a connection");
        stream.write_all(&ok("x")).await.expect("written");
        stream.read_to_end(&mut Vec::new()).await.ok();
    });
    let guest = Guest::with(&[&host], local_names(), "", trusting());
    assert_eq!(guest.text(&https(&host, "api.test")).await, Err(EgressError::Tls));
}

#[tokio::test]
async fn an_http2_head_that_is_too_long_is_refused() {
    let host = http2(|_| {
        let mut response = said("x".into());
        response.headers_mut().insert("x-long", "a".repeat(5000).parse().expect("a value"));
        response
    })
    .await;
    let guest = Guest::with(&[&host], local_names(), "response_header_bytes_max = 1000", trusting());
    let got = guest.text(&https(&host, "api.test")).await;
    assert_eq!(got, Err(EgressError::BrokenOff), "its stream is reset before anybody knows why");
    let guest = Guest::with(&[&host], local_names(), "", trusting());
    assert_eq!(guest.text(&https(&host, "api.test")).await, Ok("x".into()));
}

#[tokio::test]
async fn dropping_an_answer_ends_its_stream_and_not_the_connection() {
    let (alive, mut ended) = mpsc::unbounded_channel();
    let alive = Arc::new(Mutex::new(Some(alive)));
    let host = http2(move |request| match request.method() {
        &http::Method::PUT => said("x".into()),
        _ => endless(alive.lock().unwrap_or_else(PoisonError::into_inner).take().expect("once")),
    })
    .await;
    let guest = Guest::with(&[&host], local_names(), "", trusting());
    let answer = guest.get(&https(&host, "api.test")).await.expect("the head");
    drop(answer);
    assert_eq!(soon(ended.recv()).await, None);
    let mut request = get(&https(&host, "api.test"));
    *request.method_mut() = http::Method::PUT;
    assert_eq!(text(guest.send(request, terms()).await.expect("an answer")).await, Ok("x".into()));
    assert_eq!(host.connections(), 1);
}

#[tokio::test]
async fn a_body_that_a_host_does_not_take_ends_with_its_exchange() {
    let unread = Arc::new(Mutex::new(Vec::new()));
    let (alive, _ended) = mpsc::unbounded_channel();
    let host = http2(move |request| {
        if request.method() == http::Method::GET {
            return said("x".into());
        }
        unread.lock().unwrap_or_else(PoisonError::into_inner).push(request.into_body());
        endless(alive.clone())
    })
    .await;
    let guest =
        Guest::with(&[&host], local_names(), "concurrency_max = 1\n[quota]\negress_bytes_per_min_max = 99000000", trusting());
    let url = https(&host, "api.test");
    // More than the windows of stream and connection hold. In hand, it goes with its stream; as it comes, with the connection.
    let pieces =
        || futures::stream::iter((0..48).map(|_| Ok::<_, Infallible>(http_body::Frame::data(vec![0; 64 << 10].into()))));
    let bodies = [(Body::Whole(vec![0; 3 << 20].into()), 1), (Body::streamed(StreamBody::new(pieces())), 0)];
    for (body, kept) in bodies {
        drop(guest.send(post(&url, body), terms()).await.expect("the head"));
        if kept == 0 {
            host.closed().await;
        }
        assert_eq!((guest.egress.means.pool.len(), host.connections()), (kept, 1));
    }
    assert_eq!(guest.text(&url).await, Ok("x".into()));
    assert_eq!(host.connections(), 2);
}

#[tokio::test]
async fn the_environment_names_certificates_and_no_proxies() {
    const ROLE: &str = "EGRESS_TEST_PORT";
    if let Some(port) = std::env::var(ROLE).ok().and_then(|port| port.parse().ok()) {
        // The second process: what it trusts comes from its environment.
        let host = Host { port, ..Host::saying("").await };
        let guest = Guest::of(&[&host], local_names(), "");
        let expected = if std::env::var_os("SSL_CERT_FILE").is_some_and(|file| file != "/dev/null") {
            Ok("x".into())
        } else {
            Err(EgressError::NoRoots)
        };
        assert_eq!(guest.text(&https(&host, "api.test")).await, expected);
        return;
    }
    let host = http2(|_| said("x".into())).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), pem("CERTIFICATE", CERTIFICATE)).expect("written");
    for trusted in [file.path(), std::path::Path::new("/dev/null")] {
        let name = "the_environment_names_certificates_and_no_proxies";
        let mut process = std::process::Command::new(std::env::current_exe().expect("this test"));
        process.arg(name).env(ROLE, host.port.to_string()).env("SSL_CERT_FILE", trusted).env_remove("SSL_CERT_DIR");
        for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
            process.env(proxy, "http://127.0.0.1:1"); // where nobody listens
        }
        let output = tokio::task::spawn_blocking(move || process.output()).await.expect("no panic").expect("it runs");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
    }
}
