//! Why a request or an answer goes no further.

use ::http::{Response, StatusCode};
use axum::body::Body;
use policy::ComponentName;

use crate::http::body::{RequestBodyError, ResponseBodyError};
use crate::http::error;
use crate::instance::Fault;

/// Which way a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Into the component.
    Input,
    /// Out of it.
    Output,
}

impl Direction {
    /// As a metric's label.
    pub(super) fn name(self) -> &'static str {
        match self {
            Direction::Input => "input",
            Direction::Output => "output",
        }
    }

    /// What it is to a client.
    fn thing(self) -> &'static str {
        match self {
            Direction::Input => "request",
            Direction::Output => "answer",
        }
    }
}

/// Why a text goes no further. None of it is said here: this is shown to clients and written to logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A guard blocks it.
    Blocked {
        /// Which way it was going.
        direction: Direction,
        /// Which guard.
        guard: ComponentName,
        /// A reason that the guard has declared.
        reason: String,
    },
    /// A guard could not judge it.
    Unavailable(Direction),
    /// It is in a form that the host can't read.
    Uninspectable(Direction),
    /// The request's body did not come.
    Request(RequestBodyError),
    /// The answer's body did not come.
    Answer(ResponseBodyError),
}

impl Refusal {
    /// The answer in the place of the one that is refused.
    pub(crate) fn response(&self, body_bytes_max: u64) -> Response<Body> {
        match self {
            Refusal::Request(RequestBodyError::TooLarge) => error::body_too_large(body_bytes_max),
            Refusal::Request(broken @ RequestBodyError::Incomplete) => {
                error::response(StatusCode::BAD_REQUEST, "body_incomplete", &broken.to_string())
            }
            Refusal::Answer(ResponseBodyError::Deadline) => error::fault(Fault::Deadline),
            Refusal::Answer(_) => error::fault(Fault::Trapped),
            told => {
                let (status, code) = told.status();
                error::response(status, code, &told.message())
            }
        }
    }

    /// The error as an event's data, where the head of the answer is gone already.
    pub(super) fn event(&self) -> Vec<u8> {
        let (status, code) = self.status();
        [b"data: ".as_slice(), &error::json(status, code, &self.message()), b"\n\n"].concat()
    }

    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            // The request itself is at fault even where its answer is blocked: clients repeat what is answered 5xx, and would
            // have the same text made again.
            Refusal::Blocked { .. } => (StatusCode::BAD_REQUEST, "content_blocked"),
            Refusal::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "guard_unavailable"),
            Refusal::Uninspectable(Direction::Input) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "uninspectable_body"),
            Refusal::Uninspectable(Direction::Output) => (StatusCode::BAD_REQUEST, "uninspectable_body"),
            Refusal::Request(_) => (StatusCode::BAD_REQUEST, "body_incomplete"),
            Refusal::Answer(_) => (StatusCode::INTERNAL_SERVER_ERROR, "component_failed"),
        }
    }

    fn message(&self) -> String {
        match self {
            Refusal::Blocked { direction, guard, reason } => {
                format!("The {} was blocked by the guard `{guard}`: {reason}.", direction.thing())
            }
            Refusal::Unavailable(direction) => {
                format!(
                    "The {} could not be checked, and this service lets nothing pass unchecked: try again later.",
                    direction.thing()
                )
            }
            Refusal::Uninspectable(direction) => format!(
                "The {} has a body that this service's guards can't read: they read JSON, forms and text in UTF-8, uncompressed.",
                direction.thing()
            ),
            Refusal::Request(error) => error.to_string(),
            Refusal::Answer(_) => "The component failed.".into(),
        }
    }
}
