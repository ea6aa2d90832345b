//! Connections: taken, encrypted where that is set, and spoken HTTP with.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::http::{Request, Response};
use axum::body::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::entrance::Threshold;
use super::tls::Tls;
use crate::config::ServerConfig;

/// Headers of one request, together; hyper answers 431 beyond.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// How often a client of HTTP/2 has to show that it is there still, and the time that it has for that.
const PING: Duration = Duration::from_secs(20);

/// An address that is listened to.
pub(super) struct Door {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) threshold: Arc<Threshold>,
    speech: Speech,
    /// One for each connection that may be open.
    places: Arc<Semaphore>,
}

/// How HTTP is spoken.
#[derive(Clone)]
struct Speech {
    http: auto::Builder<TokioExecutor>,
    /// Time for a client to make its connection useful: to shake hands and send the head of a request.
    first_request_max: Duration,
}

impl Door {
    pub(super) fn new(listener: TcpListener, tls: Option<Arc<Tls>>, threshold: Threshold, config: &ServerConfig) -> Door {
        let places = Arc::new(Semaphore::new(config.connections_max));
        let speech = Speech { http: protocol(config), first_request_max: Duration::from_millis(config.header_ms_max) };
        Door { listener, tls, threshold: Arc::new(threshold), speech, places }
    }

    /// Takes connections for as long as it is polled. They go on after that, and `graceful` ends them.
    pub(super) async fn open(&self, graceful: &GracefulShutdown) {
        loop {
            let place = self.places.clone().acquire_owned().await.expect("the semaphore is never closed");
            let Some((stream, peer)) = usable(self.listener.accept().await).await else { continue };
            let app = App { threshold: self.threshold.clone(), peer, has_asked: Arc::default() };
            let (tls, speech, watcher) = (self.tls.clone(), self.speech.clone(), graceful.watcher());
            tokio::spawn(async move {
                let _place = place;
                match tls {
                    None => speech.converse(stream, app, watcher, Instant::now()).await,
                    Some(tls) => speech.converse_in_secret(&tls, stream, app, watcher).await,
                }
            });
        }
    }
}

impl Speech {
    /// A client that speaks no TLS, or too slowly, holds up nobody: its connection is closed.
    async fn converse_in_secret(self, tls: &Tls, stream: TcpStream, app: App, watcher: Watcher) {
        let start = Instant::now();
        match tokio::time::timeout(self.first_request_max, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => self.converse(stream, app, watcher, start).await,
            Ok(Err(error)) => tracing::debug!(%error, "a connection could not be encrypted"),
            Err(_) => tracing::debug!("a connection was not encrypted in time"),
        }
    }

    async fn converse<S>(self, stream: S, app: App, watcher: Watcher, start: Instant)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let has_asked = app.has_asked.clone();
        let connection = self.http.serve_connection(TokioIo::new(stream), app).into_owned();
        let mut connection = std::pin::pin!(watcher.watch(connection));
        let ended = match tokio::time::timeout_at(start + self.first_request_max, &mut connection).await {
            Ok(ended) => ended,
            Err(_) if has_asked.load(Ordering::Relaxed) => connection.await,
            // Nobody may hold a connection and say nothing.
            Err(_) => return,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended badly");
        }
    }
}

/// One connection's requests.
struct App {
    threshold: Arc<Threshold>,
    peer: IpAddr,
    /// Whether this connection has had a request.
    has_asked: Arc<AtomicBool>,
}

impl Service<Request<Incoming>> for App {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.has_asked.store(true, Ordering::Relaxed);
        Box::pin(self.threshold.answer(self.peer, request.map(Body::new)).map(Ok))
    }
}

fn protocol(config: &ServerConfig) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.header_ms_max))
        .max_buf_size(HEADER_BYTES_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(64 << 10)
        .max_concurrent_streams(128)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    http
}

/// The accepted connection, without Nagle's delay. Out of file handles is not the end of a server: it waits a little.
async fn usable(stream: std::io::Result<(TcpStream, SocketAddr)>) -> Option<(TcpStream, IpAddr)> {
    match stream {
        Ok((stream, peer)) => {
            drop(stream.set_nodelay(true)); // only costs speed
            Some((stream, peer.ip()))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}
