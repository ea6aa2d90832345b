//! WebAssembly components: their life cycle, what they may call, and HTTP.
//!
//! [`Server`] loads every component of a folder and serves them. A request goes
//! `http` → `registry` (which component) → `instance` (a sandbox to run in) → the guest, and what the guest calls goes
//! `capability` → the policy's check → `inference` → the engine.
//!
//! This crate knows no Burn: it talks to the engine by messages.

mod audit;
mod bindings;
mod call;
mod capability;
mod component;
mod config;
mod cpu;
mod egress;
mod erase;
mod facts;
mod governance;
mod http;
mod inference;
mod instance;
mod registry;
mod reload;
mod sandbox;
mod stderr;
mod telemetry;

pub use audit::{AUDIT_FOLDER, AuditConfig, Recording};
pub use component::{LoadError, Manifest, Reuse};
pub use config::{ConfigError, ServerConfig};
pub use erase::{EraseError, Erased, erase_tenant, erasure};
pub use http::server::{Server, ServerError};
pub use inference::{Inference, InferenceError};
pub use sandbox::compile_component;
