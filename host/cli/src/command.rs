//! The verbs.

pub(crate) mod doctor;
pub(crate) mod model;
pub(crate) mod pull;
pub(crate) mod serve;
