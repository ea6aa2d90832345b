//! The server: connections in, answers out, and an orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use hyper_util::server::graceful::GracefulShutdown;
use policy::Policies;
use policy::audit::Storage;
use tokio::net::TcpListener;

use super::door::Door;
use super::entrance::{Serves, Threshold};
use super::tls::{Tls, TlsError};
use crate::audit::{self, AUDIT_FOLDER, Audit};
use crate::auth::Auth;
use crate::call::RequestId;
use crate::component::record::RecordError;
use crate::config::{ConfigError, ServerConfig};
use crate::facts::ServerFacts;
use crate::inference::Inference;
use crate::lifecycle::Lifecycle;
use crate::registry::{Refusal, Registry};
use crate::reload::Watch;
use crate::sandbox::Sandbox;
use crate::stores::Stores;
use crate::telemetry::Metrics;
use crate::watch::{Watched, WatchedFiles};

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
    /// The keys can't be used.
    #[error(transparent)]
    Keys(#[from] policy::KeyError),
    /// Connections can't be encrypted.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(std::io::Error),
    /// What ran before is not known.
    #[error(transparent)]
    Record(#[from] RecordError),
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
    /// What components keep can't be read or written.
    #[error("the folder of what components keep, in {data}, can't be used: {cause}")]
    Store {
        /// The server's data folder.
        data: std::path::PathBuf,
        /// What is wrong.
        cause: store::StoreError,
    },
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
    pub(crate) lifecycle: Lifecycle,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) facts: ServerFacts,
    /// Who may call; none where nobody has to say who they are.
    pub(crate) auth: Option<Auth>,
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

/// What a server works with.
pub struct Backends {
    /// What runs models.
    pub inference: Arc<dyn Inference>,
    /// What keeps data; none is a folder in that of the server's data.
    pub stores: Option<Stores>,
    /// What keeps the audit log; none is a folder in that of the server's data.
    pub audit: Option<Box<dyn Storage>>,
}

/// A server that listens and has loaded its components.
pub struct Server {
    shared: Arc<Shared>,
    /// That of the policies, and that of the components.
    watches: [Watch; 2],
    watched: Watched,
    main: Socket,
    admin: Option<Socket>,
}

/// An address that is listened to.
struct Socket {
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
        Server::start_with(config, Backends { inference, stores: None, audit: None }).await
    }

    /// As [`start`](Self::start), with other back ends than those of the data folder.
    ///
    /// # Errors
    /// As [`ServerError`] says.
    pub async fn start_with(config: ServerConfig, backends: Backends) -> Result<Server, ServerError> {
        let Backends { inference, stores, audit } = backends;
        config.check()?;
        let main = listen(config.listen).await?;
        let admin = match config.admin_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let metrics = Arc::new(Metrics::new(inference.clone()));
        let audit = tokio::task::block_in_place(|| Audit::open(&config, audit, &metrics))
            .map_err(|cause| ServerError::Audit { folder: config.data.join(AUDIT_FOLDER), cause })?;
        audit.administered(audit::of_server("start")).await.map_err(|_| ServerError::NotRecorded)?;
        let stores = match stores {
            Some(stores) => stores,
            None => tokio::task::block_in_place(|| Stores::open(&config))
                .map_err(|cause| ServerError::Store { data: config.data.clone(), cause })?,
        };
        let sandbox = Sandbox::new(&config, (inference.clone(), Some(stores)), metrics.clone(), audit);
        let sandbox = Arc::new(sandbox.map_err(ServerError::Sandbox)?);
        let facts = ServerFacts::new(&config, inference.as_ref()).map_err(ServerError::Random)?;
        sandbox.record.check()?;
        let watches = [&config.policies, &config.components].map(|folder| Watch::start(folder));
        let policies = Policies::read(&config.policies)?;
        let files = config.tls.iter().flat_map(|tls| [tls.certificate.clone(), tls.key.clone()]);
        let (certificate, keys) = (WatchedFiles::new(files), WatchedFiles::new([config.keys_file()]));
        let tls = config.tls.as_ref().map(Tls::load).transpose()?.map(Arc::new);
        let auth = Auth::new(&config, policies.tenants(), &metrics)?;
        let load = || Lifecycle::start(&config, &sandbox, policies, &facts);
        let (lifecycle, registry) = tokio::task::block_in_place(load)
            .map_err(|cause| ServerError::Components { folder: config.components.clone(), cause })?;
        registry.tell(&Registry::default(), &sandbox.audit);
        let registry = ArcSwap::from_pointee(registry);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let requests = AtomicU64::new(0);
        let shared = Shared { config, inference, registry, lifecycle, sandbox, facts, auth, metrics, started, requests };
        let shared = Arc::new(shared);
        shared.sandbox.peers.are_of(&shared);
        Ok(Server { shared, watches, watched: Watched { keys, certificate, tls }, main, admin })
    }

    /// Where it listens; the port is the real one.
    pub fn address(&self) -> SocketAddr {
        self.main.address
    }

    /// Where it serves `/admin` and `/metrics`, if that is another address.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// Names of the components it serves.
    pub fn components(&self) -> Vec<String> {
        self.shared.registry.load().components().map(|component| component.name().to_string()).collect()
    }

    /// The components that did not load, and why.
    pub fn failures(&self) -> Vec<(String, String)> {
        let told = |(name, refusal): (&String, &Refusal)| (name.clone(), refusal.error.to_string());
        self.shared.registry.load().refusals().iter().map(told).collect()
    }

    /// Serves until `stop` is ready; then takes no more connections and gives running requests their time to finish.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Server { shared, watches: [policies, components], watched, main, admin } = self;
        let tls = watched.tls.clone();
        let door =
            |socket: Socket, serves| Door::new(socket.listener, tls.clone(), Threshold::new(&shared, serves), &shared.config);
        let doors = match admin {
            None => vec![door(main, Serves::Everything)],
            Some(admin) => vec![door(main, Serves::Public), door(admin, Serves::Admin)],
        };
        let reloads = tokio::spawn(policies.follow_policies(shared.clone()));
        let arrivals = tokio::spawn(components.follow_components(shared.clone()));
        let looks = tokio::spawn(watched.run(shared.clone()));
        let graceful = GracefulShutdown::new();
        tokio::select! {
            _ = futures::future::join_all(doors.iter().map(|door| door.open(&graceful))) => {}
            () = stop => {}
        }
        drop(doors);
        reloads.abort();
        arrivals.abort();
        looks.abort();
        let drain = tokio::time::sleep(Duration::from_millis(shared.config.drain_ms_max));
        let finished = async {
            graceful.shutdown().await;
            shared.sandbox.background.ended().await; // of requests that were answered
        };
        let is_finished = tokio::select! {
            () = finished => true,
            () = drain => false,
        };
        if !is_finished {
            tracing::warn!("some requests did not finish in time and are cut off");
        }
        let audit = &shared.sandbox.audit;
        audit.note(audit::of_server("stop"));
        tokio::task::block_in_place(|| {
            audit.stop();
            // Instances may live on for a while; the next server may have the folder at once.
            drop(shared.sandbox.stores.swap(None));
        });
    }
}

async fn listen(address: SocketAddr) -> Result<Socket, ServerError> {
    let unusable = |cause| ServerError::Listen { address, cause };
    let listener = TcpListener::bind(address).await.map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    Ok(Socket { listener, address })
}
