//! Keeps values, files and documents and shows what came back, codes included, so that tests see what a guest sees.

mod blob;
mod kv;
mod vector;

use serde_json::{Value, json};
use tessera_sdk::store::{self, ErrorCode};
use tessera_sdk::{Error, IntoResponse, Json, Response, Router, service};

service!(router);

fn router() -> Router {
    vector::routes(blob::routes(kv::routes(Router::new())))
}

/// 200 with the value, or the status of the error with its code as WIT has it.
fn show(result: Result<Value, store::Error>) -> Response {
    let status = match &result {
        Ok(_) => 200,
        Err(error) => Error::from(error.clone()).status(),
    };
    Json(outcome(result)).into_response().with_status(status)
}

fn outcome(result: Result<Value, store::Error>) -> Value {
    match result {
        Ok(value) => json!({"ok": value}),
        Err(error) => json!({"error": {"code": code(error.code), "message": error.message}}),
    }
}

fn code(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Denied => "denied",
        ErrorCode::NotFound => "not-found",
        ErrorCode::InvalidInput => "invalid-input",
        ErrorCode::Conflict => "conflict",
        ErrorCode::Quota => "quota",
        ErrorCode::Overloaded => "overloaded",
        ErrorCode::Deadline => "deadline",
        ErrorCode::Unsupported => "unsupported",
        ErrorCode::Internal => "internal",
    }
}
