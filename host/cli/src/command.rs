//! The verbs.

pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod doctor;
pub(crate) mod model;
pub(crate) mod pull;
pub(crate) mod serve;
