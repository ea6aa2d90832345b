//! Text by a language model, as it is generated on the host's device.
//!
//! Needs `[generate]` in the component's policy; only the models listed there exist for the component.
//!
//! ```no_run
//! # async fn example() -> Result<(), tessera_sdk::Error> {
//! use tessera_sdk::generate::{self, Message, Options};
//!
//! let conversation = vec![Message::system("Be brief."), Message::user("What is a tessera?")];
//! let mut generation = generate::generate(conversation, Options { tokens_max: Some(64), ..Options::default() }).await?;
//! while let Some(event) = generation.next().await? {
//!     println!("{}", event.text);
//! }
//!
//! let completion = generate::generate("Once upon a time", Options::default()).await?.collect().await?;
//! println!("{} … after {} tokens", completion.text, completion.outcome.generated_tokens);
//! # Ok(())
//! # }
//! ```

mod params;

use std::collections::VecDeque;
use std::fmt;

use serde::Serialize;
use wit_bindgen::{FutureReader, StreamReader, StreamResult};

use crate::bindings::tessera::generate::{generate as host, types};
use crate::inference::{self, ErrorCode};

pub use crate::inference::Message;
pub use host::models;
pub use params::{Defaults, Params, Stream};
pub use types::{Event, FinishReason, Logprob, Options, Outcome, Prompt, Sampling, Token};

/// Events that one read takes.
const EVENTS_READ_MAX: usize = 16;

/// Starts to generate: after a string, after token ids (`Vec<u32>`), or the answer in a conversation (`Vec<Message>`).
///
/// # Errors
/// Those of the host; see [`ErrorCode`]. A prompt that does not fit the model's context, alone or together with
/// `tokens_max`, is `too-long`, never cut.
pub async fn generate(prompt: impl Into<Prompt>, options: Options) -> Result<Generation, inference::Error> {
    let host::Generation { model, events, outcome } = host::generate(prompt.into(), options).await?;
    Ok(Generation { model, waiting: VecDeque::new(), state: State::Running(events, outcome) })
}

/// A generation under way. Dropping it stops the work at the device's next step; not reading it makes the device wait.
pub struct Generation {
    model: String,
    waiting: VecDeque<Event>,
    state: State,
}

enum State {
    Running(StreamReader<Event>, FutureReader<Result<Outcome, inference::Error>>),
    Ended(Result<Outcome, inference::Error>),
}

impl Generation {
    /// Registry name of the model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What comes next; none after a good end. Dropping the future may lose events.
    ///
    /// # Errors
    /// The generation failed, or the time of the request is over: what came before is not the whole.
    pub async fn next(&mut self) -> Result<Option<Event>, inference::Error> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            match &mut self.state {
                State::Ended(ended) => return ended.clone().map(|_| None),
                State::Running(events, _) => {
                    let (result, read) = events.read(Vec::with_capacity(EVENTS_READ_MAX)).await;
                    self.waiting.extend(read);
                    if result == StreamResult::Dropped {
                        self.end().await;
                    }
                }
            }
        }
    }

    /// All that has come by now as one event, and at least one; none after a good end. It costs less than one by one.
    ///
    /// # Errors
    /// Those of [`next`](Self::next).
    pub async fn next_all(&mut self) -> Result<Option<Event>, inference::Error> {
        let Some(mut event) = self.next().await? else { return Ok(None) };
        for more in self.waiting.drain(..) {
            event.text.push_str(&more.text);
            event.tokens.extend(more.tokens);
        }
        Ok(Some(event))
    }

    async fn end(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Ended(Err(broken_off())));
        self.state = State::Ended(match state {
            State::Running(_, outcome) => outcome.await,
            State::Ended(ended) => ended,
        });
    }

    /// What the generation was, once [`next`](Self::next) has given none.
    pub fn outcome(&self) -> Option<Outcome> {
        match &self.state {
            State::Ended(Ok(outcome)) if self.waiting.is_empty() => Some(*outcome),
            _ => None,
        }
    }

    /// The same for one that is no longer needed.
    ///
    /// # Errors
    /// The generation failed, or has not come to its end.
    pub fn into_outcome(self) -> Result<Outcome, inference::Error> {
        match self.state {
            State::Ended(ended) if self.waiting.is_empty() => ended,
            _ => Err(broken_off()),
        }
    }

    /// Reads to the end.
    ///
    /// # Errors
    /// Those of [`next`](Self::next); what had come is lost.
    pub async fn collect(mut self) -> Result<Completion, inference::Error> {
        let (mut text, mut tokens) = (String::new(), Vec::new());
        while let Some(event) = self.next().await? {
            text.push_str(&event.text);
            tokens.extend(event.tokens);
        }
        let model = std::mem::take(&mut self.model);
        Ok(Completion { model, text, tokens, outcome: self.into_outcome()? })
    }
}

fn broken_off() -> inference::Error {
    inference::Error::new(ErrorCode::Internal, "the generation broke off")
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation").field("model", &self.model).finish_non_exhaustive()
    }
}

/// A generation that came to its end.
#[derive(Debug, Clone)]
pub struct Completion {
    /// Registry name of the model.
    pub model: String,
    /// All of the text.
    pub text: String,
    /// All tokens, if `logprobs` asked for them.
    pub tokens: Vec<Token>,
    /// Why it ended and what it cost.
    pub outcome: Outcome,
}

/// What a generation cost, as the answers of OpenAI's services tell it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Tokens that the model read.
    pub prompt_tokens: u32,
    /// Tokens that it wrote.
    pub completion_tokens: u32,
    /// Both together.
    pub total_tokens: u32,
}

impl From<&Outcome> for Usage {
    fn from(outcome: &Outcome) -> Self {
        let Outcome { prompt_tokens, generated_tokens, .. } = *outcome;
        let total_tokens = prompt_tokens.saturating_add(generated_tokens);
        Self { prompt_tokens, completion_tokens: generated_tokens, total_tokens }
    }
}

impl FinishReason {
    /// OpenAI's word for it: `stop` or `length`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

impl Default for Options {
    /// The policy's first model, to the end of its context or of the host's caches, without stop texts; see [`Sampling::default`].
    fn default() -> Self {
        Self { model: None, tokens_max: None, stop: Vec::new(), sampling: Sampling::default(), logprobs: None }
    }
}

impl Default for Sampling {
    /// The model's own distribution: temperature 1, everything else off.
    fn default() -> Self {
        Self {
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: Vec::new(),
            temperature: 1.0,
            top_k: None,
            typical_p: 1.0,
            top_p: 1.0,
            min_p: 0.0,
            seed: None,
        }
    }
}

impl Sampling {
    /// The likeliest token, always.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u32>> for Prompt {
    fn from(tokens: Vec<u32>) -> Self {
        Self::Tokens(tokens)
    }
}

impl From<Vec<Message>> for Prompt {
    fn from(conversation: Vec<Message>) -> Self {
        Self::Chat(conversation)
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    const OUTCOME: Outcome = Outcome { reason: FinishReason::Stop, prompt_tokens: 3, generated_tokens: 2 };

    /// A generation whose events have come.
    fn ended(texts: &[&str], ended: Result<Outcome, inference::Error>) -> Generation {
        let event = |text: &&str| Event { text: (*text).to_owned(), tokens: Vec::new() };
        Generation { model: "m".into(), waiting: texts.iter().map(event).collect(), state: State::Ended(ended) }
    }

    #[test]
    fn collected_events_are_one_text() {
        let completion = block_on(ended(&["a", "", "b"], Ok(OUTCOME)).collect()).expect("a good end");
        assert_eq!((completion.text.as_str(), completion.outcome.generated_tokens), ("ab", 2));
    }

    #[test]
    fn what_has_come_is_read_at_once() {
        let mut generation = ended(&["a", "", "b"], Ok(OUTCOME));
        assert_eq!(block_on(generation.next_all()).expect("a good end").map(|event| event.text).as_deref(), Some("ab"));
        assert!(block_on(generation.next_all()).expect("a good end").is_none());
    }

    #[test]
    fn the_outcome_is_told_after_the_last_event_only() {
        let mut generation = ended(&["a"], Ok(OUTCOME));
        assert!(generation.outcome().is_none());
        assert_eq!(block_on(generation.next()).expect("an event").expect("one").text, "a");
        assert!(block_on(generation.next()).expect("a good end").is_none());
        assert_eq!(generation.outcome().map(|outcome| outcome.prompt_tokens), Some(3));
        assert_eq!(generation.into_outcome().map(|outcome| outcome.prompt_tokens).ok(), Some(3));
        assert!(ended(&["a"], Ok(OUTCOME)).into_outcome().is_err());
    }

    #[test]
    fn usage_adds_up() {
        let outcome = Outcome { reason: FinishReason::Length, prompt_tokens: u32::MAX, generated_tokens: 2 };
        let usage = Usage::from(&outcome);
        assert_eq!((usage.completion_tokens, usage.total_tokens, outcome.reason.as_str()), (2, u32::MAX, "length"));
    }

    #[test]
    fn a_bad_end_comes_after_what_was_generated() {
        let failed = inference::Error::new(ErrorCode::Deadline, "over");
        let mut generation = ended(&["a"], Err(failed.clone()));
        assert!(block_on(generation.next()).expect("an event").is_some());
        assert_eq!(block_on(generation.next()).expect_err("a bad end").code, ErrorCode::Deadline);
        assert!(block_on(ended(&["a"], Err(failed)).collect()).is_err());
    }
}
