//! Lines in the host's log, marked with the component and the request they came from.
//!
//! Needs `[log]` in the component's policy. Don't log what people wrote: prompts, documents, keys.

pub use crate::bindings::tessera::log::log::{Level, write};

/// Writes a line that only a developer wants.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Writes a line about the ordinary course of things.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Writes a line about something that an operator should look at.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Writes a line about something that failed.
pub fn error(message: &str) {
    write(Level::Error, message);
}
