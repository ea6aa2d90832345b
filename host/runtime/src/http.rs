//! HTTP: connections, the host's own routes, and the way in and out of components.

pub(crate) mod body;
mod client;
mod cors;
mod describe;
mod door;
mod entrance;
pub(crate) mod error;
pub(crate) mod exchange;
mod host;
mod request;
pub(crate) mod server;
pub(crate) mod tls;
