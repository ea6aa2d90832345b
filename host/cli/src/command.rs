//! The verbs.

pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod compile;
pub(crate) mod doctor;
pub(crate) mod erase;
pub(crate) mod key;
pub(crate) mod model;
pub(crate) mod package;
pub(crate) mod policy;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod serve;
pub(crate) mod sign;
pub(crate) mod usage;
pub(crate) mod verify;
