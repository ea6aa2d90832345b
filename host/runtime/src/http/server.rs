//! The server: connections in, answers out, and an orderly end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::http::{Request, Response};
use arc_swap::ArcSwap;
use axum::body::Body;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use policy::Policies;
use policy::audit::Storage;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::host;
use crate::audit::{self, AUDIT_FOLDER, Audit, Client};
use crate::call::RequestId;
use crate::component::LoadError;
use crate::config::{ConfigError, ServerConfig};
use crate::facts::ServerFacts;
use crate::inference::Inference;
use crate::registry::Registry;
use crate::reload::Watch;
use crate::sandbox::Sandbox;
use crate::telemetry::Metrics;

/// Headers of one request, together; hyper answers 431 beyond.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address is taken or not allowed.
    #[error("can't listen on {address}: {cause}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// WebAssembly can't be run.
    #[error("the WebAssembly engine can't start: {0:#}")]
    Sandbox(wasmtime::Error),
    /// The policies can't be used.
    #[error(transparent)]
    Policies(#[from] policy::LoadError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(std::io::Error),
    /// The audit log can't be opened.
    #[error("the audit log in {folder} can't be gone on with: {cause}")]
    Audit {
        /// Its folder.
        folder: std::path::PathBuf,
        /// What is wrong and what to do.
        cause: policy::audit::LogError,
    },
    /// The audit log can't be written.
    #[error("the start can't be recorded in the audit log: make room on its disk, or set `admin = \"open\"` in [audit]")]
    NotRecorded,
    /// The components folder can't be listed.
    #[error("the components folder {folder} can't be read: {cause}")]
    Components {
        /// The folder.
        folder: std::path::PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
}

/// What every request sees.
pub(crate) struct Shared {
    pub(crate) config: ServerConfig,
    pub(crate) inference: Arc<dyn Inference>,
    pub(crate) registry: ArcSwap<Registry>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) facts: ServerFacts,
    pub(crate) metrics: Arc<Metrics>,
    /// Seconds since 1970 at the start.
    pub(crate) started: u64,
    requests: AtomicU64,
}

impl Shared {
    pub(crate) fn next_request_id(&self) -> RequestId {
        RequestId::new(self.started, self.requests.fetch_add(1, Ordering::Relaxed))
    }
}

/// A server that listens and has loaded its components.
pub struct Server {
    shared: Arc<Shared>,
    policies: Watch,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Checks the configuration, loads the components and listens. A component that doesn't load is left out and told by
    /// [`failures`](Self::failures).
    ///
    /// # Errors
    /// As [`ServerError`] says.
    pub async fn start(config: ServerConfig, inference: Arc<dyn Inference>) -> Result<Server, ServerError> {
        Server::start_with_audit(config, inference, None).await
    }

    /// As [`start`](Self::start), with the audit log in another place than the data folder.
    ///
    /// # Errors
    /// As [`ServerError`] says.
    pub async fn start_with_audit(
        config: ServerConfig,
        inference: Arc<dyn Inference>,
        audit: Option<Box<dyn Storage>>,
    ) -> Result<Server, ServerError> {
        config.check()?;
        let unusable = |cause| ServerError::Listen { address: config.listen, cause };
        let listener = TcpListener::bind(config.listen).await.map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        let metrics = Arc::new(Metrics::new(inference.clone()));
        let audit = tokio::task::block_in_place(|| Audit::open(&config, audit, &metrics))
            .map_err(|cause| ServerError::Audit { folder: config.data.join(AUDIT_FOLDER), cause })?;
        audit.administered(audit::of_server("start")).await.map_err(|_| ServerError::NotRecorded)?;
        let sandbox = Sandbox::new(&config, inference.clone(), metrics.clone(), audit);
        let sandbox = Arc::new(sandbox.map_err(ServerError::Sandbox)?);
        let facts = ServerFacts::new(&config).map_err(ServerError::Random)?;
        let watch = Watch::start(&config.policies);
        let policies = Policies::read(&config.policies)?;
        let load = || Registry::load(&config, &sandbox, &policies, &facts, &Registry::default());
        let registry = tokio::task::block_in_place(load)
            .map_err(|cause| ServerError::Components { folder: config.components.clone(), cause })?;
        registry.tell(&Registry::default(), &sandbox.audit);
        let registry = ArcSwap::from_pointee(registry);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let shared =
            Arc::new(Shared { config, inference, registry, sandbox, facts, metrics, started, requests: AtomicU64::new(0) });
        Ok(Server { shared, policies: watch, listener, address })
    }

    /// Where it listens; the port is the real one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Names of the components it serves.
    pub fn components(&self) -> Vec<String> {
        self.shared.registry.load().components().map(|component| component.name().to_string()).collect()
    }

    /// The components that did not load, and why.
    pub fn failures(&self) -> Vec<(String, String)> {
        let told = |(name, error): &(String, Arc<LoadError>)| (name.clone(), error.to_string());
        self.shared.registry.load().failures().iter().map(told).collect()
    }

    /// Serves until `stop` is ready; then takes no more connections and gives running requests their time to finish.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let router = host::router(self.shared.clone());
        let reloads = tokio::spawn(self.policies.run(self.shared.clone()));
        let first_request = Duration::from_millis(self.shared.config.header_ms_max);
        let connections = Arc::new(Semaphore::new(self.shared.config.connections_max));
        let graceful = GracefulShutdown::new();
        let http = protocol(&self.shared.config);
        let mut stop = std::pin::pin!(stop);
        loop {
            let accept = async {
                let permit = connections.clone().acquire_owned().await.expect("the semaphore is never closed");
                (self.listener.accept().await, permit)
            };
            let (stream, permit) = tokio::select! {
                (stream, permit) = accept => (stream, permit),
                () = &mut stop => break,
            };
            let Some(stream) = usable(stream).await else { continue };
            let app = App::new(&self.shared, &router, &stream);
            let has_asked = app.has_asked.clone();
            let connection = http.serve_connection(TokioIo::new(stream), app).into_owned();
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                let _permit = permit;
                let mut connection = std::pin::pin!(connection);
                let ended = match tokio::time::timeout(first_request, &mut connection).await {
                    Ok(ended) => ended,
                    Err(_) if has_asked.load(Ordering::Relaxed) => connection.await,
                    // Nobody may hold a connection and say nothing.
                    Err(_) => return,
                };
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended badly");
                }
            });
        }
        drop(self.listener);
        reloads.abort();
        let drain = Duration::from_millis(self.shared.config.drain_ms_max);
        if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests did not finish in time and are cut off");
        }
        let audit = &self.shared.sandbox.audit;
        audit.note(audit::of_server("stop"));
        tokio::task::block_in_place(|| audit.stop());
    }
}

/// Where a request goes first: the host's own routes have a router, all others go straight to components.
struct App {
    shared: Arc<Shared>,
    host: TowerToHyperService<axum::Router>,
    /// Whether this connection has had a request.
    has_asked: Arc<AtomicBool>,
    /// Who has connected, if that is known still.
    client: Option<Client>,
}

impl App {
    fn new(shared: &Arc<Shared>, router: &axum::Router, stream: &TcpStream) -> App {
        let host = TowerToHyperService::new(router.clone());
        let client = stream.peer_addr().ok().map(|address| Client(address.ip()));
        App { shared: shared.clone(), host, has_asked: Arc::default(), client }
    }
}

impl Service<Request<Incoming>> for App {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(client) = self.client {
            request.extensions_mut().insert(client);
        }
        self.has_asked.store(true, Ordering::Relaxed);
        if self.shared.registry.load().is_host_path(request.uri().path()) {
            return Box::pin(self.host.call(request));
        }
        let shared = self.shared.clone();
        Box::pin(async move { Ok(super::request::serve(&shared, request.map(Body::new)).await) })
    }
}

fn protocol(config: &ServerConfig) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.header_ms_max))
        .max_buf_size(HEADER_BYTES_MAX);
    http.http2().timer(TokioTimer::new()).max_header_list_size(64 << 10).max_concurrent_streams(128);
    http
}

/// The accepted connection, without Nagle's delay. Out of file handles is not the end of a server: it waits a little.
async fn usable(stream: std::io::Result<(TcpStream, SocketAddr)>) -> Option<TcpStream> {
    match stream {
        Ok((stream, _)) => {
            drop(stream.set_nodelay(true)); // only costs speed
            Some(stream)
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}
