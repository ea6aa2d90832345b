//! What the answers of both routes share.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tessera_sdk::generate::{Completion, Event, Logprob, Outcome, Usage};

/// Which software answers: the same seed gives the same text as long as it is the same.
const FINGERPRINT: &str = concat!("tessera-", env!("CARGO_PKG_VERSION"));

/// How a route writes its answers.
pub(crate) trait Format {
    /// What its ids begin with.
    const PREFIX: &'static str;
    /// A choice of a whole answer.
    type Choice: Serialize;
    /// A choice of a piece of one.
    type Delta: Serialize;

    /// The whole answer.
    fn whole(&mut self, head: &Head, completion: &Completion) -> Answer<Self::Choice>;
    /// The piece that comes before all text, if there is one.
    fn first(&self, head: &Head) -> Option<Answer<Self::Delta>>;
    /// A piece of text; none if there is nothing to tell.
    fn piece(&mut self, head: &Head, event: &Event) -> Option<Answer<Self::Delta>>;
    /// The piece that says why it ended.
    fn last(&self, head: &Head, outcome: &Outcome) -> Answer<Self::Delta>;
    /// The piece that holds the usage and nothing else.
    fn usage(&self, head: &Head, outcome: &Outcome) -> Answer<Self::Delta>;
}

/// What is the same in all pieces of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    id: String,
    created: u64,
    model: String,
}

impl Head {
    pub(crate) fn new(prefix: &str, model: &str) -> Self {
        // The standard library's seeds of hash maps come from the host's source of randomness.
        let random = || RandomState::new().build_hasher().finish();
        let id = format!("{prefix}-{:016x}{:016x}", random(), random());
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { id, created, model: model.to_owned() }
    }

    /// An answer of one choice, or none.
    pub(crate) fn answer<C>(&self, object: &'static str, choice: Option<C>, usage: Option<Usage>) -> Answer<C> {
        Answer {
            id: self.id.clone(),
            object,
            created: self.created,
            model: self.model.clone(),
            system_fingerprint: FINGERPRINT,
            choices: choice.into_iter().collect(),
            usage,
        }
    }
}

/// An answer, or a piece of one.
#[derive(Debug, Serialize)]
pub(crate) struct Answer<C> {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    system_fingerprint: &'static str,
    choices: Vec<C>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

/// A token as text; bytes that are no whole character show as U+FFFD.
pub(crate) fn text_of(token: &Logprob) -> String {
    String::from_utf8_lossy(&token.bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_have_their_prefix() {
        let (a, b) = (Head::new("cmpl", "m"), Head::new("cmpl", "m"));
        assert!(a.id.starts_with("cmpl-") && a.id.len() == 37 && a.id != b.id, "{} {}", a.id, b.id);
    }
}
