//! Settings that the operator wrote for this component, under `[config]` of its policy.

pub use crate::bindings::tessera::config::config::{all, get};
