//! Rights, limits and callers: pure decisions, and the only maker of a [`Permit`].
//!
//! A component's power is what its manifest wants, what the operator's policy grants, and what the caller may do, all
//! three at once. Policy files are compiled into an immutable [`Snapshot`]; every check reads one and nothing else: no
//! I/O, no lock. A check that passes gives a [`Permit`], which back ends take by value, so an effect without a check
//! doesn't compile.

#![forbid(unsafe_code)]

mod caller;
mod grant;
mod limit;
mod name;
mod permit;
mod route;
mod snapshot;

pub use caller::{Caller, Tenant};
pub use grant::{
    Denial, ModelsGrant,
    config::ConfigGrant,
    log::{Level, LogGrant},
    routes::RoutesGrant,
};
pub use limit::Limits;
pub use name::{ComponentName, ModelName, NameError};
pub use permit::{Embed, Generate, Nn, Permit, Rerank, Tokenize};
pub use route::{Method, Route, RouteError};
pub use snapshot::{LoadError, PolicyFile, Snapshot};
