//! A generation as server-sent events, as OpenAI has them.

use tessera_sdk::generate::{Event, Generation};
use tessera_sdk::handler::Closed;
use tessera_sdk::{Error, inference, sse};

use crate::answer::{Format, Head};
use crate::log_if_internal;

/// How to stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    /// Send the usage as a piece of its own at the end.
    pub(crate) include_usage: bool,
}

/// A generation whose first event, or whose end, has come already.
pub(crate) struct Begun {
    pub(crate) generation: Generation,
    pub(crate) first: Option<Event>,
}

/// Sends all of it. When the client is gone a send fails, and the generation is dropped.
///
/// A generation that fails ends with an error event and without `[DONE]`.
pub(crate) async fn send<F: Format>(
    mut events: sse::Events,
    options: Options,
    head: Head,
    mut format: F,
    begun: Begun,
) -> Result<(), Closed> {
    let Begun { mut generation, first } = begun;
    if let Some(first) = format.first(&head) {
        events.send(sse::Event::json(&first)).await?;
    }
    let mut next = Ok(first);
    while let Ok(Some(event)) = next {
        if let Some(piece) = format.piece(&head, &event) {
            events.send(sse::Event::json(&piece)).await?;
        }
        next = generation.next().await;
    }
    match next.and_then(|_| generation.outcome().ok_or_else(broken_off)) {
        Ok(outcome) => {
            events.send(sse::Event::json(&format.last(&head, &outcome))).await?;
            if options.include_usage {
                events.send(sse::Event::json(&format.usage(&head, &outcome))).await?;
            }
            events.send(sse::Event::text("[DONE]")).await?;
        }
        Err(error) => {
            log_if_internal(&error);
            events.send(sse::Event::error(&Error::from(error))).await?;
        }
    }
    events.finish()
}

fn broken_off() -> inference::Error {
    inference::Error::new(inference::ErrorCode::Internal, "the generation broke off")
}
