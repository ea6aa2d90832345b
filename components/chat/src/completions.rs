//! `POST /v1/completions`: the prompt of the request, and the shape of the answer.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use tessera_sdk::Error;
use tessera_sdk::generate::{Completion, Event, Outcome, Prompt, Token};

use crate::answer::{Answer, Format, Head, text_of};

const OBJECT: &str = "text_completion";
/// Alternatives told with each token: the host's limit.
const LOGPROBS_MAX: u32 = 20;

/// What this route takes beside the parameters of both.
#[derive(Debug, Deserialize)]
pub(crate) struct CompletionRequest {
    prompt: OnePrompt,
    logprobs: Option<u32>,
}

impl CompletionRequest {
    /// How many alternatives to tell of each token; none tells no log-probabilities.
    pub(crate) fn logprobs(&self) -> Result<Option<u32>, Error> {
        match self.logprobs {
            Some(top) if top > LOGPROBS_MAX => Err(Error::invalid("logprobs", &format!("must be from 0 to {LOGPROBS_MAX}"))),
            logprobs => Ok(logprobs),
        }
    }

    pub(crate) fn into_prompt(self) -> Prompt {
        self.prompt.0
    }
}

/// One prompt in any of OpenAI's forms: a text, token ids, or an array with one of these.
#[derive(Debug)]
struct OnePrompt(Prompt);

impl<'de> Deserialize<'de> for OnePrompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PromptVisitor)
    }
}

struct PromptVisitor;

impl<'de> Visitor<'de> for PromptVisitor {
    type Value = OnePrompt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, an array of token ids, or an array with one of them")
    }

    fn visit_str<E>(self, text: &str) -> Result<OnePrompt, E> {
        Ok(OnePrompt(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OnePrompt, A::Error> {
        let many = || de::Error::custom("several prompts in one request are not supported: send them one by one");
        match items.next_element()? {
            None => Err(de::Error::custom("the prompt is empty")),
            Some(Item::Token(first)) => {
                let mut tokens = vec![first];
                while let Some(token) = items.next_element::<u32>()? {
                    tokens.push(token);
                }
                Ok(OnePrompt(tokens.into()))
            }
            Some(Item::Text(_) | Item::Tokens(_)) if items.next_element::<de::IgnoredAny>()?.is_some() => Err(many()),
            Some(Item::Text(text)) => Ok(OnePrompt(text.into())),
            Some(Item::Tokens(tokens)) => Ok(OnePrompt(tokens.into())),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string, a token id (an integer from 0 to 4294967295) or an array of token ids")]
enum Item {
    Token(u32),
    Text(String),
    Tokens(Vec<u32>),
}

/// Writes answers as OpenAI's text completions.
pub(crate) struct Text {
    /// Whether log-probabilities were asked for.
    logprobs: bool,
    /// Characters told so far.
    offset: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct Choice {
    index: u32,
    text: String,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
}

#[derive(Debug, Default, Serialize)]
struct Logprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<f32>,
    top_logprobs: Vec<BTreeMap<String, f32>>,
    text_offset: Vec<usize>,
}

impl Text {
    /// An answer of which nothing has been told.
    pub(crate) fn new(logprobs: bool) -> Self {
        Self { logprobs, offset: 0 }
    }

    fn logprobs(&mut self, tokens: &[Token]) -> Logprobs {
        let mut logprobs = Logprobs::default();
        for token in tokens {
            let text = text_of(&token.picked);
            logprobs.text_offset.push(self.offset);
            self.offset += text.chars().count();
            logprobs.tokens.push(text);
            logprobs.token_logprobs.push(token.picked.logprob);
            logprobs.top_logprobs.push(token.top.iter().map(|top| (text_of(top), top.logprob)).collect());
        }
        logprobs
    }
}

impl Format for Text {
    const PREFIX: &'static str = "cmpl";
    type Choice = Choice;
    type Delta = Choice;

    fn whole(&mut self, head: &Head, completion: &Completion) -> Answer<Choice> {
        let logprobs = self.logprobs.then(|| self.logprobs(&completion.tokens));
        let finish_reason = Some(completion.outcome.reason.as_str());
        let choice = Choice { index: 0, text: completion.text.clone(), logprobs, finish_reason };
        head.answer(OBJECT, Some(choice), Some((&completion.outcome).into()))
    }

    fn first(&self, _head: &Head) -> Option<Answer<Choice>> {
        None
    }

    fn piece(&mut self, head: &Head, event: &Event) -> Option<Answer<Choice>> {
        let logprobs = (!event.tokens.is_empty()).then(|| self.logprobs(&event.tokens));
        let is_something = !event.text.is_empty() || logprobs.is_some();
        let choice = Choice { index: 0, text: event.text.clone(), logprobs, finish_reason: None };
        is_something.then(|| head.answer(OBJECT, Some(choice), None))
    }

    fn last(&self, head: &Head, outcome: &Outcome) -> Answer<Choice> {
        let choice = Choice { index: 0, text: String::new(), logprobs: None, finish_reason: Some(outcome.reason.as_str()) };
        head.answer(OBJECT, Some(choice), None)
    }

    fn usage(&self, head: &Head, outcome: &Outcome) -> Answer<Choice> {
        head.answer(OBJECT, None, Some(outcome.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tessera_sdk::generate::{FinishReason, Logprob};

    use super::*;

    fn prompt(prompt: Value) -> Result<String, Error> {
        let body = json!({"prompt": prompt}).to_string();
        let request: CompletionRequest = tessera_sdk::json::parse(body.as_bytes())?;
        Ok(match request.into_prompt() {
            Prompt::Text(text) => text,
            Prompt::Tokens(tokens) => format!("{tokens:?}"),
            Prompt::Chat(_) => panic!("no conversation"),
        })
    }

    #[test]
    fn one_prompt_is_taken_in_each_of_its_forms() {
        for (given, taken) in
            [(json!("a"), "a"), (json!(["a"]), "a"), (json!([1, 2]), "[1, 2]"), (json!([[1, 2]]), "[1, 2]"), (json!(""), "")]
        {
            assert_eq!(prompt(given).expect("fits"), taken);
        }
    }

    #[test]
    fn other_prompts_are_refused_by_name() {
        for given in [json!(["a", "b"]), json!([[1], [2]]), json!([]), json!([1, "a"]), json!([-1]), json!(null), json!({})] {
            let error = prompt(given.clone()).expect_err("does not fit");
            let param = error.param().unwrap_or_default();
            assert!(error.status() == 400 && param.starts_with("prompt"), "{given}: {error} ({param})");
        }
    }

    #[test]
    fn an_answer_without_tokens_has_empty_log_probabilities_if_they_were_asked_for() {
        let outcome = Outcome { reason: FinishReason::Stop, prompt_tokens: 3, generated_tokens: 1 };
        let completion = Completion { model: "m".into(), text: String::new(), tokens: Vec::new(), outcome };
        let logprobs = |asked| {
            let answer = Text::new(asked).whole(&Head::new("cmpl", "m"), &completion);
            serde_json::to_value(answer).expect("JSON")["choices"][0]["logprobs"].clone()
        };
        let empty = json!({"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []});
        assert_eq!((logprobs(true), logprobs(false)), (empty, Value::Null));
    }

    #[test]
    fn offsets_of_tokens_go_on_from_piece_to_piece() {
        let event = |text: &str| {
            let picked = Logprob { id: 1, bytes: text.into(), logprob: -1.0 };
            Event { text: text.into(), tokens: vec![Token { top: vec![picked.clone()], picked }] }
        };
        let (mut format, head) = (Text::new(true), Head::new("cmpl", "m"));
        let mut offset = |text: &str| {
            let piece = format.piece(&head, &event(text)).expect("something to tell");
            serde_json::to_value(piece).expect("JSON")["choices"][0]["logprobs"].clone()
        };
        assert_eq!(
            offset("äö"),
            json!({
                "tokens": ["äö"], "token_logprobs": [-1.0], "top_logprobs": [{"äö": -1.0}], "text_offset": [0]
            })
        );
        assert_eq!(offset("x")["text_offset"], json!([2]));
    }
}
