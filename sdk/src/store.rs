//! What the capabilities that keep data share: their error.

use crate::inference::retry_after_s;

pub use crate::bindings::tessera::store::types::{Error, ErrorCode};

impl Error {
    /// An error that the component found by itself.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }
}

/// What is not granted, or failed, is the operator's to mend: the client learns of it in general terms only.
impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        let Error { code, message, retry_after_ms } = error;
        let (status, name, message) = match code {
            ErrorCode::Denied => (403, "store_denied", "this service may not use that store".to_owned()),
            ErrorCode::NotFound => (404, "not_found", message),
            ErrorCode::InvalidInput => (400, "invalid_value", message),
            ErrorCode::Conflict => (409, "conflict", message),
            ErrorCode::Quota => (429, "quota_exceeded", message),
            ErrorCode::Overloaded => (503, "overloaded", message),
            ErrorCode::Deadline => (504, "timeout", message),
            ErrorCode::Unsupported => (501, "unsupported", message),
            ErrorCode::Internal => (500, "store_failed", "the store failed: what was asked for is not done".to_owned()),
        };
        let mapped = Self::new(status, name, message);
        match code {
            ErrorCode::Quota | ErrorCode::Overloaded => {
                mapped.with_header("retry-after", retry_after_s(retry_after_ms).to_string())
            }
            _ => mapped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operator_has_to_mend_is_not_told_to_the_client() {
        for code in [ErrorCode::Denied, ErrorCode::Internal] {
            let error = crate::Error::from(Error::new(code, "disk /srv/data is full"));
            assert!(!error.message().contains("/srv/data"), "{}", error.message());
        }
    }

    #[test]
    fn a_full_store_asks_the_client_to_wait() {
        let error = crate::Error::from(Error { code: ErrorCode::Quota, message: "full".into(), retry_after_ms: Some(1500) });
        assert_eq!((error.status(), error.headers()[0].clone()), (429, ("retry-after", "2".to_owned())));
    }
}
