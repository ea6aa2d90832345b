//! A generation as server-sent events, as OpenAI has them.

use tessera_sdk::generate::{Event, Generation, Stream};
use tessera_sdk::handler::Closed;
use tessera_sdk::{Error, sse};

use crate::answer::{Format, Head};
use crate::log_if_internal;

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
    stream: Stream,
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
    match next.and_then(|_| generation.into_outcome()) {
        Ok(outcome) => {
            events.send(sse::Event::json(&format.last(&head, &outcome))).await?;
            if stream == (Stream::Events { include_usage: true }) {
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
