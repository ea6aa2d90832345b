//! The shapes of answers: OpenAI's chat completions, whole and in pieces, with the sources beside them.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tessera_sdk::generate::{FinishReason, Outcome, Stream, Usage};
use tessera_sdk::{Response, id, sse};

use crate::citation::Citations;
use crate::opea;
use crate::params::NAME;
use crate::passages::Source;
use crate::settings::Settings;

const PIECE: &str = "chat.completion.chunk";

/// An answer that is being made.
#[derive(Debug)]
pub(crate) struct Answer {
    id: String,
    created: u64,
    pub(crate) sources: Vec<Source>,
    pub(crate) decline: String,
    pub(crate) is_opea: bool,
}

/// How it ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    finish_reason: &'static str,
    usage: Usage,
    is_declined: bool,
}

impl Ending {
    /// The end of a generation.
    pub(crate) fn new(outcome: &Outcome, is_declined: bool) -> Self {
        Self { finish_reason: outcome.reason.as_str(), usage: outcome.into(), is_declined }
    }

    /// Nothing was generated: the documents have no answer.
    fn declined() -> Self {
        Self { finish_reason: FinishReason::Stop.as_str(), usage: Usage::default(), is_declined: true }
    }
}

#[derive(Serialize)]
struct Body<'a, C> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'static str,
    choices: Vec<C>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sources: Option<&'a [Source]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    declined: Option<bool>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: Message<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
    refusal: Option<()>,
}

#[derive(Serialize)]
struct DeltaChoice<'a> {
    index: u32,
    delta: Delta<'a>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

impl Answer {
    /// An answer from these sources.
    pub(crate) fn new(sources: Vec<Source>, settings: &Settings) -> Self {
        Self {
            id: format!("chatcmpl-{}", id::new()),
            created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            sources,
            decline: settings.decline.clone(),
            is_opea: settings.is_opea,
        }
    }

    /// Says of each source whether it is cited.
    pub(crate) fn cite(&mut self, citations: &Citations) {
        for source in &mut self.sources {
            source.cited = Some(citations.cited().contains(&source.n));
        }
    }

    /// All of it.
    pub(crate) fn whole(&self, text: &str, ending: &Ending) -> Response {
        let message = Message { role: "assistant", content: text, refusal: None };
        let choice = Choice { index: 0, message, logprobs: None, finish_reason: ending.finish_reason };
        let usage = Some(ending.usage);
        let (sources, declined) = (Some(self.sources.as_slice()), Some(ending.is_declined));
        Response::json(200, &Body { usage, sources, declined, ..self.body("chat.completion", Some(choice)) })
    }

    /// What comes before the text: who speaks, and the sources.
    pub(crate) fn first(&self) -> Option<sse::Event> {
        let delta = Delta { role: Some("assistant"), content: Some("") };
        let sources = Some(self.sources.as_slice());
        let first = Body { sources, ..self.body(PIECE, Some(delta_choice(delta, None))) };
        (!self.is_opea).then(|| sse::Event::json(&first))
    }

    /// A piece of the text.
    pub(crate) fn piece(&self, text: &str) -> sse::Event {
        if self.is_opea {
            return opea::event(text);
        }
        let delta = Delta { role: None, content: Some(text) };
        sse::Event::json(&self.body(PIECE, Some(delta_choice(delta, None))))
    }

    /// What comes after the text: why it ended, the sources with those that are cited, and the usage where it is wanted.
    pub(crate) fn last(&self, ending: &Ending, stream: Stream) -> Vec<sse::Event> {
        if self.is_opea {
            return vec![sse::Event::text("[DONE]")];
        }
        let choice = delta_choice(Delta::default(), Some(ending.finish_reason));
        let (sources, declined) = (Some(self.sources.as_slice()), Some(ending.is_declined));
        let mut events = vec![sse::Event::json(&Body { sources, declined, ..self.body(PIECE, Some(choice)) })];
        if stream == (Stream::Events { include_usage: true }) {
            let usage = Some(ending.usage);
            events.push(sse::Event::json(&Body { usage, ..self.body::<DeltaChoice<'_>>(PIECE, None) }));
        }
        events.push(sse::Event::text("[DONE]"));
        events
    }

    /// The answer that there is none.
    pub(crate) fn declined(mut self, stream: Stream) -> Response {
        self.cite(&Citations::default());
        let ending = Ending::declined();
        if stream == Stream::Whole {
            return self.whole(&self.decline, &ending);
        }
        Response::sse(move |mut events| async move {
            let pieces = self.first().into_iter().chain([self.piece(&self.decline)]).chain(self.last(&ending, stream));
            for piece in pieces.collect::<Vec<_>>() {
                events.send(piece).await?;
            }
            events.finish()
        })
    }

    fn body<C>(&self, object: &'static str, choice: Option<C>) -> Body<'_, C> {
        let choices = choice.into_iter().collect();
        let (id, created) = (self.id.as_str(), self.created);
        Body { id, object, created, model: NAME, choices, usage: None, sources: None, declined: None }
    }
}

fn delta_choice<'a>(delta: Delta<'a>, finish_reason: Option<&'static str>) -> DeltaChoice<'a> {
    DeltaChoice { index: 0, delta, logprobs: None, finish_reason }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::passages::tests::source;

    fn answer() -> Answer {
        Answer::new(vec![source(1, 0.9, "a"), source(2, 0.8, "b")], &Settings::default())
    }

    fn ending() -> Ending {
        Ending::new(&Outcome { reason: FinishReason::Length, prompt_tokens: 5, generated_tokens: 2 }, false)
    }

    #[test]
    fn a_whole_answer_is_a_chat_completion_with_its_sources() {
        let mut answer = answer();
        let mut citations = Citations::of(2);
        citations.push("[2]");
        answer.cite(&citations);
        let response = answer.whole("Blue [2].", &ending());
        let body: Value = serde_json::from_slice(response.whole().expect("one piece")).expect("JSON");
        assert_eq!((&body["object"], &body["model"]), (&"chat.completion".into(), &"chatqna".into()));
        assert_eq!(body["choices"][0]["message"]["content"], "Blue [2].");
        assert_eq!(body["choices"][0]["finish_reason"], "length");
        assert_eq!(body["usage"], json!({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}));
        let cited: Vec<&Value> = body["sources"].as_array().expect("sources").iter().map(|source| &source["cited"]).collect();
        assert_eq!((cited, &body["declined"]), (vec![&json!(false), &json!(true)], &json!(false)));
    }

    #[test]
    fn a_declined_answer_has_cost_nothing() {
        let response = answer().declined(Stream::Whole);
        let body: Value = serde_json::from_slice(response.whole().expect("one piece")).expect("JSON");
        assert_eq!((&body["usage"]["total_tokens"], &body["declined"]), (&json!(0), &json!(true)));
        assert_eq!(body["choices"][0]["message"]["content"], Settings::default().decline);
    }

    #[test]
    fn the_usage_comes_last_where_it_is_wanted() {
        assert_eq!(answer().last(&ending(), Stream::Events { include_usage: false }).len(), 2);
        assert_eq!(answer().last(&ending(), Stream::Events { include_usage: true }).len(), 3);
    }

    #[test]
    fn for_clients_of_opea_there_is_nothing_but_text() {
        let answer = Answer { is_opea: true, ..answer() };
        assert!(answer.first().is_none());
        assert_eq!(answer.piece(" it's"), sse::Event::text("b\" it's\""));
        assert_eq!(answer.last(&ending(), Stream::Events { include_usage: true }), [sse::Event::text("[DONE]")]);
    }
}
