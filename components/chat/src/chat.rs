//! `POST /v1/chat/completions`: the messages of the request, and the shape of the answer.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use tessera_sdk::Error;
use tessera_sdk::generate::{Completion, Event, Logprob, Message, Outcome, Prompt, Token};

use crate::answer::{Answer, Format, Head, text_of};
use crate::refused::unsupported;

const WHOLE: &str = "chat.completion";
const PIECE: &str = "chat.completion.chunk";
/// Alternatives told with each token; OpenAI's limit and the host's.
const TOP_LOGPROBS_MAX: u32 = 20;

/// What this route takes beside the parameters of both.
#[derive(Debug, Deserialize)]
pub(crate) struct ChatRequest {
    messages: Messages,
    logprobs: Option<bool>,
    top_logprobs: Option<u32>,
}

/// A conversation; or, for clients of OPEA, a text to go on with, as on `/v1/completions`.
#[derive(Debug)]
enum Messages {
    Text(String),
    Many(Vec<RequestMessage>),
}

/// By hand, because an untagged enum says of a malformed message only that nothing matched, and not which field is wrong.
impl<'de> Deserialize<'de> for Messages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MessagesVisitor)
    }
}

struct MessagesVisitor;

impl<'de> Visitor<'de> for MessagesVisitor {
    type Value = Messages;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages or a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Messages, E> {
        Ok(Messages::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, messages: A) -> Result<Messages, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(messages)).map(Messages::Many)
    }
}

#[derive(Debug, Deserialize)]
struct RequestMessage {
    role: Role,
    content: Option<Content>,
    tool_calls: Option<Vec<serde_json::Value>>,
    function_call: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    System,
    /// OpenAI's newer name for it, which templates don't know.
    Developer,
    User,
    Assistant,
    Tool,
    Function,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string or an array of content parts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    r#type: String,
    text: Option<String>,
}

impl ChatRequest {
    /// How many alternatives to tell of each token; none tells no log-probabilities.
    pub(crate) fn logprobs(&self) -> Result<Option<u32>, Error> {
        match (self.logprobs.unwrap_or(false), self.top_logprobs) {
            (_, Some(top)) if top > TOP_LOGPROBS_MAX => {
                Err(Error::invalid("top_logprobs", &format!("must be from 0 to {TOP_LOGPROBS_MAX}")))
            }
            (false, Some(_)) => Err(Error::invalid("top_logprobs", "is only for `logprobs: true`")),
            (false, None) => Ok(None),
            (true, top) => Ok(Some(top.unwrap_or(0))),
        }
    }

    /// The conversation or the text, as the host takes it.
    pub(crate) fn into_prompt(self) -> Result<Prompt, Error> {
        let messages = match self.messages {
            Messages::Text(text) => return Ok(text.into()),
            Messages::Many(messages) => messages,
        };
        if messages.is_empty() {
            return Err(Error::invalid("messages", "must have at least one message"));
        }
        let messages = messages.into_iter().enumerate().map(|(index, message)| message.into_message(index));
        let messages = messages.collect::<Result<Vec<Message>, Error>>()?;
        if messages.last().is_some_and(|last| last.role == "assistant") {
            return Err(Error::invalid(
                "messages",
                "ends with a message of the assistant, which is not gone on with: end with the user's",
            ));
        }
        Ok(Prompt::Chat(messages))
    }
}

impl RequestMessage {
    fn into_message(self, index: usize) -> Result<Message, Error> {
        let at = |field: &str| format!("messages[{index}].{field}");
        let refuse = |field: &str| Err(unsupported(&at(field), "tools are not supported: leave them out of the conversation"));
        if self.tool_calls.is_some_and(|calls| !calls.is_empty()) {
            return refuse("tool_calls");
        }
        if self.function_call.is_some() {
            return refuse("function_call");
        }
        let role = match self.role {
            Role::System | Role::Developer => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool | Role::Function => return refuse("role"),
        };
        let content = match self.content {
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => joined(parts, &at("content"))?,
            None if role == "assistant" => String::new(),
            None => return Err(Error::invalid(&at("content"), "is missing")),
        };
        Ok(Message::new(role, content))
    }
}

/// The texts of all parts, one below the other as other servers have it.
fn joined(parts: Vec<Part>, at: &str) -> Result<String, Error> {
    let text = |(index, part): (usize, Part)| match (part.r#type.as_str(), part.text) {
        ("text", Some(text)) => Ok(text),
        ("text", None) => Err(Error::invalid(&format!("{at}[{index}].text"), "is missing")),
        (kind, _) => {
            let kind: String = kind.chars().take(40).collect();
            let message = format!("parts of the type `{kind}` are not supported: this service reads text only");
            Err(unsupported(&format!("{at}[{index}]"), &message))
        }
    };
    Ok(parts.into_iter().enumerate().map(text).collect::<Result<Vec<String>, Error>>()?.join("\n"))
}

/// Writes answers as OpenAI's chat completions.
pub(crate) struct Chat {
    /// Whether log-probabilities were asked for.
    pub(crate) logprobs: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Choice {
    index: u32,
    message: ReplyMessage,
    logprobs: Option<Logprobs>,
    finish_reason: &'static str,
}

#[derive(Debug, Serialize)]
struct ReplyMessage {
    role: &'static str,
    content: String,
    refusal: Option<()>,
}

#[derive(Debug, Serialize)]
pub(crate) struct DeltaChoice {
    index: u32,
    delta: Delta,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
}

#[derive(Debug, Default, Serialize)]
struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

#[derive(Debug, Serialize)]
struct Logprobs {
    content: Vec<TokenLogprob>,
    refusal: Option<()>,
}

#[derive(Debug, Serialize)]
struct TokenLogprob {
    #[serde(flatten)]
    picked: OneLogprob,
    top_logprobs: Vec<OneLogprob>,
}

#[derive(Debug, Serialize)]
struct OneLogprob {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

impl Logprobs {
    fn of(tokens: &[Token]) -> Self {
        let one = |token: &Logprob| OneLogprob { token: text_of(token), logprob: token.logprob, bytes: token.bytes.clone() };
        let token =
            |token: &Token| TokenLogprob { picked: one(&token.picked), top_logprobs: token.top.iter().map(one).collect() };
        Self { content: tokens.iter().map(token).collect(), refusal: None }
    }
}

impl Format for Chat {
    const PREFIX: &'static str = "chatcmpl";
    type Choice = Choice;
    type Delta = DeltaChoice;

    fn whole(&mut self, head: &Head, completion: &Completion) -> Answer<Choice> {
        let message = ReplyMessage { role: "assistant", content: completion.text.clone(), refusal: None };
        let logprobs = self.logprobs.then(|| Logprobs::of(&completion.tokens));
        let choice = Choice { index: 0, message, logprobs, finish_reason: completion.outcome.reason.as_str() };
        head.answer(WHOLE, Some(choice), Some((&completion.outcome).into()))
    }

    fn first(&self, head: &Head) -> Option<Answer<DeltaChoice>> {
        Some(piece(head, Delta { role: Some("assistant"), content: Some(String::new()) }, None, None))
    }

    fn piece(&mut self, head: &Head, event: &Event) -> Option<Answer<DeltaChoice>> {
        let logprobs = (!event.tokens.is_empty()).then(|| Logprobs::of(&event.tokens));
        let delta = Delta { role: None, content: Some(event.text.clone()) };
        (!event.text.is_empty() || logprobs.is_some()).then(|| piece(head, delta, logprobs, None))
    }

    fn last(&self, head: &Head, outcome: &Outcome) -> Answer<DeltaChoice> {
        piece(head, Delta::default(), None, Some(outcome.reason.as_str()))
    }

    fn usage(&self, head: &Head, outcome: &Outcome) -> Answer<DeltaChoice> {
        head.answer(PIECE, None, Some(outcome.into()))
    }
}

fn piece(head: &Head, delta: Delta, logprobs: Option<Logprobs>, finish_reason: Option<&'static str>) -> Answer<DeltaChoice> {
    head.answer(PIECE, Some(DeltaChoice { index: 0, delta, logprobs, finish_reason }), None)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tessera_sdk::generate::FinishReason;

    use super::*;

    fn request(body: Value) -> Result<ChatRequest, Error> {
        tessera_sdk::json::parse(body.to_string().as_bytes())
    }

    fn messages(body: Value) -> Result<Vec<(String, String)>, Error> {
        let Prompt::Chat(messages) = request(json!({"messages": body}))?.into_prompt()? else { panic!("a conversation") };
        Ok(messages.into_iter().map(|message| (message.role, message.content)).collect())
    }

    #[test]
    fn roles_and_contents_are_taken() {
        let taken = messages(json!([
            {"role": "developer", "content": "brief", "name": "x"},
            {"role": "assistant", "content": null, "tool_calls": []},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        ]));
        let expected = [("system", "brief"), ("assistant", ""), ("user", "a\nb")];
        assert_eq!(taken.expect("fits"), expected.map(|(role, content)| (role.into(), content.into())));
    }

    #[test]
    fn what_is_not_supported_names_its_place() {
        let image = json!({"type": "image_url", "image_url": {"url": "data:,"}});
        for (body, param) in [
            (json!([]), "messages"),
            (json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]), "messages"),
            (json!([{"role": "user"}]), "messages[0].content"),
            (json!([{"role": "user", "content": [{"type": "text", "text": "a"}, image]}]), "messages[0].content[1]"),
            (json!([{"role": "user", "content": [{"type": "text"}]}]), "messages[0].content[0].text"),
            (json!([{"role": "tool", "content": "x"}]), "messages[0].role"),
            (json!([{"role": "pirate", "content": "x"}]), "messages[0].role"),
            (json!([{"role": "assistant", "tool_calls": [{}]}]), "messages[0].tool_calls"),
            (json!([{"role": "user", "content": 1}]), "messages[0].content"),
        ] {
            let error = messages(body.clone()).expect_err("does not fit");
            assert_eq!((error.status(), error.param()), (400, Some(param)), "{body}: {error}");
        }
    }

    #[test]
    fn alternatives_need_log_probabilities() {
        let logprobs = |mut body: Value| {
            body["messages"] = json!([]);
            request(body).expect("fits").logprobs().map_err(|error| error.param().map(String::from))
        };
        assert_eq!(logprobs(json!({})), Ok(None));
        assert_eq!(logprobs(json!({"logprobs": true})), Ok(Some(0)));
        assert_eq!(logprobs(json!({"logprobs": true, "top_logprobs": 20})), Ok(Some(20)));
        assert_eq!(logprobs(json!({"logprobs": true, "top_logprobs": 21})), Err(Some("top_logprobs".into())));
        assert_eq!(logprobs(json!({"top_logprobs": 1})), Err(Some("top_logprobs".into())));
    }

    fn whole(logprobs: bool, completion: &Completion) -> Value {
        serde_json::to_value(Chat { logprobs }.whole(&Head::new("chatcmpl", "m"), completion)).expect("JSON")
    }

    #[test]
    fn an_answer_without_tokens_has_empty_log_probabilities_if_they_were_asked_for() {
        let outcome = Outcome { reason: FinishReason::Stop, prompt_tokens: 3, generated_tokens: 1 };
        let completion = Completion { model: "m".into(), text: String::new(), tokens: Vec::new(), outcome };
        assert_eq!(whole(true, &completion)["choices"][0]["logprobs"], json!({"content": [], "refusal": null}));
        assert_eq!(whole(false, &completion)["choices"][0]["logprobs"], Value::Null);
    }

    #[test]
    fn the_answer_has_the_shape_of_openai() {
        let logprob = |text: &str, logprob| Logprob { id: 1, bytes: text.into(), logprob };
        let completion = Completion {
            model: "m".into(),
            text: "hi".into(),
            tokens: vec![Token { picked: logprob("hi", -0.5), top: vec![logprob("ho", -1.0)] }],
            outcome: Outcome { reason: FinishReason::Length, prompt_tokens: 3, generated_tokens: 1 },
        };
        let answer = whole(true, &completion);
        assert_eq!((&answer["object"], &answer["model"]), (&json!("chat.completion"), &json!("m")));
        assert_eq!(
            answer["choices"],
            json!([{
                "index": 0, "message": {"role": "assistant", "content": "hi", "refusal": null}, "finish_reason": "length",
                "logprobs": {"content": [{
                    "token": "hi", "logprob": -0.5, "bytes": [104, 105],
                    "top_logprobs": [{"token": "ho", "logprob": -1.0, "bytes": [104, 111]}]
                }], "refusal": null}
            }])
        );
        assert_eq!(answer["usage"], json!({"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}));
    }
}
