//! How a server is set up.

mod auth;
mod edge;
mod store;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub(crate) use self::auth::is_private_enough;
pub use self::auth::{AuthConfig, AuthMode, OidcConfig};
pub use self::edge::{CorsConfig, TlsConfig};
pub use self::store::StoreConfig;
use crate::audit::AuditConfig;

/// The file of keys in the folder of data.
pub(crate) const KEYS_FILE: &str = "keys.toml";

/// `tessera.toml`, and what `tessera serve` changes of it. Checked whole before anything starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Where to listen: beyond this machine only where credentials are required; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where `/admin` and `/metrics` are served, and nothing else, instead of with the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_listen: Option<SocketAddr>,
    /// Who may call.
    pub auth: AuthConfig,
    /// Encrypted connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// Web pages that may read answers.
    pub cors: CorsConfig,
    /// Networks of proxies that are believed when they say whom they ask for, by `X-Forwarded-For` or `Forwarded`.
    pub trusted_proxies: Vec<IpNet>,
    /// A folder for each component.
    pub components: PathBuf,
    /// A file for each component's policy.
    pub policies: PathBuf,
    /// A folder for each model.
    pub models: PathBuf,
    /// Load only models with a record of where they came from: those that were pulled, or added by `tessera model add`.
    pub models_recorded: bool,
    /// What the server keeps: keys, compiled components, and what has run.
    pub data: PathBuf,
    /// The device for tensors: `flex`, `wgpu`, `cuda`, `rocm`, with `:INDEX` where there are several.
    pub device: String,
    /// Threads for tensor work on the CPU; 0 takes one for each core.
    pub threads: usize,
    /// Keep each of those threads on a core of its own; turn it off where two servers share a machine.
    pub pin_threads: bool,
    /// Generations that may be under way at one time; more are answered 429.
    pub generations_max: usize,
    /// Bytes that the keys and values of all generations may grow to; a generation that could go beyond is answered 429.
    pub cache_bytes_max: usize,
    /// Length of a component's code, in bytes; a longer one is not loaded.
    pub component_bytes_max: u64,
    /// Versions of each component that are kept to go back to.
    pub versions_kept_max: usize,
    /// Time for a component's code to be compiled, in milliseconds; one that takes longer is not loaded.
    pub compile_ms_max: u64,
    /// The command that compiles components apart from the server, see [`compile_component`](crate::compile_component); without one
    /// they are compiled in the server's own process.
    #[serde(skip)]
    pub compiler: Option<Vec<OsString>>,
    /// Stack of a component's code, in bytes: the same for all, because one engine runs them.
    pub stack_bytes_max: usize,
    /// Instances that may live at one time, all components together.
    pub instances_max: u32,
    /// Those of them whose host calls block, each on a thread of its own: instances of components that import `wasi:nn`. More
    /// are answered 503. At most 512.
    pub blocking_instances_max: usize,
    /// Connections that may be open at one time; more wait to be accepted.
    pub connections_max: usize,
    /// Time for a client to send its request's head, in milliseconds.
    pub header_ms_max: u64,
    /// Bodies up to this length are handed to a component whole, in bytes; longer ones as a stream.
    pub body_whole_bytes_max: u64,
    /// How often running components are interrupted to let others run, in milliseconds.
    pub epoch_ms: u64,
    /// Time for running requests to finish after SIGTERM, in milliseconds.
    pub drain_ms_max: u64,
    /// Where components keep vectors, values and files.
    pub store: StoreConfig,
    /// What is recorded, and what happens where it can't be.
    pub audit: AuditConfig,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: None,
            auth: AuthConfig::default(),
            tls: None,
            cors: CorsConfig::default(),
            trusted_proxies: Vec::new(),
            components: "components".into(),
            policies: "policies".into(),
            models: "models".into(),
            models_recorded: false,
            data: "data".into(),
            device: "flex".into(),
            threads: 0,
            pin_threads: true,
            generations_max: 64,
            cache_bytes_max: 4 << 30,
            component_bytes_max: 64 << 20,
            versions_kept_max: 8,
            compile_ms_max: 60_000,
            compiler: None,
            stack_bytes_max: 512 << 10,
            instances_max: 1000,
            blocking_instances_max: 64,
            connections_max: 10_000,
            header_ms_max: 10_000,
            body_whole_bytes_max: 256 << 10,
            epoch_ms: 10,
            drain_ms_max: 30_000,
            store: StoreConfig::default(),
            audit: AuditConfig::default(),
        }
    }
}

/// Threads that tokio has for calls that block.
const BLOCKING_THREADS_MAX: usize = 512;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is not a configuration.
    #[error("the configuration is refused: {0}")]
    Malformed(#[from] toml::de::Error),
    /// Listening beyond loopback would let everybody in.
    #[error(
        "`{0} = \"{1}\"` is reachable from other machines, and nobody has to say who they are: set `auth.mode = \"required\"` \
         and make a key by `tessera key create --tenant NAME`, or listen on 127.0.0.1 or [::1]"
    )]
    ListensBeyondLoopback(&'static str, SocketAddr),
    /// A value makes no sense.
    #[error("`{0}` {1}")]
    Value(&'static str, String),
    /// A number that must not be 0.
    #[error("`{0}` must not be 0")]
    Zero(&'static str),
    /// More threads than there are for calls that block: an instance would wait for one past its deadline.
    #[error("`blocking_instances_max = {0}` is too many: there are {BLOCKING_THREADS_MAX} threads for calls that block")]
    TooManyBlocking(usize),
}

impl ServerConfig {
    /// Reads `tessera.toml`.
    ///
    /// # Errors
    /// When a key is unknown or of the wrong type. Values are checked by [`check`](Self::check).
    pub fn parse(text: &str) -> Result<ServerConfig, ConfigError> {
        Ok(toml::from_str(text)?)
    }

    /// The file of keys.
    pub fn keys_file(&self) -> PathBuf {
        self.data.join(KEYS_FILE)
    }

    /// Checks the values.
    ///
    /// # Errors
    /// When one is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_auth()?;
        self.check_edge()?;
        if self.blocking_instances_max > BLOCKING_THREADS_MAX {
            return Err(ConfigError::TooManyBlocking(self.blocking_instances_max));
        }
        let zeros = [
            ("generations_max", self.generations_max == 0),
            ("cache_bytes_max", self.cache_bytes_max == 0),
            ("component_bytes_max", self.component_bytes_max == 0),
            ("compile_ms_max", self.compile_ms_max == 0),
            ("stack_bytes_max", self.stack_bytes_max == 0),
            ("instances_max", self.instances_max == 0),
            ("blocking_instances_max", self.blocking_instances_max == 0),
            ("connections_max", self.connections_max == 0),
            ("header_ms_max", self.header_ms_max == 0),
            ("epoch_ms", self.epoch_ms == 0),
            ("store.cache_bytes", self.store.cache_bytes == 0),
            ("store.threads_max", self.store.threads_max == 0),
            ("audit.bytes_max", self.audit.bytes_max == 0),
            ("audit.sync_ms", self.audit.sync_ms == 0),
            ("audit.waiting_max", self.audit.waiting_max == 0),
        ];
        match zeros.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_blocking_instances_than_threads_are_refused() {
        let check = |blocking_instances_max| ServerConfig { blocking_instances_max, ..ServerConfig::default() }.check();
        assert!(check(512).is_ok());
        assert!(matches!(check(513), Err(ConfigError::TooManyBlocking(513))));
    }

    #[test]
    fn the_example_file_holds_every_setting_with_its_default() {
        let example: toml::Table = include_str!("../../../tessera.example.toml").parse().expect("good TOML");
        let defaults = toml::Table::try_from(ServerConfig::default()).expect("settings make TOML");
        assert_eq!(example, defaults);
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = ServerConfig::parse("lissen = \"127.0.0.1:1\"").expect_err("unknown key");
        assert!(error.to_string().contains("lissen"), "{error}");
    }
}
