//! Server-sent events: a response that tells what happens while it happens.
//!
//! ```
//! # use tessera_sdk::{Response, sse::Event};
//! let response = Response::sse(|mut events| async move {
//!     for count in 0..3 {
//!         events.send(Event::json(&count)).await?;
//!     }
//!     events.finish()
//! });
//! ```

use std::fmt::Write;

use serde::Serialize;

use crate::error::Error;
use crate::handler::{BodyWriter, Closed, Response};

/// One event, as it goes over the wire (WHATWG HTML, section 9.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event(String);

impl Event {
    /// An event that holds a text. Each line of it becomes a `data:` line.
    pub fn text(data: &str) -> Self {
        let mut wire = String::with_capacity(data.len() + 8);
        for line in data.replace("\r\n", "\n").split(['\n', '\r']) {
            let _ = writeln!(wire, "data: {line}"); // a String takes everything
        }
        wire.push('\n');
        Self(wire)
    }

    /// An event that holds a value as JSON; an error event if JSON cannot hold it.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Self {
        match serde_json::to_string(value) {
            Ok(json) => Self::text(&json),
            Err(error) => Self::error(&Error::internal(format!("the event is not JSON: {error}"))),
        }
    }

    /// An event that holds an error in OpenAI's shape: what came before is not the whole.
    pub fn error(error: &Error) -> Self {
        Self::text(&error.body())
    }

    /// Gives the event a name other than `message`.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        Self(format!("event: {name}\n{}", self.0))
    }
}

/// Sends events, each at once. As with [`BodyWriter`], only [`finish`](Self::finish) ends them well.
#[derive(Debug)]
pub struct Events(BodyWriter);

impl Events {
    /// Sends one; waits until the host has taken it.
    ///
    /// # Errors
    /// [`Closed`] when nobody reads any more: stop the work.
    pub async fn send(&mut self, event: Event) -> Result<(), Closed> {
        self.0.write(event.0).await
    }

    /// Ends the response well. Always `Ok`, to be the last line of a producer.
    ///
    /// # Errors
    /// None.
    pub fn finish(self) -> Result<(), Closed> {
        self.0.finish()
    }
}

impl Response {
    /// A response of events. `produce` runs after the headers are on their way, so what can be refused is checked before.
    pub fn sse<F, Fut>(produce: F) -> Self
    where
        F: FnOnce(Events) -> Fut + 'static,
        Fut: Future<Output = Result<(), Closed>> + 'static,
    {
        Self::stream(200, "text/event-stream", |writer| produce(Events(writer)))
            .with_header("cache-control", "no-cache")
            .with_header("x-accel-buffering", "no") // proxies that gather answers don't gather this one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_data_lines_and_an_empty_one() {
        assert_eq!(Event::json(&serde_json::json!({"a": "b\nc"})).0, "data: {\"a\":\"b\\nc\"}\n\n");
        assert_eq!(Event::text("[DONE]").0, "data: [DONE]\n\n");
        assert_eq!(Event::text("a\r\nb").named("x\ny").0, "event: xy\ndata: a\ndata: b\n\n");
    }

    #[test]
    fn a_text_cannot_end_its_event_early() {
        assert_eq!(Event::text("a\n\ndata: forged\r\rb").0, "data: a\ndata: \ndata: data: forged\ndata: \ndata: b\n\n");
    }

    #[test]
    fn an_error_has_the_shape_of_openai() {
        let event = Event::error(&Error::internal("why")).0;
        let json = event.strip_prefix("data: ").expect("data");
        let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
        assert_eq!((&json["error"]["message"], &json["error"]["type"]), (&"why".into(), &"server_error".into()));
    }
}
