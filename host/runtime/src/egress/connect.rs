//! Connections to addresses that were checked, and to nothing else.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use http::Method;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, OwnedSemaphorePermit};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use super::pool::{Connection, Wire};
use super::{EgressError, Rights};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// What an attempt to connect is ahead of the next address's, RFC 8305.
const HEAD_START: Duration = Duration::from_millis(250);
/// How much a host may send ahead of its reader on one HTTP/2 stream, in bytes, and on all streams of a connection.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// How long an HTTP/2 connection may be silent until it is asked for a sign of life, and how long that may take.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Tells the addresses that a name stands for. What it says is checked.
pub(crate) trait Resolve: Send + Sync + 'static {
    /// Looks a name up. The caller may be gone before it is done.
    fn resolve(&self, host: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>>;
}

/// The system's resolver.
pub(crate) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

/// Makes connections.
pub(super) struct Connector {
    resolver: Arc<dyn Resolve>,
    tls: Tls,
    head_bytes_max: usize,
}

/// What is asked of a connection, and by whom.
#[derive(Clone, Copy)]
pub(super) struct Errand<'a> {
    pub(super) rights: &'a dyn Rights,
    pub(super) method: &'a Method,
    pub(super) url: &'a Url,
    /// The place among the requests under way.
    pub(super) slot: &'a Arc<OwnedSemaphorePermit>,
}

impl Connector {
    pub(super) fn new(resolver: Arc<dyn Resolve>, tls: Tls, head_bytes_max: usize) -> Connector {
        Connector { resolver, tls, head_bytes_max }
    }

    /// Connects to the host of a URL, by an address that the policy lets it be reached at.
    pub(super) async fn connect(&self, errand: Errand<'_>) -> Result<Connection, EgressError> {
        let found = self.resolve(errand).await?;
        let allowed = reachable(errand, found)?;
        let (stream, address) = race(allowed).await.inspect_err(|_| tell(errand.url, "no address takes connections"))?;
        stream.set_nodelay(true).map_err(|_| EgressError::Connect)?;
        let alive = CancellationToken::new();
        let wire = match errand.url.scheme() {
            "https" => {
                let stream = self.tls.shake_hands(errand.url, stream).await?;
                match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => self.http2(stream, &alive).await?,
                    _ => self.http1(stream, &alive).await?,
                }
            }
            _ => self.http1(stream, &alive).await?,
        };
        Ok(Connection { origin: errand.url.origin(), address, wire, alive: Arc::new(alive.drop_guard()) })
    }

    async fn resolve(&self, errand: Errand<'_>) -> Result<Vec<SocketAddr>, EgressError> {
        let port = errand.url.port_or_known_default().ok_or(EgressError::Connect)?;
        let name = match errand.url.host().ok_or(EgressError::Dns)? {
            Host::Ipv4(v4) => return Ok(vec![(v4, port).into()]),
            Host::Ipv6(v6) => return Ok(vec![(v6, port).into()]),
            Host::Domain(name) => name.to_owned(),
        };
        let lookup = self.resolver.resolve(name);
        let slot = errand.slot.clone();
        // The system can't be stopped while it looks up: a slow name counts as a request until it is done, so that giving up
        // and asking again doesn't fill the machine with lookups.
        let found = tokio::spawn(async move {
            let found = lookup.await;
            drop(slot);
            found
        });
        let found = found.await.map_err(|_| EgressError::Dns)?.map_err(|cause| {
            tell(errand.url, &cause);
            EgressError::Dns
        })?;
        Ok(found.into_iter().take(ADDRESSES_MAX).map(|address| (address, port).into()).collect())
    }

    async fn http1<S>(&self, stream: S, alive: &CancellationToken) -> Result<Wire, EgressError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.max_header_size(self.head_bytes_max).max_buf_size(self.head_bytes_max.max(64 << 10));
        let shaken = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|_| EgressError::Protocol)?;
        Tasks(alive.clone()).spawn(async move { drop(connection.await) }); // its exchange learns of errors
        Ok(Wire::Http1(sender))
    }

    async fn http2<S>(&self, stream: S, alive: &CancellationToken) -> Result<Wire, EgressError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http2::Builder::new(Tasks(alive.clone()));
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(SILENCE_MAX)
            .keep_alive_timeout(SILENCE_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(u32::try_from(self.head_bytes_max).unwrap_or(u32::MAX));
        let shaken = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|_| EgressError::Protocol)?;
        Tasks(alive.clone()).spawn(async move { drop(connection.await) });
        Ok(Wire::Http2(sender))
    }
}

/// Those of a host's addresses that may be reached.
fn reachable(errand: Errand<'_>, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, EgressError> {
    let authority = errand.rights.authority();
    let mut denial = None;
    let check = |address: &SocketAddr| match authority.reach(errand.method, errand.url, address.ip()) {
        Ok(()) => true,
        Err(denied) => {
            denial.get_or_insert(denied);
            false
        }
    };
    let allowed: Vec<SocketAddr> = found.into_iter().filter(check).collect();
    match denial {
        _ if !allowed.is_empty() => Ok(allowed),
        Some(denial) => Err(EgressError::Denied(denial)),
        None => Err(EgressError::Dns),
    }
}

/// The first connection that one of the addresses takes; a slow one gets competition, a failed one is followed at once.
async fn race(addresses: Vec<SocketAddr>) -> Result<(TcpStream, IpAddr), EgressError> {
    let mut attempts = FuturesUnordered::new();
    let mut waiting = addresses.into_iter();
    loop {
        match waiting.next() {
            Some(address) => attempts.push(async move { (TcpStream::connect(address).await, address.ip()) }),
            None if attempts.is_empty() => return Err(EgressError::Connect),
            None => {}
        }
        tokio::select! {
            Some((attempt, address)) = attempts.next() => if let Ok(stream) = attempt {
                return Ok((stream, address));
            },
            () = tokio::time::sleep(HEAD_START), if waiting.len() > 0 => {}
        }
    }
}

/// The cause of an error, for the operator: guests don't learn it.
pub(super) fn tell(url: &Url, cause: impl fmt::Display) {
    tracing::debug!(host = url.host_str(), %cause, "no connection");
}

/// Tasks that end with a connection's last holder.
#[derive(Clone)]
struct Tasks(CancellationToken);

impl Tasks {
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.0.clone().run_until_cancelled_owned(work));
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, work: F) {
        self.spawn(work);
    }
}

/// Encryption, with sessions of its own: nothing of one component's connections is used in another's.
pub(super) struct Tls(OnceCell<Arc<ClientConfig>>);

/// Certificates that the system trusts, or those in the file that SSL_CERT_FILE names. Read when they are needed first.
static ROOTS: OnceCell<Arc<RootCertStore>> = OnceCell::const_new();

impl Tls {
    /// Trusts what the system trusts.
    pub(super) fn of_system() -> Tls {
        Tls(OnceCell::new())
    }

    /// Trusts these.
    #[cfg(test)]
    pub(super) fn trusting(roots: RootCertStore) -> Tls {
        Tls(OnceCell::new_with(Some(client(Arc::new(roots)))))
    }

    async fn shake_hands(&self, url: &Url, stream: TcpStream) -> Result<TlsStream<TcpStream>, EgressError> {
        let config = self.0.get_or_try_init(|| async {
            let roots = ROOTS.get_or_init(system_roots).await;
            if roots.is_empty() { Err(EgressError::NoRoots) } else { Ok(client(roots.clone())) }
        });
        let config = config.await?.clone();
        let name = match url.host().ok_or(EgressError::Tls)? {
            Host::Ipv4(v4) => ServerName::IpAddress(IpAddr::from(v4).into()),
            Host::Ipv6(v6) => ServerName::IpAddress(IpAddr::from(v6).into()),
            Host::Domain(name) => ServerName::try_from(name.to_owned()).map_err(|_| EgressError::Tls)?,
        };
        let shaken = TlsConnector::from(config).connect(name, stream).await;
        shaken.map_err(|cause| {
            tell(url, cause);
            EgressError::Tls
        })
    }
}

fn client(roots: Arc<RootCertStore>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("ring has what these versions need");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
    Arc::new(config)
}

async fn system_roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if let Ok(read) = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await {
        for cause in read.errors {
            tracing::warn!("certificates that the system trusts can't be read: {cause}");
        }
        roots.add_parsable_certificates(read.certs);
    }
    if roots.is_empty() {
        tracing::error!(
            "no certificates to trust were found, so no component can use https: install some or set SSL_CERT_FILE"
        );
    }
    Arc::new(roots)
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector(…)")
    }
}
