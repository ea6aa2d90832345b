//! WebAssembly components: their life cycle, what they may call, and HTTP.
//!
//! [`Server`] loads every component of a folder and serves them. A request goes
//! `http` → `registry` (which component) → `instance` (a sandbox to run in) → the guest, and what the guest calls goes
//! `capability` → the policy's check → `inference` → the engine.
//!
//! This crate knows no Burn: it talks to the engine by messages.

mod audit;
mod auth;
mod bindings;
mod call;
mod capability;
mod command;
mod component;
mod config;
mod cpu;
mod egress;
mod erase;
mod facts;
mod governance;
mod guard;
mod http;
mod inference;
mod instance;
mod journal;
mod lifecycle;
mod package;
mod peers;
mod registry;
mod reload;
mod sandbox;
mod stderr;
mod stores;
mod telemetry;
mod typed;
mod watch;

pub use audit::{AUDIT_FOLDER, AuditConfig, Recording};
pub use capability::call::import::Import;
pub use command::{Command, CommandError, CommandPolicy, run_command};
pub use component::files::ComponentFiles;
pub use component::record::{ComponentRecord, RecordError};
pub use component::{LoadError, Manifest, Reuse};
pub use config::{AuthConfig, AuthMode, ConfigError, CorsConfig, OidcConfig, ServerConfig, StoreConfig, TlsConfig};
pub use erase::{EraseError, Erased, Kept, erase_tenant, erasure};
pub use facts::protected;
pub use guard::manifest::GuardManifest;
pub use http::server::{Backends, Server, ServerError};
pub use inference::{Inference, InferenceError};
pub use package::{Package, PackageError, PackageLimits};
pub use sandbox::compile_component;
pub use stores::{Erase, Stores};
